//! The allocator of the binary. It is the system's, and overwrites memory as it is freed while
//! [`wiping`](hallpass::cli::wiping) is on. This file and `inherited.rs` have all of the project's unsafe code.

use std::alloc::{GlobalAlloc, Layout, System};

use hallpass::cli::wiping;
use zeroize::Zeroize;

pub struct WipingAllocator;

// SAFETY: every call goes to the system's allocator with the caller's arguments. The only addition is a write to a
// block that is about to be freed, which nobody else uses.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if wiping::is_on() {
            // SAFETY: the block was allocated with `layout`, so it is that long, and nobody uses it any more.
            unsafe {
                std::slice::from_raw_parts_mut(block.cast::<std::mem::MaybeUninit<u8>>(), layout.size())
            }
            .zeroize();
        }
        // SAFETY: the caller keeps the contract of `dealloc`, which is that of the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !wiping::is_on() {
            // SAFETY: the caller keeps the contract of `realloc`, which is that of the system's.
            return unsafe { System.realloc(block, layout, size) };
        }
        // The system's `realloc` might move the block and leave a copy in the old place, so the block is moved here.
        // SAFETY: the caller guarantees that `size` is not zero and does not overflow when rounded up to the alignment.
        let moved = unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least that long, and a new block overlaps no other.
            unsafe { std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: the caller no longer uses the old block when the call succeeds.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}
