//! The allocator of the binary: the system's, which also overwrites what is freed while secrets are about.
//! With the descriptors' file, the only unsafe code of the project.

use std::alloc::{GlobalAlloc, Layout, System};

use hallpass::cli::wiping;
use zeroize::Zeroize;

pub struct WipingAllocator;

// SAFETY: every call is passed on to the system's allocator with the caller's own arguments; what is added
// only writes to a block that is about to be freed and that the caller therefore owns alone.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if wiping::is_on() {
            // SAFETY: the block was allocated with `layout`, so it is that long, and it is being given up.
            unsafe {
                std::slice::from_raw_parts_mut(block.cast::<std::mem::MaybeUninit<u8>>(), layout.size())
            }
            .zeroize();
        }
        // SAFETY: the caller's promise about `block` and `layout` is the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !wiping::is_on() {
            // SAFETY: the caller's promise is the system's.
            return unsafe { System.realloc(block, layout, size) };
        }
        // The system might move the block and leave the old one as it is; so it is moved here, and wiped.
        // SAFETY: `size` is not zero and does not overflow when rounded up to the alignment: the caller's promise.
        let moved = unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least that long, and a new block overlaps no other.
            unsafe { std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: the caller gives the old block up when the call succeeds.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}
