//! Users, as the database keeps them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::guard::{Shown, User};

/// The beginning of a sealed hash. No hash of ours or of another program begins so.
pub const SEALED_HASH: &str = "$sealed$";

/// A user as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The stable id.
    pub id: Uuid,
    /// Trimmed and in lower case.
    pub email: String,
    /// The time at which somebody proved to read the mail of that address, if so.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// The name to show.
    pub name: Option<String>,
    /// Sorted.
    pub roles: Vec<String>,
    /// The stored hash, sealed or not yet; a user without one cannot sign in by password.
    pub password_hash: Option<String>,
    /// The time at which the user was disabled, if so.
    pub disabled_at: Option<DateTime<Utc>>,
    /// The time at which the user was added.
    pub created_at: DateTime<Utc>,
    /// The last successful sign-in.
    pub last_login_at: Option<DateTime<Utc>>,
    /// The kinds of second factors, sorted: `passkey`, `totp`. Where there is one, a password alone begins no session.
    pub second_factors: Vec<String>,
}

/// A page of users. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct UserPage {
    /// The address, trimmed and in lower case.
    pub email: Option<String>,
    /// A term from the first of these to before the second.
    pub words: Option<(String, String)>,
    /// The term of a role.
    pub role: Option<String>,
    /// Disabled, or not.
    pub disabled: Option<bool>,
    /// Added before the user with this id.
    pub before: Option<Uuid>,
    /// The most users.
    pub limit: u32,
}

impl UserRecord {
    /// Tells whether the user may sign in at all.
    pub fn is_enabled(&self) -> bool {
        self.disabled_at.is_none()
    }
}

/// The user as handlers and clients see it: without the hash.
impl From<UserRecord> for User {
    fn from(record: UserRecord) -> Self {
        Self {
            id: record.id.to_string(),
            email: record.email,
            email_verified: record.email_verified_at.is_some(),
            name: record.name,
            roles: record.roles,
            second_factors: record.second_factors,
            created_at: Some(record.created_at),
            last_login_at: record.last_login_at,
            shown: Shown::default(),
        }
    }
}
