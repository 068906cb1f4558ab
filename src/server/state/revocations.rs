//! Ended sessions whose access tokens have not all expired.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::server::model::CLOCK_STEP;

/// The longest lifetime of an access token that the settings accept.
const MAX_TOKEN_LIFETIME: Duration = Duration::days(1);

/// Ended sessions, each with the expiry of its last access token.
#[derive(Debug, Default)]
pub(super) struct Revocations(RwLock<HashMap<Uuid, DateTime<Utc>>>);

impl Revocations {
    pub(super) fn contains(&self, session: Uuid) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(&session)
    }

    /// Adds a session that ended at `at` or before.
    pub(super) fn add(&self, session: Uuid, at: DateTime<Utc>) {
        let until = at + MAX_TOKEN_LIFETIME + CLOCK_STEP;
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(session, until);
    }

    pub(super) fn replace(&self, ended: Vec<(Uuid, DateTime<Utc>)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ended.into_iter().collect();
    }

    pub(super) fn forget_expired(&self, now: DateTime<Utc>) {
        let mut ended = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until + CLOCK_STEP > now);
    }
}
