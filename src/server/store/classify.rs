//! Classifies database errors: what the caller gets, and whether the work can be run again.

use super::error::{Fault, StoreError};

#[cfg(feature = "sqlite")]
/// SQLite's primary result codes of temporary failures: 5 busy, 6 locked, 8 read-only, 10 input/output, 13 full, 14
/// cannot open, 15 the locks of the write-ahead log are unavailable.
const UNAVAILABLE: &[u32] = &[5, 6, 8, 10, 13, 14, 15];

/// Classifies an error of sqlx: what the caller gets, and whether the work can be run again.
pub(super) fn classify(error: sqlx::Error) -> (StoreError, Fault) {
    let text = error.to_string();
    match &error {
        // SQLite has already waited for a lock, or its file is unusable. Running again now would not help.
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement => (StoreError::Unavailable(text), Fault::None),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            (StoreError::Unavailable(text), Fault::ConnectionLost)
        }
        sqlx::Error::Database(cause) => {
            let code = cause.code().unwrap_or_default();
            #[cfg(feature = "postgres")]
            if cause.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                return classify_postgres(&code, text);
            }
            #[cfg(feature = "sqlite")]
            if is_unavailable(&code) {
                return (StoreError::Unavailable(text), Fault::None);
            }
            let _ = code;
            (StoreError::Failed(text), Fault::None)
        }
        _ => (StoreError::Failed(text), Fault::None),
    }
}

#[cfg(feature = "sqlite")]
/// Returns true if the result code means a temporary failure.
fn is_unavailable(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| UNAVAILABLE.contains(&(code & 0xff)))
}

#[cfg(feature = "postgres")]
/// Classifies an error of PostgreSQL by its SQLSTATE.
fn classify_postgres(code: &str, text: String) -> (StoreError, Fault) {
    match code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => (StoreError::Unavailable(text), Fault::Conflict),
        // unique_violation: another transaction took the value meanwhile, which the work sees when it is run again
        "23505" => (StoreError::Failed(text), Fault::Conflict),
        // read_only_sql_transaction: a primary that has become a replica
        "25006" => (StoreError::Unavailable(text), Fault::ConnectionLost),
        // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
        "57P01" | "57P02" | "57P03" | "53300" => (StoreError::Unavailable(text), Fault::ConnectionLost),
        // feature_not_supported: a replica cannot read a table that is not logged
        "0A000" => (StoreError::Unavailable(text), Fault::ConnectionLost),
        // idle_in_transaction_session_timeout, idle_session_timeout
        "25P03" | "57P05" => (StoreError::Unavailable(text), Fault::ConnectionLost),
        // connection exceptions
        _ if code.starts_with("08") => (StoreError::Unavailable(text), Fault::ConnectionLost),
        // insufficient resources (disk full, out of memory), query_canceled, lock_not_available, system errors
        "57014" | "55P03" => (StoreError::Unavailable(text), Fault::None),
        _ if code.starts_with("53") || code.starts_with("58") => (StoreError::Unavailable(text), Fault::None),
        _ => (StoreError::Failed(text), Fault::None),
    }
}
