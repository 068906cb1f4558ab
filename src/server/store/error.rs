//! Errors of the store, and what can be done about them.

use crate::server::error::Error;

/// An error of the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It did not answer in time, is locked, or cannot write.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// A newer binary has migrated it.
    #[error(
        "the database has schema {found}, and this hallpass knows schemas up to {known}; run the hallpass that made it, or a newer one"
    )]
    NewerSchema {
        /// The schema in the database.
        found: i64,
        /// The newest this binary knows.
        known: i64,
    },
    /// It belongs to another program; nothing was written.
    #[error("{0} holds tables of another program; name a database of its own for hallpass")]
    Foreign(String),
    /// It is damaged, or the fault is ours.
    #[error("the database refused: {0}")]
    Failed(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// The outcome of a commit that failed.
pub(super) enum CommitError {
    /// Nothing was written; the transaction can be run again.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "SQLite has one writer at a time"))]
    Conflict,
    /// Nothing was written, or nobody can tell.
    Failed(StoreError),
}

/// How a statement failed, as far as trying again is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not, or trying again would not help.
    None,
    /// The database gave the transaction up for the sake of another (SQLSTATE 40001, 40P01). It can be run again.
    Conflict,
    /// The connection is lost, or leads to a server that is going away or is read-only. The transaction can be run
    /// again on another connection, unless it was being committed.
    ConnectionLost,
}
