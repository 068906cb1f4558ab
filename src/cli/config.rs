//! `hallpass config`: prints the settings in force, and where each comes from.

use super::output::print_line;
use super::{CommandError, Common};
use crate::server::config::{ConfigError, Loaded, Sources};

/// Reads the settings from every source; the flags of the command line override the others.
pub(super) fn load(common: &Common, bind: Option<&str>) -> Result<Loaded, ConfigError> {
    let flag = |flag, name, value: Option<&str>| value.map(|value| (flag, name, value.to_owned()));
    Loaded::from(&Sources {
        folder: "".into(),
        config_file: common.config.clone(),
        // A name that is not UTF-8 is not one of ours. A value that is not is refused with its setting's own error.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
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

pub(super) fn run(common: &Common) -> Result<(), CommandError> {
    let loaded = load(common, None)?;
    for (field, value, origin) in loaded.report() {
        let value = if value.is_empty() { "(not set)" } else { &value };
        print_line(format_args!("{:<24} = {value:<32} # {origin}", field.name))?;
    }
    Ok(())
}
