//! SQLite, the embedded database: one connection that writes, and a few beside it that read (write-ahead log).

mod backup;
mod writer;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, SqlSafeStr};
use tokio::sync::Mutex;
use writer::Writer;

use super::classify::classify;
use super::connection::{Connection, Inner, Transaction};
use super::error::{CommitError, StoreError};
use super::retry::TIMEOUT;

pub use backup::{Backup, BackupError};
pub(super) use backup::{Prepared, back_up, prepare, replace};
pub(super) use writer::Turn;

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../../../migrations/sqlite/0001_initial.sql")),
    (2, "accounts by mail", include_str!("../../../../migrations/sqlite/0002_accounts_by_mail.sql")),
    (3, "admin", include_str!("../../../../migrations/sqlite/0003_admin.sql")),
    (5, "second factors", include_str!("../../../../migrations/sqlite/0005_second_factors.sql")),
    (6, "sealed hashes", include_str!("../../../../migrations/sqlite/0006_sealed_hashes.sql")),
    (7, "passkey transports", include_str!("../../../../migrations/sqlite/0007_passkey_transports.sql")),
];

/// Marks a database file as ours (`PRAGMA application_id`): "Hall" in ASCII.
const APPLICATION_ID: i64 = 0x4861_6c6c;

/// How long SQLite waits for a lock: less than [`TIMEOUT`], so that the error says that the database is locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the log may be waited for when it is erased.
const ERASE_TIMEOUT: Duration = Duration::from_millis(50);

/// The first SQLite whose write-ahead log cannot corrupt a database that two processes checkpoint.
const OLDEST_SQLITE: &str = "3.51.3";

/// The connections of one process.
#[derive(Debug, Clone)]
pub(super) struct Pools {
    writer: Writer,
    readers: SqlitePool,
    options: Arc<SqliteConnectOptions>,
    /// Held while the log is erased, on a connection that is in neither pool.
    erasing: Arc<Mutex<()>>,
}

impl Pools {
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        // Before any file beside it is created.
        check_ours(path).await?;
        // On another thread, since whoever holds the lock may need this one.
        let file = path.to_owned();
        let lock = tokio::task::spawn_blocking(move || private_file(&file));
        let lock = lock.await.map_err(|error| StoreError::Failed(error.to_string()))??;
        check_ours(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged revocation must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("secure_delete", "on");
        // What an operation has overwritten is kept for its rollback: in memory, since a temporary file is not erased.
        let of_writer = Arc::new(options.clone().pragma("temp_store", "memory"));
        // The writer first: only it may switch a new database to WAL.
        let mut writer = of_writer.connect().await.map_err(|error| classify(error).0)?;
        migrate(&mut writer).await?;
        lock.unlock().map_err(|error| {
            StoreError::Unavailable(format!(
                "the lock file of {} cannot be unlocked: {error}",
                path.display()
            ))
        })?;
        let writer = Writer::start(writer, of_writer, lock)
            .map_err(|error| StoreError::Unavailable(format!("there can be no further thread: {error}")))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // An embedded database does not hang up.
            .test_before_acquire(false)
            .connect_with(options.clone().pragma("query_only", "on"))
            .await
            .map_err(|error| classify(error).0)?;
        Ok(Self { writer, readers, options: Arc::new(options), erasing: Arc::default() })
    }

    pub(super) fn connections(&self) -> (usize, usize) {
        let open = self.readers.size() as usize + 1;
        (open, self.readers.num_idle() + usize::from(self.writer.is_idle()))
    }

    pub(super) async fn close(&self) {
        let _erasing = self.erasing.lock().await;
        self.readers.close().await;
        // The last connection folds the log into the database.
        self.writer.close().await;
    }

    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        Ok(Connection::on(Inner::Sqlite(self.readers.acquire().await?)))
    }

    /// Writes all of the log into the database and cuts it to no length. Returns `false` while somebody reads an earlier state.
    pub(super) async fn erase_log(&self) -> Result<bool, sqlx::Error> {
        let options = Arc::clone(&self.options);
        let erasing = Arc::clone(&self.erasing).lock_owned().await;
        // On a connection of its own, which gives up soon: whoever waits here keeps the others from writing. As a task of
        // its own, which is not given up halfway: closing the database waits for it.
        let erase = tokio::spawn(async move {
            let _erasing = erasing;
            let options = SqliteConnectOptions::clone(&options).busy_timeout(ERASE_TIMEOUT);
            let mut connection = options.connect().await?;
            let asked = sqlx::query_as("pragma wal_checkpoint(truncate)").fetch_one(&mut connection).await;
            connection.close().await?;
            let (is_busy, ..): (i64, i64, i64) = asked?;
            Ok(is_busy == 0)
        });
        erase.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Begins a transaction that reads: it sees the database as its first statement finds it.
    pub(super) async fn snapshot(&self) -> Result<Connection, sqlx::Error> {
        Ok(Connection::on(Inner::SqliteSnapshot(self.readers.begin().await?)))
    }

    /// Begins an operation, in the transaction of those before it that are not committed yet.
    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        Ok(Transaction::on(Inner::SqliteTurn(self.writer.begin().await?)))
    }
}

