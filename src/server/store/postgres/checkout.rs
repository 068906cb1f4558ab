//! A connection taken from the pool.

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;

/// A connection taken from the pool. If it is dropped in the middle of a transaction, as when the client of a request
/// went away, it is closed, which rolls the transaction back.
pub(in crate::server::store) struct Checkout {
    connection: PoolConnection<Postgres>,
    pub(super) in_transaction: bool,
}

impl Checkout {
    pub(super) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, in_transaction: false }
    }

    /// Closes the connection when it is dropped, instead of returning it to the pool.
    pub(in crate::server::store) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if self.in_transaction {
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
