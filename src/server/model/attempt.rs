//! Counters of the rate limits.

use chrono::{DateTime, Utc};

/// The key of a counter in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(pub(in crate::server) i64);

/// The HMAC of an account and a client address from which a sign-in to it succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownAddress(pub(in crate::server) [u8; 32]);

#[cfg(feature = "testing")]
impl CounterKey {
    /// Returns a key that a test chooses.
    pub fn for_tests(place: i64) -> Self {
        Self(place)
    }
}

#[cfg(feature = "testing")]
impl KnownAddress {
    /// Returns an HMAC that a test chooses.
    pub fn for_tests(mac: [u8; 32]) -> Self {
        Self(mac)
    }
}

/// A counter of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptCounter {
    /// Failed attempts not yet cleared by a success.
    pub failures: u32,
    /// The time of the last attempt.
    pub last_at: DateTime<Utc>,
    /// The start of the window that `in_window` counts.
    pub window_began: DateTime<Utc>,
    /// The attempts since then.
    pub in_window: u32,
}

impl Default for AttemptCounter {
    fn default() -> Self {
        let never = DateTime::UNIX_EPOCH;
        Self { failures: 0, last_at: never, window_began: never, in_window: 0 }
    }
}
