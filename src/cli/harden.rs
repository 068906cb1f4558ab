//! Protects the memory of the process: it writes no core dump, and no other process of the same user can read it.

/// Turns off core dumps and debuggers, if the system can.
///
/// A debug build with `HALLPASS_DUMPABLE=1` stays open, so that the tests can search its memory and a core dump. A
/// release build ignores that variable.
pub(super) fn harden() {
    if cfg!(debug_assertions) && std::env::var_os("HALLPASS_DUMPABLE").is_some_and(|value| value == "1") {
        return;
    }
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};

        // Lowering its own limit is always allowed to a process.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        // Fails only for a value that the kernel does not know.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
