//! Bind, run, stop: a server on its own sockets, with its background tasks.
//!
//! | file | what it owns |
//! |---|---|
//! | `listener` | a socket, from a connection to the app |
//! | `gate` | how many connections there are |
//! | `connection` | the times that bound a connection |
//! | `sockets` | the sockets, opened or given |
//! | `tls` | the certificate, its reload, and its end |
//! | `handover` | the takeover by another process |
//! | `redirect` | the socket for plain HTTP |
//! | `background`, `tasks` | the background tasks, on a thread of their own |

mod background;
mod connection;
mod gate;
mod handover;
mod listener;
mod redirect;
mod sockets;
mod tasks;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, HttpServer};
use futures_util::future::{Either, select};

use super::AuthServer;
use super::http::routes::metrics;
pub(super) use background::start_background;
use gate::Gate;
use handover::Offered;
pub use handover::{HandoverError, Taken};
use listener::{Terms, listen};
use redirect::Target;
use sockets::Socket;
pub use sockets::{BindError, Sockets};
pub(super) use tasks::Tasks;
use tls::Tls;
pub use tls::TlsError;
pub(crate) use tls::certificate_end;

/// The time between two looks at the files of the certificate.
const LOOK_AT_TLS_EVERY: Duration = Duration::from_secs(5);

/// A server that has its socket and accepts connections once it is polled.
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    /// The address of the metrics, if they are on.
    pub metrics_address: Option<SocketAddr>,
    /// The address on which plain HTTP is sent to HTTPS, if that is on.
    pub redirect_address: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    /// The sockets once more, for a takeover.
    open: [Option<OwnedFd>; 3],
    offered: Offered,
    server: actix_web::dev::Server,
    metrics: Option<actix_web::dev::Server>,
}

/// Binds the sockets of the settings. The server accepts connections once [`Running::until`] is polled.
///
/// # Errors
/// [`BindError`] names the address and the setting.
pub fn bind(server: &AuthServer) -> Result<Running, BindError> {
    bind_on(server, Sockets::default())
}

/// Binds those sockets of the settings that are not open already.
///
/// # Errors
/// As [`bind`].
pub fn bind_on(server: &AuthServer, sockets: Sockets) -> Result<Running, BindError> {
    let settings = &server.settings().server;
    let tls = Tls::of(settings)?.map(Arc::new);
    let gate = Gate::new(settings, server.connections());
    let app = {
        let server = server.clone();
        move || app(&server)
    };
    // The signals are the caller's: see `Running::until`. The gate has the limit of connections.
    let builder = actix_web::dev::Server::build()
        .workers(settings.workers)
        .shutdown_timeout(settings.shutdown_time.as_secs())
        .max_concurrent_connections(settings.connections + 1)
        .disable_signals();
    let socket = Socket::open(sockets.http, settings.bind, "--bind ADDR:PORT")?;
    let address = socket.address;
    let mut open = [Some(socket.again()?), None, None];
    let terms = Terms::new(settings, gate, tls.clone());
    let mut builder = socket.explain(|listener| listen(builder, "http", listener, terms.clone(), app))?;
    let mut redirect_address = None;
    if let Some(bind) = settings.http_redirect_bind {
        let target =
            Target { public_url: settings.public_url.as_deref().map(Into::into), port: address.port() };
        let app = {
            let server = server.clone();
            move || {
                let app = App::new().wrap(server.edge().without_https()).wrap(server.envelope());
                app.default_service(redirect::handler(target.clone()))
            }
        };
        let socket = Socket::open(sockets.redirect, bind, "server.http_redirect_bind")?;
        redirect_address = Some(socket.address);
        open[1] = Some(socket.again()?);
        let terms = Terms { tls: None, ..terms };
        builder = socket.explain(|listener| listen(builder, "redirect", listener, terms, app))?;
    }
    let mut metrics = None;
    let mut metrics_address = None;
    if let Some(bind) = settings.metrics_bind {
        let socket = Socket::open(sockets.metrics, bind, "server.metrics_bind")?;
        metrics_address = Some(socket.address);
        open[2] = Some(socket.again()?);
        metrics = Some(socket.explain(|listener| serve_metrics(server, listener))?);
    }
    let (server, offered) = (builder.run(), Offered::default());
    Ok(Running { address, metrics_address, redirect_address, tls, open, offered, server, metrics })
}

