//! Backup of a database in use, and its restore.
//!
//! A backup is a database itself, written by SQLite from one point in time (`vacuum into`) while others read and write.
//! It is written and checked in a folder of its own and then moved to its place, so that no half of one is ever there.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};

use super::{APPLICATION_ID, BUSY_TIMEOUT, MIGRATIONS, check_ours, private_file};
use crate::server::store::classify::classify;
use crate::server::store::error::StoreError;

/// The longest wait for the database to be left by others before a restore.
const LEAVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// The time between two calls of `progress`.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// A backup that was written, or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The size of the file.
    pub bytes: u64,
    /// The number of users in it.
    pub users: i64,
}

/// Why a backup was not written or not restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{} cannot be used: {cause}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// There is such a file already.
    #[error("{} exists already, and is not overwritten; name another file", .0.display())]
    Exists(PathBuf),
    /// The file is no backup of ours.
    #[error("{} is not a backup of hallpass: {why}", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// The fault.
        why: &'static str,
    },
    /// The file is damaged.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The message of SQLite.
        why: String,
    },
    /// A newer binary has written it.
    #[error("{} has schema {found}, and this hallpass knows schemas up to {known}; restore it with a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known schema.
        known: i64,
    },
    /// Another process uses the database.
    #[error("{} is in use; stop its servers first", .0.display())]
    InUse(PathBuf),
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + use<'_> {
    |cause| BackupError::File { path: path.to_owned(), cause }
}

fn failed(error: sqlx::Error) -> BackupError {
    BackupError::Store(classify(error).0)
}

/// Returns the folder of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a folder beside `path` that only its owner can enter. It is on the same file system, so what is made in it can
/// be moved to `path` in one step.
fn folder_beside(path: &Path) -> Result<tempfile::TempDir, BackupError> {
    let folder = folder_of(path);
    tempfile::Builder::new().prefix(".hallpass-").tempdir_in(folder).map_err(file_error(folder))
}

/// Writes a backup of `database` to `to`. Calls `progress` with the bytes written so far and their expected number.
pub(in crate::server::store) async fn back_up(
    database: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Backup, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    check_ours(database).await?;
    let folder = folder_beside(to)?;
    let part = folder.path().join("backup.db");
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(BUSY_TIMEOUT)
        .connect()
        .await
        .map_err(failed)?;
    let (expected,): (i64,) =
        sqlx::query_as("select page_count * page_size from pragma_page_count(), pragma_page_size()")
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
    let expected = u64::try_from(expected).unwrap_or_default();
    let text = part
        .to_str()
        .ok_or_else(|| BackupError::NotOurs { path: to.to_owned(), why: "its path is not UTF-8" })?;
    {
        let mut writing = std::pin::pin!(sqlx::query("vacuum into $1").bind(text).execute(&mut connection));
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut writing).await {
                Ok(done) => break done.map_err(failed)?,
                Err(_) => progress(std::fs::metadata(&part).map_or(0, |file| file.len()), expected),
            }
        }
    };
    connection.close().await.map_err(failed)?;
    let users = check(&part).await?;
    let file = File::options().write(true).open(&part).map_err(file_error(&part))?;
    for_owner_only(&file).map_err(file_error(&part))?;
    file.sync_all().map_err(file_error(&part))?;
    let bytes = file.metadata().map_err(file_error(&part))?.len();
    let part = tempfile::TempPath::try_from_path(part).map_err(file_error(to))?;
    part.persist_noclobber(to).map_err(|failed| {
        if failed.error.kind() == std::io::ErrorKind::AlreadyExists {
            BackupError::Exists(to.to_owned())
        } else {
            BackupError::File { path: to.to_owned(), cause: failed.error }
        }
    })?;
    sync_folder(to)?;
    progress(bytes, bytes);
    Ok(Backup { bytes, users })
}

