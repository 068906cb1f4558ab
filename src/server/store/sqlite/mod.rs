//! The embedded database: one writer, a few readers beside it (WAL).

mod events;
mod keys;
mod sessions;
mod tries;
mod users;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, SqlSafeStr, Sqlite, Transaction};
use uuid::Uuid;

use super::{CLOCK_STEP, Change, Keep, PATIENCE, Seq, StoreError, UserRow};
use crate::server::events::Event;
use crate::server::vault::{KdfParams, SealedInstallation, SealedKey};

const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "first", include_str!("../../../../migrations/sqlite/0001_first.sql"))];

/// Less than [`PATIENCE`], so that a locked database is told apart from a silent one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

/// The first SQLite whose WAL cannot corrupt a database that two processes checkpoint.
const OLDEST_SQLITE: &str = "3.51.3";

use events::record;
use keys::insert_key;

/// The database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

type InstallationColumns = (Uuid, u32, u32, u32, Vec<u8>, Vec<u8>, i64);
type ChangeColumns = (Seq, Option<Seq>, Option<String>, Option<Vec<u8>>);
type UserColumns = (Uuid, String, Option<String>, String, Option<String>, Option<i64>, i64, Option<i64>);

macro_rules! user_columns {
    ($rest:literal) => {
        concat!("select id, email, name, roles, password_hash, disabled_at, created_at, last_login_at from users ", $rest)
    };
}

use user_columns;

/// What asks whether `$table` has rows of old, what clears a batch of them away, and what `$condition` is bound to.
macro_rules! batch {
    ($table:literal, $key:literal, $condition:literal, $limits:expr) => {
        (
            concat!("select 1 from ", $table, " where ", $condition, " limit 1"),
            concat!(
                "delete from ",
                $table,
                " where ",
                $key,
                " in (select ",
                $key,
                " from ",
                $table,
                " where ",
                $condition,
                " limit 1000)"
            ),
            Vec::from($limits),
        )
    };
}

impl Store {
    /// Opens the database at `path`, makes it if it is missing (readable by its owner alone), and brings
    /// its schema up to date. Safe when two processes do so at once.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer binary has been here, and what [`StoreError`] lists.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = private_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged revocation must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("secure_delete", "on");
        // The writer first: only it may switch a new database to WAL.
        let writer = pool(1)
            .before_acquire(|connection, _| {
                Box::pin(async move {
                    // When the disk is full, SQLite takes a transaction back by itself; sqlx's own rollback then fails, and
                    // the connection counts a transaction for good that is none. Such a one is replaced. Before it
                    // is asked, it finishes the rollback that it may still be at.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options.clone())
            .await?;
        migrate(&writer).await?;
        drop(lock);
        let readers = pool(4).connect_with(options.pragma("query_only", "on")).await?;
        Ok(Self { writer, readers })
    }

    /// Closes every connection, so that the write-ahead log is folded into the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        bounded(async { Ok(sqlx::query("select 1").execute(&self.readers).await.map(|_| ())?) }).await
    }

    // --- the installation and its keys ---

    /// The installation's row, once it has been founded.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn installation(&self) -> Result<Option<SealedInstallation>, StoreError> {
        bounded(async {
            let row: Option<InstallationColumns> = sqlx::query_as(
                "select id, kdf_memory_kib, kdf_iterations, kdf_lanes, salt, sealed_key, created_at from installation",
            )
            .fetch_optional(&self.readers)
            .await?;
            row.map(|(id, memory_kib, iterations, lanes, salt, sealed_key, created_at)| {
                Ok(SealedInstallation {
                    id,
                    kdf: KdfParams { memory_kib, iterations, lanes },
                    salt,
                    sealed_key,
                    created_at: time(created_at)?,
                })
            })
            .transpose()
        })
        .await
    }

    /// Founds the installation with its first signing key, whose tokens live for `token_lifetime`. `false`: another process was first, and
    /// nothing was written.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn found(
        &self,
        installation: &SealedInstallation,
        key: &SealedKey,
        token_lifetime: chrono::Duration,
    ) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let made = sqlx::query(
                "insert into installation \
                 (the_only, id, kdf_memory_kib, kdf_iterations, kdf_lanes, salt, sealed_key, created_at) \
                 values (1, $1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
            )
            .bind(installation.id)
            .bind(installation.kdf.memory_kib)
            .bind(installation.kdf.iterations)
            .bind(installation.kdf.lanes)
            .bind(&installation.salt)
            .bind(&installation.sealed_key)
            .bind(installation.created_at.timestamp_millis())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if made == 0 {
                return Ok(false);
            }
            insert_key(&mut tx, key, token_lifetime).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    // --- changes ---

