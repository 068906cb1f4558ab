//! Copies an installation from one database into another, and compares the two.
//!
//! Everything is written in one transaction of the target, and compared before it is committed: after a failure the
//! target is as empty as before, and the copy is begun again. Rows are read and written a few at a time, so memory does
//! not grow with the tables.

mod rows;
mod schema;

#[cfg(feature = "postgres")]
use sqlx::Executor;

use super::classify::classify;
use super::connection::{Connection, Dialect, Inner};
use super::error::{CommitError, StoreError};
use super::{Database, Store};
use schema::Table;

pub use rows::TableDigest;

/// The outcome of [`Store::copy_to`].
#[derive(Debug)]
pub struct Copied {
    /// The tables, as they are in both databases.
    pub tables: Vec<TableDigest>,
    /// The target had the same content before, so nothing was written.
    pub was_there: bool,
}

/// The reason why a database was not copied. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source has no installation.
    #[error("the source has no installation: a server has never started on it")]
    NoInstallation,
    /// The target belongs to another installation.
    #[error("the target is another installation; give an empty database")]
    OtherInstallation,
    /// The target has rows that the source has not, or lacks some.
    #[error("the target is not empty, and its table {0} differs from the source's; give an empty database")]
    NotEmpty(String),
    /// The source was written to meanwhile.
    #[error("the table {0} of the source changed meanwhile; stop its servers, and run the command again")]
    Changed(String),
}

impl Store {
    /// Counts and digests every table that [`copy_to`](Self::copy_to) copies, all at the same point in time. Calls
    /// `progress` with the name of a table and the number of rows read since the last call.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails, or is damaged.
    pub async fn digests(&self, progress: impl FnMut(&str, u64)) -> Result<Vec<TableDigest>, StoreError> {
        let mut connection = self.snapshot().await?;
        let tables = schema::tables(&mut connection).await?;
        let digests = digests(&mut connection, &tables, progress).await?;
        end_snapshot(connection).await?;
        Ok(digests)
    }

    /// Checks what the database itself can check: in SQLite the structure of the file and every reference between
    /// tables. PostgreSQL does so by itself. Returns the problems found.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn problems(&self) -> Result<Vec<String>, StoreError> {
        // Not within the time limit of a request: a large file takes longer.
        let mut connection = self.acquire().await.map_err(|(error, _)| error)?;
        if connection.dialect() == Dialect::Postgres {
            return Ok(Vec::new());
        }
        let lines: Vec<(String,)> = connection.query("pragma integrity_check(20)").fetch_all().await?;
        let mut problems: Vec<_> =
            lines.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect();
        let broken: Vec<(String, Option<i64>)> = connection
            .query("select \"table\", rowid from pragma_foreign_key_check() limit 20")
            .fetch_all()
            .await?;
        problems.extend(broken.into_iter().map(|(table, row)| {
            let row = row.map_or(String::new(), |row| format!(" {row}"));
            format!("row{row} of {table} refers to a row that does not exist")
        }));
        Ok(problems)
    }

    /// Copies every row into `target`, which must be empty, or have the same content already. `progress` is called with
    /// the name of a table and the number of rows copied since the last call.
    ///
    /// # Errors
    /// [`CopyError`]; nothing was written then.
    pub async fn copy_to(
        &self,
        target: &Self,
        mut progress: impl FnMut(&str, u64),
    ) -> Result<Copied, CopyError> {
        let installation = async |store: &Self| {
            let found = store.read(async |connection| connection.installation().await).await?;
            Ok::<_, StoreError>(found.map(|found| found.id))
        };
        let ours = installation(self).await?.ok_or(CopyError::NoInstallation)?;
        if installation(target).await?.is_some_and(|theirs| theirs != ours) {
            return Err(CopyError::OtherInstallation);
        }
        let mut source = self.snapshot().await?;
        let from = schema::tables(&mut source).await?;
        let mut tx = target.begin().await.map_err(|(error, _)| error)?;
        let to = schema::tables(&mut tx).await?;
        check_schemas(&from, &to)?;

        let before = digests(&mut tx, &to, |_, _| {}).await?;
        if before.iter().any(|table| table.rows > 0) {
            let expected = digests(&mut source, &from, &mut progress).await?;
            end_snapshot(source).await?;
            target.roll_back(tx).await.map_err(unwritten)?;
            return match difference(&expected, &before) {
                Some(table) => Err(CopyError::NotEmpty(table)),
                None => Ok(Copied { tables: before, was_there: true }),
            };
        }

        let triggers = without_triggers(&mut tx, &to).await?;
        for table in &to {
            let from = from.iter().find(|from| from.name == table.name).unwrap_or(table);
            rows::copy(&mut source, from, &mut tx, table, &mut progress).await?;
        }
        rows::run(&mut tx, triggers).await?;
        end_snapshot(source).await?;

        // The source is read anew: whoever still writes to it is noticed.
        let expected = self.digests(|_, _| {}).await?;
        let copied = digests(&mut tx, &to, |_, _| {}).await?;
        if let Some(table) = difference(&expected, &copied) {
            target.roll_back(tx).await.map_err(unwritten)?;
            return Err(CopyError::Changed(table));
        }
        target.commit(tx).await.map_err(unwritten)?;
        Ok(Copied { tables: copied, was_there: false })
    }

    /// Begins a transaction in which every read sees the database as it is now. It ends when it is dropped.
    async fn snapshot(&self) -> Result<Connection, StoreError> {
        let snapshot = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pools) => pools.snapshot().await,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => pool.snapshot().await,
        };
        snapshot.map_err(|error| classify(error).0)
    }
}

