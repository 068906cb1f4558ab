//! Bind, run, stop: a server on its own sockets, with its background tasks.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};

use super::AuthServer;
use super::http::routes::metrics;
use super::state::SYNC_EVERY;
use crate::log_limit::{log_all_left_out, log_left_out};

/// How long requests in flight may take to finish after the server was stopped.
const SHUTDOWN_SECS: u64 = 30;

/// The time between two checks of the hashing queue.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// The time between two deletions of expired rows.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(60);

/// The time between two looks for users whose words are to be written, and the most transactions after each.
const INDEX_EVERY: Duration = Duration::from_secs(1);
const INDEX_BATCHES: usize = 20;

/// The time between two looks for mails that are due, and the number of looks between two counts of those that wait.
const SEND_EVERY: Duration = Duration::from_secs(1);
const COUNT_EVERY: u32 = 10;

/// A server that has its socket and accepts connections once it is polled.
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    /// The address of the metrics, if they are on.
    pub metrics_address: Option<SocketAddr>,
    server: actix_web::dev::Server,
    metrics: Option<actix_web::dev::Server>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on: {cause}; choose another with {setting}")]
pub struct BindError {
    address: SocketAddr,
    setting: &'static str,
    cause: std::io::Error,
}

/// Binds the sockets of the settings. The server accepts connections once [`Running::until`] is polled.
///
/// # Errors
/// [`BindError`] names the address and the setting.
pub fn bind(server: &AuthServer) -> Result<Running, BindError> {
    let settings = &server.settings().server;
    let factory = {
        let server = server.clone();
        move || {
            let app = App::new().wrap(server.cors()).wrap(server.envelope());
            app.configure(server.configure()).configure(server.console())
        }
    };
    let http = HttpServer::new(factory)
        .workers(settings.workers)
        .shutdown_timeout(SHUTDOWN_SECS)
        .tcp_nodelay(true)
        // The signals are the caller's: see `Running::until`.
        .disable_signals()
        .bind(settings.bind)
        .map_err(|cause| BindError { address: settings.bind, setting: "--bind ADDR:PORT", cause })?;
    let address = http.addrs().first().copied().unwrap_or(settings.bind);
    let metrics = settings.metrics_bind.map(|bind| bind_metrics(server, bind)).transpose()?;
    let (metrics_address, metrics) = metrics.unzip();
    Ok(Running { address, metrics_address, server: http.run(), metrics })
}

/// Binds the socket of the metrics, which is a separate one so that a firewall can protect it.
fn bind_metrics(
    server: &AuthServer,
    bind: SocketAddr,
) -> Result<(SocketAddr, actix_web::dev::Server), BindError> {
    let factory = {
        let server = server.clone();
        move || {
            App::new().wrap(server.envelope()).service(metrics::resource(server.hasher(), server.mailer()))
        }
    };
    let http = HttpServer::new(factory)
        .workers(1)
        .disable_signals()
        .bind(bind)
        .map_err(|cause| BindError { address: bind, setting: "server.metrics_bind", cause })?;
    let address = http.addrs().first().copied().unwrap_or(bind);
    Ok((address, http.run()))
}

impl Running {
    /// Serves until `stop` completes; then finishes the requests in flight.
    ///
    /// # Errors
    /// The system's error when the server fails while running.
    pub async fn until(
        self,
        server: AuthServer,
        stop: impl Future<Output = ()> + 'static,
    ) -> std::io::Result<()> {
        let handle: ServerHandle = self.server.handle();
        let follower = actix_rt::spawn(follow(server.clone()));
        let watcher = actix_rt::spawn(watch(server.clone()));
        let cleaner = actix_rt::spawn(clean_up(server.clone()));
        let indexer = actix_rt::spawn(index(server.clone()));
        let stopped = std::rc::Rc::new(tokio::sync::Notify::new());
        let sender = actix_rt::spawn(send_mails(server.clone(), std::rc::Rc::clone(&stopped)));
        let metrics = self.metrics.map(|server| (server.handle(), actix_rt::spawn(server)));
        actix_rt::spawn(async move {
            stop.await;
            handle.stop(true).await;
        });
        let result = self.server.await;
        follower.abort();
        watcher.abort();
        cleaner.abort();
        indexer.abort();
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

/// Logs when passwords wait long for their hash.
async fn watch(server: AuthServer) {
    loop {
        actix_rt::time::sleep(WATCH_EVERY).await;
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
