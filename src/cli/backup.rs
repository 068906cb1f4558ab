//! `hallpass backup` and `hallpass restore`, on SQLite. Neither needs the passphrase: what is sealed is copied as it is.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::common::{Common, block_on, unusable};
use super::error::CommandError;
use super::log;
use super::output::print_line;
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;
use crate::server::config::{DatabaseUrl, Settings};
use crate::server::store::{BackupError, Restore, Store};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// End every session, so that none that was ended since the backup works again
    #[arg(long)]
    end_sessions: bool,
}

pub(super) fn back_up(common: &Common, args: &BackupArgs) -> Result<(), CommandError> {
    let settings = common.settings(None)?;
    log::start(settings.log.format);
    let database = sqlite_of(&settings, "pg_dump")?;
    if !database.exists() {
        return Err(CommandError::usage(format!(
            "there is no database {}; name one with --database-url",
            settings.database.url
        )));
    }
    let bar = progress();
    let backup = block_on(Store::back_up(database, &args.file, |written, expected| {
        bar.set_length(expected.max(written));
        bar.set_position(written);
    }));
    bar.finish_and_clear();
    let backup = backup.map_err(|error| match error {
        BackupError::Store(error) => unusable(&settings.database.url, error),
        other => explain(other),
    })?;
    print_line(format_args!(
        "{}: {} bytes, {} users, checked; it opens nothing without the passphrase, and holds every address and event",
        args.file.display(),
        backup.bytes,
        backup.users
    ))
}

pub(super) fn restore(common: &Common, args: &RestoreArgs) -> Result<(), CommandError> {
    let settings = common.settings(None)?;
    log::start(settings.log.format);
    let database = sqlite_of(&settings, "pg_restore")?;
    let now = Clock::system().now();
    let mut kept = database.as_os_str().to_owned();
    kept.push(format!(".before-restore-{}", now.format("%Y%m%dT%H%M%S%3fZ")));
    let kept = PathBuf::from(kept);
    let ended = block_on(async {
        let restore = Restore::prepare(database, &args.file).await.map_err(explain)?;
        let ended = restore
            .change(async |store| {
                if args.end_sessions {
                    UserAdmin::new(store.clone(), Clock::system()).end_all_sessions().await.map(Some)
                } else {
                    Ok(None)
                }
            })
            .await?;
        restore.finish(&kept).await.map_err(explain)?;
        Ok::<_, CommandError>(ended)
    })?;
    let url = &settings.database.url;
    print_line(format_args!("{url} is restored from {}", args.file.display()))?;
    if kept.exists() {
        print_line(format_args!("what was there is {}", kept.display()))?;
    }
    print_line(format_args!(
        "what was changed since the backup is undone: passwords, disabled and deleted users, revoked keys"
    ))?;
    match ended {
        Some(users) => print_line(format_args!(
            "every session of {users} users has ended; everybody has to sign in again"
        )),
        None => print_line(format_args!(
            "sessions that were ended since the backup work again; hallpass sessions end --all ends them, before the server starts"
        )),
    }
}

/// Returns the file of the database.
fn sqlite_of<'a>(settings: &'a Settings, instead: &str) -> Result<&'a Path, CommandError> {
    match &settings.database.url {
        DatabaseUrl::Sqlite(path) => Ok(path),
        DatabaseUrl::Postgres(url) => Err(CommandError::usage(format!(
            "{url} is PostgreSQL, which has its own tool for this: {instead}"
        ))),
    }
}

fn explain(error: BackupError) -> CommandError {
    match error {
        BackupError::Exists(_) | BackupError::NotOurs { .. } | BackupError::Newer { .. } => {
            CommandError::usage(error)
        }
        other => CommandError::running(other),
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
