//! PostgreSQL: one pool for the process, for any number of servers on one database.
//!
//! A socket is polled by the runtime that opened it. Each worker of actix is a runtime of its own and may be busy, so a
//! thread that does nothing else opens the connections, and the workers only send and receive on them.

#![cfg_attr(
    not(feature = "sqlite"),
    allow(irrefutable_let_patterns, reason = "with both databases a connection is one of two kinds")
)]

mod checkout;

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, Executor, SqlSafeStr};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

pub(super) use checkout::Checkout;

use super::classify::classify;
use super::connection::{Connection, Inner, Trace, Transaction};
use super::error::{CommitError, Fault, StoreError};
use super::retry::TIMEOUT;
use super::xid_sequence::xid_sequence;
use crate::server::config;

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../../../migrations/postgres/0001_initial.sql")),
    (2, "accounts by mail", include_str!("../../../../migrations/postgres/0002_accounts_by_mail.sql")),
    (3, "admin", include_str!("../../../../migrations/postgres/0003_admin.sql")),
    (5, "second factors", include_str!("../../../../migrations/postgres/0005_second_factors.sql")),
    (6, "sealed hashes", include_str!("../../../../migrations/postgres/0006_sealed_hashes.sql")),
    (7, "passkey transports", include_str!("../../../../migrations/postgres/0007_passkey_transports.sql")),
];

/// The oldest PostgreSQL that is supported, as `server_version_num` writes it.
const OLDEST_SERVER: u32 = 150_000;

/// The number of the lock under which one server at a time brings the schema up to date.
const MIGRATION_LOCK: i64 = 0x4861_6c6c_7061_7373;

/// The channel on which servers tell each other that there are changes to read.
const CHANNEL: &str = "hallpass_changes";

/// The wait before the lost connection that listens is opened again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often to tell other servers of changes at most.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// How often to ask for the outcome of a commit whose answer was lost.
const ASK_OUTCOME_EVERY: Duration = Duration::from_millis(100);

/// The outcome of a transaction. In the sequence of its number PostgreSQL knows it. In another, the server that ran it
/// has crashed or was replaced, so it is no longer under way, and its number may be that of another transaction: then
/// its event is there, or not. The number of an event may be given twice as well, but not together with all the rest.
const SELECT_OUTCOME: &str = concat!(
    "select case when ",
    xid_sequence!(),
    " = $2 then pg_xact_status($1::text::xid8) \
     when exists (select 1 from events where id = $3 and at = $4 and kind = $5 and user_id is not distinct from $6 \
     and session_id is not distinct from $7 and request_id is not distinct from $8) then 'committed' \
     else 'aborted' end"
);

/// The pool of the process. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pool: PgPool,
    /// Behind a pooler in transaction mode: the statement that begins a transaction in the schema.
    begin: Option<Arc<str>>,
    runtime: Handle,
    /// Other servers have told of changes.
    changed: Arc<Notify>,
    /// This server has changes to tell of.
    has_changes: Arc<Notify>,
    _thread: Arc<RuntimeThread>,
}

/// Ends the thread that opens connections, when the last clone of the pool is dropped.
#[derive(Debug)]
struct RuntimeThread {
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for RuntimeThread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl RuntimeThread {
    fn start() -> std::io::Result<(Handle, Self)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("database".into()).spawn(move || {
            let _ = runtime.block_on(stopped);
        })?;
        Ok((handle, Self { stop: Some(stop) }))
    }
}

