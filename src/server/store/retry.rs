//! The deadline of an operation, and when it is run again.

use std::time::Duration;

use tokio::time::Instant;

use super::counts::StoreCounts;
use super::error::{Fault, StoreError};

/// The longest time of one operation. After it, the database counts as not answering.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The wait before a transaction is run again. It doubles each time.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The longest such wait.
const MAX_RETRY_AFTER: Duration = Duration::from_millis(500);

/// Decides when to run a transaction again.
pub(super) struct Retry {
    wait: Duration,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { wait: RETRY_AFTER }
    }

    /// Waits before the next attempt if `fault` may pass. Otherwise fails with `error`.
    pub(super) async fn or_fail<E>(&mut self, fault: Fault, error: impl Into<E>) -> Result<(), E> {
        let is_first = self.wait == RETRY_AFTER;
        if fault == Fault::None || (fault == Fault::Duplicate && !is_first) {
            return Err(error.into());
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (2 * self.wait).min(MAX_RETRY_AFTER);
        Ok(())
    }
}

/// Runs `operation` for at most [`TIMEOUT`].
pub(super) async fn with_timeout<T, E: From<StoreError>>(
    counts: &StoreCounts,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout_at(Instant::now() + TIMEOUT, operation).await.unwrap_or_else(|_| {
        let error = StoreError::Unavailable("no answer within 5 s".into());
        counts.fail(Some(&error), Fault::None);
        Err(error.into())
    })
}
