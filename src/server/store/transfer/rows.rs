//! The rows of a table, read from and written to either database, a few at a time.

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Executor};

use super::super::classify::classify;
use super::super::connection::{Connection, Inner};
use super::super::error::StoreError;
#[cfg(feature = "postgres")]
use super::schema::Special;
use super::schema::{Kind, Table};

/// The number of rows of a table, and SHA-256 of them. The same rows have the same digest in SQLite and PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// The name of the table.
    pub table: String,
    /// The number of rows.
    pub rows: u64,
    /// SHA-256 of all of its rows, in the order of its primary key.
    pub digest: [u8; 32],
}

/// A value of a row.
#[derive(Debug)]
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

type Row = Vec<Cell>;

/// Rows written by one statement of SQLite, which takes 32,766 arguments.
#[cfg(feature = "sqlite")]
const ROWS_AT_ONCE: usize = 200;

/// Bytes sent at once to PostgreSQL.
#[cfg(feature = "postgres")]
const BYTES_AT_ONCE: usize = 64 * 1024;

/// How often progress is reported, in rows.
const REPORT_EVERY: u64 = 1_000;

fn failed(error: sqlx::Error) -> StoreError {
    classify(error).0
}

/// Runs statements that return nothing.
pub(super) async fn run(connection: &mut Connection, sql: String) -> Result<(), StoreError> {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    match &mut connection.inner {
        #[cfg(feature = "sqlite")]
        Inner::Sqlite(to) => to.execute(sql).await.map(drop),
        #[cfg(feature = "sqlite")]
        Inner::SqliteSnapshot(to) => to.execute(sql).await.map(drop),
        #[cfg(feature = "sqlite")]
        Inner::SqliteTurn(to) => (**to).execute(sql).await.map(drop),
        #[cfg(feature = "postgres")]
        Inner::Postgres(to) => to.execute(sql).await.map(drop),
    }
    .map_err(failed)
}

