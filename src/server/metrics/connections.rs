//! Connections: how many are open, and how many were turned away.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::counters::Counters;

/// The reasons to turn a connection away.
const REASONS: &[&str] = &["connections", "connections_per_address", "tls"];

/// The counts of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    open: AtomicUsize,
    /// Connections that were turned away: by which limit, or because the TLS handshake failed.
    pub refused: Counters,
}

impl Default for Connections {
    fn default() -> Self {
        Self { open: AtomicUsize::new(0), refused: Counters::new(REASONS) }
    }
}

impl Connections {
    /// Counts a connection that begins, and returns the number of those that are open with it.
    pub(crate) fn begin(&self) -> usize {
        self.open.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a connection that ends.
    pub(crate) fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
