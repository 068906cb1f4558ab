//! The settings: what there is, what is allowed, and where each value comes from. The only reader of
//! settings files and environment.
//!
//! Weakest first: built-in defaults, `config/default.toml`, `config/<HALLPASS_ENV>.toml`, `--config`, the
//! environment (`.env` first, then the real one), flags. Every layer gives text, and one table, [`FIELDS`],
//! says what each name means; so what a layer may set, what `hallpass config` shows and what
//! `.env.example` lists are one thing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::token::Algorithm;

/// The settings in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `server.*`
    pub server: Server,
    /// `database.*`
    pub database: Database,
    /// `token.*`
    pub token: Token,
    /// `key.*`
    pub key: Key,
    /// `password.*`
    pub password: Password,
    /// `registration.*`
    pub registration: Registration,
    /// `throttle.*`
    pub throttle: Throttle,
    /// `session.*`
    pub session: Session,
    /// `events.*`
    pub events: Events,
    /// `log.*`
    pub log: Log,
}

/// The socket and what comes in through it.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where to listen; port 0 picks one. Defaults to 127.0.0.1:8080.
    pub bind: SocketAddr,
    /// Threads that serve requests. Defaults to the number of cores.
    pub workers: usize,
    /// The largest request body, bytes. Defaults to 65,536.
    pub max_body_bytes: usize,
    /// Where to show metrics. Defaults to nowhere.
    pub metrics_bind: Option<SocketAddr>,
    /// Origins whose pages may ask; `*` alone is any, without cookies. Defaults to none.
    pub cors_origins: Vec<String>,
    /// Proxies whose word on a client's address is taken. Defaults to none.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header in which they give it. Defaults to `X-Forwarded-For`.
    pub forwarded_header: String,
    /// Whether the console is at `/`. Defaults to true.
    pub console: bool,
}

/// The database.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Which. Defaults to `sqlite://hallpass.db`.
    pub url: DatabaseUrl,
    /// How long known tokens are accepted while the database cannot be asked. Defaults to 60 s.
    pub stale_after: Duration,
    /// PostgreSQL: the most connections of this process. Defaults to 10.
    pub pool: u32,
    /// PostgreSQL: the schema that holds the tables, created if it is missing. Defaults to `hallpass`.
    pub schema: String,
    /// PostgreSQL: a file whose first line is the password. Defaults to none.
    pub password_file: Option<PathBuf>,
}

/// Access tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// What new keys sign with. Defaults to `EdDSA`.
    pub algorithm: Algorithm,
    /// How long a token lives. Defaults to 3,600 s.
    pub lifetime: Duration,
    /// `iss`. Defaults to `urn:uuid:` and the installation's id.
    pub issuer: Option<String>,
    /// `aud`. Defaults to the issuer.
    pub audience: Option<String>,
    /// How long after `exp` a token is still accepted. Defaults to 0 s.
    pub leeway: Duration,
    /// The realm that challenges name. Defaults to `Authentication Required`.
    pub realm: String,
    /// Whether `Authorization: <token>` without a scheme is accepted too. Defaults to true.
    pub accept_bare: bool,
}

/// Signing keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// How long a new key is published before it signs. Defaults to 5 s.
    pub publish_ahead: Duration,
    /// After how many days a running server makes a new key; 0 is never. Defaults to 0.
    pub rotate_every_days: u32,
}

/// Passwords.
#[derive(Debug, Clone, PartialEq)]
pub struct Password {
    /// bcrypt's cost, the exponent of its rounds. Defaults to 12.
    pub bcrypt_cost: u32,
    /// The shortest password, characters. Defaults to 8.
    pub min_length: usize,
    /// How many passwords may wait for their hash. Defaults to 64.
    pub queue: usize,
}

/// Registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Whether anybody may register. Defaults to true.
    pub open: bool,
}

