//! The switch of the binary's allocator (`src/wipe.rs`), which can overwrite memory as it is freed. Libraries copy what
//! is typed, and free their copies without wiping them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of reasons to overwrite. The first is the start of the process, until [`secrets_are_gone`].
static REASONS: AtomicUsize = AtomicUsize::new(1);

/// Tells whether to overwrite freed memory.
pub fn is_on() -> bool {
    REASONS.load(Ordering::Relaxed) > 0
}

/// Ends one reason to overwrite: the secrets that were typed are no longer needed.
pub(super) fn secrets_are_gone() {
    // Never below zero, however often it is called.
    let _ = REASONS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reasons| reasons.checked_sub(1));
}

/// Makes freed memory be overwritten, until this is dropped.
pub(super) struct Wiping;

impl Wiping {
    pub(super) fn begin() -> Self {
        REASONS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Wiping {
    fn drop(&mut self) {
        secrets_are_gone();
    }
}