/// Checks that a file is a whole backup of a schema that we know. Returns the number of users in it.
async fn check(path: &Path) -> Result<i64, BackupError> {
    let not_ours = |why| BackupError::NotOurs { path: path.to_owned(), why };
    std::fs::metadata(path).map_err(file_error(path))?;
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut connection = options.connect().await.map_err(|_| not_ours("it cannot be read as a database"))?;
    let asked = async {
        let (id,): (i64,) = sqlx::query_as("pragma application_id").fetch_one(&mut connection).await?;
        if id != APPLICATION_ID {
            return Ok(None);
        }
        let problems: Vec<(String,)> =
            sqlx::query_as("pragma integrity_check(5)").fetch_all(&mut connection).await?;
        let (schema,): (i64,) =
            sqlx::query_as("select max(version) from hallpass_migrations").fetch_one(&mut connection).await?;
        let (users,): (i64,) =
            sqlx::query_as("select count(*) from users").fetch_one(&mut connection).await?;
        Ok::<_, sqlx::Error>(Some((problems, schema, users)))
    };
    let asked = asked.await;
    let _ = connection.close().await;
    let found =
        asked.map_err(|error| BackupError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    let (problems, found, users) = found.ok_or_else(|| not_ours("another program has made it"))?;
    let problems: Vec<_> = problems.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect();
    if !problems.is_empty() {
        return Err(BackupError::Damaged { path: path.to_owned(), why: problems.join("; ") });
    }
    let known = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    if found > known {
        return Err(BackupError::Newer { path: path.to_owned(), found, known });
    }
    Ok(users)
}

/// A backup that is ready to take the place of a database.
#[derive(Debug)]
pub(in crate::server::store) struct Prepared {
    folder: tempfile::TempDir,
    backup: Backup,
}

impl Prepared {
    /// The copy of the backup, in a folder beside the database.
    pub(in crate::server::store) fn path(&self) -> PathBuf {
        self.folder.path().join("restored.db")
    }
}

/// Copies the backup `from` to where it can take the place of `database`, and checks the copy.
pub(in crate::server::store) async fn prepare(database: &Path, from: &Path) -> Result<Prepared, BackupError> {
    // Before anything is written.
    let users = check(from).await?;
    let folder = folder_beside(database)?;
    let copy = folder.path().join("restored.db");
    let bytes = std::fs::copy(from, &copy).map_err(file_error(from))?;
    let file = File::options().write(true).open(&copy).map_err(file_error(&copy))?;
    for_owner_only(&file).map_err(file_error(&copy))?;
    check(&copy).await?;
    Ok(Prepared { folder, backup: Backup { bytes, users } })
}

/// Puts a prepared backup in the place of `database`. What was there is moved to `kept` before, if anything was.
pub(in crate::server::store) async fn replace(
    database: &Path,
    prepared: Prepared,
    kept: &Path,
) -> Result<Backup, BackupError> {
    let copy = prepared.path();
    File::open(&copy).and_then(|file| file.sync_all()).map_err(file_error(&copy))?;
    check_ours(database).await?;
    // Nobody opens the database until this is dropped: they wait for it, and then find the new one.
    let path = database.to_owned();
    let is_there = std::fs::metadata(database).is_ok_and(|file| file.len() > 0);
    let lock = tokio::task::spawn_blocking(move || private_file(&path)).await;
    let _lock = lock.map_err(|error| StoreError::Failed(error.to_string()))??;
    if kept.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(kept.to_owned()));
    }
    if is_there {
        leave_alone(database).await?;
        std::fs::rename(database, kept).map_err(file_error(kept))?;
    }
    if let Err(cause) = std::fs::rename(&copy, database) {
        // The old one goes back; nothing else could be done.
        let _ = std::fs::rename(kept, database);
        return Err(BackupError::File { path: database.to_owned(), cause });
    }
    sync_folder(database)?;
    Ok(prepared.backup)
}

/// Makes sure that nobody else has the database open, and folds its write-ahead log into it: SQLite gives up the log only
/// to whoever is alone.
async fn leave_alone(database: &Path) -> Result<(), BackupError> {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(LEAVE_TIMEOUT);
    let mut connection: SqliteConnection = options.connect().await.map_err(failed)?;
    let mode: Result<(String,), _> =
        sqlx::query_as("pragma journal_mode = delete").fetch_one(&mut connection).await;
    let _ = connection.close().await;
    match mode {
        Ok((mode,)) if mode.eq_ignore_ascii_case("delete") => Ok(()),
        _ => Err(BackupError::InUse(database.to_owned())),
    }
}

#[cfg(unix)]
fn for_owner_only(file: &File) -> std::io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

#[cfg(not(unix))]
fn for_owner_only(_: &File) -> std::io::Result<()> {
    Ok(())
}

/// Makes the name of a file as durable as its content.
fn sync_folder(path: &Path) -> Result<(), BackupError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(folder))
}