/// Delays of sign-ins and registrations; what each number means stands in [`RateLimiter`](super::RateLimiter).
#[derive(Debug, Clone, PartialEq)]
pub struct Throttle {
    /// Whether tries are counted and delayed. Defaults to true.
    pub on: bool,
    /// The longest delay. Defaults to 900 s.
    pub max_delay: Duration,
    /// Failures on an account without a delay, from addresses without a record of success. Defaults to 5.
    pub account_free: u32,
    /// Tries on an account in a day, from addresses without a record of success. Defaults to 100.
    pub account_per_day: u32,
    /// Tries on an account that may be under way at once. Defaults to 5.
    pub account_in_flight: usize,
    /// Failures on an account without a delay, from an address with a record of success. Defaults to 10.
    pub known_free: u32,
    /// Failures from an address without a delay, over all accounts. Defaults to 30.
    pub address_free: u32,
    /// Registrations from an address in an hour. Defaults to 100.
    pub registrations_per_hour: u32,
    /// Refreshes of a session in an hour, and failed ones from an address. Defaults to 3,600.
    pub refreshes_per_hour: u32,
}

/// Sessions and their refresh tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// How long after its first use a refresh token still gets its successor. Defaults to 10 s.
    pub reuse_grace: Duration,
    /// How long a session lives without a refresh. Defaults to 1,209,600 s (14 days).
    pub idle_lifetime: Duration,
    /// How long a session lives in all. Defaults to 7,776,000 s (90 days).
    pub refresh_lifetime: Duration,
}

/// The record of what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// How long an event is kept. Defaults to 90 days.
    pub keep: Duration,
}

/// The log.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// How a line looks. Defaults to text.
    pub format: LogFormat,
}

/// Converts a setting, which counts in whole seconds and is bounded, so that nothing is lost.
pub fn seconds(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX)
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// The database's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// SQLite, in this file.
    Sqlite(PathBuf),
    /// PostgreSQL, as its URL without a password.
    Postgres(String),
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("sqlite", path)) if path.contains(['?', '#']) => {
                Err("a path without ? and # is accepted".into())
            }
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) => {
                let user = rest.split(['/', '?']).next().unwrap_or_default().rsplit_once('@');
                if user.is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=") {
                    return Err("a URL without a password is accepted; the password belongs in database.password_file or \
                                PGPASSFILE"
                        .into());
                }
                Ok(Self::Postgres(url.to_owned()))
            }
            _ => Err(
                "sqlite://relative.db, sqlite:///absolute.db or postgres://user@host/database is accepted"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
        }
    }
}

/// One setting: its name, its default, and how its text is read and checked.
pub struct Field {
    /// `section.key`
    pub name: &'static str,
    /// The built-in value as text; empty where it is found out at start.
    pub default: &'static str,
    /// Meaning and unit, one line.
    pub help: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> String,
}

macro_rules! field {
    ($section:ident . $key:ident as $name:literal = $default:literal, $help:literal, $parse:expr, $show:expr) => {
        Field {
            name: concat!(stringify!($section), ".", $name),
            default: $default,
            help: $help,
            set: |settings, text| {
                settings.$section.$key = $parse(text)?;
                Ok(())
            },
            show: |settings| $show(&settings.$section.$key),
        }
    };
}

