//! The time, as the rest of the house asks for it: the system's, or one that a test moves by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use chrono::{DateTime, Duration, Utc};

/// Where "now" comes from. Clones share one clock.
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
    /// Milliseconds since the epoch; `None` is the system's clock.
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

    /// A clock that shows `start` (to the millisecond) and moves only by [`advance`](Self::advance).
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

    /// The time now.
    ///
    /// # Example
    /// ```
    /// let before = chrono::Utc::now();
    /// assert!(hallpass::clock::Clock::system().now() >= before);
    /// ```
    pub fn now(&self) -> DateTime<Utc> {
        match &self.manual {
            None => Utc::now(),
            Some(millis) => DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst))
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }

    /// Milliseconds since some fixed moment, never going back: for measuring how long ago something was.
    /// A manual clock's are its own, and go back when it is moved back.
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

    /// Moves a manual clock by `step` (negative is back); the system's clock takes no orders and stays.
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
