//! Bind, run, stop: a server on its own sockets, with its background tasks.
//!
//! | file | what it owns |
//! |---|---|
//! | `listener` | a socket, from a connection to the app |
//! | `gate` | how many connections there are |
//! | `connection` | the times that bound a connection |
//! | `sockets` | the sockets, opened or given |
//! | `tls` | the certificate, and its reload |
//! | `handover` | the takeover by another process |
//! | `redirect` | the socket for plain HTTP |

mod connection;
mod gate;
mod handover;
mod listener;
mod redirect;
mod sockets;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use futures_util::future::{Either, select};
use uuid::Uuid;

use super::AuthServer;
use super::http::routes::metrics;
use super::state::SYNC_EVERY;
use super::store::StoreError;
use crate::log_limit::{log_all_left_out, log_left_out};
use gate::Gate;
use handover::Offered;
pub use handover::{HandoverError, Taken};
use listener::{Terms, listen};
use redirect::Target;
use sockets::Socket;
pub use sockets::{BindError, Sockets};
use tls::Tls;
pub use tls::TlsError;

/// The time between two looks at the files of the certificate.
const LOOK_AT_TLS_EVERY: Duration = Duration::from_secs(5);

/// The time between two checks of the hashing queue.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// The least difference that counts as setting the clock. Time servers correct smaller ones without a step.
const LEAST_STEP: chrono::Duration = chrono::Duration::seconds(1);

/// The time between two deletions of expired rows.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(60);

/// The time between two looks for users whose words are to be written, and the most transactions after each.
const INDEX_EVERY: Duration = Duration::from_secs(1);
const INDEX_BATCHES: usize = 20;

/// The time between two looks for mails that are due, and the number of looks between two counts of those that wait.
const SEND_EVERY: Duration = Duration::from_secs(1);
const COUNT_EVERY: u32 = 10;

/// The time between two looks for password hashes that commands have written.
const SEAL_EVERY: Duration = Duration::from_secs(1);

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
        move || {
            let app = App::new().wrap(server.cors()).wrap(server.edge());
            let app = app.wrap(server.envelope()).wrap(server.measure());
            app.configure(server.configure()).configure(server.console())
        }
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
        let follower = actix_rt::spawn(follow(server.clone()));
        let watcher = actix_rt::spawn(watch(server.clone()));
        let cleaner = actix_rt::spawn(clean_up(server.clone()));
        let indexer = actix_rt::spawn(index(server.clone()));
        let reloader = actix_rt::spawn(look_at_certificate(self.reload()));
        let sealer = actix_rt::spawn(seal(server.clone()));
        let stopped = std::rc::Rc::new(tokio::sync::Notify::new());
        let sender = actix_rt::spawn(send_mails(server.clone(), std::rc::Rc::clone(&stopped)));
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
        follower.abort();
        watcher.abort();
        cleaner.abort();
        indexer.abort();
        reloader.abort();
        sealer.abort();
        // A mail that is being sent is not sent a second time after the next start.
        stopped.notify_one();
        let _ = tokio::time::timeout(server.settings().mail.timeout, sender).await;
        if let Some((handle, serving)) = metrics {
            handle.stop(false).await;
            serving.abort();
        }
        // A failure to write is logged, and the stop goes on.
        if let Err(error) = server.write_last_seen().await {
            log::warn!("the last uses of sessions were not written: {error}");
        }
        server.store().close().await;
        log_all_left_out();
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

/// Applies the changes of other processes in the same database: twice a second, and on each notification.
async fn follow(server: AuthServer) {
    let mut is_disconnected = false;
    loop {
        // Without a notification the time runs out, which is the usual case.
        let _ = tokio::time::timeout(SYNC_EVERY, server.store().notified()).await;
        log_left_out();
        match server.sync_changes().await {
            Ok(()) if is_disconnected => {
                log::info!("the database answers again");
                is_disconnected = false;
            }
            Ok(()) => {}
            // Logged once, not twice a second.
            Err(error) if !is_disconnected => {
                log::error!("changes cannot be read: {error}");
                is_disconnected = true;
            }
            // Otherwise a database that fails without delay would be asked without a pause.
            Err(_) => tokio::time::sleep(SYNC_EVERY).await,
        }
    }
}

