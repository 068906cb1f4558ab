//! All SQL. A rule reads through [`Store::read`] and writes through `Store::write`, which runs it in one transaction.
//! The operations are methods of [`Connection`] (reads) and `Transaction` (writes), each written once for SQLite and
//! PostgreSQL:
//!
//! | file | operations |
//! |---|---|
//! | `users` | `user`, `user_by_email`, `users_after`; `lock_user`, `insert_user`, `insert_users`, `set_name`, `set_roles`, `set_email_verified`, `set_password_hash`, `set_disabled`, `set_last_login`, `delete_user` |
//! | `hashes` | `has_hashes_to_seal`; `lock_hashes_to_seal`, `lock_hashes_after`, `replace_hashes` |
//! | `rekey` | `reseals`, `handovers`, `handover`; `replace_earlier_keys`, `insert_reseal`, `set_reseal`, `delete_reseal`, `lock_sealed`, `replace_sealed`, `insert_handover`, `answer_handover`, `delete_handover`, `delete_handovers` |
//! | `terms` | `users_page`, `has_users_to_index`; `take_users_to_index`, `replace_terms`, `lock_admins` |
//! | `sessions` | `session`, `sessions_of`, `stored_sessions_of`, `ended_sessions`; `lock_session`, `insert_session`, `set_refresh_digest`, `extend_tokens`, `rotation`, `insert_rotation`, `end_session`, `end_sessions_of`, `surplus_sessions`, `set_last_seen` |
//! | `second_factors` | `totp`, `count_recovery_codes`, `sign_in_challenge`; `put_totp`, `confirm_totp`, `use_totp_step`, `delete_totp`, `replace_recovery_codes`, `use_recovery_code`, `set_second_factors`, `delete_second_factors`, `insert_sign_in_challenge`, `count_answer`, `delete_sign_in_challenge`, `set_methods` |
//! | `passkeys` | `passkeys_of`, `passkey_by_credential`; `insert_passkey`, `rename_passkey`, `delete_passkey`, `delete_passkeys_since`, `use_passkey`, `use_challenge` |
//! | `keys` | `installation`, `earlier_keys`, `signing_keys`; `insert_installation`, `replace_seal`, `lock_signing_keys`, `insert_key`, `replace_key`, `delete_key`, `raise_token_lifetime` |
//! | `events` | `events`, `events_page`; `record`, `record_or_count`, `forget_events_of` |
//! | `statistics` | `event_counts`, `count_all`; `Store::merge_event_counts` |
//! | `attempts` | `is_known_address`; `lock_counters`, `put_counter`, `uncount`, `remember_address` |
//! | `changes` | `position`, `changes_since`; `note_change` |
//! | `mail` | `due_mails`, `waiting_mails`, `count_mails`, `mail_token`, `is_reserved`; `insert_mail`, `claim_mail`, `set_mail_token`, `delay_mail`, `delete_mail`, `insert_mail_token`, `delete_mail_token`, `delete_mail_tokens`, `revoke_mail_tokens`, `delete_undo_tokens`, `delete_waiting_mails`, `count_code_try`, `set_email`, `remove_password` |
//! | `retention` | `Store::delete_expired` |
//! | `transfer` | `Store::copy_to`, `Store::digests`, `Store::problems`: from one database into another |
//! | `backup` | `Store::back_up`, `Restore`, on SQLite |
//! | `fast_path` | `Store::try_first_use`, `Store::try_count`, `Store::try_begin_session`, `Store::try_record`: transactions as one statement each, in PostgreSQL |
//!
//! `sqlite/` and `postgres/` own what differs: connecting, migrating, beginning and committing. The deadline and the
//! repetition of an operation are in `retry`. There are no rules here.

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("the server needs a database: turn on the feature `sqlite` or `postgres`");

mod attempts;
#[cfg(feature = "sqlite")]
mod backup;
mod changes;
mod classify;
mod connection;
mod counts;
mod error;
mod events;
mod fast_path;
mod hashes;
mod keys;
mod mail;
mod passkeys;
#[cfg(feature = "postgres")]
mod postgres;
mod rekey;
mod retention;
mod retry;
mod second_factors;
mod sessions;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statistics;
mod terms;
mod transfer;
mod users;
mod xid_sequence;

