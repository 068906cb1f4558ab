//! Users in memory.

use std::sync::Arc;

use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::guard::{CachedUser, Unavailable, User, UserSource};
use crate::log_limit::LogLimit;
use crate::server::model::UserRecord;
use crate::server::store::{Store, StoreError};
use crate::token::Claims;

/// The most users in memory; the least used are dropped first.
const MAX_USERS: usize = 100_000;

static UNREAD: LogLimit = LogLimit::new("a user cannot be read");

/// A cached lookup: the user, or `None` if they are gone or disabled.
type Cached = Option<Arc<User>>;

/// The users that were looked up recently.
pub(crate) struct UserCache {
    store: Store,
    users: Cache<Uuid, Cached>,
}

impl UserCache {
    pub(super) fn new(store: Store) -> Self {
        Self { store, users: Cache::new(MAX_USERS) }
    }

    pub(super) fn forget(&self, id: Uuid) {
        self.users.remove(&id);
    }

    pub(super) fn forget_all(&self) {
        self.users.clear();
    }

    /// Returns how many users were found in memory, and how many not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.users.hits(), self.users.misses())
    }

    async fn read(&self, id: Uuid) -> Result<Cached, StoreError> {
        let user = self.store.read(async |connection| connection.user(id).await).await?;
        Ok(user.filter(UserRecord::is_enabled).map(|user| Arc::new(user.into())))
    }
}

/// The users of the database, from memory if they were looked up recently.
impl UserSource for Arc<UserCache> {
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
            UNREAD.log(log::Level::Error, &error);
            Unavailable
        })
    }
}

impl std::fmt::Debug for UserCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserCache").field("users", &self.users.len()).finish_non_exhaustive()
    }
}
