//! Replacement of the installation key: the rows to be sealed anew, and the handover to running servers.

use uuid::Uuid;

use super::connection::{Connection, Transaction, time};
use super::error::StoreError;
use crate::server::model::{EarlierKey, Handover};

/// A column of sealed values in a table whose key is an id.
#[derive(Debug)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    select: [&'static str; 2],
    update: &'static str,
}

/// A sealed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// The key of its row.
    pub key: Uuid,
    /// The associated data: the key, then the other columns.
    pub about: Vec<Vec<u8>>,
    /// The seal.
    pub sealed: Vec<u8>,
}

/// Names a sealed column: its table, its key, which is an id, and up to two columns of text. These are its associated data,
/// in this order.
macro_rules! sealed_column {
    ($table:literal, $column:literal, $key:literal) => {
        sealed_column!($table, $column, $key, "cast(null as text)", "cast(null as text)")
    };
    ($table:literal, $column:literal, $key:literal, $one:literal) => {
        sealed_column!($table, $column, $key, $one, "cast(null as text)")
    };
    ($table:literal, $column:literal, $key:literal, $one:literal, $two:literal) => {
        SealedColumn {
            table: $table,
            select: [
                concat!(
                    "select ",
                    $key,
                    ", cast(",
                    $one,
                    " as blob), cast(",
                    $two,
                    " as blob), ",
                    $column,
                    " from ",
                    $table,
                    " where ",
                    $column,
                    " is not null and ",
                    $key,
                    " > $1 order by ",
                    $key,
                    " limit $2"
                ),
                concat!(
                    "select ",
                    $key,
                    ", convert_to(",
                    $one,
                    ", 'UTF8'), convert_to(",
                    $two,
                    ", 'UTF8'), ",
                    $column,
                    " from ",
                    $table,
                    " where ",
                    $column,
                    " is not null and ",
                    $key,
                    " > $1 order by ",
                    $key,
                    " limit $2 for update"
                ),
            ],
            update: concat!("update ", $table, " set ", $column, " = $2 where ", $key, " = $1"),
        }
    };
}

/// The tokens in mails that wait to be sent.
pub const MAIL_OUTBOX: SealedColumn = sealed_column!("mail_outbox", "sealed", "id", "kind", "recipient");

/// The secrets of authenticator apps.
pub const TOTP: SealedColumn = sealed_column!("totp", "sealed", "user_id");

type SealedColumns = (Uuid, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);
type HandoverColumns = (Uuid, i64, i64, Vec<u8>, Option<Vec<u8>>, i64);

macro_rules! select_handovers {
    ($rest:literal) => {
        concat!(
            "select id, from_generation, to_generation, public_key, answer, created_at from key_handovers ",
            $rest
        )
    };
}

impl Connection {
    /// Returns the tables of which something is still to be sealed anew, each with the last row that was.
    pub async fn reseals(&mut self) -> Result<Vec<(String, Option<Uuid>)>, StoreError> {
        let query = self.query("select subject, done_to from reseals order by subject");
        let rows: Vec<(String, Option<Vec<u8>>)> = query.fetch_all().await?;
        let id = |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok();
        Ok(rows.into_iter().map(|(subject, done_to)| (subject, done_to.and_then(id))).collect())
    }

    /// Returns the requests for the newest installation key.
    pub async fn handovers(&mut self) -> Result<Vec<Handover>, StoreError> {
        let rows: Vec<HandoverColumns> =
            self.query(select_handovers!("order by created_at, id")).fetch_all().await?;
        rows.into_iter().map(handover).collect()
    }

    /// Returns a request.
    pub async fn handover(&mut self, id: Uuid) -> Result<Option<Handover>, StoreError> {
        let row = self.query(select_handovers!("where id = $1")).bind(id).fetch_optional().await?;
        row.map(handover).transpose()
    }
}

impl Transaction {
    /// Replaces the earlier installation keys.
    pub async fn replace_earlier_keys(&mut self, earlier: &[EarlierKey]) -> Result<(), StoreError> {
        self.query("delete from earlier_installation_keys").execute().await?;
        for EarlierKey { generation, sealed } in earlier {
            self.query("insert into earlier_installation_keys (generation, sealed) values ($1, $2)")
                .bind(i64::from(*generation))
                .bind(sealed)
                .execute()
                .await?;
        }
        Ok(())
    }

    /// Notes that the sealed values of a table are to be sealed anew, from the first row on.
    pub async fn insert_reseal(&mut self, table: &str) -> Result<(), StoreError> {
        let query = self.query("insert into reseals (subject) values ($1)");
        query.bind(table).execute().await.map(drop)
    }

    /// Notes the last row that was sealed anew.
    pub async fn set_reseal(&mut self, table: &str, done_to: Uuid) -> Result<(), StoreError> {
        let query = self.query("update reseals set done_to = $2 where subject = $1");
        query.bind(table).bind(&done_to.as_bytes()[..]).execute().await.map(drop)
    }

    /// Notes that all of a table is sealed anew.
    pub async fn delete_reseal(&mut self, table: &str) -> Result<(), StoreError> {
        self.query("delete from reseals where subject = $1").bind(table).execute().await.map(drop)
    }

    /// Returns at most `limit` sealed values of the rows after `after`, in the order of their keys, and locks them.
    pub async fn lock_sealed(
        &mut self,
        column: &SealedColumn,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let [sqlite, postgres] = column.select;
        let query = self.query_by_dialect(sqlite, postgres).bind(after).bind(i64::from(limit));
        let rows: Vec<SealedColumns> = query.fetch_all().await?;
        let row = |(key, one, two, sealed): SealedColumns| {
            let about = [Some(key.as_bytes().to_vec()), one, two].into_iter().flatten().collect();
            SealedRow { key, about, sealed }
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Replaces a sealed value.
    pub async fn replace_sealed(
        &mut self,
        column: &SealedColumn,
        key: Uuid,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        self.query(column.update).bind(key).bind(sealed).execute().await.map(drop)
    }

    /// Stores a request for the newest installation key.
    pub async fn insert_handover(&mut self, row: &Handover) -> Result<(), StoreError> {
        self.query(
            "insert into key_handovers (id, from_generation, to_generation, public_key, created_at) \
             values ($1, $2, $3, $4, $5)",
        )
        .bind(row.id)
        .bind(i64::from(row.from))
        .bind(i64::from(row.to))
        .bind(&row.public_key)
        .bind(row.created_at.timestamp_millis())
        .execute()
        .await
        .map(drop)
    }

    /// Stores the answer to a request that has none. Returns the number of rows changed.
    pub async fn answer_handover(&mut self, id: Uuid, answer: &[u8]) -> Result<u64, StoreError> {
        let query = self.query("update key_handovers set answer = $2 where id = $1 and answer is null");
        query.bind(id).bind(answer).execute().await
    }

    /// Deletes a request.
    pub async fn delete_handover(&mut self, id: Uuid) -> Result<(), StoreError> {
        self.query("delete from key_handovers where id = $1").bind(id).execute().await.map(drop)
    }

    /// Deletes every request.
    pub async fn delete_handovers(&mut self) -> Result<(), StoreError> {
        self.query("delete from key_handovers").execute().await.map(drop)
    }
}

fn handover(columns: HandoverColumns) -> Result<Handover, StoreError> {
    let (id, from, to, public_key, answer, created_at) = columns;
    let generation = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let (from, to) = (generation(from), generation(to));
    Ok(Handover { id, from, to, public_key, answer, created_at: time(created_at)? })
}
