//! The current time, from the system's clock or from one that a test moves by hand; and how times are written.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// The source of the current time. Clones share one clock.
///
/// # Example: a clock that stands still until it is moved
/// ```
/// use chrono::{DateTime, Duration};
/// use hallpass::clock::Clock;
///
/// let start = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
/// let clock = Clock::manual(start);
/// clock.advance(Duration::minutes(61));
/// assert_eq!(clock.now() - start, Duration::minutes(61));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds since the Unix epoch; `None` for the system's clock.
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    ///
    /// # Example
    /// ```
    /// use hallpass::clock::Clock;
    ///
    /// assert!(Clock::system().now().timestamp() > 1_700_000_000);
    /// ```
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that starts at `start` (to the millisecond) and moves only by [`advance`](Self::advance).
    ///
    /// # Example
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use hallpass::clock::Clock;
    ///
    /// let start: DateTime<Utc> = "2030-01-01T00:00:00Z".parse()?;
    /// assert_eq!(Clock::manual(start).now(), start);
    /// # Ok::<(), chrono::ParseError>(())
    /// ```
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.timestamp_millis()))) }
    }

    /// The current time.
    ///
    /// # Example
    /// ```
    /// let before = chrono::Utc::now();
    /// assert!(hallpass::clock::Clock::system().now() >= before);
    /// ```
    pub fn now(&self) -> DateTime<Utc> {
        match &self.manual {
            #[expect(clippy::disallowed_methods, reason = "this is the clock")]
            None => Utc::now(),
            Some(millis) => DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst))
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }

    /// Milliseconds since a fixed moment, for measuring elapsed time.
    ///
    /// The system's clock counts monotonically. A manual clock goes back when it is moved back.
    ///
    /// # Example
    /// ```
    /// use hallpass::clock::Clock;
    ///
    /// let clock = Clock::system();
    /// let before = clock.ticks();
    /// assert!(clock.ticks() >= before);
    /// ```
    pub fn ticks(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.manual {
            None => i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX),
            Some(millis) => millis.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock by `step`, back if it is negative. The system's clock is not affected.
    ///
    /// # Example
    /// ```
    /// use chrono::{Duration, Utc};
    /// use hallpass::clock::Clock;
    ///
    /// let clock = Clock::manual(Utc::now());
    /// let (shared, before) = (clock.clone(), clock.now());
    /// shared.advance(Duration::hours(-1));
    /// assert_eq!(before - clock.now(), Duration::hours(1));
    /// ```
    pub fn advance(&self, step: Duration) {
        if let Some(millis) = &self.manual {
            millis.fetch_add(step.num_milliseconds(), Ordering::SeqCst);
        }
    }
}

/// Formats `time` as RFC 3339 in UTC, to the second: `2026-01-31T09:30:00Z`.
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the server alone writes times"))]
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    #[expect(clippy::disallowed_methods, reason = "this is how times are written")]
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Serializes a time as [`rfc3339`] formats it, and `None` as null:
/// `#[serde(serialize_with = "serialize_rfc3339")]`.
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the server alone writes times"))]
pub(crate) fn serialize_rfc3339<S: Serializer>(
    time: &(impl Into<Option<DateTime<Utc>>> + Copy),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    (*time).into().map(rfc3339).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_to_the_second_and_its_absence_as_null() {
        #[derive(Serialize)]
        struct Times {
            #[serde(serialize_with = "serialize_rfc3339")]
            known: DateTime<Utc>,
            #[serde(serialize_with = "serialize_rfc3339")]
            optional: Option<DateTime<Utc>>,
            #[serde(serialize_with = "serialize_rfc3339")]
            absent: Option<DateTime<Utc>>,
        }
        let time = "2026-01-31T10:30:00.999+01:00".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(rfc3339(time), "2026-01-31T09:30:00Z");
        let times = Times { known: time, optional: Some(time), absent: None };
        assert_eq!(
            serde_json::to_string(&times).unwrap(),
            r#"{"known":"2026-01-31T09:30:00Z","optional":"2026-01-31T09:30:00Z","absent":null}"#
        );
    }
}