impl Pool {
    pub(super) async fn open(url: &str, settings: &config::Database) -> Result<Self, StoreError> {
        let options = options(url, settings)?;
        migrate(&options, settings).await?;
        let (runtime, thread) = RuntimeThread::start().map_err(|error| {
            StoreError::Unavailable(format!("the thread of the connections cannot be started: {error}"))
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool)
            .acquire_timeout(TIMEOUT)
            // A lost connection fails at its first statement, which is then run on another.
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        let changed = Arc::new(Notify::new());
        // No notification passes a pooler in transaction mode.
        if !settings.pooler {
            runtime.spawn(listen(options, Arc::downgrade(&changed)));
        }
        let has_changes = Arc::new(Notify::new());
        runtime.spawn(tell(pool.clone(), Arc::clone(&has_changes)));
        let begin = settings.pooler.then(|| format!("begin; {}", set_schema(&settings.schema)).into());
        Ok(Self { pool, begin, runtime, changed, has_changes, _thread: Arc::new(thread) })
    }

    pub(super) fn connections(&self) -> (usize, usize) {
        (self.pool.size() as usize, self.pool.num_idle())
    }

    pub(super) async fn close(&self) {
        let pool = self.pool.clone();
        let _ = self.runtime.spawn(async move { pool.close().await }).await;
    }

    pub(super) async fn notified(&self) {
        self.changed.notified().await;
    }

    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        // An idle connection is open already; a new one is opened by the thread that will poll its socket.
        let connection = match self.pool.try_acquire() {
            Some(idle) => idle,
            None => {
                let pool = self.pool.clone();
                let opened = self.runtime.spawn(async move { pool.acquire().await });
                opened.await.map_err(|_| sqlx::Error::PoolClosed)??
            }
        };
        Ok(Connection::on(Inner::Postgres(Checkout::new(connection, self.begin.clone()))))
    }

    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let mut connection = self.acquire().await?;
        if let Inner::Postgres(inner) = &mut connection.inner {
            inner.begin().await?;
        }
        Ok(Transaction::on(connection.inner))
    }

    /// Begins a transaction that reads: it sees the database as its first statement finds it.
    pub(super) async fn snapshot(&self) -> Result<Connection, sqlx::Error> {
        let mut connection = self.acquire().await?;
        if let Inner::Postgres(inner) = &mut connection.inner {
            // Nothing ends the transaction but the end of the connection.
            inner.close_on_drop();
            inner.begin().await?;
            inner.execute("set transaction isolation level repeatable read, read only").await?;
        }
        Ok(connection)
    }

    pub(super) async fn roll_back(&self, mut tx: Transaction) {
        // Otherwise the connection is closed, which rolls back too.
        if tx.fault != Fault::ConnectionLost
            && let Inner::Postgres(connection) = &mut tx.connection.inner
            && connection.execute("rollback").await.is_ok()
        {
            connection.in_transaction = false;
        }
    }

    pub(super) async fn commit(&self, mut tx: Transaction) -> Result<(), CommitError> {
        let Inner::Postgres(connection) = &mut tx.connection.inner else {
            unreachable!("a transaction of PostgreSQL is on a connection of PostgreSQL")
        };
        let (error, fault) = match connection.execute("commit").await {
            Ok(_) => {
                connection.in_transaction = false;
                if tx.has_changes {
                    drop(tx);
                    self.notify_changes();
                }
                return Ok(());
            }
            Err(error) => classify(error),
        };
        match (fault, tx.trace.take()) {
            (Fault::None | Fault::Duplicate, _) => Err(CommitError::Failed(error)),
            (Fault::Conflict, _) => Err(CommitError::Conflict),
            (Fault::ConnectionLost, None) => Err(CommitError::Failed(error)),
            (Fault::ConnectionLost, Some(trace)) => {
                let has_changes = tx.has_changes;
                drop(tx);
                self.outcome(&trace).await?;
                if has_changes {
                    self.notify_changes();
                }
                Ok(())
            }
        }
    }

    /// Tells the other servers that there are changes. Outside the transaction, because a commit that notifies holds a
    /// lock of the whole database while it is written to the disk. Where this fails, they ask soon by themselves.
    pub(super) fn notify_changes(&self) {
        self.has_changes.notify_one();
    }

    /// Finds out whether the transaction that left this trace took place. Its commit was not answered.
    async fn outcome(
        &self,
        Trace { xid, sequence, event: (number, event) }: &Trace,
    ) -> Result<(), CommitError> {
        loop {
            let status = match self.acquire().await {
                Ok(mut connection) => {
                    let query = connection.query(SELECT_OUTCOME).bind(xid).bind(sequence).bind(*number);
                    let query = query.bind(event.at.timestamp_millis()).bind(event.kind.name());
                    let query = query.bind(event.user).bind(event.session).bind(&event.request);
                    let row = query.fetch_optional::<(Option<String>,)>().await;
                    if connection.fault == Fault::ConnectionLost
                        && let Inner::Postgres(inner) = &mut connection.inner
                    {
                        inner.close_on_drop();
                    }
                    row
                }
                Err(error) => Err(classify(error).0),
            };
            match status {
                Ok(Some((Some(status),))) if status == "committed" => return Ok(()),
                Ok(Some((Some(status),))) if status == "aborted" => return Err(CommitError::Conflict),
                // The transaction is too old to be known, which cannot happen within seconds.
                Ok(Some((None,)) | None) => {
                    return Err(CommitError::Failed(StoreError::Unavailable(
                        "the outcome of a transaction is unknown".into(),
                    )));
                }
                // Still under way, or the database does not answer; the caller's patience ends this.
                Ok(Some((Some(_),))) | Err(_) => tokio::time::sleep(ASK_OUTCOME_EVERY).await,
            }
        }
    }
}