#[cfg(feature = "sqlite")]
pub use backup::{Backup, BackupError, Restore};
pub use changes::Position;
pub use connection::Connection;
pub use connection::Transaction;
pub use error::StoreError;
#[cfg(feature = "testing")]
pub use events::EVENT_STATEMENTS;
pub use fast_path::{Counted, FirstUse, FreeCount};
#[cfg(feature = "testing")]
pub use hashes::HASH_STATEMENTS;
pub use hashes::Resealed;
pub use rekey::{MAIL_OUTBOX, SealedColumn, SealedRow, TOTP};
pub use retry::TIMEOUT;
#[cfg(feature = "testing")]
pub use terms::PAGE_STATEMENTS;
pub use transfer::{Copied, CopyError, TableDigest};

use std::sync::Arc;

use super::config::{self, DatabaseUrl};
use classify::classify;
pub(crate) use counts::StoreCounts;
use counts::Timed;
use error::{CommitError, Fault};
use retry::{Retry, with_timeout};

/// The database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    counts: Arc<StoreCounts>,
}

#[derive(Debug, Clone)]
enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Pools),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Pool),
}

impl Store {
    /// Opens the database of the settings and brings its schema up to date. A missing SQLite file is created, readable
    /// by its owner only. Several processes may open it at the same time.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer binary has migrated it, [`StoreError::Foreign`] if it belongs to another
    /// program, [`StoreError::Unavailable`] if it cannot be reached.
    pub async fn open(settings: &config::Database) -> Result<Self, StoreError> {
        let database = match &settings.url {
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(path) => Database::Sqlite(sqlite::Pools::open(path).await?),
            #[cfg(feature = "postgres")]
            DatabaseUrl::Postgres(url) => Database::Postgres(postgres::Pool::open(url, settings).await?),
            #[allow(unreachable_patterns, reason = "with both features every kind of URL is known")]
            other => {
                return Err(StoreError::Failed(format!(
                    "this hallpass was built without support for {other}"
                )));
            }
        };
        Ok(Self { database, counts: Arc::new(StoreCounts::new()) })
    }

    /// Returns what was counted.
    pub(crate) fn counts(&self) -> &StoreCounts {
        &self.counts
    }

