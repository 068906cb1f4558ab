//! Plain values that every part of the server may name: users, sessions, keys, events and counters as the database
//! keeps them. No rules, no SQL, no HTTP.

mod attempt;
mod change;
mod client;
mod event;
mod key;
mod session;
mod user;

pub use attempt::{AttemptCounter, CounterKey, KnownAddress};
pub use change::Change;
pub use client::Client;
pub use event::{Event, EventFilter, EventKind, RecordedEvent};
pub use key::{KdfParams, SealedInstallation, SealedKey, StoredKey};
pub use session::{Digest, NewSession, Retention, Rotation};
pub use session::{Lifetimes, Session};
pub use user::UserRecord;

/// How far a clock may step back. Whatever has expired is kept this much longer, so that no revoked token becomes valid
/// again.
pub const CLOCK_STEP: chrono::Duration = chrono::Duration::hours(1);