    /// The number of the last change.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn last_change(&self) -> Result<Seq, StoreError> {
        bounded(async {
            // sqlite_sequence remembers the number even after the rows are cleared away.
            let row: Option<(Seq,)> =
                sqlx::query_as("select seq from sqlite_sequence where name = 'changes'")
                    .fetch_optional(&self.readers)
                    .await?;
            Ok(row.map_or(0, |(seq,)| seq))
        })
        .await
    }

    /// The number of the last change, and those after number `seen` that are still kept, in order; of one moment.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn changes_after(&self, seen: Seq) -> Result<(Seq, Vec<(Seq, Change)>), StoreError> {
        bounded(async {
            // One statement sees one moment. Where nothing is new, one row has the number alone.
            let rows: Vec<ChangeColumns> = sqlx::query_as(
                "select last.seq, changes.seq, kind, subject from sqlite_sequence as last \
                 left join changes on changes.seq > $1 where last.name = 'changes' order by changes.seq",
            )
            .bind(seen)
            .fetch_all(&self.readers)
            .await?;
            let last = rows.first().map_or(0, |(last, ..)| *last);
            let changes = rows.into_iter().filter_map(|(_, seq, kind, subject)| {
                let (seq, kind, subject) = (seq?, kind?, subject?);
                Some(change(&kind, &subject).map(|change| (seq, change)))
            });
            Ok((last, changes.collect::<Result<_, _>>()?))
        })
        .await
    }

    /// Clears away what no server needs any more at `now`: changes that every server has long seen, tries
    /// and events of old, and sessions that are over, once their last token has expired. A little at a time, so that
    /// other writers get their turn however much there is.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn reap(&self, now: DateTime<Utc>, keep: &Keep) -> Result<(), StoreError> {
        let before = |age: chrono::Duration| (now - age).timestamp_millis();
        let sessions = [
            before(keep.leeway + CLOCK_STEP),
            before(keep.sessions.absolute + CLOCK_STEP),
            before(keep.sessions.idle + CLOCK_STEP),
        ];
        for (old, clear, limits) in [
            batch!("changes", "seq", "at < $1", [before(chrono::Duration::hours(1))]),
            // A day without a try is forgotten by every curve.
            batch!("tries", "slot", "last_at < $1", [before(chrono::Duration::hours(25))]),
            batch!("known_addresses", "pair", "until < $1", [now.timestamp_millis()]),
            batch!("rotations", "digest", "at < $1", [before(keep.sessions.grace + CLOCK_STEP)]),
            batch!("events", "id", "at < $1", [before(keep.events)]),
            batch!(
                "sessions",
                "id",
                "token_until < $1 and (ended_at is not null or created_at <= $2 or refreshed_at <= $3)",
                sessions
            ),
        ] {
            while self.is_any(old, &limits).await? {
                let cleared = bounded(async {
                    let clear = limits.iter().fold(sqlx::query(clear), |query, limit| query.bind(*limit));
                    Ok(clear.execute(&self.writer).await?.rows_affected())
                });
                // Another server may have been first.
                if cleared.await? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether `question` has a row: asked of a reader, which holds nobody up.
    async fn is_any(&self, question: &'static str, limits: &[i64]) -> Result<bool, StoreError> {
        bounded(async {
            let question = limits.iter().fold(sqlx::query(question), |query, limit| query.bind(*limit));
            Ok(question.fetch_optional(&self.readers).await?.is_some())
        })
        .await
    }

    /// A write transaction that waits for its turn: a deferred one that reads first would fail at once.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("begin immediate").await?)
    }
}

