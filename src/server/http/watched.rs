//! The state of this server that an admin sees beside the statistics, which are of the installation.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::abuse::RateLimiter;
use crate::server::credentials::Hasher;
use crate::server::keys::SigningKeys;
use crate::server::metrics::Counters;

/// The state of the server that answers. What it counts, it counts since its start.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct ServerFigures {
    /// Passwords that wait for their hash to begin.
    passwords_waiting: usize,
    /// Passwords that found no place in the queue.
    passwords_shed: u64,
    /// Requests that a rate limit delayed.
    delayed: u64,
    /// Keys whose tokens are accepted.
    signing_keys: usize,
    /// Seconds since the newest key began to sign.
    #[schema(required)]
    signing_key_age_s: Option<i64>,
}

/// The parts of the server whose state an admin sees.
#[derive(Debug, Clone)]
pub(in crate::server) struct Watched {
    pub hasher: Hasher,
    pub limiter: RateLimiter,
    pub keys: Arc<SigningKeys>,
}

impl Watched {
    pub(in crate::server::http) fn figures(&self, now: DateTime<Utc>) -> ServerFigures {
        let sum = |counters: &Counters| counters.values().map(|(_, count)| count).sum();
        let (signing_keys, newest) = self.keys.count_and_newest(now);
        ServerFigures {
            passwords_waiting: self.hasher.load().waiting,
            passwords_shed: sum(&self.hasher.counts().shed),
            delayed: sum(self.limiter.delayed()),
            signing_keys,
            signing_key_age_s: newest.map(|newest| (now - newest).num_seconds()),
        }
    }
}
