//! Recorded events.

use uuid::Uuid;

use super::connection::{Connection, Dialect, Query, Trace, Transaction, time};
use super::error::StoreError;
use super::xid_sequence::xid_sequence;
use crate::server::model::{Event, EventFilter, EventKind, RecordedEvent};

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
        rows.into_iter()
            .map(|(number, at, kind, user, session, address, request, details, email)| {
                let known = EventKind::ALL.iter().copied().find(|known| known.name() == kind);
                let kind = known
                    .ok_or_else(|| StoreError::Failed(format!("an event has the unknown kind {kind:?}")))?;
                let address = address.and_then(|text| text.parse().ok());
                let details = details.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
                let event = Event { at: time(at)?, kind, user, session, address, request, details };
                Ok(RecordedEvent { number, event, email })
            })
            .collect()
    }
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
            .bind(
                (!event.details.is_empty())
                    .then(|| serde_json::Value::from(event.details.clone()).to_string()),
            )
    }
}

impl Transaction {
    /// Records an event. After the commit it is also written to the log.
    pub async fn record(&mut self, event: Event) -> Result<(), StoreError> {
        let dialect = self.dialect();
        let query = self
            .query_by_dialect(
                insert_event!(),
                insert_event!(" returning id, pg_current_xact_id()::text, ", xid_sequence!()),
            )
            .bind_event(&event);
        match dialect {
            Dialect::Sqlite => {
                query.execute().await?;
            }
            Dialect::Postgres => {
                let row: Option<(i64, String, Option<String>)> = query.fetch_optional().await?;
                self.trace = row.and_then(|(number, xid, sequence)| {
                    Some(Trace { xid, sequence: sequence?, event: (number, event.clone()) })
                });
            }
        }
        self.events.push(event);
        Ok(())
    }
}
