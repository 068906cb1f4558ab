//! From a counter of attempts to a delay. Pure: the time is a parameter.

use chrono::{DateTime, Duration, Utc};

use crate::server::model::{AttemptCounter, CounterKey};
use crate::server::store::FreeCount;

pub(super) const DAY: Duration = Duration::hours(24);

/// The rule of one kind of counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Failures without a delay.
    pub(super) free: u32,
    /// The delay after the first failure beyond those. It grows by `factor` with each further one.
    pub(super) first: Duration,
    pub(super) factor: u32,
    /// The longest delay.
    pub(super) longest: Duration,
    /// Failures are forgotten after this time without an attempt.
    pub(super) forgotten_after: Duration,
    /// The most attempts in each `window`.
    pub(super) most: u32,
    pub(super) window: Duration,
}

impl Limit {
    /// Counts an attempt at `now`.
    ///
    /// # Errors
    /// The time to wait; the counter is unchanged.
    pub(super) fn count(&self, counter: &mut AttemptCounter, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut next = *counter;
        if now - next.last_at >= self.forgotten_after {
            next.failures = 0;
        }
        if now - next.window_began >= self.window {
            next.window_began = now;
            next.in_window = 0;
        }
        let since = now - next.last_at;
        let delay = self.delay(next.failures);
        if since < delay {
            return Err(delay - since);
        }
        if next.in_window >= self.most {
            return Err((next.window_began + self.window - now).min(self.longest));
        }
        next.failures = next.failures.saturating_add(1);
        next.in_window = next.in_window.saturating_add(1);
        next.last_at = now;
        *counter = next;
        Ok(())
    }

    /// Returns the region in which [`count`](Self::count) delays no attempt at `now`.
    pub(super) fn free_count(&self, key: CounterKey, now: DateTime<Utc>) -> FreeCount {
        FreeCount {
            key,
            free: self.free,
            most: self.most,
            forgotten: now - self.forgotten_after,
            window_over: now - self.window,
        }
    }

    fn delay(&self, failures: u32) -> Duration {
        let Some(steps) = failures.checked_sub(self.free) else {
            return Duration::zero();
        };
        let grown = i64::from(self.factor).checked_pow(steps).unwrap_or(i64::MAX);
        let secs = self.first.num_seconds().saturating_mul(grown);
        Duration::seconds(secs.min(self.longest.num_seconds()))
    }
}

/// Moves times after `now` to `now`: after the clock stepped back, they would delay until it has caught up.
pub(super) fn forget_times_after(counter: &mut AttemptCounter, now: DateTime<Utc>) {
    counter.last_at = counter.last_at.min(now);
    counter.window_began = counter.window_began.min(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    fn account() -> Limit {
        Limit {
            free: 5,
            first: Duration::seconds(30),
            factor: 4,
            longest: Duration::seconds(900),
            forgotten_after: DAY,
            most: 100,
            window: DAY,
        }
    }

    #[test]
    fn failures_beyond_the_free_ones_delay_progressively_up_to_the_longest() {
        let delays: Vec<_> = (0..12).map(|failures| account().delay(failures).num_seconds()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 30, 120, 480, 900, 900, 900, 900]);
        assert_eq!(account().delay(u32::MAX).num_seconds(), 900);
    }

    #[test]
    fn an_attempt_that_comes_too_early_gets_the_time_to_wait_and_changes_nothing() {
        let mut counter = AttemptCounter { failures: 5, last_at: at(0), window_began: at(0), in_window: 5 };
        let before = counter;
        assert_eq!(account().count(&mut counter, at(10)), Err(Duration::seconds(20)));
        assert_eq!(counter, before);
        assert_eq!(account().count(&mut counter, at(30)), Ok(()));
        assert_eq!((counter.failures, counter.in_window, counter.last_at), (6, 6, at(30)));
    }

    #[test]
    fn trying_as_fast_as_allowed_gives_at_most_a_hundred_guesses_in_any_day() {
        let mut counter = AttemptCounter::default();
        let mut attempts = Vec::new();
        let mut now = 0;
        while now < 3 * 86_400 {
            match account().count(&mut counter, at(now)) {
                Ok(()) => attempts.push(now),
                Err(wait) => {
                    assert!(wait <= Duration::seconds(900), "{wait}");
                    now += wait.num_seconds().max(1);
                }
            }
        }
        for from in &attempts {
            let in_a_day = attempts.iter().filter(|time| (*from..from + 86_400).contains(*time)).count();
            assert!(in_a_day <= 100, "{in_a_day} from {from} s on");
        }
        assert!(attempts.len() > 250, "nobody is locked out for good: {}", attempts.len());
    }

    #[test]
    fn failures_are_forgotten_after_a_quiet_day() {
        let mut counter = AttemptCounter { failures: 40, last_at: at(0), window_began: at(0), in_window: 40 };
        assert_eq!(account().count(&mut counter, at(86_400)), Ok(()));
        assert_eq!(counter.failures, 1);
    }

    #[test]
    fn waiting_once_is_enough_even_when_the_clock_stepped_back() {
        let mut counter =
            AttemptCounter { failures: 50, last_at: at(100_000), window_began: at(100_000), in_window: 50 };
        forget_times_after(&mut counter, at(0));
        assert_eq!(account().count(&mut counter, at(0)), Err(Duration::seconds(900)));
        assert_eq!(account().count(&mut counter, at(899)), Err(Duration::seconds(1)));
        assert_eq!(account().count(&mut counter, at(900)), Ok(()));
        let hourly = Limit { free: u32::MAX, most: 3, window: Duration::hours(1), ..account() };
        let mut counter =
            AttemptCounter { failures: 3, last_at: at(100_000), window_began: at(100_000), in_window: 3 };
        forget_times_after(&mut counter, at(0));
        assert!(hourly.count(&mut counter, at(0)).is_err());
        assert_eq!(hourly.count(&mut counter, at(3_600)), Ok(()));
    }
}
