//! Backup and restore, on SQLite. PostgreSQL has tools of its own.

use std::path::{Path, PathBuf};

use super::{Store, StoreError, sqlite};
use crate::server::config;

pub use sqlite::{Backup, BackupError};

/// A backup that is ready to be restored. Dropped, it leaves no trace.
#[derive(Debug)]
pub struct Restore {
    database: PathBuf,
    prepared: sqlite::Prepared,
}

impl Store {
    /// Writes a backup of the SQLite database `database` to `to`, while others read and write it. It is of one point in
    /// time, checked, and readable by its owner alone. Calls `progress` with the bytes written so far and their expected
    /// number.
    ///
    /// # Errors
    /// [`BackupError`]; then there is no file.
    pub async fn back_up(
        database: &Path,
        to: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<Backup, BackupError> {
        sqlite::back_up(database, to, progress).await
    }
}

impl Restore {
    /// Copies the backup `from` to where it can take the place of `database`, and checks it.
    ///
    /// # Errors
    /// [`BackupError`]; nothing was changed.
    pub async fn prepare(database: &Path, from: &Path) -> Result<Self, BackupError> {
        let prepared = sqlite::prepare(database, from).await?;
        Ok(Self { database: database.to_owned(), prepared })
    }

    /// Opens the copy, brings its schema up to date, and runs `work` on it.
    ///
    /// # Errors
    /// That of `work`, or [`StoreError`].
    pub async fn change<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&Store) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut settings = config::Settings::default().database;
        settings.url = config::DatabaseUrl::Sqlite(self.prepared.path());
        let store = Store::open(&settings).await?;
        let done = work(&store).await;
        // This folds the write-ahead log into the file, which alone is moved.
        store.close().await;
        done
    }

    /// Puts the backup in the place of the database, which is moved to `kept` if there is one.
    ///
    /// # Errors
    /// [`BackupError::InUse`] if another process uses the database. Nothing was changed then.
    pub async fn finish(self, kept: &Path) -> Result<Backup, BackupError> {
        sqlite::replace(&self.database, self.prepared, kept).await
    }
}
