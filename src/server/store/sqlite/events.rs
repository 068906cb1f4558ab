//! The record of what happened.

use chrono::{DateTime, Utc};
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::{Store, bounded, commit, time};
use crate::server::events::{Event, EventKind};
use crate::server::store::{RecordedEvent, StoreError};

type EventColumns =
    (i64, i64, String, Option<Uuid>, Option<Uuid>, Option<String>, Option<String>, Option<String>);

impl Store {
    /// Records what changed nothing else.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn record(&self, event: &Event) -> Result<(), StoreError> {
        bounded(async { commit(self.begin().await?, event).await }).await
    }

    /// At most `limit` events after number `after`, of `user` or of all, that happened at `since` or later;
    /// in the order in which they were recorded.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn events(
        &self,
        user: Option<Uuid>,
        since: DateTime<Utc>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        bounded(async {
            let rows: Vec<EventColumns> = sqlx::query_as(
                "select events.id, at, kind, user_id, session_id, address, request_id, email from events \
                 left join users on users.id = user_id \
                 where events.id > $1 and at >= $2 and ($3 is null or user_id = $3) order by events.id limit $4",
            )
            .bind(after)
            .bind(since.timestamp_millis())
            .bind(user)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            rows.into_iter()
                .map(|(number, at, kind, user, session, address, request, email)| {
                    let known = EventKind::ALL.iter().copied().find(|known| known.name() == kind);
                    let kind =
                        known.ok_or_else(|| StoreError::Failed(format!("an event of the unknown kind {kind:?}")))?;
                    let address = address.and_then(|text| text.parse().ok());
                    let event = Event { at: time(at)?, kind, user, session, address, request };
                    Ok(RecordedEvent { number, event, email })
                })
                .collect()
        })
        .await
    }
}

pub(super) async fn record(tx: &mut Transaction<'_, Sqlite>, event: &Event) -> Result<(), StoreError> {
    sqlx::query(
        "insert into events (at, kind, user_id, session_id, address, request_id) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(event.at.timestamp_millis())
    .bind(event.kind.name())
    .bind(event.user)
    .bind(event.session)
    .bind(event.address.map(|address| address.to_string()))
    .bind(&event.request)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