/// Makes the app of one worker, with all that is around the routes.
#[doc(hidden)]
pub fn app(
    server: &AuthServer,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    let app = App::new().wrap(server.shortcut()).wrap(server.cors()).wrap(server.edge());
    let app = app.wrap(server.envelope()).wrap(server.measure());
    app.configure(server.configure()).configure(server.console())
}

/// Serves the metrics on a socket of their own, so that a firewall can protect it.
fn serve_metrics(server: &AuthServer, listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
    let server = server.clone();
    let app = move || App::new().wrap(server.envelope()).service(metrics::resource(&server.metrics()));
    Ok(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run())
}

/// Reads again what can change while the server runs. Clones do the same.
#[derive(Debug, Clone)]
pub struct Reload {
    tls: Option<Arc<Tls>>,
}

impl Reload {
    /// Reads the certificate and its key again, and logs what came of it. Returns `false` if nothing has changed.
    pub fn certificate(&self) -> bool {
        let Some(tls) = &self.tls else { return false };
        match tls.reload() {
            Ok(false) => return false,
            Ok(true) => log::info!("new connections use the new certificate"),
            Err(error) => log::error!("{error}; the certificate that is in use stays"),
        }
        true
    }
}

impl Running {
    /// Returns what reads the certificate again.
    pub fn reload(&self) -> Reload {
        Reload { tls: self.tls.clone() }
    }

    /// Offers the sockets and the unsealed key at `server.control_socket`, if that is set. Returns what completes once
    /// another process serves in this one's place.
    ///
    /// # Errors
    /// [`HandoverError::Control`].
    pub fn offer(&mut self, server: &AuthServer) -> Result<impl Future<Output = ()> + use<>, HandoverError> {
        let (sender, received) = tokio::sync::oneshot::channel::<()>();
        let [http, redirect, metrics] = std::mem::take(&mut self.open);
        if let (Some(path), Some(http)) = (&server.settings().server.control_socket, http) {
            let offered = handover::Offer { http, redirect, metrics, vault: server.vault() };
            self.offered = handover::offer(path, offered, move || {
                let _ = sender.send(());
            })?;
        }
        Ok(async {
            // Without an offer nobody sends.
            if received.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    /// Returns the URL of the server on this machine.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves until `stop` completes; then finishes the requests in flight.
    ///
    /// # Errors
    /// The system's error when the server fails while running.
    pub async fn until(
        self,
        server: AuthServer,
        stop: impl Future<Output = ()> + 'static,
    ) -> std::io::Result<()> {
        self.until_replaced(server, stop, std::future::pending()).await
    }

    /// Serves until `stop` completes, or `replaced`, when another process serves on the same sockets. Then this one
    /// accepts no more connections, and those that it has end with their next answer, or after `server.idle_s`.
    ///
    /// # Errors
    /// As [`until`](Self::until).
    pub async fn until_replaced(
        self,
        server: AuthServer,
        stop: impl Future<Output = ()> + 'static,
        replaced: impl Future<Output = ()> + 'static,
    ) -> std::io::Result<()> {
        let handle: ServerHandle = self.server.handle();
        start_background(&server)?;
        let reloader = actix_rt::spawn(look_at_certificate(self.reload()));
        let metrics = self.metrics.map(|server| (server.handle(), actix_rt::spawn(server)));
        // Kept open, they would let the system accept connections that nobody serves.
        drop(self.open);
        let (drained, offered) = (server.clone(), self.offered);
        actix_rt::spawn(async move {
            if let Either::Right(_) = select(pin!(stop), pin!(replaced)).await {
                log::info!("another process serves now; this one finishes what it has begun");
                handle.pause().await;
                drained.drain().await;
            }
            offered.withdraw();
            handle.stop(true).await;
        });
        let result = self.server.await;
        reloader.abort();
        if let Some((handle, serving)) = metrics {
            handle.stop(false).await;
            serving.abort();
        }
        server.stop().await;
        result
    }
}

/// Reads the certificate again when it has changed.
async fn look_at_certificate(reload: Reload) {
    loop {
        actix_rt::time::sleep(LOOK_AT_TLS_EVERY).await;
        reload.certificate();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}
