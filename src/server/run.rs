//! Bind, run, stop: a desk on a socket of its own.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};

use super::routes::metrics;
use super::standing::POLL;
use super::{Desk, config::Settings};

/// How long requests in flight have to finish after a stop was asked for.
const SHUTDOWN_SECS: u64 = 30;

/// How often the hashing queue is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// How often what has expired is cleared away.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// A server that has its socket and accepts connections once it is polled.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it shows metrics, if it does.
    pub metrics_address: Option<SocketAddr>,
    server: actix_web::dev::Server,
    metrics: Option<actix_web::dev::Server>,
}

/// An address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on: {cause}; choose another with {setting}")]
pub struct BindError {
    address: SocketAddr,
    setting: &'static str,
    cause: std::io::Error,
}

/// Binds the sockets that the settings name and readies the server.
///
/// # Errors
/// [`BindError`] names the address and the setting.
pub fn bind(desk: &Desk) -> Result<Running, BindError> {
    let Settings { server, .. } = desk.settings();
    let factory = {
        let desk = desk.clone();
        move || {
            let app = App::new().wrap(desk.cors()).wrap(desk.envelope());
            app.configure(desk.configure()).configure(desk.console())
        }
    };
    let http = HttpServer::new(factory)
        .workers(server.workers)
        .shutdown_timeout(SHUTDOWN_SECS)
        .tcp_nodelay(true)
        // The signals are the caller's: see `Running::until`.
        .disable_signals()
        .bind(server.bind)
        .map_err(|cause| BindError { address: server.bind, setting: "--bind ADDR:PORT", cause })?;
    let address = http.addrs().first().copied().unwrap_or(server.bind);
    let metrics = server.metrics_bind.map(|bind| bind_metrics(desk, bind)).transpose()?;
    let (metrics_address, metrics) = metrics.unzip();
    Ok(Running { address, metrics_address, server: http.run(), metrics })
}

/// A socket of its own, so that a firewall can keep it to those who watch.
fn bind_metrics(desk: &Desk, bind: SocketAddr) -> Result<(SocketAddr, actix_web::dev::Server), BindError> {
    let factory = {
        let desk = desk.clone();
        move || App::new().wrap(desk.envelope()).service(metrics::resource(&desk))
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
    /// Serves until `stop` is done; then finishes the requests in flight.
    ///
    /// # Errors
    /// The system's error when the server fails while running.
    pub async fn until(self, desk: Desk, stop: impl Future<Output = ()> + 'static) -> std::io::Result<()> {
        let handle: ServerHandle = self.server.handle();
        let follower = actix_rt::spawn(follow(desk.clone()));
        let watcher = actix_rt::spawn(watch(desk.clone()));
        let tidier = actix_rt::spawn(tidy(desk.clone()));
        let metrics = self.metrics.map(|server| (server.handle(), actix_rt::spawn(server)));
        actix_rt::spawn(async move {
            stop.await;
            handle.stop(true).await;
        });
        let result = self.server.await;
        follower.abort();
        watcher.abort();
        tidier.abort();
        if let Some((handle, serving)) = metrics {
            handle.stop(false).await;
            serving.abort();
        }
        // What was in use is written once more; that it cannot be is no reason to fail now.
        if let Err(error) = desk.write_uses().await {
            log::warn!("what is known in memory was not written: {error}");
        }
        desk.store().close().await;
        result
    }
}

/// Hears of what other processes change on the same database.
async fn follow(desk: Desk) {
    let mut is_deaf = false;
    loop {
        actix_rt::time::sleep(POLL).await;
        match desk.catch_up().await {
            Ok(()) if is_deaf => {
                log::info!("the database answers again");
                is_deaf = false;
            }
            Ok(()) => {}
            // Once, not twice a second.
            Err(error) if !is_deaf => {
                log::error!("changes cannot be followed: {error}");
                is_deaf = true;
            }
            Err(_) => {}
        }
    }
}

/// Tells the log of passwords that wait long for their hash.
async fn watch(desk: Desk) {
    loop {
        actix_rt::time::sleep(WATCH_EVERY).await;
        let load = desk.hasher().load();
        if load.longest_wait > std::time::Duration::from_secs(1) {
            log::warn!(
                "{} passwords wait for their hash, the first for {} ms",
                load.waiting,
                load.longest_wait.as_millis()
            );
        }
    }
}

async fn tidy(desk: Desk) {
    loop {
        actix_rt::time::sleep(TIDY_EVERY).await;
        if let Err(error) = desk.tidy().await {
            log::warn!("what has expired is not cleared away: {error}");
        }
        if let Err(error) = desk.rotate_by_age().await {
            log::error!("the signing key is not rotated: {error}");
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}
