//! Deletes rows that no server needs any more, a thousand in a transaction, so that other writers need not wait for all
//! of them.

use chrono::{DateTime, Utc};

use super::Store;
use super::error::StoreError;
use crate::server::model::{CLOCK_STEP, Retention};

/// Rows of one table to delete: the query that finds one, and the statement that deletes a thousand.
struct Expired {
    is_any: &'static str,
    delete: &'static str,
    delete_in_postgres: &'static str,
    limits: Vec<i64>,
}

macro_rules! delete_batch {
    ($table:literal, $key:literal, $condition:literal) => {
        concat!(
            "delete from ",
            $table,
            " where ",
            $key,
            " in (select ",
            $key,
            " from ",
            $table,
            " where ",
            $condition,
            " limit 1000)"
        )
    };
}

macro_rules! expired {
    ($table:literal, $key:literal, $condition:literal, $limits:expr) => {
        expired!(
            $table,
            $condition,
            $limits,
            delete_batch!($table, $key, $condition),
            delete_batch!($table, $key, $condition)
        )
    };
    ($table:literal, $condition:literal, $limits:expr, $delete:expr, $delete_in_postgres:expr) => {
        Expired {
            is_any: concat!("select cast(1 as bigint) from ", $table, " where ", $condition, " limit 1"),
            delete: $delete,
            delete_in_postgres: $delete_in_postgres,
            limits: Vec::from($limits),
        }
    };
}

impl Store {
    /// Deletes what has expired at `now`: changes that every server has read long ago, attempts and events past their
    /// retention, and ended or expired sessions whose last access token has expired.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn delete_expired(&self, now: DateTime<Utc>, keep: &Retention) -> Result<(), StoreError> {
        let before = |age: chrono::Duration| (now - age).timestamp_millis();
        let sessions = [
            before(keep.leeway + CLOCK_STEP),
            before(keep.sessions.absolute + CLOCK_STEP),
            before(keep.sessions.idle + CLOCK_STEP),
        ];
        for Expired { is_any, delete, delete_in_postgres, limits } in [
            expired!(
                "changes",
                "at < $1",
                [before(chrono::Duration::hours(1))],
                delete_batch!("changes", "seq", "at < $1"),
                // Readers must be able to tell that they have missed some; SQLite's readers see a gap in the numbers.
                concat!(
                    "with deleted as (",
                    delete_batch!("changes", "seq", "at < $1"),
                    " returning xid) update changes_deleted \
                     set through = greatest(through, (select max(xid) from deleted)), \
                     deleted_by = pg_current_xact_id()"
                )
            ),
            // Every limit forgets an attempt after a day.
            expired!("attempts", "slot", "last_at < $1", [before(chrono::Duration::hours(25))]),
            expired!("known_addresses", "pair", "until < $1", [now.timestamp_millis()]),
            expired!("rotations", "digest", "at < $1", [before(keep.sessions.grace + CLOCK_STEP)]),
            // A mail that waits gets another token in place of one that has expired.
            expired!(
                "mail_tokens",
                "digest",
                "expires_at < $1 and not exists \
                 (select 1 from mail_outbox where mail_outbox.digest = mail_tokens.digest)",
                [before(CLOCK_STEP)]
            ),
            expired!("events", "id", "at < $1", [before(keep.events)]),
            expired!(
                "sessions",
                "id",
                "token_until < $1 and (ended_at is not null or created_at <= $2 or refreshed_at <= $3)",
                sessions
            ),
        ] {
            // Read first: that does not hold up writers.
            while self.has_row(is_any, &limits).await? {
                let deleted = self
                    .write(async |tx| {
                        let query = tx.query_by_dialect(delete, delete_in_postgres);
                        limits.iter().fold(query, |query, limit| query.bind(*limit)).execute().await
                    })
                    .await?;
                // Another server may have deleted them.
                if deleted == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn has_row(&self, question: &'static str, limits: &[i64]) -> Result<bool, StoreError> {
        self.read(async |connection| {
            let query = connection.query(question);
            let row: Option<(i64,)> =
                limits.iter().fold(query, |query, limit| query.bind(*limit)).fetch_optional().await?;
            Ok(row.is_some())
        })
        .await
    }
}
