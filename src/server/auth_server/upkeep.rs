//! What a server does beside requests: it follows changes, deletes what has expired, rotates keys, seals hashes, and stops.

use std::sync::PoisonError;

use uuid::Uuid;

use super::{AuthServer, Inner};
use crate::log_limit::log_all_left_out;
use crate::server::config::seconds;
use crate::server::keys::{KeysError, rotation};
use crate::server::model::Retention;
use crate::server::store::StoreError;

impl AuthServer {
    /// Ends the background tasks, writes what is only in memory, and closes the database. Call it after the HTTP
    /// server has stopped: requests that come later get a 503.
    ///
    /// If the last clone of the server is dropped without it, the tasks end too; only the last uses of sessions, as
    /// the list of sessions shows them, are lost.
    pub async fn stop(&self) {
        let tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let still_running = match tasks {
            Some(tasks) => Some(tasks.stop().await),
            None => None,
        };
        // A failure to write is logged, and the stop goes on.
        if let Err(error) = self.inner.state.write_last_seen().await {
            log::warn!("the last uses of sessions were not written: {error}");
        }
        self.inner.store.close().await;
        drop(still_running);
        log_all_left_out();
    }

    /// Applies all changes committed before this call.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn sync_changes(&self) -> Result<(), StoreError> {
        self.inner.state.sync_changes().await
    }

    /// Deletes what has expired, in memory and in the database, and writes the last uses of sessions.
    ///
    /// # Errors
    /// [`KeysError`] when the database cannot be used or a key does not unseal.
    #[doc(hidden)]
    pub async fn delete_expired(&self) -> Result<(), KeysError> {
        let Inner { state, store, vault, settings, lifetimes, clock, .. } = &*self.inner;
        state.forget_expired();
        state.write_last_seen().await?;
        let retention = Retention {
            sessions: *lifetimes,
            leeway: seconds(settings.token.leeway),
            events: seconds(settings.events.keep),
        };
        let now = clock.now();
        store.delete_expired(now, &retention).await?;
        store.merge_event_counts(now).await?;
        rotation::remove_expired(store, vault, now, retention.leeway).await
    }

    /// Makes a new signing key if the newest is older than `key.rotate_every_days`. If several servers try, one key is
    /// made.
    ///
    /// # Errors
    /// [`KeysError`]; see [`rotation::plan`].
    #[doc(hidden)]
    pub async fn rotate_by_age(&self) -> Result<(), KeysError> {
        let Inner { settings, store, vault, clock, .. } = &*self.inner;
        rotation::rotate_by_age(store, vault, settings, clock).await
    }

    /// Seals some of the password hashes that commands have written, in one transaction: those of the users after `after`.
    /// Returns the last of these users, to go on from; `None` where there was none.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    #[doc(hidden)]
    pub async fn seal_hashes(&self, after: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.inner.hashes.seal_stored(&self.inner.store, after).await
    }
}
