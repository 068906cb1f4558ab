//! Descriptors that the process was started with. With the allocator, the only unsafe code of the project.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Takes over the descriptor `number`, which is then closed under that number.
///
/// To be called before anything of the process's own is open beyond standard error.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is borrowed for this one call, which fails where the number is not open.
    let taken = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
    // SAFETY: nothing in this process holds the number: it was open at the start, and whoever calls this comes first.
    unsafe { rustix::io::close(number) };
    Ok(taken)
}
