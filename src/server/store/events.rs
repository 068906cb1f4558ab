//! Recorded events.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::connection::{Connection, Dialect, Query, Trace, Transaction, time};
use super::error::StoreError;
use super::xid_sequence::xid_sequence;
use crate::server::model::{CLOCK_STEP, Event, EventFilter, EventPage, RecordedEvent};

type EventColumns = (
    i64,
    i64,
    String,
    Option<Uuid>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

macro_rules! insert_event {
    ($($rest:expr),*) => {
        concat!(
            "insert into events (at, kind, user_id, session_id, address, request_id, details) \
             values ($1, $2, $3, $4, $5, $6, $7)"
            $(, $rest)*
        )
    };
}

impl Connection {
    /// Returns the events that `filter` selects, in the order in which they were recorded.
    pub async fn events(&mut self, filter: &EventFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows: Vec<EventColumns> = self
            .query(
                "select events.id, at, kind, user_id, session_id, address, request_id, details, email from events \
                 left join users on users.id = user_id \
                 where events.id > $1 and at >= $2 and ($3 is null or user_id = $3) order by events.id limit $4",
            )
            .bind(filter.after)
            .bind(filter.since.timestamp_millis())
            .bind(filter.user)
            .bind(i64::from(filter.limit))
            .fetch_all()
            .await?;
        rows.into_iter().map(recorded).collect()
    }

    /// Returns the events of a page, the newest first.
    pub async fn events_page(&mut self, page: &EventPage) -> Result<Vec<RecordedEvent>, StoreError> {
        // The numbers between which the events of the time are: so no others are read.
        let first = match page.since {
            Some(since) => self.number_near(FIRST_FROM, since - CLOCK_STEP).await?,
            None => Some(0),
        };
        let last = match page.until {
            Some(until) => self.number_near(LAST_BEFORE, until + CLOCK_STEP).await?,
            None => Some(i64::MAX),
        };
        let (Some(first), Some(last)) = (first, last) else { return Ok(vec![]) };
        let sql = match (&page.user, &page.kind) {
            (None, None) => ALL,
            (Some(_), None) => OF_USER,
            (None, Some(_)) => OF_KIND,
            (Some(_), Some(_)) => OF_BOTH,
        };
        let mut query = self
            .query(sql)
            .bind(first)
            .bind(last.min(page.before.map_or(i64::MAX, |before| before - 1)))
            .bind(page.since.map_or(i64::MIN, |since| since.timestamp_millis()))
            .bind(page.until.map_or(i64::MAX, |until| until.timestamp_millis()))
            .bind(i64::from(page.limit));
        if let Some(user) = page.user {
            query = query.bind(user);
        }
        if let Some(kind) = &page.kind {
            query = query.bind(kind);
        }
        let rows: Vec<EventColumns> = query.fetch_all().await?;
        rows.into_iter().map(recorded).collect()
    }

    async fn number_near(&mut self, sql: &'static str, at: DateTime<Utc>) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> = self.query(sql).bind(at.timestamp_millis()).fetch_optional().await?;
        Ok(row.map(|(number,)| number))
    }
}

const FIRST_FROM: &str = "select id from events where at >= $1 order by at limit 1";
const LAST_BEFORE: &str = "select id from events where at < $1 order by at desc limit 1";

/// `+at` keeps the databases from the index of times, after which the page would have to be sorted.
macro_rules! select_page {
    ($where:literal) => {
        concat!(
            "select events.id, at, kind, user_id, session_id, address, request_id, details, email from events \
             left join users on users.id = user_id where events.id >= $1 and events.id <= $2 and +at >= $3 and +at < $4 ",
            $where,
            " order by events.id desc limit $5"
        )
    };
}

const ALL: &str = select_page!("");
const OF_USER: &str = select_page!("and user_id = $6");
const OF_KIND: &str = select_page!("and kind = $6");
// A user has fewer events than a kind.
const OF_BOTH: &str = select_page!("and user_id = $6 and kind || '' = $7");

/// The statements of a page, for the test that asks the databases how they run them.
#[cfg(feature = "testing")]
pub const EVENT_STATEMENTS: &[(&str, &[&str])] = &[
    (ALL, &[]),
    (OF_USER, &["uuid"]),
    (OF_KIND, &["text"]),
    (OF_BOTH, &["uuid", "text"]),
    (FIRST_FROM, &[]),
    (LAST_BEFORE, &[]),
];

fn recorded(columns: EventColumns) -> Result<RecordedEvent, StoreError> {
    let (number, at, kind, user, session, address, request, details, email) = columns;
    let address = address.and_then(|text| text.parse().ok());
    let details = details.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let event = Event { at: time(at)?, kind, user, session, address, request, details };
    Ok(RecordedEvent { number, event, email })
}

impl Connection {
    /// Records an event, outside a transaction.
    pub(super) async fn insert_event(&mut self, event: &Event) -> Result<(), StoreError> {
        self.query(insert_event!()).bind_event(event).execute().await.map(|_| ())
    }
}

impl Query<'_> {
    fn bind_event(self, event: &Event) -> Self {
        self.bind(event.at.timestamp_millis())
            .bind(event.kind.name())
            .bind(event.user)
            .bind(event.session)
            .bind(event.address.map(|address| address.to_string()))
            .bind(&event.request)
            .bind(details_text(event))
    }
}

