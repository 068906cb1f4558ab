//! A socket that accepts connections and serves an app on them: within the limits, with TLS or without.
//!
//! This is what actix-web's `HttpServer` does too, but that has no place for a limit before the TLS handshake, nor for
//! another kind of connection.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Stream, Watch};
use super::gate::Gate;
use super::tls::Tls;
use crate::server::config;

/// How long a client may take to close its side of a connection.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What connections wait for to be accepted, at most: the kernel has a limit of its own.
const BACKLOG: i32 = 2_048;

/// The limits of every connection of a socket.
#[derive(Clone)]
pub(super) struct Terms {
    pub gate: Gate,
    pub tls: Option<Arc<Tls>>,
    pub head_time: Duration,
    pub request_time: Duration,
    pub idle_time: Duration,
}

impl Terms {
    pub(super) fn new(settings: &config::Server, gate: Gate, tls: Option<Arc<Tls>>) -> Self {
        Self {
            gate,
            tls,
            head_time: settings.head_time,
            request_time: settings.request_time,
            idle_time: settings.idle_time,
        }
    }

    /// Admits a connection, and does the TLS handshake.
    async fn accept(
        self,
        stream: TcpStream,
        watch: Rc<Watch>,
    ) -> Result<(Connection, Option<SocketAddr>), DispatchError> {
        let peer = stream.peer_addr().map_err(DispatchError::Io)?;
        // Dropping the stream closes it.
        let place = self.gate.enter(peer.ip()).ok_or(DispatchError::DisconnectTimeout)?;
        // Without it, answers wait for the client's acknowledgement of the bytes before. They still arrive.
        let _ = stream.set_nodelay(true);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let handshake = TlsAcceptor::from(tls.current()).accept(stream);
                match actix_rt::time::timeout(self.head_time, handshake).await {
                    Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    // Scanners cause many of these, so they are counted and not logged.
                    Ok(Err(_)) | Err(_) => {
                        self.gate.count_failed_handshake();
                        return Err(DispatchError::DisconnectTimeout);
                    }
                }
            }
        };
        Ok((Connection::new(stream, &watch, place), Some(peer)))
    }
}

/// Adds a socket to a server. `app` makes the app of one worker.
///
/// # Errors
/// The system's error.
pub(super) fn listen<F, I, S, B>(
    builder: ServerBuilder,
    name: &str,
    listener: TcpListener,
    terms: Terms,
    app: F,
) -> std::io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error>,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>>,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    // The standard library asks for fewer.
    rustix::net::listen(&listener, BACKLOG)?;
    let stopping = builder.graceful_shutdown_signal();
    builder.listen(name, listener, move || {
        let (terms, stopping) = (terms.clone(), stopping.clone());
        let is_secure = terms.tls.is_some();
        let watch = Watch::start(terms.request_time, terms.idle_time);
        let app = app().into_factory().map_err(|error| error.into().error_response());
        // actix-web keeps the only constructor for its own crates. It has been there since 4.0, and a test of the
        // https URLs in answers would miss it.
        let config = AppConfig::__priv_test_new(is_secure, address.to_string(), address);
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // Not actix's, which is a timer for each request: `Watch` bounds the time.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(terms.head_time)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .h1(map_config(app, move |()| config.clone()));
        fn_service(move |stream: TcpStream| terms.clone().accept(stream, Rc::clone(&watch))).and_then(http)
    })
}
