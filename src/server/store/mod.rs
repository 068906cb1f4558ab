//! All that is asked of the database. This file says what; one file a database says how.
//!
//! Every write that running servers must hear of leaves a row in `changes`, in the same transaction; see
//! [`standing`](super::standing).

mod sqlite;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::events::{Client, Event};
use super::vault::SealedKey;
pub use sqlite::Store;

/// How long the database may take for one question before it counts as not answering.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// How far a clock may step back: what has expired is kept so much longer, so that no dead token revives.
pub const CLOCK_STEP: chrono::Duration = chrono::Duration::hours(1);

/// What can go wrong between us and the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It did not answer in time, is locked, or cannot write.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// The one rule that a client can break: an e-mail belongs to one user.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// A newer binary has been here.
    #[error(
        "the database has schema {found}, and this hallpass knows schemas up to {known}; run the hallpass that made it, or a newer one"
    )]
    NewerSchema {
        /// The schema in the database.
        found: i64,
        /// The newest this binary knows.
        known: i64,
    },
    /// Not a database of ours, or a fault of ours.
    #[error("the database refused: {0}")]
    Failed(String),
}

/// A user as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The stable id.
    pub id: Uuid,
    /// Trimmed and in lower case.
    pub email: String,
    /// The name to show.
    pub name: Option<String>,
    /// Sorted.
    pub roles: Vec<String>,
    /// The stored hash; `None` cannot sign in by password.
    pub password_hash: Option<String>,
    /// When the user was disabled, if so.
    pub disabled_at: Option<DateTime<Utc>>,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
    /// The last successful sign-in.
    pub last_login_at: Option<DateTime<Utc>>,
}

/// A session about to begin.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The token's `sid`.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The hash that the password was checked against: the session begins only if it still stands.
    pub password_hash: String,
    /// Now.
    pub at: DateTime<Utc>,
    /// When its first access token expires.
    pub token_until: DateTime<Utc>,
    /// The digest of its first refresh token.
    pub refresh_digest: Digest,
    /// Whether its refresh tokens travel in the cookie alone.
    pub by_cookie: bool,
    /// Who signs in.
    pub client: Client,
}

/// A password about to change, and the session that goes on with the new one.
#[derive(Debug)]
pub struct PasswordChange<'a> {
    /// The hash that the current password was checked against: the change is made only if it still stands.
    pub old_hash: Option<&'a str>,
    /// The new password's hash.
    pub new_hash: &'a str,
    /// The only session that lives on; its `password_hash` is the new one.
    pub session: &'a NewSession,
}

/// SHA-256 of a refresh token.
pub type Digest = [u8; 32];

/// How long a session may go on.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Without a refresh.
    pub idle: chrono::Duration,
    /// In all.
    pub absolute: chrono::Duration,
    /// How long after its first use a refresh token still gets its successor.
    pub grace: chrono::Duration,
}

/// How long things are kept that are of no use any more.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Sessions, beyond which only ended ones stay until their last token has expired.
    pub sessions: Lifetimes,
    /// How long after its expiry a token may still be accepted.
    pub leeway: chrono::Duration,
    /// Events.
    pub events: chrono::Duration,
}

/// A refresh token, presented.
#[derive(Debug)]
pub struct Presented {
    /// The session that it names.
    pub session: Uuid,
    /// Its digest.
    pub digest: Digest,
    /// The successor's, if it is the first time.
    pub successor: Digest,
    /// What that successor was made with.
    pub salt: [u8; 32],
    /// Whether it came in the cookie.
    pub by_cookie: bool,
    /// Now.
    pub at: DateTime<Utc>,
    /// When the access token expires that is handed out with the successor.
    pub token_until: DateTime<Utc>,
    /// Who presents it.
    pub client: Client,
}

/// What becomes of a refresh token that was presented.
#[derive(Debug)]
pub enum Rotation {
    /// It has a successor, made with `salt`: the one presented, or that of its first use.
    Successor {
        /// Whose session it is.
        user: Box<UserRow>,
        /// What the successor is made with.
        salt: [u8; 32],
        /// When the session ends, unless it is refreshed.
        expires_at: DateTime<Utc>,
    },
    /// It had been used before, and too long ago: its session has ended now.
    Theft,
    /// Its session has ended or never was, or its tokens travel another way. Nothing was written.
    Refused,
}

/// A session as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The token's `sid`.
    pub id: Uuid,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was last seen in use, or a minute before.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends, unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// Who signed in or refreshed it last.
    pub client: Client,
}

/// A signing key as stored, and how long its tokens may live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key, sealed.
    pub sealed: SealedKey,
    /// The longest lifetime of a token that it may have signed.
    pub token_lifetime: chrono::Duration,
}

/// A signing key to be stored.
#[derive(Debug)]
pub struct KeyAddition {
    /// Keys that get other dates with it, sealed anew.
    pub redated: Vec<SealedKey>,
    /// The new key.
    pub added: SealedKey,
    /// What is recorded of it.
    pub event: Event,
}

/// An event as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the order of all.
    pub number: i64,
    /// What happened.
    pub event: Event,
    /// The user's address today; none for one who is deleted.
    pub email: Option<String>,
}

/// Something that running servers must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The user's row changed or went.
    User(Uuid),
    /// The session ended; none of its tokens is good any more.
    Session(Uuid),
    /// Signing keys came or went.
    Keys,
}

/// Which changes a reader has seen.
pub type Seq = i64;
