//! A connection to either database, and a transaction on it. If SQLite and PostgreSQL understand the same statement, it
//! is written once; otherwise [`Connection::dialect`] takes one text for each.

use chrono::{DateTime, Utc};
use sqlx::Arguments;
#[cfg(feature = "postgres")]
use sqlx::{Postgres, postgres::PgArguments};
#[cfg(feature = "sqlite")]
use sqlx::{Sqlite, sqlite::SqliteArguments};

use super::classify::classify;
use super::error::{Fault, StoreError};
use crate::server::model::Event;

/// The database behind a connection.
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(dead_code, reason = "statements are written for both databases")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// A connection, taken from the pool for one read. [`store`](super) lists its operations.
pub struct Connection {
    pub(super) inner: Inner,
    /// The last failure on it.
    pub(super) fault: Fault,
    /// A statement has failed.
    pub(super) has_failed: bool,
}

pub(super) enum Inner {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::pool::PoolConnection<Sqlite>),
    #[cfg(feature = "sqlite")]
    SqliteSnapshot(sqlx::Transaction<'static, Sqlite>),
    #[cfg(feature = "sqlite")]
    SqliteTurn(super::sqlite::Turn),
    #[cfg(feature = "postgres")]
    Postgres(super::postgres::Checkout),
}

/// A transaction that writes. Dropped without a commit, it is rolled back.
pub struct Transaction {
    pub(super) connection: Connection,
    /// The recorded events; written to the log after the commit.
    pub(super) events: Vec<Event>,
    /// In PostgreSQL, the trace by which to find out later whether the transaction was committed; none until it has
    /// recorded an event.
    pub(super) trace: Option<Trace>,
    /// It has noted a change for other servers.
    pub(super) has_changes: bool,
}

/// The trace that a transaction leaves in PostgreSQL.
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "nobody reads it in SQLite"))]
pub(super) struct Trace {
    /// The number of the transaction.
    pub(super) xid: String,
    /// The sequence that the number belongs to.
    pub(super) sequence: String,
    /// The number of the event that it recorded last, and the event.
    pub(super) event: (i64, Event),
}

impl std::ops::Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl std::ops::DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Transaction {
    pub(super) fn on(inner: Inner) -> Self {
        Self { connection: Connection::on(inner), events: Vec::new(), trace: None, has_changes: false }
    }
}

impl Connection {
    pub(super) fn on(inner: Inner) -> Self {
        Self { inner, fault: Fault::None, has_failed: false }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.inner {
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) | Inner::SqliteSnapshot(_) | Inner::SqliteTurn(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a statement whose text both databases understand.
    pub(super) fn query(&mut self, sql: &'static str) -> Query<'_> {
        let arguments = match &self.inner {
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) | Inner::SqliteSnapshot(_) | Inner::SqliteTurn(_) => {
                Bound::Sqlite(SqliteArguments::default())
            }
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => Bound::Postgres(PgArguments::default()),
        };
        Query { connection: self, sql, arguments, failed: None }
    }

    /// Begins a statement that the two databases write differently.
    pub(super) fn query_by_dialect(&mut self, sqlite: &'static str, postgres: &'static str) -> Query<'_> {
        match self.dialect() {
            Dialect::Sqlite => self.query(sqlite),
            Dialect::Postgres => self.query(postgres),
        }
    }

    fn failed(&mut self, error: sqlx::Error) -> StoreError {
        let (error, fault) = classify(error);
        self.has_failed = true;
        if fault != Fault::None {
            self.fault = fault;
        }
        error
    }
}

/// Begins a `select` whose rows stay locked until the transaction ends. SQLite has one writer at a time and needs no
/// row locks.
macro_rules! select_for_update {
    ($connection:expr, $($sql:expr),+) => {
        $connection.query_by_dialect(concat!($($sql),+), concat!($($sql),+, " for update"))
    };
}

pub(super) use select_for_update;

/// A statement with its arguments.
pub(super) struct Query<'c> {
    connection: &'c mut Connection,
    sql: &'static str,
    arguments: Bound,
    failed: Option<sqlx::error::BoxDynError>,
}

enum Bound {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteArguments),
    #[cfg(feature = "postgres")]
    Postgres(PgArguments),
}

