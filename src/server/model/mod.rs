//! Plain values that every module of the server may use: users, sessions, keys, events and counters as stored in the
//! database. No rules, no SQL, no HTTP.

mod attempt;
mod change;
mod client;
mod event;
mod key;
mod mail;
mod second_factor;
mod session;
mod user;

pub use attempt::{AttemptCounter, CounterKey, KnownAddress};
pub use change::Change;
pub use client::Client;
pub use event::{Event, EventFilter, EventKind, EventPage, RecordedEvent};
pub use key::{EarlierKey, Handover, KdfParams, SealedInstallation, SealedKey, StoredKey};
pub use mail::{MailDetails, MailKind, MailPurpose, MailToken, NewMail, SealedToken, WaitingMail};
pub use second_factor::{Passkey, SecondFactorAsked, SignInChallenge, StoredTotp};
pub use session::{Authentication, Digest, NewSession, Retention, Rotation};
pub use session::{Lifetimes, Session, SessionPlace};
pub use user::{SEALED_HASH, UserPage, UserRecord};

/// The longest step back of a clock that is expected. Expired rows are kept this much longer, so that no revoked token
/// becomes valid again.
pub(crate) const CLOCK_STEP: chrono::Duration = chrono::Duration::hours(1);