pub(super) async fn commit(tx: Transaction) -> Result<(), CommitError> {
    turn(tx).commit().await
}

pub(super) async fn roll_back(tx: Transaction) -> Result<(), CommitError> {
    turn(tx).roll_back().await
}

fn turn(tx: Transaction) -> Turn {
    match tx.connection.inner {
        Inner::SqliteTurn(turn) => turn,
        _ => unreachable!("a transaction of SQLite is the turn of its writer"),
    }
}

/// Refuses a file that is neither ours nor empty, without writing to it.
async fn check_ours(path: &Path) -> Result<(), StoreError> {
    // An existing database is never opened as a plain file: closing that again would drop the locks that SQLite holds
    // on it in this process (POSIX locks belong to the process, not to the descriptor).
    if !std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        // Reading a database in WAL mode would otherwise create its companions, which another program may then be
        // unable to open. Without a log, all that was committed is in the file.
        .immutable(!Path::new(&wal).exists())
        .busy_timeout(BUSY_TIMEOUT);
    let asked = async {
        let mut connection: SqliteConnection = options.connect().await?;
        let (id,): (i64,) = sqlx::query_as("pragma application_id").fetch_one(&mut connection).await?;
        let (tables,): (i64,) =
            sqlx::query_as("select count(*) from sqlite_schema").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok((id, tables))
    };
    match asked.await.map_err(|error| classify(error).0)? {
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        _ => Err(StoreError::Foreign(path.display().to_string())),
    }
}

/// Brings the schema up to date. The migrator's own lock does nothing on SQLite; the caller holds one.
async fn migrate(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| classify(error).0;
    let (version,): (String,) =
        sqlx::query_as("select sqlite_version()").fetch_one(&mut *writer).await.map_err(failed)?;
    if version_number(&version) < version_number(OLDEST_SQLITE) {
        return Err(StoreError::Failed(format!(
            "it is SQLite {version}, and two processes are safe on one database only from {OLDEST_SQLITE} on"
        )));
    }
    // 0x48616c6c is APPLICATION_ID; a pragma takes no arguments.
    sqlx::query("pragma application_id = 0x48616c6c").execute(&mut *writer).await.map_err(failed)?;
    run_migrations(MIGRATIONS, writer).await
}

async fn run_migrations(
    migrations: &[(i64, &'static str, &'static str)],
    writer: &mut SqliteConnection,
) -> Result<(), StoreError> {
    let known = migrations.last().map_or(0, |(version, ..)| *version);
    let migrations = migrations.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("hallpass_migrations");
    match migrator.run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(StoreError::NewerSchema { found, known }),
        Err(MigrateError::Execute(error)) => Err(classify(error).0),
        Err(error) => Err(StoreError::Failed(error.to_string())),
    }
}

fn version_number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Creates the database's file, for its owner alone, where it is missing, and locks its neighbour `…-lock` while the
/// schema is brought up to date. SQLite gives its own companions (-wal, -shm) the mode of the database.
fn private_file(path: &Path) -> Result<File, StoreError> {
    let explain = |what: &Path, error: std::io::Error| {
        StoreError::Unavailable(format!("{} cannot be opened or made: {error}", what.display()))
    };
    match owner_only().create_new(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => close_to_others(path)?,
        Err(error) => return Err(explain(path, error)),
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push("-lock");
    let lock_path = PathBuf::from(lock_path);
    let lock = owner_only().create(true).open(&lock_path).map_err(|error| explain(&lock_path, error))?;
    lock.lock().map_err(|error| explain(&lock_path, error))?;
    Ok(lock)
}

/// Takes a database, and the log beside it, from users that are neither its owner nor of its group: whoever can read it
/// has every hash and every address.
#[cfg(unix)]
fn close_to_others(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;

    for companion in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(companion);
        let file = PathBuf::from(file);
        let Ok(metadata) = std::fs::metadata(&file) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 == 0 {
            continue;
        }
        let (name, closed) = (file.display(), mode & !0o007);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(closed)).map_err(|error| {
            StoreError::Unavailable(format!(
                "{name} has mode {mode:04o}, which gives everybody access, and that cannot be changed: {error}"
            ))
        })?;
        log::warn!("{name} had mode {mode:04o}, which gave everybody access; it has {closed:04o} now");
    }
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use sqlx::Executor;

    use super::*;

    #[tokio::test]
    async fn closing_waits_for_the_log_that_is_being_erased() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let pools = Pools::open(&path).await.unwrap();
        let options = SqliteConnectOptions::new().filename(&path).busy_timeout(Duration::ZERO);
        // Whoever reads keeps the log from being erased at once.
        let mut reader = options.connect().await.unwrap();
        reader.execute("begin; select count(*) from users").await.unwrap();
        let mut writer = options.connect().await.unwrap();
        let of_task = pools.clone();
        let task = tokio::spawn(async move { of_task.erase_log().await });
        // Once the log is being erased, nobody can write.
        while writer.execute("begin immediate").await.is_ok() {
            writer.execute("rollback").await.unwrap();
        }
        task.abort();
        pools.close().await;
        writer.close().await.unwrap();
        reader.close().await.unwrap();
        // Whichever connection is closed last deletes the log.
        assert!(!folder.path().join("test.db-wal").exists());
    }
}
