//! The signing keys as the guard asks for them, and a sync for the sake of a key that is not known here.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::State;
use crate::guard::{KeyRefresh, KeySource, Refusal, Unavailable};
use crate::server::keys::SigningKeys;
use crate::token::Keyring;

/// How long after a sync for the sake of unknown keys the next may begin. Strangers choose the keys that their tokens name.
const SYNC_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// How long a sync is waited for: less than the middleware waits, so that its outcome is told.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(1_500);

/// The keys of a running server, for its guard.
pub(crate) struct ServerKeys {
    state: Arc<State>,
    keys: Arc<SigningKeys>,
    /// Locked while a sync for the sake of unknown keys is under way.
    syncs: Mutex<Syncs>,
}

/// Syncs for the sake of unknown keys.
#[derive(Default)]
struct Syncs {
    /// The start of the last one, whatever its outcome.
    last: Option<Instant>,
    /// The start and the outcome of the last one that came to an end.
    ended: Option<(Instant, Result<(), Unavailable>)>,
}

impl ServerKeys {
    pub(in crate::server) fn new(state: Arc<State>, keys: Arc<SigningKeys>) -> Self {
        Self { state, keys, syncs: Mutex::default() }
    }

    /// Reads the keys that the database has, for a token that names a key that is not known here.
    ///
    /// # Errors
    /// [`Unavailable`] when the database does not answer in time.
    pub(crate) async fn sync(&self) -> Result<(), Unavailable> {
        tokio::time::timeout(PATIENCE, self.sync_in_turn()).await.unwrap_or(Err(Unavailable))
    }

    /// Callers during a sync wait for the next one and share it. One that was given up counts for nobody.
    async fn sync_in_turn(&self) -> Result<(), Unavailable> {
        let asked_at = Instant::now();
        let mut syncs = self.syncs.lock().await;
        match &syncs.ended {
            Some((began, outcome)) if *began >= asked_at => return *outcome,
            _ => {}
        }
        if let Some(last) = syncs.last {
            tokio::time::sleep_until(last + SYNC_EVERY).await;
        }
        let began = Instant::now();
        syncs.last = Some(began);
        let outcome = self.state.sync_changes().await.map_err(|error| {
            log::warn!("a token names an unknown key, and the database cannot be asked for it: {error}");
            Unavailable
        });
        syncs.ended = Some((began, outcome));
        outcome
    }
}

impl KeySource for Arc<ServerKeys> {
    fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        self.keys.keyring().ok_or(Refusal::Unavailable)
    }

    /// A key signs before every server has learnt of it where the keys before it were revoked.
    fn refresh(&self) -> Option<KeyRefresh> {
        let keys = Self::clone(self);
        Some(Box::pin(async move { keys.sync().await }))
    }
}

impl std::fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerKeys").field("keys", &self.keys).finish_non_exhaustive()
    }
}