/// Every setting there is.
pub const FIELDS: &[Field] = &[
    field!(server.bind as "bind" = "127.0.0.1:8080", "address and port to listen on; port 0 picks a free one", address, shown),
    field!(server.workers as "workers" = "", "number of threads that serve requests; the number of cores if not set", |text| whole(text, 1, 512), shown),
    field!(server.max_body_bytes as "max_body_bytes" = "65536", "largest accepted request body, in bytes", |text| whole(text, 1_024, 16_777_216), shown),
    field!(server.metrics_bind as "metrics_bind" = "", "address and port of GET /metrics; off if not set", |text| address(text).map(Some), |bind: &Option<SocketAddr>| bind.map(|bind| bind.to_string()).unwrap_or_default()),
    field!(server.cors_origins as "cors_origins" = "", "origins allowed by CORS, exactly as browsers name them, separated by commas; * allows any, without cookies", origins, |list: &Vec<String>| list.join(",")),
    field!(server.trusted_proxies as "trusted_proxies" = "", "reverse proxies trusted to name the client's address: addresses and networks, separated by commas", proxies, |list: &Vec<IpNet>| shown_list(list)),
    field!(server.forwarded_header as "forwarded_header" = "X-Forwarded-For", "header in which a trusted proxy names the client's address", header_name, shown),
    field!(server.console as "console" = "true", "whether the console, a web page for users, is at /", truth, shown),
    field!(database.url as "url" = "sqlite://hallpass.db", "sqlite://relative.db or sqlite:///absolute.db, created if missing; or postgres://user@host/database", str::parse, shown),
    field!(database.pool as "pool" = "10", "PostgreSQL: the most connections of this process", |text| whole(text, 2, 1_000).map(|count| count as u32), shown),
    field!(database.schema as "schema" = "hallpass", "PostgreSQL: the schema of the tables, created if missing", schema, shown),
    field!(database.password_file as "password_file" = "", "PostgreSQL: a file whose first line is the password", |text: &str| Ok::<_, String>(Some(PathBuf::from(text))), |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()),
    field!(database.stale_after as "stale_after_s" = "60", "how long known tokens are still accepted while the database does not answer, in seconds", |text| whole_seconds(text, 1, 3_600), shown_seconds),
    field!(token.algorithm as "algorithm" = "EdDSA", "algorithm of new signing keys: EdDSA, ES256 or HS256; read at the first start and at each key rotation", algorithm, shown),
    field!(token.lifetime as "lifetime_s" = "3600", "lifetime of an access token, in seconds", |text| whole_seconds(text, 1, 86_400), shown_seconds),
    field!(token.issuer as "issuer" = "", "claim iss; urn:uuid: and the installation's ID if not set", name, shown_option),
    field!(token.audience as "audience" = "", "claim aud; the issuer if not set", name, shown_option),
    field!(token.leeway as "leeway_s" = "0", "how long after its exp a token is still accepted, in seconds", |text| whole_seconds(text, 0, 300), shown_seconds),
    field!(token.realm as "realm" = "Authentication Required", "realm in the WWW-Authenticate header of a 401", realm, shown),
    field!(token.accept_bare as "accept_bare" = "true", "whether a token without a scheme is accepted in the Authorization header", truth, shown),
    field!(key.publish_ahead as "publish_ahead_s" = "5", "how long a new signing key is published before it signs, in seconds", |text| whole_seconds(text, 5, 86_400), shown_seconds),
    field!(key.rotate_every_days as "rotate_every_days" = "0", "after how many days running servers rotate the signing key; 0 is never", |text| whole(text, 0, 3_650).map(|days| days as u32), shown),
    field!(password.bcrypt_cost as "bcrypt_cost" = "12", "bcrypt cost; each step doubles the work", |text| whole(text, 4, 18).map(|cost| cost as u32), shown),
    field!(password.min_length as "min_length" = "8", "minimum length of a password, in characters", |text| whole(text, 8, 256), shown),
    field!(password.queue as "queue" = "64", "how many passwords may wait to be hashed", |text| whole(text, 1, 65_536), shown),
    field!(registration.open as "open" = "true", "whether anybody may register", truth, shown),
    field!(throttle.on as "on" = "true", "whether attempts to sign in and to register are counted and delayed", truth, shown),
    field!(throttle.max_delay as "max_delay_s" = "900", "longest delay, in seconds", |text| whole_seconds(text, 1, 86_400), shown_seconds),
    field!(throttle.account_free as "account_free" = "5", "failures on an account before delays begin, from addresses without a successful sign-in to it", count, shown),
    field!(throttle.account_per_day as "account_per_day" = "100", "attempts on an account per day, from such addresses", count, shown),
    field!(throttle.account_in_flight as "account_in_flight" = "5", "attempts on an account in progress at the same time", |text| whole(text, 1, 1_000), shown),
    field!(throttle.known_free as "known_free" = "10", "failures on an account before delays begin, from an address with a successful sign-in to it", count, shown),
    field!(throttle.address_free as "address_free" = "30", "failures from an address before delays begin, over all accounts", count, shown),
    field!(throttle.registrations_per_hour as "registrations_per_hour" = "100", "registrations from an address per hour", count, shown),
    field!(throttle.refreshes_per_hour as "refreshes_per_hour" = "3600", "refreshes of a session per hour, and failed refreshes from an address", count, shown),
    field!(session.reuse_grace as "reuse_grace_s" = "10", "how long after its first use a refresh token still returns the same next token, in seconds", |text| whole_seconds(text, 0, 60), shown_seconds),
    field!(session.idle_lifetime as "idle_lifetime_s" = "1209600", "how long a session lasts without a refresh, in seconds", |text| whole_seconds(text, 60, 31_536_000), shown_seconds),
    field!(session.refresh_lifetime as "refresh_lifetime_s" = "7776000", "how long a session lasts in total, in seconds", |text| whole_seconds(text, 60, 315_360_000), shown_seconds),
    field!(events.keep as "keep_days" = "90", "how long events are kept, in days", days, shown_days),
    field!(log.format as "format" = "text", "format of log lines: text or json", log_format, shown),
];

