//! A connection taken from the pool.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Postgres};

/// A connection taken from the pool. One that was given up in the middle of a transaction or a statement, as when a
/// request's client went away or the database did not answer in time, is closed. That rolls the transaction back, and
/// the pool does not wait for the answer.
pub(in crate::server::store) struct Checkout {
    connection: PoolConnection<Postgres>,
    /// Behind a pooler in transaction mode: the statement that begins a transaction in the schema.
    begin: Option<Arc<str>>,
    pub(super) in_transaction: bool,
    /// A statement was sent and not yet answered.
    pub(in crate::server::store) in_statement: bool,
}

impl Checkout {
    pub(super) fn new(connection: PoolConnection<Postgres>, begin: Option<Arc<str>>) -> Self {
        Self { connection, begin, in_transaction: false, in_statement: false }
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        match self.begin.clone() {
            None => self.connection.execute("begin").await,
            Some(begin) => self.connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(&*begin))).await,
        }
        .map(drop)
    }

    /// Runs one statement. Behind a pooler in transaction mode it has a transaction of its own, unless it is in one:
    /// its preparation and its execution could otherwise reach different connections of the database.
    pub(in crate::server::store) async fn run<T>(
        &mut self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.in_statement = true;
        let is_alone = self.begin.is_some() && !self.in_transaction;
        if is_alone {
            self.begin().await?;
        }
        let done = statement(&mut self.connection).await;
        if is_alone {
            let end = if done.is_ok() { "commit" } else { "rollback" };
            if let Err(error) = self.connection.execute(end).await {
                return done.and(Err(error));
            }
            self.in_transaction = false;
        }
        self.in_statement = false;
        done
    }

    /// Tells whether statements are prepared once for the connection. A pooler in transaction mode gives each
    /// transaction another connection of the database, which may lack them.
    pub(in crate::server::store) fn keeps_statements(&self) -> bool {
        self.begin.is_none()
    }

    /// Closes the connection when it is dropped, instead of returning it to the pool.
    pub(in crate::server::store) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if self.in_transaction || self.in_statement {
            self.connection.close_on_drop();
        }
    }
}

impl std::ops::Deref for Checkout {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl std::ops::DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
