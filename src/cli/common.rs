//! The flags, the settings and the database of every command.

use std::path::PathBuf;

use clap::Args;

use super::error::CommandError;
use super::log;
use crate::server::config::{ConfigError, DatabaseUrl, Loaded, Settings, Sources};
use crate::server::store::{Store, StoreError};

/// The flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Common {
    /// Settings file (TOML); overrides config/default.toml and config/<HALLPASS_ENV>.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Database: sqlite://relative.db, sqlite:///absolute.db or postgres://user@host/database
    #[arg(long, global = true, value_name = "URL")]
    pub(super) database_url: Option<String>,
}

/// Reads the settings from every source; the flags of the command line override the others.
pub(super) fn load(common: &Common, bind: Option<&str>) -> Result<Loaded, ConfigError> {
    let flag = |flag, name, value: Option<&str>| value.map(|value| (flag, name, value.to_owned()));
    Loaded::from(&Sources {
        folder: "".into(),
        config_file: common.config.clone(),
        environment: environment()
            .filter(|(name, _)| name.starts_with("HALLPASS_") || name == "DATABASE_URL")
            .collect(),
        flags: [
            flag("--bind", "server.bind", bind),
            flag("--database-url", "database.url", common.database_url.as_deref()),
        ]
        .into_iter()
        .flatten()
        .collect(),
    })
}

/// Returns the environment. A name that is not UTF-8 is not one of ours. A value that is not is refused with its
/// setting's own error.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

impl Common {
    /// Refuses these flags, for a command that would ignore them.
    ///
    /// # Errors
    /// [`CommandError`] that names the flag.
    pub(super) fn refuse_flags(&self, command: &str) -> Result<(), CommandError> {
        let flag = match (&self.config, &self.database_url) {
            (Some(_), _) => "--config",
            (None, Some(_)) => "--database-url",
            (None, None) => return Ok(()),
        };
        Err(CommandError::usage(format!("hallpass {command} would ignore {flag}; leave it out")))
    }

    pub(super) fn settings(&self, bind: Option<&str>) -> Result<Settings, CommandError> {
        Ok(load(self, bind)?.into_settings())
    }
}

/// Opens the database that the settings name.
pub(super) async fn open_store(settings: &Settings) -> Result<Store, CommandError> {
    let url = &settings.database.url;
    Store::open(&settings.database).await.map_err(|error| unusable(url, error))
}

/// The failure of a command whose database cannot be opened.
pub(super) fn unusable(url: &DatabaseUrl, error: StoreError) -> CommandError {
    match error {
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
    }
}

/// Runs `work` on the database that the settings name, and closes it.
pub(super) fn with_store(
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
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(future)
}
