//! Where settings come from. Nothing else reads settings files or looks into the environment for settings.
//!
//! Weakest first: built-in defaults, `config/default.toml`, `config/<HALLPASS_ENV>.toml`, `--config`, `.env`, the
//! environment, flags. Every source gives text; the row of the setting says how it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::profile::Profile;
use super::values::shown;
use super::{FIELDS, Field, Settings};

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Built in.
    Default,
    /// The profile of this name.
    Profile(String),
    /// A settings file.
    File(PathBuf),
    /// A line of `.env`.
    DotEnv(String),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built in"),
            Self::Profile(name) => write!(f, "the profile {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::DotEnv(variable) => write!(f, "{variable} in .env"),
            Self::Variable(variable) => write!(f, "{variable} in the environment"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// An error in the settings: one line that says what is wrong, where, and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// The sources to read settings from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The folder with `config/` and `.env`; paths are relative to it.
    pub folder: PathBuf,
    /// The file of `--config`.
    pub config_file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags: the flag, the setting it stands for, and its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Settings, and where each comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
    /// The name of the profile, and where it comes from.
    profile: Option<(String, Origin)>,
}

/// Returns the environment's name for a setting: `HALLPASS_TOKEN__LIFETIME_S` for `token.lifetime_s`.
pub fn variable_name(setting: &str) -> String {
    format!("HALLPASS_{}", setting.to_ascii_uppercase().replace('.', "__"))
}

impl Loaded {
    /// Reads every source, weakest first.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that does not exist, a value that is not acceptable, or a file that was asked for
    /// and cannot be read.
    pub fn from(sources: &Sources) -> Result<Self, ConfigError> {
        let mut loaded = Self { settings: Settings::default(), origins: BTreeMap::new(), profile: None };
        let dot_env = read_dot_env(&sources.folder)?;
        loaded.read_file(&sources.folder.join("config/default.toml"), false)?;
        let environment = find(&sources.environment, "HALLPASS_ENV");
        if let Some(name) = environment.or_else(|| find(&dot_env, "HALLPASS_ENV")).filter(|it| !it.is_empty())
        {
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                return Err(ConfigError(format!(
                    "HALLPASS_ENV is {name:?}; a name of letters, digits, - and _ is accepted"
                )));
            }
            loaded.read_file(&sources.folder.join(format!("config/{name}.toml")), true)?;
        }
        if let Some(path) = &sources.config_file {
            loaded.read_file(&sources.folder.join(path), true)?;
        }
        loaded.read_dot_env(&dot_env)?;
        loaded.read_environment(&sources.environment)?;
        for (flag, name, value) in &sources.flags {
            loaded.set(name, value, Origin::Flag(flag))?;
        }
        loaded.apply_profile()?;
        Ok(loaded)
    }

    /// Reads the text of a settings file alone.
    #[cfg(any(test, fuzzing))]
    pub(super) fn of_file(text: &str) -> Result<Self, ConfigError> {
        let mut loaded = Self { settings: Settings::default(), origins: BTreeMap::new(), profile: None };
        loaded.read_text(Path::new("fuzz.toml"), text)?;
        loaded.apply_profile()?;
        Ok(loaded)
    }

    /// The settings alone.
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// Every setting with its value as text and its origin, in the order of [`FIELDS`].
    pub fn report(&self) -> impl Iterator<Item = (&'static Field, String, &Origin)> {
        FIELDS.iter().map(|field| {
            let origin = self.origins.get(field.name).unwrap_or(&Origin::Default);
            (field, (field.show)(&self.settings), origin)
        })
    }

    fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(field) = field(name) else {
            return Err(ConfigError(format!(
                "there is no setting {} ({origin}); {}",
                name.escape_debug(),
                similar_to(name)
            )));
        };
        (field.set)(&mut self.settings, text).map_err(|accepted| {
            ConfigError(format!("{name} is {} ({origin}); {accepted}", shown(name, text)))
        })?;
        self.origins.insert(field.name, origin);
        Ok(())
    }

    /// Sets what the profile says and no other source.
    fn apply_profile(&mut self) -> Result<(), ConfigError> {
        let Some((name, origin)) = self.profile.take() else { return Ok(()) };
        let profile = Profile::named(&name)
            .map_err(|accepted| ConfigError(format!("the profile is {name:?} ({origin}); {accepted}")))?;
        for (setting, text) in profile.settings() {
            if !self.origins.contains_key(setting) {
                self.set(setting, text, Origin::Profile(name.clone()))?;
            }
        }
        let Some((setting, accepted)) = profile.objection(&self.settings) else { return Ok(()) };
        let origin = self.origins.get(setting).unwrap_or(&Origin::Default);
        Err(ConfigError(format!("{setting} does not conform to the profile {name} ({origin}); {accepted}")))
    }

    fn read_file(&mut self, path: &Path, must_exist: bool) -> Result<(), ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => return Ok(()),
            Err(error) => {
                return Err(ConfigError(format!(
                    "the settings file {} cannot be read: {error}",
                    path.display()
                )));
            }
        };
        self.read_text(path, &text)
    }

    /// Reads the text of the file at `path`.
    fn read_text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            ConfigError(format!(
                "the settings file {} is not TOML at line {line}: {}",
                path.display(),
                error.message()
            ))
        })?;
        for (section, keys) in &table {
            if let (PROFILE, toml::Value::String(name)) = (section.as_str(), keys) {
                self.profile = Some((name.clone(), Origin::File(path.to_owned())));
                continue;
            }
            let toml::Value::Table(keys) = keys else {
                return Err(ConfigError(format!(
                    "{} is outside a section ({}); sections like [server] and [token] are accepted",
                    section.escape_debug(),
                    path.display()
                )));
            };
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let text = text_of(value, field(&name).is_some_and(|field| field.is_list)).ok_or_else(|| {
                    ConfigError(format!(
                        "{} is a TOML {} ({}); text, a whole number, true or false is accepted, and a list of texts \
                         where the setting is a list",
                        name.escape_debug(),
                        value.type_str(),
                        path.display()
                    ))
                })?;
                self.set(&name, &text, Origin::File(path.to_owned()))?;
            }
        }
        Ok(())
    }

    fn read_dot_env(&mut self, lines: &[(String, String)]) -> Result<(), ConfigError> {
        if find(lines, "HALLPASS_KEY").is_some() {
            return Err(ConfigError(
                "HALLPASS_KEY is in .env, which would store the passphrase in plaintext; remove it, and use --key-file or \
                 the prompt"
                    .into(),
            ));
        }
        // DATABASE_URL does not count here: in a `.env` it names the database of the app whose folder this is.
        self.read_variables(lines, Origin::DotEnv)
    }

    fn read_environment(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        // The name that other programs share is weaker than our own.
        if let Some(url) = find(variables, "DATABASE_URL") {
            self.set("database.url", url, Origin::Variable("DATABASE_URL".into()))?;
        }
        self.read_variables(variables, Origin::Variable)
    }

    fn read_variables(
        &mut self,
        variables: &[(String, String)],
        origin: fn(String) -> Origin,
    ) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            if variable == PROFILE_VARIABLE && !text.is_empty() {
                self.profile = Some((text.clone(), origin(variable.clone())));
            }
            let Some(rest) = variable.strip_prefix("HALLPASS_").filter(|_| !is_no_setting(variable)) else {
                continue;
            };
            let Some(field) = FIELDS.iter().find(|field| variable_name(field.name) == *variable) else {
                return Err(ConfigError(format!(
                    "there is no setting for {}; {}",
                    origin(variable.clone()),
                    similar_to(&rest.to_ascii_lowercase().replace("__", "."))
                )));
            };
            self.set(field.name, text, origin(variable.clone()))?;
        }
        Ok(())
    }
}