/// Settings that a file may give as a TOML array.
const LISTS: &[&str] = &["server.cors_origins", "server.trusted_proxies"];

fn shown(value: &impl fmt::Display) -> String {
    value.to_string()
}

fn shown_seconds(value: &Duration) -> String {
    value.as_secs().to_string()
}

fn shown_option(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port like 127.0.0.1:8080 or [::1]:8080 are accepted".into())
}

fn whole(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_plain && (least..=most).contains(number));
    number.ok_or_else(|| format!("a whole number from {least} to {most} is accepted"))
}

fn count(text: &str) -> Result<u32, String> {
    whole(text, 1, 1_000_000).map(|count| count as u32)
}

fn proxies(text: &str) -> Result<Vec<IpNet>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let parse = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
    items.map(parse).collect::<Result<_, _>>().map_err(|_| {
        "addresses and networks like 10.0.0.1 and 10.0.0.0/8, separated by commas, are accepted".into()
    })
}

fn shown_list(list: &[IpNet]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn header_name(text: &str) -> Result<String, String> {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match text.len() {
        1..=64 if is_name => Ok(text.to_owned()),
        _ => Err("a header's name like X-Forwarded-For or Forwarded is accepted".into()),
    }
}

fn whole_seconds(text: &str, least: usize, most: usize) -> Result<Duration, String> {
    whole(text, least, most)
        .map(|secs| Duration::from_secs(secs as u64))
        .map_err(|accepted| format!("{accepted}, in seconds"))
}

fn days(text: &str) -> Result<Duration, String> {
    whole(text, 1, 3_650).map(|days| Duration::from_secs(days as u64 * 86_400))
}

fn shown_days(value: &Duration) -> String {
    (value.as_secs() / 86_400).to_string()
}

fn origins(text: &str) -> Result<Vec<String>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let origins: Vec<String> = items.map(str::to_owned).collect();
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
            !host.is_empty() && host.bytes().all(plain)
        })
    };
    match origins.iter().all(is_origin) || origins == ["*"] {
        true => Ok(origins),
        false => Err(
            "origins like https://app.example, in small letters and without a path, separated by commas, \
                      are accepted; or * alone, for any origin without cookies"
                .into(),
        ),
    }
}

fn schema(text: &str) -> Result<String, String> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match text.len() {
        1..=63 if is_plain && !text.starts_with("pg_") => Ok(text.to_owned()),
        _ => Err("1 to 63 of a-z 0-9 _ are accepted, not beginning with pg_".into()),
    }
}

fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false is accepted".into())
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse().map_err(|_| "EdDSA, ES256 or HS256 is accepted".into())
}

fn name(text: &str) -> Result<Option<String>, String> {
    match text.chars().count() {
        1..=512 if !text.chars().any(char::is_control) => Ok(Some(text.to_owned())),
        _ => Err("1 to 512 characters without control characters are accepted".into()),
    }
}

