//! Start, dispatch, exit code.

mod inherited;
mod wipe;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: wipe::WipingAllocator = wipe::WipingAllocator;

fn main() -> ExitCode {
    hallpass::cli::main(inherited::take)
}