fn unwritten(error: CommitError) -> StoreError {
    match error {
        CommitError::Failed(error) => error,
        CommitError::Conflict => StoreError::Unavailable("others write to the target".into()),
    }
}

/// Ends it at once. Dropped instead, it ends when its connection is closed, a little later.
async fn end_snapshot(connection: Connection) -> Result<(), StoreError> {
    match connection.inner {
        #[cfg(feature = "sqlite")]
        Inner::SqliteSnapshot(transaction) => transaction.rollback().await,
        #[cfg(feature = "sqlite")]
        Inner::Sqlite(_) | Inner::SqliteTurn(_) => Ok(()),
        #[cfg(feature = "postgres")]
        Inner::Postgres(mut inner) => inner.execute("rollback").await.map(drop),
    }
    .map_err(|error| classify(error).0)
}

async fn digests(
    connection: &mut Connection,
    tables: &[Table],
    mut progress: impl FnMut(&str, u64),
) -> Result<Vec<TableDigest>, StoreError> {
    let mut digests = Vec::with_capacity(tables.len());
    for table in tables {
        digests.push(rows::digest(connection, table, &mut progress).await?);
    }
    digests.sort_by(|one, other| one.table.cmp(&other.table));
    Ok(digests)
}

fn check_schemas(from: &[Table], to: &[Table]) -> Result<(), StoreError> {
    let differs = |table: &&Table| !to.iter().any(|other| other.matches(table));
    match from.iter().find(differs) {
        None if from.len() == to.len() => Ok(()),
        found => {
            let table = found.map_or("a table", |table| table.name.as_str());
            Err(StoreError::Failed(format!("{table} has other columns in the other database")))
        }
    }
}

/// Returns the first table that differs.
fn difference(one: &[TableDigest], other: &[TableDigest]) -> Option<String> {
    one.iter().zip(other).find(|(one, other)| one != other).map(|(one, _)| one.table.clone())
}

/// Switches the triggers of the tables off, since what they have written is copied too. Returns the statements that
/// switch them on again.
async fn without_triggers(connection: &mut Connection, tables: &[Table]) -> Result<String, StoreError> {
    if connection.dialect() == Dialect::Postgres {
        let all = |verb: &str| -> String {
            tables.iter().map(|table| format!("alter table {} {verb} trigger user;", table.name)).collect()
        };
        rows::run(connection, all("disable")).await?;
        return Ok(all("enable"));
    }
    let triggers: Vec<(String, String)> =
        connection.query("select name, sql from sqlite_schema where type = 'trigger'").fetch_all().await?;
    let (mut drop, mut create) = (String::new(), String::new());
    for (name, sql) in triggers {
        drop += &format!("drop trigger {name};");
        create += &format!("{sql};");
    }
    rows::run(connection, drop).await?;
    Ok(create)
}