/// Records what happened, in the transaction that did it, and tells the log once it is done.
async fn commit(mut tx: Transaction<'static, Sqlite>, event: &Event) -> Result<(), StoreError> {
    record(&mut tx, event).await?;
    tx.commit().await?;
    event.log();
    Ok(())
}

async fn note(tx: &mut Transaction<'_, Sqlite>, change: Change, at: DateTime<Utc>) -> Result<(), StoreError> {
    let (kind, subject) = match change {
        Change::User(id) => ("user", id),
        Change::Session(id) => ("session", id),
        Change::Keys => ("keys", Uuid::nil()),
    };
    sqlx::query("insert into changes (kind, subject, at) values ($1, $2, $3)")
        .bind(kind)
        .bind(subject)
        .bind(at.timestamp_millis())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn change(kind: &str, subject: &[u8]) -> Result<Change, StoreError> {
    let id = || Uuid::from_slice(subject).map_err(|error| StoreError::Failed(error.to_string()));
    match kind {
        "user" => id().map(Change::User),
        "session" => id().map(Change::Session),
        "keys" => Ok(Change::Keys),
        other => Err(StoreError::Failed(format!("a change of the unknown kind {other:?}"))),
    }
}

fn user_row(columns: UserColumns) -> Result<UserRow, StoreError> {
    let (id, email, name, roles, password_hash, disabled_at, created_at, last_login_at) = columns;
    Ok(UserRow {
        id,
        email,
        name,
        roles: roles.split_whitespace().map(str::to_owned).collect(),
        password_hash,
        disabled_at: disabled_at.map(time).transpose()?,
        created_at: time(created_at)?,
        last_login_at: last_login_at.map(time).transpose()?,
    })
}

fn time(millis: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| StoreError::Failed(format!("{millis} is no time in milliseconds")))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        // An embedded database does not hang up.
        .test_before_acquire(false)
}

/// Brings the schema up to date. The migrator's own lock does nothing on SQLite; the caller holds one.
async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let (version,): (String,) = sqlx::query_as("select sqlite_version()").fetch_one(writer).await?;
    if version_number(&version) < version_number(OLDEST_SQLITE) {
        return Err(StoreError::Failed(format!(
            "it is SQLite {version}, and two processes are safe on one database only from {OLDEST_SQLITE} on"
        )));
    }
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let known = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    match Migrator::with_migrations(migrations).run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(StoreError::NewerSchema { found, known }),
        Err(MigrateError::Execute(error)) => Err(error.into()),
        Err(error) => Err(StoreError::Failed(error.to_string())),
    }
}

fn version_number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Makes the database's file, for its owner alone, where it is missing, and locks its neighbour `…-lock`
/// while the schema is looked after. SQLite gives its own companions (-wal, -shm) the mode of the database.
fn private_file(path: &Path) -> Result<File, StoreError> {
    let explain = |what: &Path, error: std::io::Error| {
        StoreError::Unavailable(format!("{} cannot be opened or made: {error}", what.display()))
    };
    // An existing database is not opened here: closing it again would drop the locks that SQLite holds
    // on it in this process (POSIX locks belong to the process, not to the descriptor).
    match owner_only().create_new(true).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(explain(path, error)),
        _ => {}
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push("-lock");
    let lock_path = PathBuf::from(lock_path);
    let lock = owner_only().create(true).open(&lock_path).map_err(|error| explain(&lock_path, error))?;
    lock.lock().map_err(|error| explain(&lock_path, error))?;
    Ok(lock)
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Gives `question` the database's [`PATIENCE`] and no more.
async fn bounded<T>(question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, question)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer within 5 s".into())))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let busy = || Self::Unavailable(error.to_string());
        match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::InvalidSavePointStatement
            | sqlx::Error::Io(_) => busy(),
            // SQLite's primary result codes: 5 busy, 6 locked, 8 read-only, 10 input/output, 13 full, 14 cannot open,
            // 15 the locks of the write-ahead log cannot be had.
            sqlx::Error::Database(cause) => match cause.code().and_then(|code| code.parse::<u32>().ok()) {
                Some(code) if [5, 6, 8, 10, 13, 14, 15].contains(&(code & 0xff)) => busy(),
                _ => Self::Failed(error.to_string()),
            },
            _ => Self::Failed(error.to_string()),
        }
    }
}
