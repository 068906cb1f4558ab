//! Errors of keys and of what is sealed.

use chrono::{DateTime, Utc};

use crate::clock::rfc3339;
use crate::server::error::Error;
use crate::server::store::StoreError;
use crate::token::MAX_SET_KEYS;

/// An error of sealing or unsealing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The installation does not unseal. A wrong passphrase and an altered row look the same.
    #[error(
        "wrong passphrase for this database; type the one that was chosen at its first start, or restore the database if it was altered"
    )]
    WrongPassphrase,
    /// The row has a cost of stretching that is not accepted.
    #[error(
        "the database's installation row was altered: its key derivation is outside what is accepted; restore it from a backup"
    )]
    Parameters,
    /// A signing key does not unseal.
    #[error(
        "the signing key {0} cannot be decrypted, so its row was altered; restore the database from a backup"
    )]
    KeyAltered(String),
    /// Sealed data does not unseal.
    #[error("{0} cannot be decrypted, so its row was altered or moved; restore it from a backup")]
    Altered(&'static str),
    /// Sealed data needs an installation key that this process does not have.
    #[error(
        "the installation key was replaced, and this process has not received the new one (generation {0}); restart it"
    )]
    UnknownGeneration(u32),
    /// The cryptographic library failed, or there is not enough memory for stretching.
    #[error("the key derivation or the encryption of a key failed: {0}")]
    Failed(&'static str),
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        match error {
            // This server receives the key within a second or two.
            VaultError::UnknownGeneration(_) => Self::Unavailable(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// An error that keeps the signing keys from being used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key cannot be sealed or unsealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An unsealed key cannot be used.
    #[error("the signing key {kid} cannot be used: {reason}; restore the database from a backup")]
    Unusable {
        /// The key id.
        kid: String,
        /// The reason.
        reason: String,
    },
    /// The newest key is dated in the future.
    #[error(
        "the clock says {now}, but the key {kid} was made at {created_at}: either the clock is behind now, or it was ahead \
         then; set it right, or, if it is right, run hallpass key rotate --trust-clock",
        now = rfc3339(*now), created_at = rfc3339(*created_at)
    )]
    ClockBehindKey {
        /// The key id.
        kid: String,
        /// The date in its row.
        created_at: DateTime<Utc>,
        /// The time by the clock.
        now: DateTime<Utc>,
    },
    /// No more keys can be published.
    #[error(
        "there are {max} signing keys, and no verifier reads more; the oldest are removed as their last tokens expire, or by \
         hallpass key revoke KID",
        max = MAX_SET_KEYS
    )]
    TooManyKeys,
    /// A rekey has not ended, so some running server may not have the newest installation key.
    #[error(
        "a key rekey is under way or was interrupted, and running servers may not have the new installation key yet; wait for \
         it, or run hallpass key rekey again, which goes on with it"
    )]
    RekeyUnfinished,
    /// There is no key to sign with.
    #[error("the database has no signing key; restore it from a backup")]
    NoSigningKey,
    /// The passphrase was changed by another process at the same time.
    #[error("the passphrase was changed by another process meanwhile; nothing was done")]
    ChangedMeanwhile,
}