    /// Returns the number of open connections, and how many of them are idle.
    pub(crate) fn connections(&self) -> (usize, usize) {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pools) => pools.connections(),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.connections(),
        }
    }

    /// Closes every connection. SQLite then folds its write-ahead log into the database.
    pub async fn close(&self) {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pools) => pools.close().await,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.close().await,
        }
    }

    /// Erases the log of a SQLite database, which keeps what was overwritten, once everybody has read on. Returns whether it
    /// is erased. PostgreSQL keeps its log by its own rules.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn erase_log(&self) -> Result<bool, StoreError> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pools) => pools.erase_log().await.map_err(|error| classify(error).0),
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => Ok(true),
        }
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(async |connection| connection.query("select 1").execute().await.map(|_| ())).await
    }

    /// Waits until another server announces a change. Without notifications in the database, waits forever.
    pub async fn notified(&self) {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => std::future::pending().await,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.notified().await,
        }
    }

    /// Announces to the other servers that there are changes to read, if the database has notifications.
    fn notify_changes(&self) {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {}
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.notify_changes(),
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Database::Never(never) => match *never {},
        }
    }

    /// Runs `work`, which only reads. It is run again if the connection was lost.
    ///
    /// # Errors
    /// The error of `work`; [`StoreError::Unavailable`] when the database does not answer within 5 s.
    pub async fn read<T>(
        &self,
        mut work: impl AsyncFnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _timed = Timed::begin(&self.counts.reads);
        with_timeout(&self.counts, async {
            let mut retry = Retry::new();
            loop {
                let mut connection = match self.acquire().await {
                    Ok(connection) => connection,
                    Err((error, fault)) => {
                        self.counts.fail(Some(&error), fault);
                        retry.or_fail::<StoreError>(fault, error).await?;
                        continue;
                    }
                };
                match work(&mut connection).await {
                    Ok(value) => return Ok(value),
                    Err(error) => {
                        let fault = connection.fault;
                        self.counts.fail(Some(&error), fault);
                        self.release(connection);
                        retry.or_fail::<StoreError>(fault, error).await?;
                    }
                }
            }
        })
        .await
    }

    /// Runs `work` in one transaction and commits it. An error of `work` rolls it back. If the database aborted the
    /// transaction because of another (SQLSTATE 40001, 40P01), or the connection was lost, it is run again from the
    /// start.
    ///
    /// # Errors
    /// The error of `work`; [`StoreError::Unavailable`] when the database does not answer within [`TIMEOUT`].
    pub async fn write<T, E: From<StoreError>>(
        &self,
        mut work: impl AsyncFnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let _timed = Timed::begin(&self.counts.writes);
        with_timeout(&self.counts, async {
            let mut retry = Retry::new();
            loop {
                let mut tx = match self.begin().await {
                    Ok(tx) => tx,
                    Err((error, fault)) => {
                        self.counts.fail(Some(&error), fault);
                        retry.or_fail::<E>(fault, error).await?;
                        continue;
                    }
                };
                let done = match work(&mut tx).await {
                    // PostgreSQL has rolled it back, even if it answers the commit with success.
                    Ok(_) if tx.has_failed => {
                        Err(StoreError::Failed("a transaction continued after a failed statement".into())
                            .into())
                    }
                    done => done,
                };
                let value = match done {
                    Ok(value) => value,
                    Err(error) => {
                        let fault = tx.fault;
                        // Otherwise it is a rule that refuses.
                        if tx.has_failed {
                            self.counts.fail(None, fault);
                        }
                        let is_refusal = !tx.has_failed;
                        match self.roll_back(tx).await {
                            // A rule that refuses may have read what others wrote, which is not written after all.
                            Err(CommitError::Conflict) if is_refusal => {
                                retry.or_fail::<E>(Fault::Conflict, error).await?;
                            }
                            Err(CommitError::Failed(failed)) if is_refusal => return Err(failed.into()),
                            _ => retry.or_fail::<E>(fault, error).await?,
                        }
                        continue;
                    }
                };
                let events = std::mem::take(&mut tx.events);
                match self.commit(tx).await {
                    Ok(()) => {
                        events.iter().for_each(|event| self.counts.record(event));
                        return Ok(value);
                    }
                    Err(CommitError::Conflict) => {
                        self.counts.fail(None, Fault::Conflict);
                        let error = StoreError::Unavailable(
                            "the transaction conflicted with others each time".into(),
                        );
                        retry.or_fail::<E>(Fault::Conflict, error).await?;
                    }
                    Err(CommitError::Failed(error)) => {
                        self.counts.fail(Some(&error), Fault::None);
                        return Err(error.into());
                    }
                }
            }
        })
        .await
    }

    fn is_sqlite(&self) -> bool {
        #[cfg(feature = "sqlite")]
        if matches!(self.database, Database::Sqlite(_)) {
            return true;
        }
        false
    }

    async fn acquire(&self) -> Result<Connection, (StoreError, Fault)> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pools) => pools.acquire().await.map_err(classify),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.acquire().await.map_err(classify),
        }
    }

    /// Returns a connection on which a statement failed to the pool, or closes it.
    fn release(&self, connection: Connection) {
        match connection.inner {
            #[cfg(feature = "postgres")]
            connection::Inner::Postgres(mut inner) if connection.fault == Fault::ConnectionLost => {
                inner.close_on_drop();
            }
            _ => {}
        }
    }

    async fn begin(&self) -> Result<Transaction, (StoreError, Fault)> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pools) => pools.begin().await.map_err(classify),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.begin().await.map_err(classify),
        }
    }

    async fn commit(&self, tx: Transaction) -> Result<(), CommitError> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sqlite::commit(tx).await,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.commit(tx).await,
        }
    }

    /// Undoes the transaction. In SQLite, then waits for the commit of what it may have read of others.
    async fn roll_back(&self, tx: Transaction) -> Result<(), CommitError> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sqlite::roll_back(tx).await,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                pool.roll_back(tx).await;
                Ok(())
            }
        }
    }
}
