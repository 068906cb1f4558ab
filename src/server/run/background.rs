//! The tasks of a server that serves: they follow the changes of other processes, delete what has expired, rotate keys
//! by age, write the words by which users are found, seal password hashes, and send mails.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{join5, select};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::tasks::Tasks;
use crate::log_limit::log_left_out;
use crate::server::AuthServer;
use crate::server::auth_server::WeakServer;
use crate::server::keys::PasswordHashes;
use crate::server::mail::Mailer;
use crate::server::state::SYNC_EVERY;
use crate::server::store::{Store, StoreError};

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

/// Starts the tasks, and gives them to the server, which ends them with itself.
///
/// # Errors
/// The system's error if there can be no further thread.
pub(in crate::server) fn start_background(server: &AuthServer) -> std::io::Result<()> {
    let (weak, mailer) = (server.downgrade(), server.mailer().cloned());
    let longest = server.settings().mail.timeout;
    server.keep(Tasks::start(move |stopped| Box::pin(all(weak, mailer, longest, stopped)))?);
    Ok(())
}

/// Runs the tasks until `stopped`. A mail that is being sent then is waited for, for at most the `longest` time that one
/// takes: otherwise it would be sent a second time after the next start.
async fn all(weak: WeakServer, mailer: Option<Mailer>, longest: Duration, stopped: oneshot::Receiver<()>) {
    let asked = join5(
        follow(weak.clone()),
        watch(weak.clone()),
        clean_up(weak.clone()),
        index(weak.clone()),
        seal(weak),
    );
    let asked = async {
        select(pin!(asked), stopped).await;
    };
    let Some(mailer) = mailer else {
        asked.await;
        return;
    };
    let (over, is_over) = watch::channel(false);
    let rest = async {
        asked.await;
        over.send_replace(true);
        log::debug!("no further mail is begun; those that are being sent are finished");
        tokio::time::sleep(longest).await;
    };
    select(pin!(send_mails(&mailer, is_over)), pin!(rest)).await;
}

/// Applies the changes of other processes in the same database: twice a second, and on each notification.
async fn follow(weak: WeakServer) {
    let mut is_disconnected = false;
    loop {
        let Some(store) = weak.upgrade().map(|server| server.store().clone()) else { return };
        // Without a notification the time runs out, which is the usual case.
        let _ = tokio::time::timeout(SYNC_EVERY, store.notified()).await;
        log_left_out();
        let Some(server) = weak.upgrade() else { return };
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
async fn watch(weak: WeakServer) {
    let Some(mut before) = weak.upgrade().map(|server| (Instant::now(), server.clock().now())) else {
        return;
    };
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let Some(server) = weak.upgrade() else { return };
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
async fn index(weak: WeakServer) {
    loop {
        tokio::time::sleep(INDEX_EVERY).await;
        let Some(server) = weak.upgrade() else { return };
        if let Err(error) = server.directory().index(INDEX_BATCHES).await {
            log::debug!("the words of users are not written: {error}");
        }
    }
}

/// Sends the mails that are due, until it `is_over`. Then no further one is begun.
async fn send_mails(mailer: &Mailer, mut is_over: watch::Receiver<bool>) {
    let mut looks = 0;
    loop {
        if tokio::time::timeout(SEND_EVERY, is_over.wait_for(|is_over| *is_over)).await.is_ok() {
            return;
        }
        let mut outcome = mailer.send_due_while(|| !*is_over.borrow()).await.map(|_| ());
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
async fn seal(weak: WeakServer) {
    // The last server may have stopped before it erased the log.
    let mut is_log_to_erase = true;
    loop {
        let Some(server) = weak.upgrade() else { return };
        let (store, hashes) = (server.store().clone(), server.hashes().clone());
        drop(server);
        let sealed = seal_all(&store, &hashes).await.unwrap_or_else(|error| {
            log::debug!("password hashes are not sealed: {error}");
            true
        });
        is_log_to_erase |= sealed;
        if is_log_to_erase {
            match store.erase_log().await {
                Ok(is_erased) => is_log_to_erase = !is_erased,
                Err(error) => log::debug!("the database's log is not erased: {error}"),
            }
        }
        tokio::time::sleep(SEAL_EVERY).await;
    }
}

/// Seals all that is there, and returns whether there was any. After each transaction it waits for as long as that took,
/// so that other writers are never held up for longer than by one.
async fn seal_all(store: &Store, hashes: &PasswordHashes) -> Result<bool, StoreError> {
    let mut after = Uuid::nil();
    loop {
        let began = Instant::now();
        match hashes.seal_stored(store, after).await? {
            Some(last) => after = last,
            None => return Ok(!after.is_nil()),
        }
        tokio::time::sleep(began.elapsed()).await;
    }
}

async fn clean_up(weak: WeakServer) {
    loop {
        tokio::time::sleep(CLEAN_UP_EVERY).await;
        let Some(server) = weak.upgrade() else { return };
        if let Err(error) = server.delete_expired().await {
            log::warn!("expired rows are not deleted: {error}");
        }
        if let Err(error) = server.rotate_by_age().await {
            log::error!("the signing key is not rotated: {error}");
        }
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
