//! Metrics of this process, from the kernel.

/// Times in seconds, memory in bytes; `None` where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    /// The time for which its threads have run.
    pub cpu_seconds: f64,
    /// Its memory in RAM.
    pub resident_bytes: u64,
    /// Its address space.
    pub virtual_bytes: u64,
    /// Its open descriptors.
    pub open_descriptors: u64,
    /// The most that it may open.
    pub max_descriptors: Option<u64>,
    /// Its threads.
    pub threads: u64,
    /// When it started, as seconds since the Unix epoch.
    pub started_at: f64,
}

impl Process {
    /// Asks the kernel, at the time `now` as seconds since the Unix epoch. Nothing but the process's own folder in /proc
    /// is read: a sandbox may show no more (`ProcSubset=pid`).
    #[cfg(target_os = "linux")]
    pub(crate) fn read(now: f64) -> Option<Self> {
        use procfs::process::LimitValue;
        use rustix::time::{ClockId, clock_gettime};

        let process = procfs::process::Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let (ticks, since_boot) = (procfs::ticks_per_second() as f64, clock_gettime(ClockId::Boottime));
        let max_descriptors = match process.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        };
        Some(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_descriptors: process.fd_count().ok()? as u64,
            max_descriptors,
            threads: u64::try_from(stat.num_threads).ok()?,
            started_at: now - (since_boot.tv_sec as f64 - stat.starttime as f64 / ticks),
        })
    }

    /// Other systems are not asked.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn read(_: f64) -> Option<Self> {
        None
    }
}
