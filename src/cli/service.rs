//! The service manager: sockets that systemd has opened, and what it is told (sd_notify(3)). Without one, nothing happens.

use std::net::TcpListener;
use std::time::Duration;

use sd_notify::NotifyState;

use super::secret::TakeDescriptor;
use crate::server::Sockets;

/// Takes over the sockets that systemd has opened (sd_listen_fds(3)), by their names: `http`, `redirect`, `metrics`; one
/// without such a name is `http`. Must be called before the process has opened anything.
pub(super) fn sockets(take: TakeDescriptor) -> Sockets {
    let mut sockets = Sockets::default();
    let Ok(given) = sd_notify::listen_fds_with_names() else { return sockets };
    for (number, name) in given {
        let Ok(listener) = take(number).map(TcpListener::from) else { continue };
        let place = match name.as_str() {
            "redirect" => &mut sockets.redirect,
            "metrics" => &mut sockets.metrics,
            _ => &mut sockets.http,
        };
        *place = Some(listener);
    }
    sockets
}

/// Tells the service manager something. If it cannot be told, the log says so.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}

/// Tells that the server accepts connections, and which process it is: after a takeover it is another one.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// Tells that the server reads its settings again. [`ready`] ends that.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Tells that the server stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the watchdog, at half its interval, that the server lives, for as long as this is polled.
pub(super) async fn feed_watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    loop {
        tell(&[NotifyState::Watchdog]);
        actix_rt::time::sleep((interval / 2).max(Duration::from_millis(1))).await;
    }
}
