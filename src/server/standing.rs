//! What a server knows in memory of users, ended sessions and keys, and how it hears of changes.
//!
//! One way in: each write leaves its changes in the database, and [`Standing::catch_up`] reads and applies
//! them. The server that wrote calls it before it answers, so its next request sees the change; every
//! server calls it twice a second besides, so that the others see it within 2 s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Duration, Utc};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::store::{CLOCK_STEP, Change, PATIENCE, Seq, Store, StoreError, UserRow};
use crate::clock::Clock;
use crate::guard::{CachedUser, Refusal, Unavailable, User, UserSource};
use crate::token::Claims;

/// How often a server asks what has changed.
pub const POLL: std::time::Duration = std::time::Duration::from_millis(500);

/// Users kept in memory at most; the least used go first.
const USERS_KEPT: usize = 100_000;

/// How often a session's use is noted at most.
const SEEN_EVERY: Duration = Duration::minutes(1);

/// Sessions whose last use is kept in memory at most; the least used go first.
const SESSIONS_KEPT: usize = 100_000;

/// What is known of a user: a user who can be let in, or none.
type Known = Option<Arc<User>>;

/// A server's knowledge.
pub struct Standing {
    store: Store,
    clock: Clock,
    stale_after: Duration,
    leeway: Duration,
    users: Cache<Uuid, Known>,
    /// Sessions whose tokens are dead, and until when that matters.
    ended: RwLock<HashMap<Uuid, DateTime<Utc>>>,
    /// When sessions were last noted to be in use, milliseconds since 1970.
    noted: Cache<Uuid, Arc<AtomicI64>>,
    /// Of those, what the database has not been told.
    unwritten: std::sync::Mutex<HashMap<Uuid, DateTime<Utc>>>,
    /// The last change applied; held while more are.
    seen: Mutex<Seq>,
    /// When the database last told what has changed, in the clock's ticks.
    heard: AtomicI64,
    /// How often signing keys came or went.
    key_changes: AtomicU64,
}

