//! The number of events in each hour or day, and the numbers of users and sessions.
//!
//! A trigger counts each event in the transaction that records it. So a query reads one row per hour and kind, and no
//! events. The counts are kept longer than the events, which contain addresses and are deleted after
//! `events.keep_days`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::clock::{Clock, serialize_rfc3339};
use crate::server::model::{EventKind, Lifetimes};
use crate::server::store::{Store, StoreError};

/// The most points of a series.
const MAX_POINTS: i64 = 1_000;

/// How long totals are kept in memory: they are counted row by row.
const TOTALS_FOR: Duration = Duration::seconds(60);

/// The statistics of an installation. Clones share the totals in memory.
#[derive(Debug, Clone)]
pub struct Statistics {
    store: Store,
    clock: Clock,
    lifetimes: Lifetimes,
    totals: Arc<Mutex<Option<Counted>>>,
}

/// Totals, and the time at which they were counted.
type Counted = (DateTime<Utc>, Totals);

/// The time between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

/// The number of events in the time from `at` to the next point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Point {
    /// The beginning.
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: DateTime<Utc>,
    /// The number.
    pub count: i64,
}

/// The numbers of events, each series with the same points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Series {
    /// Sessions that began.
    pub sign_ins: Vec<Point>,
    /// Sign-ins that failed.
    pub sign_ins_failed: Vec<Point>,
    /// Refreshes.
    pub refreshes: Vec<Point>,
    /// Users who were added, whoever added them; imported ones are not counted.
    pub registrations: Vec<Point>,
}

/// How many there are now, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Totals {
    /// Users.
    pub users: i64,
    /// Disabled users.
    pub users_disabled: i64,
    /// Sessions that can be refreshed.
    pub sessions: i64,
    /// Users with a second factor.
    pub second_factors: i64,
}

/// The reason why there is no series.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// The time has too many points, or none.
    #[error("since must be before until, and at most {MAX_POINTS} steps before it")]
    OutOfRange,
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Step {
    fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::hours(1),
            Self::Day => Duration::days(1),
        }
    }

    /// Returns the beginning of the step that `at` is in.
    fn beginning(self, at: DateTime<Utc>) -> i64 {
        let length = self.length().num_milliseconds();
        at.timestamp_millis().div_euclid(length) * length
    }
}

impl Statistics {
    /// The statistics in `store`, of sessions with these lifetimes.
    pub(crate) fn new(store: Store, clock: Clock, lifetimes: Lifetimes) -> Self {
        Self { store, clock, lifetimes, totals: Arc::default() }
    }

    /// Returns the numbers in each step from the one that `since` is in to the one before `until`.
    ///
    /// # Errors
    /// [`StatisticsError`].
    pub async fn series(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        step: Step,
    ) -> Result<Series, StatisticsError> {
        let length = step.length().num_milliseconds();
        let (from, until) = (step.beginning(since), until.timestamp_millis());
        let points = (until - from + length - 1).div_euclid(length);
        if !(1..=MAX_POINTS).contains(&points) {
            return Err(StatisticsError::OutOfRange);
        }
        let counts =
            self.store.read(async |connection| connection.event_counts(from, until, length).await).await?;
        let counts: HashMap<_, _> =
            counts.iter().map(|(kind, at, count)| ((kind.as_str(), *at), *count)).collect();
        let series = |kind: EventKind| {
            let point = |place| {
                let at = from + place * length;
                let count = counts.get(&(kind.name(), at)).copied().unwrap_or(0);
                Point { at: DateTime::from_timestamp_millis(at).unwrap_or_default(), count }
            };
            (0..points).map(point).collect()
        };
        Ok(Series {
            sign_ins: series(EventKind::SignedIn),
            sign_ins_failed: series(EventKind::SignInFailed),
            refreshes: series(EventKind::Refreshed),
            registrations: series(EventKind::UserAdded),
        })
    }

    /// Returns the totals, counted at most a minute ago, and by one request at a time.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let mut kept = self.totals.lock().await;
        let now = self.clock.now();
        if let Some((_, totals)) = kept.filter(|(at, _)| (*at..*at + TOTALS_FOR).contains(&now)) {
            return Ok(totals);
        }
        let lifetimes = &self.lifetimes;
        let count = self.store.read(async |connection| connection.count_all(now, lifetimes).await);
        let (users, users_disabled, sessions, second_factors) = count.await?;
        let totals = Totals { users, users_disabled, sessions, second_factors };
        *kept = Some((now, totals));
        Ok(totals)
    }
}