/// Logs when passwords wait long for their hash, and when the system's clock was set.
async fn watch(server: AuthServer) {
    let mut before = (Instant::now(), server.clock().now());
    loop {
        actix_rt::time::sleep(WATCH_EVERY).await;
        let now = (Instant::now(), server.clock().now());
        if let Some(step) = clock_step(now.0 - before.0, now.1 - before.1) {
            server.count_clock_step();
            log::warn!("the system's clock was set by {} ms", step.num_milliseconds());
        }
        before = now;
        let load = server.hasher().load();
        if load.longest_wait > Duration::from_secs(1) {
            log::warn!(
                "{} passwords wait for their hash, the first for {} ms",
                load.waiting,
                load.longest_wait.as_millis()
            );
        }
    }
}

/// Returns by how much the system's clock was set while the time `elapsed` passed and the clock went on by `told`.
fn clock_step(elapsed: Duration, told: chrono::Duration) -> Option<chrono::Duration> {
    let step = told - chrono::Duration::from_std(elapsed).ok()?;
    (step.abs() > LEAST_STEP).then_some(step)
}

/// Writes the words by which users are found, of those that were added or changed by whatever means.
async fn index(server: AuthServer) {
    loop {
        actix_rt::time::sleep(INDEX_EVERY).await;
        if let Err(error) = server.directory().index(INDEX_BATCHES).await {
            log::debug!("the words of users are not written: {error}");
        }
    }
}

/// Sends the mails that are due, until it is `stopped`.
async fn send_mails(server: AuthServer, stopped: std::rc::Rc<tokio::sync::Notify>) {
    let Some(mailer) = server.mailer() else { return };
    let mut looks = 0;
    loop {
        if tokio::time::timeout(SEND_EVERY, stopped.notified()).await.is_ok() {
            return;
        }
        let mut outcome = mailer.send_due().await.map(|_| ());
        if looks % COUNT_EVERY == 0 && outcome.is_ok() {
            outcome = mailer.count_waiting().await.map_err(Into::into);
        }
        looks = looks.wrapping_add(1);
        if let Err(error) = outcome {
            log::debug!("mails are not sent: {error}");
        }
    }
}

/// Seals the password hashes that commands have written, and erases what the database's log still has of them.
async fn seal(server: AuthServer) {
    // The last server may have stopped before it erased the log.
    let mut is_log_to_erase = true;
    loop {
        let sealed = seal_all(&server).await.unwrap_or_else(|error| {
            log::debug!("password hashes are not sealed: {error}");
            true
        });
        is_log_to_erase |= sealed;
        if is_log_to_erase {
            match server.store().erase_log().await {
                Ok(is_erased) => is_log_to_erase = !is_erased,
                Err(error) => log::debug!("the database's log is not erased: {error}"),
            }
        }
        actix_rt::time::sleep(SEAL_EVERY).await;
    }
}

/// Seals all that is there, and returns whether there was any. After each transaction it waits for as long as that took, so
/// that other writers are never held up for longer than by one.
async fn seal_all(server: &AuthServer) -> Result<bool, StoreError> {
    let mut after = Uuid::nil();
    loop {
        let began = Instant::now();
        match server.seal_hashes(after).await? {
            Some(last) => after = last,
            None => return Ok(!after.is_nil()),
        }
        actix_rt::time::sleep(began.elapsed()).await;
    }
}

async fn clean_up(server: AuthServer) {
    loop {
        actix_rt::time::sleep(CLEAN_UP_EVERY).await;
        if let Err(error) = server.delete_expired().await {
            log::warn!("expired rows are not deleted: {error}");
        }
        if let Err(error) = server.rotate_by_age().await {
            log::error!("the signing key is not rotated: {error}");
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_drifts() {
        let minute = Duration::from_secs(60);
        let told = |seconds: f64| chrono::Duration::milliseconds((seconds * 1_000.0) as i64);
        assert_eq!(clock_step(minute, told(60.9)), None);
        assert_eq!(clock_step(minute, told(3_660.0)), Some(chrono::Duration::hours(1)));
        assert_eq!(clock_step(minute, told(-3_540.0)), Some(chrono::Duration::hours(-1)));
    }
}
