//! Second factors, and sign-ins that wait for one, as stored.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use super::session::Digest;

/// The secret of an authenticator app, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTotp {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// The time at which its user entered a first code. Before, nobody is asked for one.
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// A sign-in whose first factor was right and that waits for the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInChallenge {
    /// SHA-256 of the challenge.
    pub digest: Digest,
    /// The user who is signing in.
    pub user_id: Uuid,
    /// How the first factor was proved (RFC 8176 §2).
    pub methods: Vec<String>,
    /// The refresh tokens of the session will be sent only in the cookie.
    pub by_cookie: bool,
    /// The time of the first factor.
    pub created_at: DateTime<Utc>,
    /// No answer is accepted from then on.
    pub expires_at: DateTime<Utc>,
}

/// The answer to a right first factor that needs a second.
#[derive(Debug)]
pub struct SecondFactorAsked {
    /// The challenge. It is a credential: `Debug` does not show it.
    pub challenge: SecretString,
    /// The methods of the account: `passkey`, `totp`, `recovery_code`.
    pub methods: Vec<String>,
}

/// A passkey, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Our id of it.
    pub id: Uuid,
    /// Its user.
    pub user_id: Uuid,
    /// The id that the authenticator gave it.
    pub credential_id: Vec<u8>,
    /// The public key, as a COSE_Key.
    pub public_key: Vec<u8>,
    /// How the browser reaches its authenticator: `internal`, `hybrid`, `usb` and others, sorted.
    pub transports: Vec<String>,
    /// The name that its user gave it.
    pub name: String,
    /// The authenticator's count of its signatures; 0 where it does not count.
    pub sign_count: u32,
    /// It may be copied to other devices.
    pub syncable: bool,
    /// It has been copied to other devices.
    pub synced: bool,
    /// The time at which it was added.
    pub created_at: DateTime<Utc>,
    /// The last sign-in with it.
    pub last_used_at: Option<DateTime<Utc>>,
}
