//! The feed of changes that every running server must apply, and the position of a server in it.
//!
//! SQLite has one writer at a time, so its sequence numbers are in the order of the commits. In PostgreSQL a number is
//! given when a row is inserted and is visible when its transaction commits, which may be in another order: a reader
//! that asks for higher numbers alone would miss rows. There a position is a snapshot, and a reader asks for the rows
//! that the last snapshot did not include and the present one does; `docs/scale.md` explains why that misses none.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connection::{Connection, Dialect, Transaction};
use super::error::StoreError;
use crate::server::model::Change;

/// A place in the feed of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    /// SQLite: the number of the last change.
    Number(i64),
    /// PostgreSQL: the changes that this snapshot includes.
    Snapshot {
        /// `pg_snapshot` as text.
        snapshot: String,
        /// The start of the database server that took it. Another server, such as a promoted replica, may not have all
        /// that the first one had.
        server: String,
        /// The time at which it was taken, in seconds, by the database's clock.
        taken_at: i64,
    },
}

/// The changes since a position.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The position behind them.
    pub position: Position,
    /// The changes; `None` where some were deleted before they were read, so that the whole state must be loaded again.
    pub changes: Option<Vec<Change>>,
}

/// The greatest age of a snapshot from which changes are read: they are deleted after an hour.
const MAX_SNAPSHOT_AGE_S: i64 = 1_800;

type SqliteColumns = (i64, Option<i64>, Option<String>, Option<Uuid>);
type PostgresColumns = (String, String, i64, Option<String>, Option<Uuid>);

macro_rules! select_position {
    ($rest:literal) => {
        concat!(
            "select pg_current_snapshot()::text, pg_postmaster_start_time()::text, \
             extract(epoch from clock_timestamp())::bigint, kind, subject from (values (1)) as one ",
            $rest
        )
    };
}

impl Connection {
    /// Returns the position behind the last change.
    pub(crate) async fn position(&mut self) -> Result<Position, StoreError> {
        match self.dialect() {
            Dialect::Sqlite => {
                // sqlite_sequence remembers the number even after the rows are deleted.
                let row: Option<(i64,)> = self
                    .query("select seq from sqlite_sequence where name = 'changes'")
                    .fetch_optional()
                    .await?;
                Ok(Position::Number(row.map_or(0, |(seq,)| seq)))
            }
            Dialect::Postgres => {
                let rows = self
                    .query(select_position!("left join changes on false"))
                    .fetch_all::<PostgresColumns>()
                    .await?;
                Ok(postgres(rows)?.0)
            }
        }
    }

    /// Returns the changes that were committed after `position` and before the call.
    pub(crate) async fn changes_since(&mut self, position: &Position) -> Result<Changes, StoreError> {
        match position {
            Position::Number(seen) => self.numbered_changes(*seen).await,
            Position::Snapshot { snapshot, server, taken_at } => {
                let rows = self
                    .query(select_position!(
                        "left join changes on xid >= pg_snapshot_xmin($1::text::pg_snapshot) \
                         and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)"
                    ))
                    .bind(snapshot)
                    .fetch_all()
                    .await?;
                let (now, changes) = postgres(rows)?;
                let Position::Snapshot { server: this, taken_at: read_at, .. } = &now else {
                    unreachable!("PostgreSQL's positions are snapshots")
                };
                let is_complete = this == server && (0..MAX_SNAPSHOT_AGE_S).contains(&(read_at - taken_at));
                Ok(Changes { position: now, changes: is_complete.then_some(changes) })
            }
        }
    }

    async fn numbered_changes(&mut self, seen: i64) -> Result<Changes, StoreError> {
        // One statement, so that number and rows fit. Without a new change there is one row with the number alone.
        let rows: Vec<SqliteColumns> = self
            .query(
                "select last.seq, changes.seq, kind, subject from sqlite_sequence as last \
                 left join changes on changes.seq > $1 where last.name = 'changes' order by changes.seq",
            )
            .bind(seen)
            .fetch_all()
            .await?;
        let last = rows.first().map_or(0, |(last, ..)| *last);
        let next = rows.first().and_then(|(_, seq, ..)| *seq);
        // Otherwise some were deleted before they were read, as while the machine was suspended; or the database was
        // restored from a backup.
        let is_complete = last == seen || next == Some(seen + 1);
        let changes = rows.into_iter().filter_map(|(_, _, kind, subject)| Some(change(&kind?, subject?)));
        let changes: Vec<_> = changes.collect::<Result<_, _>>()?;
        Ok(Changes { position: Position::Number(last), changes: is_complete.then_some(changes) })
    }
}

impl Transaction {
    /// Notes a change, which every server applies once the transaction is committed.
    pub(crate) async fn note_change(&mut self, change: Change, at: DateTime<Utc>) -> Result<(), StoreError> {
        let (kind, subject) = match change {
            Change::User(id) => ("user", id),
            Change::Session(id) => ("session", id),
            Change::Keys => ("keys", Uuid::nil()),
        };
        self.has_changes = true;
        self.query("insert into changes (kind, subject, at) values ($1, $2, $3)")
            .bind(kind)
            .bind(subject)
            .bind(at.timestamp_millis())
            .execute()
            .await?;
        Ok(())
    }
}

fn postgres(rows: Vec<PostgresColumns>) -> Result<(Position, Vec<Change>), StoreError> {
    let (snapshot, server, taken_at, ..) =
        rows.first().cloned().ok_or_else(|| StoreError::Failed("the snapshot is missing".into()))?;
    let changes = rows.into_iter().filter_map(|(.., kind, subject)| Some(change(&kind?, subject?)));
    Ok((Position::Snapshot { snapshot, server, taken_at }, changes.collect::<Result<_, _>>()?))
}

fn change(kind: &str, subject: Uuid) -> Result<Change, StoreError> {
    match kind {
        "user" => Ok(Change::User(subject)),
        "session" => Ok(Change::Session(subject)),
        "keys" => Ok(Change::Keys),
        other => Err(StoreError::Failed(format!("a change has the unknown kind {other:?}"))),
    }
}
