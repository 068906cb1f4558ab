//! A delay: which counter causes it, how metrics name it, and the error for the client.

use chrono::Duration;

use crate::server::error::Error;
use crate::server::model::CounterKey;

/// The bits of an HMAC that identify a counter among those of its kind. The bits above them are the kind.
pub(super) const BITS: u32 = 24;

/// The reasons for a delay, as metrics name them: the kinds of counters in their order, and the places in flight.
pub(super) const REASONS: &[&str] = &[
    "account",
    "known_address",
    "address",
    "registration",
    "refresh_address",
    "session",
    "write",
    "estimate",
    "site",
    "mail",
    "recipient",
    "passkey",
    "in_flight",
];

/// A counter that delays an attempt, and for how long.
pub(super) struct Delay {
    pub(super) key: CounterKey,
    pub(super) wait: Duration,
}

/// Names the reason for a delay by this counter.
pub(super) fn reason(key: CounterKey) -> &'static str {
    let kind = usize::try_from(key.0 >> BITS).unwrap_or_default();
    kind.checked_sub(1).and_then(|place| REASONS.get(place)).copied().unwrap_or("in_flight")
}

/// Returns the error for a client that must wait: in whole seconds, rounded up, so that waiting once is enough.
pub(super) fn too_many(wait: Duration) -> Error {
    let secs = u64::try_from((wait.num_milliseconds() + 999) / 1000).unwrap_or(1);
    Error::TooManyAttempts { retry_after_secs: secs.max(1) }
}
