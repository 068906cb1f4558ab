//! The memory of a running server: users, ended sessions, signing keys. Every write notes its changes in the database.
//! [`State::sync_changes`] reads these notes and applies each of them. The server that wrote calls it before it
//! answers, so its next request sees the change. Every server also calls it twice a second, so the others see it within
//! 2 s.

mod key_source;
mod last_seen;
mod revocations;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;
use uuid::Uuid;

pub(crate) use key_source::ServerKeys;
pub(crate) use users::UserCache;

use super::keys::{Follower, KeysError, SigningKeys};
use super::model::{CLOCK_STEP, Change};
use super::store::{Position, Store, StoreError, TIMEOUT};
use crate::clock::Clock;
use crate::guard::Refusal;
use crate::token::Claims;
use last_seen::LastSeen;
use revocations::Revocations;

/// The time between two syncs.
pub(crate) const SYNC_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// A running server's memory.
pub(crate) struct State {
    store: Store,
    clock: Clock,
    keys: Arc<SigningKeys>,
    follower: Follower,
    users: Arc<UserCache>,
    revocations: Revocations,
    last_seen: LastSeen,
    stale_after: Duration,
    leeway: Duration,
    feed: Mutex<Feed>,
    /// The number of syncs that have begun.
    begun: AtomicU64,
    /// The time of the last sync, in the clock's ticks.
    synced_at: AtomicI64,
    /// The number of syncs that have changed something.
    changes: AtomicU64,
}

/// The position in the feed of changes. It is locked while changes are read and applied.
struct Feed {
    position: Position,
    /// The number of the last sync that succeeded.
    succeeded: u64,
}