impl Transaction {
    /// Clears all but the kind and the time of the events about a user.
    pub async fn forget_events_of(&mut self, user: Uuid) -> Result<u64, StoreError> {
        self.query(
            "update events set user_id = null, session_id = null, address = null, request_id = null, details = null \
             where user_id = $1",
        )
        .bind(user)
        .execute()
        .await
    }

    /// Records an event. After the commit it is also written to the log.
    pub async fn record(&mut self, event: Event) -> Result<(), StoreError> {
        let dialect = self.dialect();
        let query = self
            .query_by_dialect(
                insert_event!(),
                insert_event!(" returning id, pg_current_xact_id()::text, ", xid_sequence!()),
            )
            .bind_event(&event);
        let traced = traced(dialect, query).await?;
        self.trace =
            traced.map(|(xid, sequence, number)| Trace { xid, sequence, event: (number, event.clone()) });
        self.events.push(event);
        Ok(())
    }

    /// Records an event that a user can repeat at will. If it repeats the user's latest event, from the same address
    /// and within the hour, that event counts the repetitions in its detail `count` instead.
    pub async fn record_or_count(&mut self, event: Event) -> Result<(), StoreError> {
        let latest: Option<EventColumns> = self
            .query(
                "select id, at, kind, user_id, session_id, address, request_id, details, cast(null as text) \
                 from events where user_id = $1 order by id desc limit 1",
            )
            .bind(event.user)
            .fetch_optional()
            .await?;
        let Some(RecordedEvent { number, event: latest, .. }) = latest.map(recorded).transpose()? else {
            return self.record(event).await;
        };
        let is_same = latest.kind == event.kind.name() && latest.address == event.address;
        if !is_same || (event.at - latest.at).abs() >= REPEATED_WITHIN {
            return self.record(event).await;
        }
        let count = latest.details.get("count").and_then(serde_json::Value::as_u64).unwrap_or(1) + 1;
        let Event { at, user, session, address, request, details, .. } = latest;
        let counted = Event { at, kind: event.kind, user, session, address, request, details };
        let counted = counted.detail("count", count);
        let dialect = self.dialect();
        let query = self
            .query_by_dialect(
                "update events set details = $2 where id = $1",
                concat!(
                    "update events set details = $2 where id = $1 returning id, pg_current_xact_id()::text, ",
                    xid_sequence!()
                ),
            )
            .bind(number)
            .bind(details_text(&counted));
        let traced = traced(dialect, query).await?;
        self.trace = traced.map(|(xid, sequence, number)| Trace { xid, sequence, event: (number, counted) });
        self.events.push(event);
        Ok(())
    }
}

/// How long an event counts its repetitions.
const REPEATED_WITHIN: Duration = Duration::hours(1);

/// Runs a statement that writes an event. In PostgreSQL, returns the number of the transaction, the sequence of that
/// number, and the number of the event.
async fn traced(dialect: Dialect, query: Query<'_>) -> Result<Option<(String, String, i64)>, StoreError> {
    match dialect {
        Dialect::Sqlite => query.execute().await.map(|_| None),
        Dialect::Postgres => {
            let row: Option<(i64, String, Option<String>)> = query.fetch_optional().await?;
            Ok(row.and_then(|(number, xid, sequence)| Some((xid, sequence?, number))))
        }
    }
}

fn details_text(event: &Event) -> Option<String> {
    (!event.details.is_empty()).then(|| serde_json::Value::from(event.details.clone()).to_string())
}