fn realm(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte));
    match text.len() {
        1..=128 if is_plain => Ok(text.to_owned()),
        _ => {
            Err("1 to 128 characters of printable ASCII without quotation marks and backslashes are accepted"
                .into())
        }
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json is accepted".into()),
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Default for Settings {
    /// The built-in defaults, which stand in [`FIELDS`].
    fn default() -> Self {
        let mut settings = Self {
            server: Server {
                bind: SocketAddr::from(([127, 0, 0, 1], 0)),
                workers: std::thread::available_parallelism().map_or(1, usize::from),
                max_body_bytes: 0,
                metrics_bind: None,
                cors_origins: Vec::new(),
                trusted_proxies: Vec::new(),
                forwarded_header: String::new(),
                console: false,
            },
            database: Database {
                url: DatabaseUrl::Sqlite(PathBuf::new()),
                stale_after: Duration::ZERO,
                pool: 0,
                schema: String::new(),
                password_file: None,
            },
            token: Token {
                algorithm: Algorithm::EdDsa,
                lifetime: Duration::ZERO,
                issuer: None,
                audience: None,
                leeway: Duration::ZERO,
                realm: String::new(),
                accept_bare: false,
            },
            key: Key { publish_ahead: Duration::ZERO, rotate_every_days: 0 },
            password: Password { bcrypt_cost: 0, min_length: 0, queue: 0 },
            registration: Registration { open: false },
            throttle: Throttle {
                on: false,
                max_delay: Duration::ZERO,
                account_free: 0,
                account_per_day: 0,
                account_in_flight: 0,
                known_free: 0,
                address_free: 0,
                registrations_per_hour: 0,
                refreshes_per_hour: 0,
            },
            session: Session {
                reuse_grace: Duration::ZERO,
                idle_lifetime: Duration::ZERO,
                refresh_lifetime: Duration::ZERO,
            },
            events: Events { keep: Duration::ZERO },
            log: Log { format: LogFormat::Text },
        };
        for field in FIELDS.iter().filter(|field| !field.default.is_empty()) {
            (field.set)(&mut settings, field.default).expect("a built-in default is acceptable");
        }
        settings
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
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
            Self::File(path) => write!(f, "{}", path.display()),
            Self::DotEnv(variable) => write!(f, "{variable} in .env"),
            Self::Variable(variable) => write!(f, "{variable} in the environment"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// What is wrong with the settings, where, and what is accepted. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// What settings are read from.
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
}

/// The environment's name for a setting: `HALLPASS_TOKEN__LIFETIME_S` for `token.lifetime_s`.
pub fn variable_name(setting: &str) -> String {
    format!("HALLPASS_{}", setting.to_ascii_uppercase().replace('.', "__"))
}

impl Loaded {
    /// Reads every layer, weakest first.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that does not exist, a value that is not acceptable, or a file that
    /// was asked for and cannot be read.
    pub fn from(sources: &Sources) -> Result<Self, ConfigError> {
        let mut loaded = Self { settings: Settings::default(), origins: BTreeMap::new() };
        let dot_env = dot_env(&sources.folder)?;
        let variable = |name: &str| {
            let of = |list: &[(String, String)]| {
                list.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            };
            of(&sources.environment).or_else(|| of(&dot_env))
        };

        loaded.file(&sources.folder.join("config/default.toml"), false)?;
        if let Some(layer) = variable("HALLPASS_ENV").filter(|layer| !layer.is_empty()) {
            if !layer.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                return Err(ConfigError(format!(
                    "HALLPASS_ENV is {layer:?}; a name of letters, digits, - and _ is accepted"
                )));
            }
            loaded.file(&sources.folder.join(format!("config/{layer}.toml")), true)?;
        }
        if let Some(path) = &sources.config_file {
            loaded.file(&sources.folder.join(path), true)?;
        }
        loaded.variables(&dot_env, Origin::DotEnv)?;
        loaded.variables(&sources.environment, Origin::Variable)?;
        for (flag, name, value) in &sources.flags {
            loaded.set(name, value, Origin::Flag(flag))?;
        }
        Ok(loaded)
    }

    /// The settings alone.
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// Every setting with its value as text and its origin, in the table's order.
    pub fn report(&self) -> impl Iterator<Item = (&'static Field, String, &Origin)> {
        FIELDS.iter().map(|field| {
            let origin = self.origins.get(field.name).unwrap_or(&Origin::Default);
            (field, (field.show)(&self.settings), origin)
        })
    }

    fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
            return Err(ConfigError(format!("there is no setting {name} ({origin}); {}", known(name))));
        };
        (field.set)(&mut self.settings, text)
            .map_err(|accepted| ConfigError(format!("{name} is {text:?} ({origin}); {accepted}")))?;
        self.origins.insert(field.name, origin);
        Ok(())
    }

    fn file(&mut self, path: &Path, must_exist: bool) -> Result<(), ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(()),
            Err(error) => {
                return Err(ConfigError(format!(
                    "the settings file {} cannot be read: {error}",
                    path.display()
                )));
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            ConfigError(format!(
                "the settings file {} is not TOML at line {line}: {}",
                path.display(),
                error.message()
            ))
        })?;
        for (section, keys) in &table {
            let toml::Value::Table(keys) = keys else {
                return Err(ConfigError(format!(
                    "{section} stands outside a section ({}); [server], [token] and the like are accepted",
                    path.display()
                )));
            };
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let text = match value {
                    toml::Value::String(text) => text.clone(),
                    toml::Value::Integer(number) => number.to_string(),
                    toml::Value::Boolean(truth) => truth.to_string(),
                    toml::Value::Array(items)
                        if LISTS.contains(&name.as_str()) && items.iter().all(toml::Value::is_str) =>
                    {
                        items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                    }
                    other => {
                        return Err(ConfigError(format!(
                            "{name} is a TOML {} ({}); text, a whole number, true or false is accepted, and a list of texts where the setting is a list",
                            other.type_str(),
                            path.display()
                        )));
                    }
                };
                self.set(&name, &text, Origin::File(path.to_owned()))?;
            }
        }
        Ok(())
    }

    fn variables(
        &mut self,
        list: &[(String, String)],
        origin: fn(String) -> Origin,
    ) -> Result<(), ConfigError> {
        // The name that other programs share is weaker than our own.
        if let Some((name, url)) = list.iter().find(|(name, _)| name == "DATABASE_URL") {
            self.set("database.url", url, origin(name.clone()))?;
        }
        for (variable, text) in list.iter().filter(|(name, _)| name.starts_with("HALLPASS_")) {
            match variable.as_str() {
                "HALLPASS_ENV" => {}
                "HALLPASS_KEY" if origin(String::new()) == Origin::Variable(String::new()) => {}
                "HALLPASS_KEY" => {
                    return Err(ConfigError(
                        "HALLPASS_KEY stands in .env, where the passphrase would rest in clear; take it out and use --key-file or the prompt".into(),
                    ));
                }
                // Read by `cli::harden`, which lets tests look into the memory of a debug build.
                "HALLPASS_DUMPABLE" if cfg!(debug_assertions) => {}
                _ => {
                    let field = FIELDS.iter().find(|field| variable_name(field.name) == *variable);
                    let Some(field) = field else {
                        let name = variable["HALLPASS_".len()..].to_ascii_lowercase().replace("__", ".");
                        return Err(ConfigError(format!(
                            "there is no setting for {}; {}",
                            origin(variable.clone()),
                            known(&name)
                        )));
                    };
                    self.set(field.name, text, origin(variable.clone()))?;
                }
            }
        }
        Ok(())
    }
}

