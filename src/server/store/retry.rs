//! The deadline of an operation, and when it is run again.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{Fault, StoreError};

/// How long the database may take for one operation before it counts as not answering.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before a transaction is run again, at first; doubled each time.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The longest such wait.
const MAX_RETRY_AFTER: Duration = Duration::from_millis(500);

/// When to run a transaction again.
pub(super) struct Retry {
    wait: Duration,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { wait: RETRY_AFTER }
    }

    /// Waits a moment where `fault` is one that trying again may mend; fails with `error` otherwise.
    pub(super) async fn or_fail<E>(&mut self, fault: Fault, error: impl Into<E>) -> Result<(), E> {
        if fault == Fault::None {
            return Err(error.into());
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (2 * self.wait).min(MAX_RETRY_AFTER);
        Ok(())
    }
}

/// Gives `operation` the database's [`PATIENCE`] and no more.
pub(super) async fn within_patience<T, E: From<StoreError>>(
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout_at(Instant::now() + PATIENCE, operation)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer within 5 s".into()).into()))
}
