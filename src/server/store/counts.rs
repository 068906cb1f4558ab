//! Metrics of the database: how long it takes, what fails, and which events are recorded.

use std::time::Instant;

use super::error::{Fault, StoreError};
use crate::server::metrics::{Counters, Histogram};
use crate::server::model::{Event, EventKind};

/// The failures that are told apart.
const FAULTS: &[&str] = &["conflict", "connection_lost", "unavailable", "failed"];

/// The numbers of one database. Clones of the store share them.
#[derive(Debug)]
pub(crate) struct StoreCounts {
    /// Operations that read, repetitions and the wait for a connection included.
    pub reads: Histogram,
    /// Operations that write.
    pub writes: Histogram,
    /// Failures, also those after which an operation is run again.
    pub faults: Counters,
    /// Recorded events, by kind.
    pub events: Counters,
}

impl StoreCounts {
    pub(super) fn new() -> Self {
        Self {
            reads: Histogram::default(),
            writes: Histogram::default(),
            faults: Counters::new(FAULTS),
            events: Counters::new(EventKind::NAMES),
        }
    }

    /// Counts a failure.
    pub(super) fn fail(&self, error: Option<&StoreError>, fault: Fault) {
        self.faults.count(match (fault, error) {
            (Fault::Conflict | Fault::Duplicate, _) => "conflict",
            (Fault::ConnectionLost, _) => "connection_lost",
            (Fault::None, Some(StoreError::Unavailable(_))) => "unavailable",
            (Fault::None, _) => "failed",
        });
    }

    /// Logs and counts an event that is committed.
    pub(super) fn record(&self, event: &Event) {
        self.events.count(event.kind.name());
        event.log();
    }
}

/// Adds the time from here to the end of a scope to a histogram.
pub(super) struct Timed<'a>(&'a Histogram, Instant);

impl<'a> Timed<'a> {
    pub(super) fn begin(histogram: &'a Histogram) -> Self {
        Self(histogram, Instant::now())
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.0.observe(self.1.elapsed());
    }
}
