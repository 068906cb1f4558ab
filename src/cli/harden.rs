//! What keeps the process's memory to itself: no core dump, and no other process of the same user may look.

/// Closes the process to core dumps and debuggers, where the system can.
///
/// A debug build leaves itself open where `HALLPASS_DUMPABLE` is `1`, so that the tests can search its memory and a
/// core dump; a release build does not look at that variable.
pub(super) fn harden() {
    if cfg!(debug_assertions) && std::env::var_os("HALLPASS_DUMPABLE").is_some_and(|value| value == "1") {
        return;
    }
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};

        // Lowering one's own limit is always allowed.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        // Fails only for a value that the kernel does not know.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