fn options(url: &str, settings: &config::Database) -> Result<PgConnectOptions, StoreError> {
    let mut options: PgConnectOptions = url
        .parse()
        .map_err(|error: sqlx::Error| StoreError::Failed(format!("{url} cannot be used: {error}")))?;
    if let Some(path) = &settings.password_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            StoreError::Failed(format!("database.password_file {} cannot be read: {error}", path.display()))
        })?;
        let text = zeroize::Zeroizing::new(text);
        options = options.password(text.lines().next().unwrap_or_default());
    }
    let options = options
        .application_name("hallpass")
        // sqlx logs statements at debug, slow ones too.
        .log_slow_statements(log::LevelFilter::Debug, Duration::from_secs(1));
    if settings.pooler {
        // PgBouncer refuses a connection with parameters that it does not know.
        return Ok(options.extra_float_digits(None));
    }
    Ok(options.options([("search_path", settings.schema.as_str())]))
}

/// The statement that selects the schema for a transaction. The settings take letters, digits and _ alone.
fn set_schema(schema: &str) -> String {
    format!("set local search_path = \"{schema}\"")
}

/// Brings the schema up to date, in one transaction and under a lock that other servers wait for. That works behind a
/// pooler in transaction mode too, which may give every transaction another connection of the database; therefore no
/// prepared statement is left behind.
async fn migrate(options: &PgConnectOptions, settings: &config::Database) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| classify(error).0;
    let schema = &settings.schema;
    let mut connection: PgConnection = options.connect().await.map_err(|error| match failed(error) {
        StoreError::Unavailable(cause) if cause.contains("unsupported startup parameter") => {
            StoreError::Failed(format!(
                "{cause}; behind a pooler in transaction mode, set database.pooler = true"
            ))
        }
        other => other,
    })?;
    if connection.server_version_num().is_some_and(|version| version < OLDEST_SERVER) {
        return Err(StoreError::Failed("it is a PostgreSQL before version 15".into()));
    }
    let mut tx = connection.begin().await.map_err(failed)?;
    // The number is of our own choice. The lock ends with the transaction.
    let begin = format!("{}; select pg_advisory_xact_lock({MIGRATION_LOCK})", set_schema(schema));
    run(&mut tx, begin).await?;
    if settings.pooler {
        run(&mut tx, "deallocate all".to_owned()).await?;
    }
    let (exists, foreign): (bool, bool) = sqlx::query_as(
        "select exists (select 1 from pg_namespace where nspname = $1), \
         exists (select 1 from pg_tables where schemaname = $1) \
         and not exists (select 1 from pg_tables where schemaname = $1 and tablename = 'hallpass_migrations')",
    )
    .bind(schema)
    .fetch_one(&mut *tx)
    .await
    .map_err(failed)?;
    if foreign {
        return Err(StoreError::Foreign(format!("the schema {schema}")));
    }
    if !exists {
        run(&mut tx, format!("create schema \"{schema}\"")).await?;
    }
    let known = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("hallpass_migrations");
    migrator.set_locking(false);
    match migrator.run(&mut *tx).await {
        Ok(()) => {}
        Err(MigrateError::VersionMissing(found)) => return Err(StoreError::NewerSchema { found, known }),
        Err(MigrateError::Execute(error)) => return Err(classify(error).0),
        Err(error) => return Err(StoreError::Failed(error.to_string())),
    }
    if settings.pooler {
        run(&mut tx, "deallocate all".to_owned()).await?;
    }
    tx.commit().await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await;
    done.map(drop).map_err(|error| classify(error).0)
}

/// Tells the other servers each time this one has changes, but not more often than every [`TELL_EVERY`]: one
/// notification is enough for many changes. Ends with the thread that it runs on.
async fn tell(pool: PgPool, has_changes: Arc<Notify>) {
    loop {
        has_changes.notified().await;
        if let Err(error) = sqlx::raw_sql("notify hallpass_changes").execute(&pool).await {
            log::debug!("other servers are not notified: {error}");
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Wakes whoever waits for changes when another server has told of some, and each time the connection is opened anew,
/// since a notification may have been lost with the last one. Ends when nobody can wait any more.
async fn listen(options: PgConnectOptions, changed: std::sync::Weak<Notify>) {
    // Of its own pool, so that it takes none of the connections that requests wait for.
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let wake = || changed.upgrade().map(|changed| changed.notify_one());
    loop {
        match PgListener::connect_with(&pool).await {
            Ok(mut listener) => {
                let listening = listener.listen(CHANNEL).await;
                while listening.is_ok() {
                    if wake().is_none() {
                        return;
                    }
                    match listener.try_recv().await {
                        Ok(_) => {}
                        Err(error) => {
                            log::debug!("the connection that listens for changes was lost: {error}");
                            break;
                        }
                    }
                }
            }
            Err(error) => log::debug!("changes cannot be listened for: {error}"),
        }
        if changed.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
    }
}
