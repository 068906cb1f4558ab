//! The command line: one file a command. Nothing else in the crate prompts or prints.
//!
//! | file | what it owns |
//! |---|---|
//! | `serve`, `demo`, `user`, `sessions`, `import`, `key`, `token`, `events`, `stats`, `database`, `backup`, `mail`, `health`, `completions`, `openapi`, `config`, `doctor` | the commands |
//! | `user_file` | the files of `user import` and `user export` |
//! | `common`, `error` | the flags, settings and database of every command; errors and exit statuses |
//! | `unlock` | the passphrase, given or typed, and the vault that it unseals |
//! | `secret`, `terminal` | secrets from files, descriptors and pipes; prompts |
//! | `output`, `columns`, `log` | standard output and standard error; tables; the log |
//! | `signals`, `service` | signals; the service manager |
//! | `harden`, `wiping` | core dumps; the overwriting of freed memory |

#[cfg(feature = "sqlite")]
mod backup;
mod columns;
mod common;
mod completions;
mod config;
mod database;
mod demo;
mod doctor;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod harden;
mod health;
mod import;
mod key;
mod log;
mod mail;
mod openapi;
mod output;
mod secret;
mod serve;
mod service;
mod sessions;
mod signals;
mod stats;
mod terminal;
mod token;
mod unlock;
mod user;
mod user_file;
pub mod wiping;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use common::Common;
use error::CommandError;
use output::{eprint_line, print_line};

use crate::server::Sockets;

/// An authentication server: it signs users in and issues JSON Web Tokens.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
    /// `hallpass` alone is `hallpass serve` and takes the same flags.
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server; it asks for the passphrase
    Serve(serve::ServeArgs),
    /// Start a temporary server with a demo user, on the loopback address unless --bind is given
    Demo(demo::DemoArgs),
    /// Add, list and change users
    #[command(subcommand)]
    User(user::UserCommand),
    /// End all sessions of all users
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Check, list, rotate and revoke signing keys; change the passphrase and the installation key
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show the contents of tokens; verify tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show the event log
    Events(events::EventsArgs),
    /// Check the database; copy it into another one
    #[command(subcommand)]
    Database(database::DatabaseCommand),
    /// Write a backup of the database (SQLite), while servers run or not
    #[cfg(feature = "sqlite")]
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the database (SQLite); stop its servers first
    #[cfg(feature = "sqlite")]
    Restore(backup::RestoreArgs),
    /// Try the mail server; list the mails that wait
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Show the number of sign-ins, failures, refreshes and added users
    Stats(stats::StatsArgs),
    /// Ask the server of these settings whether it is ready, for a container's health check
    Health,
    /// Print a script that completes commands and flags
    Completions(completions::CompletionsArgs),
    /// Write manual pages, for a package
    #[command(hide = true)]
    Man(completions::ManArgs),
    /// Print the OpenAPI document of the server
    Openapi(openapi::OpenapiArgs),
    /// Print the current settings and the source of each
    Config(config::ConfigArgs),
    /// Check the settings, files, database, keys, clock and server, and say what to do
    Doctor,
}

impl Command {
    /// Returns the name of a command that uses no settings; `None` for the others.
    fn without_settings(&self) -> Option<&'static str> {
        match self {
            Self::Demo(_) => Some("demo"),
            Self::Openapi(_) => Some("openapi"),
            Self::Completions(_) => Some("completions"),
            Self::Man(_) => Some("man"),
            _ => None,
        }
    }
}

/// Runs the command that the process was started with. `take_descriptor` takes over a descriptor that it was started
/// with.
pub fn main(take_descriptor: secret::TakeDescriptor) -> ExitCode {
    harden::harden();
    // Comes first: a descriptor's number could otherwise name something that we have opened ourselves.
    let sockets = service::sockets(take_descriptor);
    let arguments = secret::with_descriptors(take_descriptor, Cli::try_parse);
    signals::watch();
    let outcome = match arguments {
        Ok(cli) => run(cli, sockets),
        Err(error) if error.use_stderr() => Err(CommandError::usage(one_line(&error))),
        // The help or the version, which end with a line end of their own.
        Err(help) => print_line(format_args!("{}", help.to_string().trim_end())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.message.is_empty() {
                eprint_line(format_args!("hallpass: {}", error.message.replace('\n', " ")));
            }
            ExitCode::from(error.status)
        }
    }
}

fn run(cli: Cli, sockets: Sockets) -> Result<(), CommandError> {
    let Cli { common, command, serve } = cli;
    if let Some(name) = command.as_ref().and_then(Command::without_settings) {
        common.refuse_flags(name)?;
    }
    match command {
        None => serve::run(&common, &serve, sockets),
        Some(_) if serve.is_given() => Err(CommandError::usage(
            "these flags belong to hallpass serve, not to other commands; see hallpass serve --help",
        )),
        Some(Command::Serve(args)) => serve::run(&common, &args, sockets),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::User(command)) => user::run(&common, command),
        Some(Command::Sessions(command)) => sessions::run(&common, &command),
        Some(Command::Key(command)) => key::run(&common, command),
        Some(Command::Token(command)) => token::run(&common, command),
        Some(Command::Events(args)) => events::run(&common, &args),
        Some(Command::Database(command)) => database::run(&common, &command),
        #[cfg(feature = "sqlite")]
        Some(Command::Backup(args)) => backup::back_up(&common, &args),
        #[cfg(feature = "sqlite")]
        Some(Command::Restore(args)) => backup::restore(&common, &args),
        Some(Command::Mail(command)) => mail::run(&common, &command),
        Some(Command::Stats(args)) => stats::run(&common, &args),
        Some(Command::Health) => health::run(&common),
        Some(Command::Completions(args)) => completions::complete::<Cli>(&args),
        Some(Command::Man(args)) => completions::write_pages::<Cli>(&args),
        Some(Command::Openapi(args)) => openapi::run(&args),
        Some(Command::Config(args)) => config::run(&common, &args),
        Some(Command::Doctor) => doctor::run(&common),
    }
}

/// Returns clap's message as one line, without the usage that follows it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let message: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let message = message.join(" ");
    format!("{}; see hallpass --help", message.strip_prefix("error: ").unwrap_or(&message))
}