impl State {
    /// Loads the state at the start. `position` must have been read before `keys`, so that no change of the keys is
    /// missed.
    ///
    /// `stale_after` is how long the state may be used while the database cannot be read; `leeway` is how long a token
    /// may be accepted after its expiry.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub(crate) async fn load(
        store: Store,
        clock: Clock,
        position: Position,
        keys: Arc<SigningKeys>,
        stale_after: Duration,
        leeway: Duration,
    ) -> Result<Self, StoreError> {
        let state = Self {
            users: Arc::new(UserCache::new(store.clone())),
            revocations: Revocations::default(),
            last_seen: LastSeen::new(),
            feed: Mutex::new(Feed { position, succeeded: 0 }),
            begun: AtomicU64::new(0),
            synced_at: AtomicI64::new(clock.ticks()),
            changes: AtomicU64::new(0),
            store,
            clock,
            follower: Follower::new(Arc::clone(keys.vault())),
            keys,
            stale_after,
            leeway,
        };
        state.load_keys().await?;
        state.load_revocations().await?;
        Ok(state)
    }

    /// Applies all changes committed before this call.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read within [`TIMEOUT`]; the state stays as it is.
    pub(crate) async fn sync_changes(&self) -> Result<(), StoreError> {
        // The wait for another sync counts too.
        tokio::time::timeout(TIMEOUT, self.sync())
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("changes cannot be read within 5 s".into())))
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut feed = self.feed.lock().await;
        if feed.succeeded > begun {
            // Another sync began after this call and has read everything that this one would read.
            return Ok(());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let asked_at = self.clock.ticks();
        let position = feed.position.clone();
        let new = self.store.read(async |connection| connection.changes_since(&position).await).await?;
        let changes_something = new.changes.as_ref().is_none_or(|changes| !changes.is_empty());
        match new.changes {
            Some(changes) => {
                if changes.contains(&Change::Keys) || self.follower.is_waiting() {
                    self.load_keys().await?;
                }
                for change in changes {
                    match change {
                        // This also discards the result of a read that is in progress.
                        Change::User(id) => self.users.forget(id),
                        Change::Session(id) => self.revocations.add(id, self.clock.now() + self.leeway),
                        Change::Keys => {}
                    }
                }
            }
            None => {
                self.load_keys().await?;
                self.load_revocations().await?;
                self.users.forget_all();
            }
        }
        if changes_something {
            // Last: a decision that is made meanwhile may rest on what was there before, and is remembered as such.
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
        feed.position = new.position;
        feed.succeeded = number;
        self.synced_at.store(asked_at, Ordering::SeqCst);
        Ok(())
    }

    async fn load_keys(&self) -> Result<(), StoreError> {
        match self.follower.follow(&self.store, self.clock.now()).await {
            Ok(()) => {}
            Err(KeysError::Store(error)) => return Err(error),
            Err(error) => log::error!("{error}"),
        }
        let keys = self.store.read(async |connection| connection.signing_keys().await).await?;
        self.keys.replace(&keys);
        Ok(())
    }

    async fn load_revocations(&self) -> Result<(), StoreError> {
        let since = self.clock.now() - self.leeway - CLOCK_STEP;
        let ended = self.store.read(async |connection| connection.ended_sessions(since).await).await?;
        self.revocations.replace(ended);
        Ok(())
    }

    /// Checks that the session of verified claims has not ended, and notes its use. Does not wait.
    ///
    /// # Errors
    /// [`Refusal::TokenRevoked`] when the session has ended; [`Refusal::Unavailable`] when the last sync is older than
    /// `stale_after`.
    pub(crate) fn check_claims(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.is_stale(self.clock.ticks()) {
            return Err(Refusal::Unavailable);
        }
        // Every token of this server names its session. A token without one could not be revoked.
        let session = session_of(claims).ok_or(Refusal::TokenRevoked)?;
        if self.revocations.contains(session) {
            return Err(Refusal::TokenRevoked);
        }
        self.last_seen.note(session, self.clock.now());
        Ok(())
    }

    /// Returns the time since this server last read all changes of the others.
    pub(crate) fn age(&self) -> Duration {
        Duration::milliseconds(self.clock.ticks() - self.synced_at.load(Ordering::SeqCst))
    }

    fn is_stale(&self, ticks: i64) -> bool {
        ticks - self.synced_at.load(Ordering::SeqCst) > self.stale_after.num_milliseconds()
    }

    /// Returns the version of the keys, the users and the ended sessions, for the guard to remember its decisions by;
    /// `None` when the last sync is older than `stale_after`.
    ///
    /// Each second has another, in which the first request of a session notes its use.
    pub(crate) fn version(&self) -> Option<u64> {
        let ticks = self.clock.ticks();
        if self.is_stale(ticks) {
            return None;
        }
        let second = ticks.div_euclid(1_000).cast_unsigned() & u64::from(u32::MAX);
        Some(self.changes.load(Ordering::SeqCst) << 32 | second)
    }

    /// Returns the users in memory.
    pub(crate) fn users(&self) -> &Arc<UserCache> {
        &self.users
    }

    /// Returns the time of the session's last use at this server.
    pub(crate) fn last_seen(&self, session: Uuid) -> Option<DateTime<Utc>> {
        self.last_seen.get(session)
    }

    /// Writes the last uses of sessions to the database.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written. The uses are dropped then; the next use is noted
    /// again.
    pub(crate) async fn write_last_seen(&self) -> Result<(), StoreError> {
        let uses = self.last_seen.take_unwritten();
        if uses.is_empty() {
            return Ok(());
        }
        self.store.write(async |tx| tx.set_last_seen(&uses).await).await
    }

    /// Forgets ended sessions whose tokens have expired.
    pub(crate) fn forget_expired(&self) {
        self.revocations.forget_expired(self.clock.now());
    }
}

/// Returns the session that the claims name.
pub(crate) fn session_of(claims: &Claims) -> Option<Uuid> {
    claims.sid.as_deref().and_then(|sid| Uuid::try_parse(sid).ok())
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("stale_after", &self.stale_after).finish_non_exhaustive()
    }
}
