//! TLS: a certificate and its key, read from files, and read again when they change. Connections that are open keep the
//! pair that they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::server::config;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two settings is missing.
    #[error("{0} is set without {1}; TLS needs both")]
    OnlyOne(&'static str, &'static str),
    /// A file cannot be read.
    #[error("{setting} {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A file has nothing of the expected kind.
    #[error("{setting} {} has no {what} in PEM", path.display())]
    Empty {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The content that is expected.
        what: &'static str,
    },
    /// The pair is not accepted.
    #[error("server.tls_cert and server.tls_key cannot be used together: {0}")]
    Refused(#[from] rustls::Error),
}

/// The pair in force.
#[derive(Debug)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
    /// The digest of the files as they were last looked at.
    seen: Mutex<[u8; 32]>,
}

/// Checks the pair of the settings. Returns when the certificate ends; `None` if TLS is off.
///
/// # Errors
/// [`TlsError`], as at start.
pub(crate) fn certificate_end(settings: &config::Server) -> Result<Option<DateTime<Utc>>, TlsError> {
    let Some(tls) = Tls::of(settings)? else { return Ok(None) };
    let pair = Pair::read(&tls.cert, &tls.key)?;
    // The server's own stands first (RFC 8446 §4.4.2).
    let own = CertificateDer::pem_slice_iter(&pair.cert).next().and_then(Result::ok);
    let end = own.and_then(|own| {
        let (_, certificate) = parse_x509_certificate(&own).ok()?;
        DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
    });
    Ok(end)
}

/// The content of the files.
struct Pair {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Tls {
    /// Reads the pair of the settings; `None` if TLS is off.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn of(settings: &config::Server) -> Result<Option<Self>, TlsError> {
        let (cert, key) = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(TlsError::OnlyOne("server.tls_cert", "server.tls_key")),
            (None, Some(_)) => return Err(TlsError::OnlyOne("server.tls_key", "server.tls_cert")),
        };
        let pair = Pair::read(&cert, &key)?;
        warn_if_others_can_read(&key);
        let (current, seen) = (ArcSwap::from_pointee(pair.config(&cert, &key)?), Mutex::new(pair.digest()));
        Ok(Some(Self { cert, key, current, seen }))
    }

    /// Returns the pair in force.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again. Returns whether a new pair is in force: `false` if they are as they were.
    ///
    /// # Errors
    /// [`TlsError`] once for each change; the old pair stays in force.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let pair = Pair::read(&self.cert, &self.key);
        let digest = pair.as_ref().map_or([0; 32], Pair::digest);
        if std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), digest) == digest
        {
            return Ok(false);
        }
        self.current.store(Arc::new(pair?.config(&self.cert, &self.key)?));
        Ok(true)
    }
}

impl Pair {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |setting, path: &Path| {
            std::fs::read(path).map_err(|cause| TlsError::Unreadable {
                setting,
                path: path.to_owned(),
                cause,
            })
        };
        Ok(Self { cert: read("server.tls_cert", cert)?, key: Zeroizing::new(read("server.tls_key", key)?) })
    }

    fn digest(&self) -> [u8; 32] {
        let all = Zeroizing::new([&self.cert[..], &self.key[..]].concat());
        let mut digest_of_all = [0; 32];
        digest_of_all.copy_from_slice(digest(&SHA256, &all).as_ref());
        digest_of_all
    }

    fn config(&self, cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
        let empty = |setting, path: &Path, what| TlsError::Empty { setting, path: path.to_owned(), what };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .ok()
            .filter(|chain: &Vec<_>| !chain.is_empty())
            .ok_or_else(|| empty("server.tls_cert", cert, "certificate"))?;
        let secret = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| empty("server.tls_key", key, "private key"))?;
        // Named, because a process may hold more than one provider.
        let provider = Arc::new(default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, secret)?;
        // No "h2": the HTTP/2 of actix-http has an open advisory; see docs/operations.md.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(unix)]
fn warn_if_others_can_read(key: &Path) {
    use std::os::unix::fs::PermissionsExt;

    if std::fs::metadata(key).is_ok_and(|file| file.permissions().mode() & 0o007 != 0) {
        log::warn!(
            "server.tls_key {} can be read by every user of this machine; chmod o-rwx helps",
            key.display()
        );
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_: &Path) {}
