//! The sockets of a server: opened here, or given by the service manager or the server that is taken over.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use super::tls::TlsError;

/// Sockets that are open already, as from systemd; the others are opened.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The socket of `server.bind`.
    pub http: Option<TcpListener>,
    /// The socket of `server.http_redirect_bind`.
    pub redirect: Option<TcpListener>,
    /// The socket of `server.metrics_bind`.
    pub metrics: Option<TcpListener>,
}

/// A reason why a server cannot have its sockets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {cause}; choose another with {setting}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What names it.
        setting: &'static str,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An open socket, and what names it.
pub(super) struct Socket {
    listener: TcpListener,
    pub(super) address: SocketAddr,
    setting: &'static str,
}

impl Socket {
    pub(super) fn open(
        given: Option<TcpListener>,
        address: SocketAddr,
        setting: &'static str,
    ) -> Result<Self, BindError> {
        let open = || {
            let listener = given.map_or_else(|| TcpListener::bind(address), Ok)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = open().map_err(|cause| BindError::Address { address, setting, cause })?;
        Ok(Self { listener, address, setting })
    }

    /// Returns another descriptor of the same socket.
    pub(super) fn again(&self) -> Result<OwnedFd, BindError> {
        let Self { listener, address, setting } = self;
        let again = listener.try_clone().map(OwnedFd::from);
        again.map_err(|cause| BindError::Address { address: *address, setting, cause })
    }

    pub(super) fn explain<T>(
        self,
        work: impl FnOnce(TcpListener) -> std::io::Result<T>,
    ) -> Result<T, BindError> {
        let Self { listener, address, setting } = self;
        work(listener).map_err(|cause| BindError::Address { address, setting, cause })
    }
}
