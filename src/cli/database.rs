//! `hallpass database check` and `hallpass database move`. They need no passphrase: what is sealed is copied as it is.

use std::io::IsTerminal;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::columns::Columns;
use super::common::{Common, open_store};
use super::error::CommandError;
use super::log;
use super::output::print_line;
use crate::server::config::{DatabaseUrl, Settings};
use crate::server::store::{CopyError, Store, TableDigest};

#[derive(Debug, Subcommand)]
pub(super) enum DatabaseCommand {
    /// Check the database, and print the number of rows and a digest of each table
    Check,
    /// Copy everything into an empty database: from SQLite to PostgreSQL, or back
    ///
    /// Stop the servers first. Users, passwords, sessions, keys and events are copied, and tokens stay valid. The
    /// source is not changed. Before the commit, each table is compared by its number of rows and a digest. If the
    /// command is interrupted, it has written nothing and can be run again.
    Move {
        /// The target: sqlite:///absolute.db or postgres://user@host/database
        #[arg(long, value_name = "URL")]
        to: DatabaseUrl,
    },
}

pub(super) fn run(common: &Common, command: &DatabaseCommand) -> Result<(), CommandError> {
    let settings = common.settings(None)?;
    log::start(settings.log.format);
    // Other commands create a database that is missing; here it would be a mistyped name.
    if let DatabaseUrl::Sqlite(path) = &settings.database.url
        && !path.exists()
    {
        return Err(CommandError::usage(format!(
            "there is no database {}; name one with --database-url",
            settings.database.url
        )));
    }
    super::common::block_on(async {
        let store = open_store(&settings).await?;
        let outcome = match command {
            DatabaseCommand::Check => check(&store).await,
            DatabaseCommand::Move { to } => move_to(&store, &settings, to).await,
        };
        store.close().await;
        outcome
    })
}

async fn check(store: &Store) -> Result<(), CommandError> {
    let problems = store.problems().await?;
    let bar = progress("checked");
    let tables = store.digests(|table, rows| advance(&bar, table, rows)).await?;
    bar.finish_and_clear();
    print_tables(&tables)?;
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        print_line(format_args!("{problem}"))?;
    }
    Err(CommandError::running(format!(
        "the database is damaged ({} problems); restore a backup",
        problems.len()
    )))
}

async fn move_to(source: &Store, settings: &Settings, to: &DatabaseUrl) -> Result<(), CommandError> {
    if *to == settings.database.url {
        return Err(CommandError::usage(format!(
            "--to names the database to move from, {to}; name another one"
        )));
    }
    let mut there = settings.clone();
    there.database.url = to.clone();
    let target = open_store(&there).await?;
    let bar = progress("moved");
    let outcome = source.copy_to(&target, |table, rows| advance(&bar, table, rows)).await;
    bar.finish_and_clear();
    target.close().await;
    let copied = outcome.map_err(|error| match error {
        CopyError::Store(error) => CommandError::running(error),
        refused => CommandError::running(format!("nothing was written: {refused}")),
    })?;
    print_tables(&copied.tables)?;
    let rows: u64 = copied.tables.iter().map(|table| table.rows).sum();
    if copied.was_there {
        return print_line(format_args!("{to} has the same {rows} rows already; nothing was written"));
    }
    print_line(format_args!(
        "{rows} rows are copied and compared; set database.url to {to} and start the servers with the same passphrase"
    ))
}

/// Prints one line a table: its name, its number of rows, and the beginning of its digest, by which two databases can
/// be compared.
fn print_tables(tables: &[TableDigest]) -> Result<(), CommandError> {
    let row = |TableDigest { table, rows, digest }: &TableDigest| {
        let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        vec![table.to_string(), rows.to_string(), digest]
    };
    Columns::right(&[1]).print(&tables.iter().map(row).collect::<Vec<_>>())
}

fn progress(verb: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("{{spinner}} {{msg}}: {{human_pos}} rows {verb}, {{per_sec}}");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // It turns while the tables are compared too, when no rows are counted.
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

fn advance(bar: &ProgressBar, table: &str, rows: u64) {
    bar.set_message(table.to_owned());
    bar.inc(rows);
}
