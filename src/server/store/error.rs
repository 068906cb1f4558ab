//! Errors of the store, and whether running the work again can help.

use crate::server::error::Error;

/// An error of the database.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database did not answer in time, is locked, or cannot write.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// A newer binary has migrated the database.
    #[error(
        "the database has schema {found}, and this hallpass knows schemas up to {known}; run the version that migrated it, or a newer one"
    )]
    NewerSchema {
        /// The schema in the database.
        found: i64,
        /// The newest schema that this binary knows.
        known: i64,
    },
    /// The database belongs to another program; nothing was written.
    #[error("{0} has tables of another program; give hallpass its own database")]
    Foreign(String),
    /// The database is damaged, or a statement is wrong.
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
#[derive(Debug, Clone)]
pub(super) enum CommitError {
    /// Nothing was written; the transaction can be run again.
    Conflict,
    /// Nothing was written, or the outcome is unknown.
    Failed(StoreError),
}

/// The kind of a failure: whether running the work again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There was no failure, or running again would not help.
    None,
    /// The database aborted the transaction because of another (SQLSTATE 40001, 40P01). It can be run again.
    Conflict,
    /// A value that must be unique is there already (23505). If another transaction wrote it meanwhile, the work sees it
    /// when it is run again; that is done once.
    Duplicate,
    /// The connection is lost, or leads to a server that is going away or is read-only. The transaction can be run
    /// again on another connection, unless it was being committed.
    ConnectionLost,
}