/// The names that come nearest to one that does not exist.
fn known(name: &str) -> String {
    let (section, key) = name.split_once('.').unwrap_or((name, ""));
    let named = |matches: &dyn Fn(&str, &str) -> bool| {
        let names = FIELDS.iter().map(|field| field.name);
        names
            .filter(|name| name.split_once('.').is_some_and(|(section, key)| matches(section, key)))
            .collect::<Vec<_>>()
    };
    let same_key = named(&|_, other| !key.is_empty() && other == key);
    let same_section = named(&|other, _| other == section);
    let mut near = if same_key.is_empty() { same_section } else { same_key };
    if near.is_empty() {
        near = FIELDS.iter().map(|field| field.name).collect();
    }
    format!("there is {}", near.join(", "))
}

fn dot_env(folder: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let path = folder.join(".env");
    let unreadable = |reason: String| ConfigError(format!(".env cannot be read: {reason}"));
    match dotenvy::from_path_iter(&path) {
        Ok(lines) => lines
            .collect::<Result<_, _>>()
            // Its own words repeat the line, in which a secret may stand.
            .map_err(|_| unreadable("a line is not NAME=value".into())),
        Err(dotenvy::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(dotenvy::Error::Io(error)) => Err(unreadable(error.to_string())),
        Err(_) => Err(unreadable("it is not a list of NAME=value".into())),
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("name", &self.name)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}
