//! The signing keys for the guard, and a sync when a token names a key that this server does not have.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::State;
use crate::guard::{KeyRefresh, KeySource, Refusal, Unavailable};
use crate::log_limit::LogLimit;
use crate::server::keys::SigningKeys;
use crate::token::Keyring;

/// The shortest time between two syncs for unknown keys. Anybody can send a token that names an unknown key.
const SYNC_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

static UNREAD: LogLimit =
    LogLimit::new("a token names an unknown key, and the database cannot be read for it");

/// How long a sync may take: less than the middleware waits, so that the answer depends on its outcome.
const TIMEOUT: std::time::Duration = std::time::Duration::from_millis(1_500);

/// The keys of a running server, for its guard.
pub(crate) struct ServerKeys {
    state: Arc<State>,
    keys: Arc<SigningKeys>,
    /// Locked during a sync for unknown keys.
    syncs: Mutex<Syncs>,
}

/// Syncs for unknown keys.
#[derive(Default)]
struct Syncs {
    /// The start of the last one.
    last: Option<Instant>,
    /// The start and the outcome of the last one that ended.
    ended: Option<(Instant, Result<(), Unavailable>)>,
}

impl ServerKeys {
    pub(in crate::server) fn new(state: Arc<State>, keys: Arc<SigningKeys>) -> Self {
        Self { state, keys, syncs: Mutex::default() }
    }

    /// Syncs with the database, for a token that names an unknown key.
    ///
    /// # Errors
    /// [`Unavailable`] when the database does not answer in time.
    pub(crate) async fn sync(&self) -> Result<(), Unavailable> {
        tokio::time::timeout(TIMEOUT, self.sync_in_turn()).await.unwrap_or(Err(Unavailable))
    }

    /// Callers during a sync wait for the next one and share its outcome. A sync that was cancelled has no outcome to
    /// share.
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
            UNREAD.log(log::Level::Warn, &error);
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
