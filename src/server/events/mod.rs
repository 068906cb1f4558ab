//! Events and statistics for admins.
//!
//! | file | what it owns |
//! |---|---|
//! | `statistics` | the number of events in each hour or day; the totals |
//!
//! Rules record events themselves: `store::Transaction::record`.

mod statistics;

pub use statistics::{Point, Series, Statistics, StatisticsError, Step, Totals};

use super::model::{EventPage, RecordedEvent};
use super::store::{Store, StoreError};

/// The recorded events of an installation.
#[derive(Debug, Clone)]
pub struct EventLog {
    store: Store,
}

impl EventLog {
    /// The events in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Returns a page of events, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn page(&self, page: &EventPage) -> Result<Vec<RecordedEvent>, StoreError> {
        self.store.read(async |connection| connection.events_page(page).await).await
    }
}
