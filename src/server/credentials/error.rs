//! The error of hashing.

use crate::server::error::Error;

/// An error that keeps a hash from being computed or compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The queue is full.
    #[error("the password-hashing queue is full")]
    QueueFull,
    /// The stored string is not a hash that this binary accepts.
    #[error("the stored password hash is of a kind or cost that is not accepted")]
    UnknownHash,
    /// The function itself failed, or the service has stopped.
    #[error("hashing failed: {0}")]
    Failed(String),
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        match error {
            HashError::QueueFull => Self::Overloaded,
            other => Self::Internal(other.to_string()),
        }
    }
}
