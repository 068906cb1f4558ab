//! Log lines that many requests cause at once, as while the database is away: one a second, with the number of those
//! that were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines of one place.
const EVERY: Duration = Duration::from_secs(1);

/// The places with lines left out that are still to be counted in the log.
static PENDING: Mutex<Vec<&'static LogLimit>> = Mutex::new(Vec::new());

/// The lines of one place in the code.
#[derive(Debug)]
pub(crate) struct LogLimit {
    what: &'static str,
    state: Mutex<Lines>,
}

#[derive(Debug, Clone, Copy)]
struct Lines {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Limits the lines that begin with `what`.
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, state: Mutex::new(Lines { last: None, left_out: 0 }) }
    }

    /// Counts a line at `now`. Returns the number of lines left out before it if it is to be written, `None` if it is
    /// left out itself.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut lines = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            lines.left_out += 1;
            return None;
        }
        let left_out = std::mem::take(&mut lines.left_out);
        lines.last = Some(now);
        Some(left_out)
    }

    /// Returns the number of lines left out, if the last line is old enough at `now`.
    fn take_left_out(&self, now: Instant) -> u64 {
        let mut lines = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return 0;
        }
        std::mem::take(&mut lines.left_out)
    }

    /// Writes the line, or leaves it out.
    pub(crate) fn log(&'static self, level: log::Level, cause: &dyn std::fmt::Display) {
        let what = self.what;
        match self.admit(Instant::now()) {
            Some(0) => log::log!(level, "{what}: {cause}"),
            Some(left_out) => log::log!(level, "{what}: {cause} ({left_out} more such lines were left out)"),
            None => {
                let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
                if !pending.iter().any(|limit| std::ptr::eq(*limit, self)) {
                    pending.push(self);
                }
            }
        }
    }
}

/// Writes how many lines were left out at places that have been silent since. Called now and then by a running server.
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the guard alone has no background tasks"))]
pub(crate) fn log_left_out() {
    log_left_out_at(Instant::now());
}

/// Writes how many lines were left out, before the process ends.
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the guard alone does not end the process"))]
pub(crate) fn log_all_left_out() {
    log_left_out_at(Instant::now() + EVERY);
}

#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "as above"))]
fn log_left_out_at(now: Instant) {
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    pending.retain(|limit| {
        let left_out = limit.take_left_out(now);
        if left_out > 0 {
            log::warn!("{}: {left_out} more such lines were left out", limit.what);
        }
        limit.state.lock().unwrap_or_else(PoisonError::into_inner).left_out > 0
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_becomes_one_a_second_and_none_goes_uncounted() {
        let limit = LogLimit::new("the database is away");
        let began = Instant::now();
        let written: Vec<u64> =
            (0..3_500).filter_map(|milli| limit.admit(began + Duration::from_millis(milli))).collect();
        assert_eq!(written, [0, 999, 999, 999]);
        assert_eq!(limit.take_left_out(began + Duration::from_millis(3_600)), 0, "the last line is too new");
        assert_eq!(limit.take_left_out(began + Duration::from_secs(5)), 499);
        assert_eq!(limit.admit(began + Duration::from_secs(6)), Some(0));
    }
}
