//! The shell: one file a command; the only code that prompts and prints.

mod config;
mod demo;
mod events;
mod harden;
mod import;
mod key;
mod log;
mod openapi;
mod out;
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

use out::{remark, say};

use crate::server::config::{ConfigError, Settings};
use crate::server::error::Error;
use crate::server::keys::KeysError;
use crate::server::store::{Store, StoreError};

/// Stateless token authentication: a login server.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, about, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
    /// `hallpass` alone is `hallpass serve`, with its flags.
    #[command(flatten)]
    serve: serve::ServeArgs,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
struct Common {
    /// A settings file (TOML) over config/default.toml and config/<HALLPASS_ENV>.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database: sqlite://relative.db, sqlite:///absolute.db or postgres://user@host/database
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask for the passphrase, then serve
    Serve(serve::ServeArgs),
    /// A throw-away server on the loopback: temporary database, random key, a demo user
    Demo,
    /// Add, list and change users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Check, list, rotate and revoke signing keys; change the passphrase
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Look into tokens, and verify them
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show the record of what happened
    Events(events::EventsArgs),
    /// Print the OpenAPI document of the server
    Openapi(openapi::OpenapiArgs),
    /// Print the settings in force and where each comes from
    Config,
}

/// Why the process ends otherwise than well. The one line that the operator sees (none where it is empty), and the
/// exit status.
#[derive(Debug)]
struct Failed {
    message: String,
    status: u8,
}

impl Failed {
    /// Failed while running: 1.
    fn running(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 1 }
    }

    /// Wrong usage or configuration: 2.
    fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 2 }
    }

    /// Wrong passphrase: 3.
    fn passphrase(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 3 }
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::running(error)
    }
}

impl From<KeysError> for Failed {
    fn from(error: KeysError) -> Self {
        Self::running(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::running(error)
    }
}

/// Runs the command that the process was started with. `inherited` takes over a descriptor that it was started with.
pub fn main(inherited: secret::Inherited) -> ExitCode {
    harden::harden();
    // Before anything of our own is open, which a descriptor's number could name by mistake.
    let arguments = secret::with_inherited(inherited, Cli::try_parse);
    signals::watch();
    let outcome = match arguments {
        Ok(cli) => run(cli),
        Err(error) if error.use_stderr() => Err(Failed::usage(one_line(&error))),
        // The help or the version, which end in a line's end of their own.
        Err(asked) => say(format_args!("{}", asked.to_string().trim_end())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            if !failed.message.is_empty() {
                remark(format_args!("hallpass: {}", failed.message.replace('\n', " ")));
            }
            ExitCode::from(failed.status)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failed> {
    let Cli { common, command, serve } = cli;
    match command {
        None => serve::run(&common, &serve),
        Some(_) if serve.is_given() => {
            Err(Failed::usage("the flags of serve come after the command; see hallpass serve --help"))
        }
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

/// What clap complains of, without its several lines of usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let complaint: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let complaint = complaint.join(" ");
    format!("{}; see hallpass --help", complaint.strip_prefix("error: ").unwrap_or(&complaint))
}

impl Common {
    fn settings(&self, bind: Option<&str>) -> Result<Settings, Failed> {
        Ok(config::load(self, bind)?.into_settings())
    }
}

/// Opens the database that the settings name.
async fn open_store(settings: &Settings) -> Result<Store, Failed> {
    Store::open(&settings.database).await.map_err(|error| match error {
        StoreError::Unavailable(cause) | StoreError::Failed(cause) => Failed::running(format!(
            "the database {} cannot be used: {cause}; name another with --database-url",
            settings.database.url
        )),
        other => Failed::running(other),
    })
}

/// Runs `work` on the database that the settings name, and closes it.
fn with_store(
    common: &Common,
    work: impl AsyncFnOnce(&Store, &Settings) -> Result<(), Failed>,
) -> Result<(), Failed> {
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
