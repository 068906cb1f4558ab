//! Sessions and their refresh tokens, as stored in the database.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::Client;

/// SHA-256 of a refresh token.
pub type Digest = [u8; 32];

/// The last time that the user of a session proved who they are, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The time. A refresh does not change it.
    pub at: DateTime<Utc>,
    /// The methods (RFC 8176 §2), for example `pwd`.
    pub methods: Vec<String>,
}

/// A session about to begin.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The `sid` of its tokens.
    pub id: Uuid,
    /// The user's id.
    pub user_id: Uuid,
    /// The time at which it begins.
    pub at: DateTime<Utc>,
    /// The last time that the user proved who they are, and how.
    pub authentication: Authentication,
    /// The expiry of its first access token.
    pub token_until: DateTime<Utc>,
    /// The digest of its first refresh token.
    pub refresh_digest: Digest,
    /// The refresh tokens are sent only in the cookie.
    pub by_cookie: bool,
    /// The client that signed in.
    pub client: Client,
}

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its tokens.
    pub id: Uuid,
    /// The user's id; none if the user was deleted.
    pub user_id: Option<Uuid>,
    /// The time of the sign-in.
    pub created_at: DateTime<Utc>,
    /// The time of the last refresh.
    pub refreshed_at: DateTime<Utc>,
    /// The last use, as far as it is stored.
    pub last_seen_at: DateTime<Utc>,
    /// The refresh tokens are sent only in the cookie.
    pub by_cookie: bool,
    /// The digest of the refresh token that is valid now.
    pub refresh_digest: Digest,
    /// The client that signed in or refreshed last.
    pub client: Client,
    /// The last time that the user proved who they are, and how.
    pub authentication: Authentication,
    /// The time when it was ended, if it was.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Session {
    /// Returns the time from which it can no longer be refreshed.
    pub fn expires_at(&self, lifetimes: &Lifetimes) -> DateTime<Utc> {
        (self.created_at + lifetimes.absolute).min(self.refreshed_at + lifetimes.idle)
    }

    /// Returns true if it can be refreshed at `now`.
    pub(crate) fn is_alive(&self, lifetimes: &Lifetimes, now: DateTime<Utc>) -> bool {
        self.ended_at.is_none() && self.user_id.is_some() && now < self.expires_at(lifetimes)
    }
}

/// The first use of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The salt of its successor.
    pub salt: [u8; 32],
    /// The time of the first use.
    pub at: DateTime<Utc>,
}

/// The lifetimes of sessions.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The longest time without a refresh.
    pub idle: Duration,
    /// The longest time in total.
    pub absolute: Duration,
    /// How long after its first use a refresh token still gets the same successor.
    pub grace: Duration,
}

/// How long rows are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// The lifetimes of sessions. An ended session is kept until its last access token has expired.
    pub sessions: Lifetimes,
    /// How long after its expiry an access token may still be accepted.
    pub leeway: Duration,
    /// How long events are kept.
    pub events: Duration,
}

/// The place of a session in the list of its user's sessions, the latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPlace {
    /// The time at which it began, to the millisecond.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}