impl Query<'_> {
    /// Binds the next argument.
    pub(super) fn bind<'v>(mut self, value: impl Value<'v>) -> Self {
        let bound = match &mut self.arguments {
            #[cfg(feature = "sqlite")]
            Bound::Sqlite(arguments) => arguments.add(value),
            #[cfg(feature = "postgres")]
            Bound::Postgres(arguments) => arguments.add(value),
        };
        if let Err(error) = bound {
            self.failed = Some(error);
        }
        self
    }

    /// Runs the statement and returns the number of rows that it changed.
    pub(super) async fn execute(mut self) -> Result<u64, StoreError> {
        self.check()?;
        let Self { connection, sql, arguments, .. } = self;
        let done = match (&mut connection.inner, arguments) {
            #[cfg(feature = "sqlite")]
            (Inner::Sqlite(to), Bound::Sqlite(arguments)) => {
                sqlx::query_with(sql, arguments).execute(&mut **to).await.map(|done| done.rows_affected())
            }
            #[cfg(feature = "sqlite")]
            (Inner::SqliteSnapshot(to), Bound::Sqlite(arguments)) => {
                sqlx::query_with(sql, arguments).execute(&mut **to).await.map(|done| done.rows_affected())
            }
            #[cfg(feature = "sqlite")]
            (Inner::SqliteTurn(turn), Bound::Sqlite(arguments)) => {
                sqlx::query_with(sql, arguments).execute(&mut **turn).await.map(|done| done.rows_affected())
            }
            #[cfg(feature = "postgres")]
            (Inner::Postgres(to), Bound::Postgres(arguments)) => {
                let query = sqlx::query_with(sql, arguments).persistent(to.keeps_statements());
                to.run(async |to| query.execute(to).await).await.map(|done| done.rows_affected())
            }
            #[allow(
                unreachable_patterns,
                reason = "a query is bound for the connection that it was begun on"
            )]
            _ => unreachable!("a query is bound for the connection that it was begun on"),
        };
        done.map_err(|error| connection.failed(error))
    }

    /// Runs the statement and returns its first row, if there is one.
    pub(super) async fn fetch_optional<R: Row>(self) -> Result<Option<R>, StoreError> {
        Ok(self.fetch_all().await?.into_iter().next())
    }

    /// Runs the statement and returns its rows.
    pub(super) async fn fetch_all<R: Row>(mut self) -> Result<Vec<R>, StoreError> {
        self.check()?;
        let Self { connection, sql, arguments, .. } = self;
        let rows = match (&mut connection.inner, arguments) {
            #[cfg(feature = "sqlite")]
            (Inner::Sqlite(to), Bound::Sqlite(arguments)) => {
                sqlx::query_as_with(sql, arguments).fetch_all(&mut **to).await
            }
            #[cfg(feature = "sqlite")]
            (Inner::SqliteSnapshot(to), Bound::Sqlite(arguments)) => {
                sqlx::query_as_with(sql, arguments).fetch_all(&mut **to).await
            }
            #[cfg(feature = "sqlite")]
            (Inner::SqliteTurn(turn), Bound::Sqlite(arguments)) => {
                sqlx::query_as_with(sql, arguments).fetch_all(&mut **turn).await
            }
            #[cfg(feature = "postgres")]
            (Inner::Postgres(to), Bound::Postgres(arguments)) => {
                let query = sqlx::query_as_with(sql, arguments).persistent(to.keeps_statements());
                to.run(async |to| query.fetch_all(to).await).await
            }
            #[allow(
                unreachable_patterns,
                reason = "a query is bound for the connection that it was begun on"
            )]
            _ => unreachable!("a query is bound for the connection that it was begun on"),
        };
        rows.map_err(|error| connection.failed(error))
    }

    fn check(&mut self) -> Result<(), StoreError> {
        match self.failed.take() {
            None => Ok(()),
            Some(error) => Err(StoreError::Failed(format!("an argument cannot be bound: {error}"))),
        }
    }
}

macro_rules! for_each_database {
    ($feature:literal, $database:ty, $row:ty, $value:ident, $from_row:ident) => {
        #[cfg(feature = $feature)]
        pub(super) trait $value<'v>: sqlx::Encode<'v, $database> + sqlx::Type<$database> {}
        #[cfg(feature = $feature)]
        impl<'v, T: sqlx::Encode<'v, $database> + sqlx::Type<$database>> $value<'v> for T {}
        #[cfg(not(feature = $feature))]
        pub(super) trait $value<'v> {}
        #[cfg(not(feature = $feature))]
        impl<'v, T> $value<'v> for T {}

        #[cfg(feature = $feature)]
        pub(super) trait $from_row: for<'r> sqlx::FromRow<'r, $row> {}
        #[cfg(feature = $feature)]
        impl<T: for<'r> sqlx::FromRow<'r, $row>> $from_row for T {}
        #[cfg(not(feature = $feature))]
        pub(super) trait $from_row {}
        #[cfg(not(feature = $feature))]
        impl<T> $from_row for T {}
    };
}

for_each_database!("sqlite", Sqlite, sqlx::sqlite::SqliteRow, SqliteValue, SqliteFromRow);
for_each_database!("postgres", Postgres, sqlx::postgres::PgRow, PostgresValue, PostgresFromRow);

/// A value that both databases store in the same way.
pub(super) trait Value<'v>: SqliteValue<'v> + PostgresValue<'v> {}

impl<'v, T: SqliteValue<'v> + PostgresValue<'v>> Value<'v> for T {}

/// A row that is read from both databases in the same way: a tuple of values.
pub(super) trait Row: SqliteFromRow + PostgresFromRow + Send + Unpin {}

impl<T: SqliteFromRow + PostgresFromRow + Send + Unpin> Row for T {}

/// Returns the time in a column, which is in milliseconds since the epoch.
pub(super) fn time(millis: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| StoreError::Failed(format!("{millis} is not a time in milliseconds")))
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("events", &self.events).finish_non_exhaustive()
    }
}
