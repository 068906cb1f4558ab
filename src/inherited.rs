//! Descriptors that the process was started with. This file and `wipe.rs` have all of the project's unsafe code.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Takes over the descriptor `number`: returns a copy and closes the number.
///
/// Must be called before the process has opened anything itself.
///
/// # Errors
/// The system's error if the number is not open; [`io::ErrorKind::InvalidInput`] for standard input, output and error.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is borrowed for this one call, which fails if the number is not open.
    let taken = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
    // SAFETY: nothing in this process owns the number: it was open at the start, before the process opened anything.
    unsafe { rustix::io::close(number) };
    Ok(taken)
}