/// Calls `each` with the rows of the table, in the order of its key.
async fn for_each_row(
    connection: &mut Connection,
    table: &Table,
    mut each: impl AsyncFnMut(Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    macro_rules! read {
        ($connection:expr) => {{
            let mut rows =
                sqlx::query(AssertSqlSafe(table.select())).persistent(false).fetch(&mut **$connection);
            while let Some(row) = rows.try_next().await.map_err(failed)? {
                each(cells(table, &row).map_err(failed)?).await?;
            }
        }};
    }
    match &mut connection.inner {
        #[cfg(feature = "sqlite")]
        Inner::Sqlite(from) => read!(from),
        #[cfg(feature = "sqlite")]
        Inner::SqliteSnapshot(from) => read!(from),
        #[cfg(feature = "sqlite")]
        Inner::SqliteTurn(turn) => read!(turn),
        #[cfg(feature = "postgres")]
        Inner::Postgres(from) => read!(from),
    }
    Ok(())
}

fn cells<R>(table: &Table, row: &R) -> Result<Row, sqlx::Error>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    for<'r> Option<i64>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Option<Vec<u8>>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let cell = |(place, column): (usize, &super::schema::Column)| {
        Ok(match column.kind {
            Kind::Integer => row.try_get::<Option<i64>, _>(place)?.map_or(Cell::Null, Cell::Integer),
            Kind::Text => row.try_get::<Option<String>, _>(place)?.map_or(Cell::Null, Cell::Text),
            Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(place)?.map_or(Cell::Null, Cell::Bytes),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// Counts the rows of the table and digests them, in the order of its key.
pub(super) async fn digest(
    connection: &mut Connection,
    table: &Table,
    mut progress: impl FnMut(&str, u64),
) -> Result<TableDigest, StoreError> {
    let (mut hash, mut rows) = (Sha256::new(), 0);
    for_each_row(connection, table, async |row| {
        for cell in &row {
            // The kind and the length come first, so that no two rows have the same bytes.
            let (kind, number): (u8, [u8; 8]);
            let bytes: &[u8] = match cell {
                Cell::Null => {
                    kind = 0;
                    &[]
                }
                Cell::Integer(value) => {
                    (kind, number) = (1, value.to_be_bytes());
                    &number
                }
                Cell::Text(text) => {
                    kind = 2;
                    text.as_bytes()
                }
                Cell::Bytes(bytes) => {
                    kind = 3;
                    bytes
                }
            };
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        rows += 1;
        if rows % REPORT_EVERY == 0 {
            progress(&table.name, REPORT_EVERY);
        }
        Ok(())
    })
    .await?;
    progress(&table.name, rows % REPORT_EVERY);
    Ok(TableDigest { table: table.name.clone(), rows, digest: hash.finalize().into() })
}

/// Copies the rows of the table `from` into the table `to`, which has the same columns and is empty.
pub(super) async fn copy(
    source: &mut Connection,
    from: &Table,
    target: &mut Connection,
    to: &Table,
    mut progress: impl FnMut(&str, u64),
) -> Result<(), StoreError> {
    let mut rows = 0;
    let mut report = || {
        rows += 1;
        if rows == REPORT_EVERY {
            progress(&to.name, REPORT_EVERY);
            rows = 0;
        }
    };
    match &mut target.inner {
        #[cfg(feature = "sqlite")]
        Inner::Sqlite(_) | Inner::SqliteSnapshot(_) => {
            return Err(StoreError::Failed("the connection only reads".into()));
        }
        #[cfg(feature = "sqlite")]
        Inner::SqliteTurn(connection) => {
            let mut waiting = Vec::with_capacity(ROWS_AT_ONCE);
            for_each_row(source, from, async |row| {
                report();
                waiting.push(row);
                if waiting.len() == ROWS_AT_ONCE {
                    insert(connection, to, &mut waiting).await?;
                }
                Ok(())
            })
            .await?;
            insert(connection, to, &mut waiting).await?;
        }
        #[cfg(feature = "postgres")]
        Inner::Postgres(connection) => {
            let statement = format!("copy {} ({}) from stdin", to.name, to.column_names());
            let mut copy = connection.copy_in_raw(&statement).await.map_err(failed)?;
            let mut waiting = Vec::with_capacity(2 * BYTES_AT_ONCE);
            for_each_row(source, from, async |row| {
                report();
                write_copy_line(&mut waiting, to, &row);
                if waiting.len() >= BYTES_AT_ONCE {
                    copy.send(waiting.as_slice()).await.map_err(failed)?;
                    waiting.clear();
                }
                Ok(())
            })
            .await?;
            copy.send(waiting).await.map_err(failed)?;
            copy.finish().await.map_err(failed)?;
            for column in to.columns.iter().filter(|column| column.is_identity) {
                let (table, column) = (&to.name, &column.name);
                let sql = format!(
                    "select setval(pg_get_serial_sequence('{table}', '{column}'), \
                     coalesce(max({column}), 1), max({column}) is not null) from {table}"
                );
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection).await.map_err(failed)?;
            }
        }
    }
    progress(&to.name, rows);
    Ok(())
}

#[cfg(feature = "sqlite")]
async fn insert(
    connection: &mut sqlx::SqliteConnection,
    table: &Table,
    rows: &mut Vec<Row>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let values = vec![row; rows.len()].join(", ");
    let sql = format!("insert into {} ({}) values {values}", table.name, table.column_names());
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for cell in rows.drain(..).flatten() {
        query = match cell {
            Cell::Null => query.bind(None::<i64>),
            Cell::Integer(value) => query.bind(value),
            Cell::Text(text) => query.bind(text),
            Cell::Bytes(bytes) => query.bind(bytes),
        };
    }
    query.execute(&mut *connection).await.map(drop).map_err(failed)
}

/// Writes a row in the text format of `copy` (PostgreSQL's manual, COPY, "Text Format").
#[cfg(feature = "postgres")]
fn write_copy_line(to: &mut Vec<u8>, table: &Table, row: &Row) {
    for (place, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
        if place > 0 {
            to.push(b'\t');
        }
        match cell {
            Cell::Null => to.extend_from_slice(b"\\N"),
            Cell::Integer(value) => to.extend_from_slice(value.to_string().as_bytes()),
            Cell::Text(text) => {
                for byte in text.bytes() {
                    match byte {
                        b'\\' => to.extend_from_slice(b"\\\\"),
                        b'\n' => to.extend_from_slice(b"\\n"),
                        b'\r' => to.extend_from_slice(b"\\r"),
                        b'\t' => to.extend_from_slice(b"\\t"),
                        other => to.push(other),
                    }
                }
            }
            Cell::Bytes(bytes) => {
                if column.special != Special::Uuid {
                    to.extend_from_slice(b"\\\\x");
                }
                for byte in bytes {
                    to.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
                }
            }
        }
    }
    to.push(b'\n');
}