impl Settings {
    /// Checks settings that were made in code as those of files are.
    ///
    /// # Errors
    /// [`ConfigError`] for a value that is not acceptable.
    ///
    /// # Example
    /// ```
    /// use hallpass::server::config::Settings;
    ///
    /// let mut settings = Settings::default();
    /// settings.password.min_length = 4;
    /// let error = settings.check().unwrap_err().to_string();
    /// assert!(error.starts_with("password.min_length is \"4\""), "{error}");
    /// ```
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut read = Self::default();
        for field in FIELDS {
            let text = (field.show)(self);
            if text.is_empty() && field.default.is_empty() {
                continue;
            }
            (field.set)(&mut read, &text).map_err(|accepted| {
                ConfigError(format!("{} is {}; {accepted}", field.name, shown(field.name, &text)))
            })?;
        }
        Ok(())
    }
}

/// The key of a settings file that names a profile, outside all sections; and the variable.
const PROFILE: &str = "profile";
const PROFILE_VARIABLE: &str = "HALLPASS_PROFILE";

/// Tells whether the variable is ours, but no setting.
fn is_no_setting(variable: &str) -> bool {
    match variable {
        "HALLPASS_ENV" | "HALLPASS_KEY" | PROFILE_VARIABLE => true,
        // Read by `cli::harden`, which lets tests look into the memory of a debug build.
        "HALLPASS_DUMPABLE" => cfg!(debug_assertions),
        // Set for the test suite, and inherited by the binaries that its scripts start.
        _ => variable.starts_with("HALLPASS_TEST_"),
    }
}

fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

fn find<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Returns a value of a file as text; `None` for a type that no setting has.
fn text_of(value: &toml::Value, is_list: bool) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(items) if is_list => {
            let items: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

/// Names the settings that are most like one that does not exist: those with the same key, else those of the same
/// section, else all.
fn similar_to(name: &str) -> String {
    let (section, key) = name.split_once('.').unwrap_or((name, ""));
    let names = |is_similar: &dyn Fn(&str, &str) -> bool| -> Vec<&str> {
        let names = FIELDS.iter().map(|field| field.name);
        names
            .filter(|name| name.split_once('.').is_some_and(|(section, key)| is_similar(section, key)))
            .collect()
    };
    let by_key = names(&|_, other| other == key);
    let by_section = names(&|other, _| other == section);
    let similar = [by_key, by_section].into_iter().find(|names| !names.is_empty());
    format!("there is {}", similar.unwrap_or_else(|| names(&|_, _| true)).join(", "))
}

fn read_dot_env(folder: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let unreadable = |reason: String| ConfigError(format!(".env cannot be read: {reason}"));
    match dotenvy::from_path_iter(folder.join(".env")) {
        Ok(lines) => lines
            .collect::<Result<_, _>>()
            // The error's own text repeats the line, which may contain a secret.
            .map_err(|_| unreadable("a line is not NAME=value".into())),
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(dotenvy::Error::Io(error)) => Err(unreadable(error.to_string())),
        Err(_) => Err(unreadable("it is not a list of NAME=value".into())),
    }
}
