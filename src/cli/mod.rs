//! The command line: one file a command. Nothing else in the crate prompts or prints.
//!
//! | file | what it owns |
//! |---|---|
//! | `serve`, `demo`, `user`, `import`, `key`, `token`, `events`, `openapi`, `config` | the commands |
//! | `unlock` | the passphrase, given or typed, and the vault that it opens |
//! | `secret`, `terminal` | secrets from files, descriptors and pipes; prompts |
//! | `output`, `log` | standard output and standard error; the log |
//! | `signals`, `harden`, `wiping` | signals; core dumps; the overwriting of freed memory |

mod config;
mod demo;
mod events;
mod harden;
mod import;
mod key;
mod log;
mod openapi;
mod output;
mod secret;
mod serve;
mod signals;
mod terminal;
mod token;
mod unlock;
mod user;
pub mod wiping;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use output::{eprint_line, print_line};

use crate::server::config::{ConfigError, DatabaseUrl, Settings};
use crate::server::error::Error;
use crate::server::keys::KeysError;
use crate::server::store::{Store, StoreError};

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

/// The flags of every command.
#[derive(Debug, Clone, Default, Args)]
struct Common {
    /// Settings file (TOML); overrides config/default.toml and config/<HALLPASS_ENV>.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database: sqlite://relative.db, sqlite:///absolute.db or postgres://user@host/database
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server; it asks for the passphrase
    Serve(serve::ServeArgs),
    /// Start a temporary server on the loopback address, with a demo user
    Demo,
    /// Add, list and change users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Check, list, rotate and revoke signing keys; change the passphrase
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show what tokens contain, and verify them
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show the event log
    Events(events::EventsArgs),
    /// Print the OpenAPI document of the server
    Openapi(openapi::OpenapiArgs),
    /// Print the settings in force and where each comes from
    Config,
}

/// The reason why a command failed: the line that the operator sees (none if it is empty), and the exit status.
#[derive(Debug)]
struct CommandError {
    message: String,
    status: u8,
}

impl CommandError {
    /// An error while running: exit status 1.
    fn running(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 1 }
    }

    /// Wrong usage or configuration: exit status 2.
    fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 2 }
    }

    /// A wrong passphrase: exit status 3.
    fn passphrase(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 3 }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::running(error)
    }
}

impl From<KeysError> for CommandError {
    fn from(error: KeysError) -> Self {
        Self::running(error)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::running(error)
    }
}

/// Runs the command that the process was started with. `take_descriptor` takes over a descriptor that it was started with.
pub fn main(take_descriptor: secret::TakeDescriptor) -> ExitCode {
    harden::harden();
    // Comes first: a descriptor's number could otherwise name something that we have opened ourselves.
    let arguments = secret::with_descriptors(take_descriptor, Cli::try_parse);
    signals::watch();
    let outcome = match arguments {
        Ok(cli) => run(cli),
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

fn run(cli: Cli) -> Result<(), CommandError> {
    let Cli { common, command, serve } = cli;
    match command {
        None => serve::run(&common, &serve),
        Some(_) if serve.is_given() => Err(CommandError::usage(
            "flags of serve are accepted without a command, or after serve; see hallpass serve --help",
        )),
        Some(Command::Serve(args)) => serve::run(&common, &args),
        Some(Command::Demo) => demo::run(),
        Some(Command::User(command)) => user::run(&common, command),
        Some(Command::Key(command)) => key::run(&common, command),
        Some(Command::Token(command)) => token::run(&common, command),
        Some(Command::Events(args)) => events::run(&common, &args),
        Some(Command::Openapi(args)) => openapi::run(&args),
        Some(Command::Config) => config::run(&common),
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

impl Common {
    fn settings(&self, bind: Option<&str>) -> Result<Settings, CommandError> {
        Ok(config::load(self, bind)?.into_settings())
    }
}

/// Opens the database that the settings name.
async fn open_store(settings: &Settings) -> Result<Store, CommandError> {
    let url = &settings.database.url;
    Store::open(&settings.database).await.map_err(|error| match error {
        StoreError::Unavailable(cause) | StoreError::Failed(cause) => CommandError::running(format!(
            "the database {url} cannot be used: {cause}; choose another with --database-url"
        )),
        StoreError::Foreign(name) => CommandError::running(format!(
            "the database {url} cannot be used: {name} has tables of another program, and nothing was written; choose \
             another with --database-url, or set {}",
            match url {
                DatabaseUrl::Sqlite(_) => "HALLPASS_DATABASE__URL",
                DatabaseUrl::Postgres(_) => "HALLPASS_DATABASE__SCHEMA",
            }
        )),
        other => CommandError::running(other),
    })
}

/// Runs `work` on the database that the settings name, and closes it.
fn with_store(
    common: &Common,
    work: impl AsyncFnOnce(&Store, &Settings) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let settings = common.settings(None)?;
    log::start(settings.log.format);
    block_on(async {
        let store = open_store(&settings).await?;
        let outcome = work(&store, &settings).await;
        store.close().await;
        outcome
    })
}

/// Runs a command's asynchronous part.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(future)
}