impl Standing {
    /// Learns from `store` what must be known before the first request.
    ///
    /// `stale_after` is how long that knowledge serves while the database cannot be asked, and `leeway`
    /// how long after its expiry a token may still be accepted.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn learn(
        store: Store,
        clock: Clock,
        stale_after: Duration,
        leeway: Duration,
    ) -> Result<Self, StoreError> {
        let standing = Self {
            seen: Mutex::new(0),
            heard: AtomicI64::new(clock.ticks()),
            key_changes: AtomicU64::new(0),
            users: Cache::new(USERS_KEPT),
            ended: RwLock::default(),
            noted: Cache::new(SESSIONS_KEPT),
            unwritten: std::sync::Mutex::default(),
            store,
            clock,
            stale_after,
            leeway,
        };
        let mut seen = standing.seen.lock().await;
        *seen = standing.learn_anew().await?;
        drop(seen);
        Ok(standing)
    }

    /// Reads everything again. The number of the last change is read first: what changes meanwhile is
    /// then applied once too often rather than never.
    async fn learn_anew(&self) -> Result<Seq, StoreError> {
        let seen = self.store.last_change().await?;
        let ended = self.store.ended_sessions(self.clock.now() - self.leeway - CLOCK_STEP).await?;
        *self.ended.write().unwrap_or_else(PoisonError::into_inner) = ended.into_iter().collect();
        self.users.clear();
        Ok(seen)
    }

    /// Applies every change that was committed before the call.
    ///
    /// # Errors
    /// As [`StoreError`] lists; what was known stays known.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        // The wait for others who ask counts too.
        let heard = tokio::time::timeout(PATIENCE, self.hear()).await;
        heard.unwrap_or_else(|_| Err(StoreError::Unavailable("changes cannot be heard of within 5 s".into())))
    }

    /// How often signing keys came or went, as far as was heard: what they are by now is for others to read.
    pub fn key_changes(&self) -> u64 {
        self.key_changes.load(Ordering::SeqCst)
    }

    async fn hear(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        let asked_at = self.clock.ticks();
        let (last, changes) = self.store.changes_after(*seen).await?;
        let next = changes.first().map(|(first, _)| *first);
        if last == *seen || next == Some(*seen + 1) {
            for (seq, change) in changes {
                self.apply(change);
                *seen = seq;
            }
        } else {
            // Some were cleared away before they were read, as during a long sleep of the machine; or the database is
            // an earlier one, restored.
            *seen = self.learn_anew().await?;
            self.key_changes.fetch_add(1, Ordering::SeqCst);
        }
        self.heard.store(asked_at, Ordering::SeqCst);
        Ok(())
    }

    fn apply(&self, change: Change) {
        match change {
            Change::User(id) => {
                // Takes a read that is under way with it: its result is then not kept.
                self.users.remove(&id);
            }
            Change::Session(id) => {
                // No token of a session lives longer than a day from now; see the bounds of the settings.
                let until = self.clock.now() + Duration::days(1) + self.leeway + CLOCK_STEP;
                self.ended.write().unwrap_or_else(PoisonError::into_inner).insert(id, until);
            }
            Change::Keys => {
                self.key_changes.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Forgets sessions whose tokens have expired anyway.
    pub fn forget_expired(&self) {
        let now = self.clock.now();
        self.ended
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, until| *until + CLOCK_STEP > now);
    }

    /// Whether genuine claims are still good. Asked for every request, and never waits.
    ///
    /// # Errors
    /// [`Refusal::TokenRevoked`] when their session has ended, [`Refusal::Unavailable`] when that can no
    /// longer be known.
    pub fn still_good(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.clock.ticks() - self.heard.load(Ordering::SeqCst) > self.stale_after.num_milliseconds() {
            return Err(Refusal::Unavailable);
        }
        // Every token of ours names its session; one that does not could never be revoked.
        let session =
            claims.sid.as_deref().and_then(|sid| Uuid::try_parse(sid).ok()).ok_or(Refusal::TokenRevoked)?;
        if self.ended.read().unwrap_or_else(PoisonError::into_inner).contains_key(&session) {
            return Err(Refusal::TokenRevoked);
        }
        self.note_use(session);
        Ok(())
    }

    /// Notes that a session is in use: in memory, and at most once a minute.
    fn note_use(&self, session: Uuid) {
        let now = self.clock.now();
        let millis = now.timestamp_millis();
        match self.noted.get(&session) {
            Some(noted) => {
                let last = noted.load(Ordering::Relaxed);
                let is_due = millis - last >= SEEN_EVERY.num_milliseconds();
                // Of several requests at once, one notes it.
                if !is_due
                    || noted.compare_exchange(last, millis, Ordering::Relaxed, Ordering::Relaxed).is_err()
                {
                    return;
                }
            }
            None => self.noted.insert(session, Arc::new(AtomicI64::new(millis))),
        }
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).insert(session, now);
    }

    /// When the session was last noted to be in use, as far as memory reaches.
    pub fn last_seen(&self, session: Uuid) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.noted.get(&session)?.load(Ordering::Relaxed))
    }

    /// Writes to the database which sessions were in use since it was last told.
    ///
    /// # Errors
    /// As [`StoreError`] lists; what could not be written is forgotten, since the next use is noted again.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        match unwritten.is_empty() {
            true => Ok(()),
            false => self.store.seen(&unwritten.into_iter().collect::<Vec<_>>()).await,
        }
    }

    async fn read(&self, id: Uuid) -> Result<Known, StoreError> {
        let row = self.store.user(id).await?;
        Ok(row.filter(|row| row.disabled_at.is_none()).map(|row| Arc::new(row.into())))
    }
}

/// The store's users, those asked for lately from memory.
impl UserSource for Arc<Standing> {
    type User = User;

    fn cached(&self, claims: &Claims) -> CachedUser<User> {
        let Ok(id) = Uuid::try_parse(&claims.sub) else {
            return CachedUser::Gone;
        };
        match self.users.get(&id) {
            Some(Some(user)) => CachedUser::Found(user),
            Some(None) => CachedUser::Gone,
            None => CachedUser::NotCached,
        }
    }

    async fn find(&self, claims: &Claims) -> Result<Option<Arc<User>>, Unavailable> {
        let Ok(id) = Uuid::try_parse(&claims.sub) else {
            return Ok(None);
        };
        self.users.get_or_insert_async(&id, self.read(id)).await.map_err(|error| {
            log::error!("user {id} cannot be read: {error}");
            Unavailable
        })
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id.to_string(),
            email: row.email,
            name: row.name,
            roles: row.roles,
            created_at: Some(row.created_at),
            last_login_at: row.last_login_at,
        }
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing").field("stale_after", &self.stale_after).finish_non_exhaustive()
    }
}
