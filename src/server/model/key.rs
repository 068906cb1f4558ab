//! Sealed keys, as stored in the database.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

/// The cost of stretching a passphrase (RFC 9106 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub lanes: u32,
}

/// The installation as stored in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedInstallation {
    /// The id of the installation; also the default issuer of its tokens.
    pub id: Uuid,
    /// The cost of stretching the passphrase.
    pub kdf: KdfParams,
    /// The random salt of the passphrase.
    pub salt: Vec<u8>,
    /// The sealed installation key.
    pub sealed_key: Vec<u8>,
    /// The time of the first start, to the millisecond.
    pub created_at: DateTime<Utc>,
    /// The generation of the installation key: 1 for the first.
    pub generation: u32,
    /// The time at which that key replaced the one before; `None` for the first.
    pub rekeyed_at: Option<DateTime<Utc>>,
}

/// An earlier installation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierKey {
    /// Its generation.
    pub generation: u32,
    /// The key, sealed under the newest one.
    pub sealed: Vec<u8>,
}

/// A running server's request for the newest installation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Its id.
    pub id: Uuid,
    /// The newest generation that the server has.
    pub from: u32,
    /// The generation that it asks for.
    pub to: u32,
    /// The server's public key for this request.
    pub public_key: Vec<u8>,
    /// The public key of whoever answered, and the encrypted installation key; `None` until there is an answer.
    pub answer: Option<Vec<u8>>,
    /// The time of the request.
    pub created_at: DateTime<Utc>,
}

/// A sealed signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The key id.
    pub kid: String,
    /// The name of its algorithm.
    pub algorithm: String,
    /// The purpose, for example access tokens.
    pub purpose: String,
    /// The time when it was made, to the millisecond.
    pub created_at: DateTime<Utc>,
    /// The time from which it signs, to the millisecond.
    pub signs_from: DateTime<Utc>,
    /// The sealed private key.
    pub sealed: Vec<u8>,
}

/// A signing key as stored, with the longest lifetime of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The sealed key.
    pub sealed: SealedKey,
    /// The longest lifetime of a token that it may have signed.
    pub token_lifetime: Duration,
}
