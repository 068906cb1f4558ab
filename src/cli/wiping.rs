//! The switch of the allocator that wipes what it frees (`src/wipe.rs`, in the binary alone): libraries
//! copy what is typed, and free their copies as they are.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many want it on. It is on from the start of the process, until [`secrets_are_gone`].
static WANTED: AtomicUsize = AtomicUsize::new(1);

/// Whether freed memory is to be overwritten.
pub fn is_on() -> bool {
    WANTED.load(Ordering::Relaxed) > 0
}

/// Ends what the start of the process began: what was typed has done its work.
pub(super) fn secrets_are_gone() {
    // Never below zero, however often it is called.
    let _ = WANTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |wanted| wanted.checked_sub(1));
}

/// While it lives, freed memory is overwritten.
pub(super) struct Wiping;

impl Wiping {
    pub(super) fn begin() -> Self {
        WANTED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Wiping {
    fn drop(&mut self) {
        secrets_are_gone();
    }
}
