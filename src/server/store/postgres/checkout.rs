//! A connection taken from the pool.

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;

/// A connection taken from the pool. One that was given up in the middle of a transaction or a statement, as when a
/// request's client went away or the database did not answer in time, is closed. That rolls the transaction back, and the
/// pool does not wait for the answer.
pub(in crate::server::store) struct Checkout {
    connection: PoolConnection<Postgres>,
    pub(super) in_transaction: bool,
    /// A statement was sent and not yet answered.
    pub(in crate::server::store) in_statement: bool,
}

impl Checkout {
    pub(super) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, in_transaction: false, in_statement: false }
    }

    /// Closes the connection instead of giving it back.
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
