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
use super::xid_sequence::xid_sequence;
use crate::server::model::Change;

/// A place in the feed of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// SQLite: the number of the last change.
    Number(i64),
    /// PostgreSQL: the changes that this snapshot includes.
    Snapshot {
        /// `pg_snapshot` as text.
        snapshot: String,
        /// The sequence that its transaction numbers belong to. After a crash or on a promoted replica there is a new
        /// one, and the snapshot means nothing.
        sequence: String,
    },
}

/// The changes since a position.
#[derive(Debug)]
pub struct Changes {
    /// The position after them.
    pub position: Position,
    /// The changes; `None` if some were deleted before they were read, so that the whole state must be loaded again.
    pub changes: Option<Vec<Change>>,
}

type SqliteColumns = (i64, Option<i64>, Option<String>, Option<Uuid>);
type PostgresColumns = (String, Option<String>, bool, Option<String>, Option<Uuid>);

macro_rules! select_position {
    ($is_complete:literal, $rest:literal) => {
        concat!(
            "select pg_current_snapshot()::text, ",
            xid_sequence!(),
            ", ",
            $is_complete,
            ", kind, subject from changes_deleted left join changes on ",
            $rest
        )
    };
}

impl Connection {
    /// Returns the position after the last change.
    pub async fn position(&mut self) -> Result<Position, StoreError> {
        match self.dialect() {
            Dialect::Sqlite => {
                // sqlite_sequence remembers the number even after the rows are deleted.
                let row: Option<(i64,)> = self
                    .query("select seq from sqlite_sequence where name = 'changes'")
                    .fetch_optional()
                    .await?;
                Ok(Position::Number(row.map_or(0, |(seq,)| seq)))
            }
            Dialect::Postgres => Ok(self.snapshot(None).await?.position),
        }
    }

    /// Returns the changes that were committed after `position` and before the call.
    pub async fn changes_since(&mut self, position: &Position) -> Result<Changes, StoreError> {
        match position {
            Position::Number(seen) => self.numbered_changes(*seen).await,
            Position::Snapshot { snapshot, sequence } => {
                let mut new = self.snapshot(Some(snapshot)).await?;
                if !matches!(&new.position, Position::Snapshot { sequence: now, .. } if now == sequence) {
                    new.changes = None;
                }
                Ok(new)
            }
        }
    }

    /// Returns the current snapshot, and the changes that it includes and `last` does not.
    async fn snapshot(&mut self, last: Option<&str>) -> Result<Changes, StoreError> {
        loop {
            let rows: Vec<PostgresColumns> = match last {
                None => self.query(select_position!("true", "false")).fetch_all().await?,
                Some(last) => {
                    // `select` keeps the planner from looking at the value, for which it would plan each call anew:
                    // that takes longer than the statement.
                    let query = self.query(select_position!(
                        "pg_visible_in_snapshot(deleted_by, (select $1::text::pg_snapshot)) \
                         or through < pg_snapshot_xmin((select $1::text::pg_snapshot))",
                        "xid >= pg_snapshot_xmin((select $1::text::pg_snapshot)) \
                         and not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))"
                    ));
                    query.bind(last).fetch_all().await?
                }
            };
            let Some((snapshot, sequence, is_complete, ..)) = rows.first().cloned() else {
                return Err(StoreError::Failed("the table changes_deleted has no row".into()));
            };
            if let Some(sequence) = sequence {
                let changes =
                    rows.into_iter().filter_map(|(.., kind, subject)| Some(change(&kind?, subject?)));
                let changes: Vec<_> = changes.collect::<Result<_, _>>()?;
                let position = Position::Snapshot { snapshot, sequence };
                return Ok(Changes { position, changes: is_complete.then_some(changes) });
            }
            // Another server may do so at the same time.
            let begin = "insert into xid_sequence (singleton) values (1) on conflict do nothing";
            self.query(begin).execute().await?;
        }
    }

    async fn numbered_changes(&mut self, seen: i64) -> Result<Changes, StoreError> {
        // One statement, so that number and rows are consistent. Without a new change there is one row with only the
        // number.
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
        // Otherwise some were deleted before they were read, for example while the machine was suspended. Or the
        // database was restored from a backup.
        let is_complete = last == seen || next == Some(seen + 1);
        let changes = rows.into_iter().filter_map(|(_, _, kind, subject)| Some(change(&kind?, subject?)));
        let changes: Vec<_> = changes.collect::<Result<_, _>>()?;
        Ok(Changes { position: Position::Number(last), changes: is_complete.then_some(changes) })
    }
}

impl Transaction {
    /// Adds a change to the feed. Every server applies it after the commit.
    pub async fn note_change(&mut self, change: Change, at: DateTime<Utc>) -> Result<(), StoreError> {
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

fn change(kind: &str, subject: Uuid) -> Result<Change, StoreError> {
    match kind {
        "user" => Ok(Change::User(subject)),
        "session" => Ok(Change::Session(subject)),
        "keys" => Ok(Change::Keys),
        other => Err(StoreError::Failed(format!("a change has the unknown kind {other:?}"))),
    }
}
