//! The formats of values: how a setting is written as text, read and checked.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::mail_url::MailUrl;

const DAY_SECS: u64 = 86_400;

/// A way to write values of type `T` as text.
pub(super) trait Format<T> {
    /// Whether a file may give the value as a TOML array of texts, which are joined with commas.
    const IS_LIST: bool = false;

    /// Reads a value. The error says what is accepted.
    fn parse(&self, text: &str) -> Result<T, String>;

    /// Writes a value as [`Self::parse`] reads it; empty for none.
    fn show(&self, value: &T) -> String;

    /// Returns the value of a setting that has no default in its row and is not set.
    fn unset(&self) -> Option<T> {
        None
    }
}

/// Returns the value of a setting that is not set, whose built-in default is `text`; empty for none.
pub(super) fn default_of<T>(format: &impl Format<T>, text: &str) -> T {
    match text {
        "" => format.unset().expect("a row without a default has a format that needs none"),
        text => format.parse(text).expect("a built-in default is acceptable"),
    }
}

/// Tells whether a file may give the value as an array.
pub(super) const fn is_list<T, F: Format<T>>(_: &F) -> bool {
    F::IS_LIST
}

/// A type that reads and writes itself. Holds what is accepted, as a clause.
pub(super) struct Parsed(&'static str);

pub(super) const ADDRESS: Parsed =
    Parsed("an address and a port like 127.0.0.1:8080 or [::1]:8080 are accepted");
pub(super) const BOOL: Parsed = Parsed("true or false is accepted");
pub(super) const ALGORITHM: Parsed = Parsed("EdDSA, ES256 or HS256 is accepted");
pub(super) const LOG_FORMAT: Parsed = Parsed("text or json is accepted");
pub(super) const VERIFICATION: Parsed = Parsed("off, optional or required is accepted");

impl<T: FromStr + fmt::Display> Format<T> for Parsed {
    fn parse(&self, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| self.0.to_owned())
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A whole number from the first bound to the second.
pub(super) struct Whole(pub u64, pub u64);

pub(super) const COUNT: Whole = Whole(1, 1_000_000);

impl Whole {
    fn read(&self, text: &str) -> Result<u64, String> {
        let Self(least, most) = *self;
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_plain && (least..=most).contains(number));
        number.ok_or_else(|| format!("a whole number from {least} to {most} is accepted"))
    }
}

impl<T: TryFrom<u64> + fmt::Display> Format<T> for Whole {
    fn parse(&self, text: &str) -> Result<T, String> {
        T::try_from(self.read(text)?).map_err(|_| "a smaller number is accepted".to_owned())
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A number of threads between the bounds; the number of cores where it is not set.
pub(super) struct Threads(pub u64, pub u64);

impl Format<usize> for Threads {
    fn parse(&self, text: &str) -> Result<usize, String> {
        Whole(self.0, self.1).parse(text)
    }

    fn show(&self, value: &usize) -> String {
        value.to_string()
    }

    fn unset(&self) -> Option<usize> {
        Some(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// A whole number of seconds between the bounds.
pub(super) struct Seconds(pub u64, pub u64);

impl Format<Duration> for Seconds {
    fn parse(&self, text: &str) -> Result<Duration, String> {
        let secs = Whole(self.0, self.1).read(text).map_err(|accepted| format!("{accepted}, in seconds"))?;
        Ok(Duration::from_secs(secs))
    }

    fn show(&self, value: &Duration) -> String {
        value.as_secs().to_string()
    }
}

/// A whole number of milliseconds between the bounds.
pub(super) struct Millis(pub u64, pub u64);

impl Format<Duration> for Millis {
    fn parse(&self, text: &str) -> Result<Duration, String> {
        let read = Whole(self.0, self.1).read(text);
        Ok(Duration::from_millis(read.map_err(|accepted| format!("{accepted}, in milliseconds"))?))
    }

    fn show(&self, value: &Duration) -> String {
        value.as_millis().to_string()
    }
}

/// A whole number of days between the bounds.
pub(super) struct Days(pub u64, pub u64);

impl Format<Duration> for Days {
    fn parse(&self, text: &str) -> Result<Duration, String> {
        let days = Whole(self.0, self.1).read(text).map_err(|accepted| format!("{accepted}, in days"))?;
        Ok(Duration::from_secs(days * DAY_SECS))
    }

    fn show(&self, value: &Duration) -> String {
        (value.as_secs() / DAY_SECS).to_string()
    }
}

/// Text that passes a check. Holds the check, and what is accepted, as a clause.
pub(super) struct Text(fn(&str) -> bool, &'static str);

pub(super) const NAME: Text = Text(is_name, "1 to 512 characters without control characters are accepted");
pub(super) const REALM: Text = Text(
    is_realm,
    "1 to 128 characters of printable ASCII without quotation marks and backslashes are accepted",
);
pub(super) const HEADER_NAME: Text =
    Text(is_header_name, "a header's name like X-Forwarded-For or Forwarded is accepted");
pub(super) const HOST: Text = Text(
    is_host,
    "a host name like example.com is accepted, in small letters and without scheme and port; no IP address",
);
pub(super) const PUBLIC_URL: Text = Text(
    is_public_url,
    "a URL like https://id.example or http://127.0.0.1:8080, without a path, is accepted",
);
pub(super) const SENDER: Text = Text(
    is_sender,
    "an address like no-reply@example.com or Example <no-reply@example.com>, in printable ASCII, is accepted",
);
pub(super) const LINK_BASE: Text =
    Text(is_link_base, "the address of a page like https://app.example.com/ without a fragment is accepted");
pub(super) const LANGUAGE: Text = Text(is_language, "a language like en or pt-br is accepted");
pub(super) const SCHEMA: Text = Text(is_schema, "1 to 63 of a-z 0-9 _ are accepted, not beginning with pg_");

pub(super) const COLOUR: Text = Text(is_colour, "a colour like #4338ca is accepted");

impl Format<String> for Text {
    fn parse(&self, text: &str) -> Result<String, String> {
        let Self(is_acceptable, accepted) = self;
        if is_acceptable(text) { Ok(text.to_owned()) } else { Err((*accepted).to_owned()) }
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

fn is_name(text: &str) -> bool {
    (1..=512).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_realm(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte))
}

fn is_header_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_public_url(text: &str) -> bool {
    is_origin(text.strip_suffix('/').unwrap_or(text))
}

fn is_colour(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label) && text.parse::<IpAddr>().is_err()
}

fn is_schema(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !text.starts_with("pg_")
}

fn is_sender(text: &str) -> bool {
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        Some((name, address)) => (name, address),
        None => ("", text),
    };
    let is_word = |byte: u8| byte.is_ascii_graphic() && !b"\"(),:;<>@[\\]".contains(&byte);
    let is_address = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && local.bytes().all(is_word) && domain.bytes().all(is_word)
    });
    is_address && name.bytes().all(|byte| is_word(byte) || byte == b' ') && text.len() <= 254
}

fn is_link_base(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && text.len() <= 512
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte))
}

fn is_language(text: &str) -> bool {
    (2..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// The path of a file.
pub(super) struct FilePath;

impl Format<PathBuf> for FilePath {
    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        Ok(PathBuf::from(text))
    }

    fn show(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// A value that may be left out.
pub(super) struct Optional<F>(pub F);

impl<T, F: Format<T>> Format<Option<T>> for Optional<F> {
    const IS_LIST: bool = F::IS_LIST;

    fn parse(&self, text: &str) -> Result<Option<T>, String> {
        self.0.parse(text).map(Some)
    }

    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map(|value| self.0.show(value)).unwrap_or_default()
    }

    fn unset(&self) -> Option<Option<T>> {
        Some(None)
    }
}

/// Web origins, or `*` alone.
pub(super) struct Origins;

impl Format<Vec<String>> for Origins {
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        let origins: Vec<_> = items(text).map(str::to_owned).collect();
        if origins == ["*"] || origins.iter().all(|origin| is_origin(origin)) {
            return Ok(origins);
        }
        Err("origins like https://app.example, in small letters and without a path, separated by commas, are accepted; \
             or * alone, for any origin without cookies"
            .into())
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join(",")
    }

    fn unset(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}

/// Web origins, each named.
pub(super) struct ExactOrigins;

impl Format<Vec<String>> for ExactOrigins {
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        let origins: Vec<_> = items(text).map(str::to_owned).collect();
        if origins.iter().all(|origin| is_origin(origin)) {
            return Ok(origins);
        }
        Err("origins like https://app.example, in small letters and without a path, separated by commas, are accepted".into())
    }

    fn show(&self, value: &Vec<String>) -> String {
        Origins.show(value)
    }

    fn unset(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}

fn is_origin(text: &str) -> bool {
    let is_host_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_host_byte))
}

/// Networks, and addresses as networks of one.
pub(super) struct Networks;

impl Format<Vec<IpNet>> for Networks {
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<Vec<IpNet>, String> {
        let parse = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        items(text).map(parse).collect::<Result<_, _>>().map_err(|_| {
            "addresses and networks like 10.0.0.1 and 10.0.0.0/8, separated by commas, are accepted".into()
        })
    }

    fn show(&self, value: &Vec<IpNet>) -> String {
        value.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn unset(&self) -> Option<Vec<IpNet>> {
        Some(Vec::new())
    }
}

/// Roles.
pub(super) struct Roles;

impl Format<Vec<String>> for Roles {
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        let roles: Vec<_> = items(text).map(str::to_owned).collect();
        let is_role = |role: &String| {
            role.len() <= 32
                && role.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
                && role
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte))
        };
        if roles.iter().all(is_role) {
            return Ok(roles);
        }
        Err("roles like admin, separated by commas, are accepted: 1 to 32 of a-z 0-9 _ . -".into())
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join(",")
    }

    fn unset(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The database's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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
                let user = rest.rsplit_once('@');
                if user.is_some_and(|(user, _)| user.contains(':')) || names_password(rest) {
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

/// Tells whether a parameter of the URL is a password, or may be one whose name is percent-encoded.
fn names_password(rest: &str) -> bool {
    let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
    let mut names = parameters.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.any(|name| name.contains("password") || name.contains('%'))
}

/// Shows a value of a setting that is not accepted. A URL may hold a password.
pub(super) fn shown(setting: &str, text: &str) -> String {
    let may_hold_password = text.contains('@') || text.contains("password") || text.contains('%');
    if matches!(setting, "database.url" | "mail.url") && may_hold_password {
        "not shown".to_owned()
    } else {
        format!("{text:?}")
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

/// A [`DatabaseUrl`], which says itself what is wrong with it.
pub(super) struct Url;

/// A [`MailUrl`], which says itself what is wrong with it.
pub(super) struct OfMail;

pub(super) const MAIL_URL: OfMail = OfMail;

impl Format<MailUrl> for OfMail {
    fn parse(&self, text: &str) -> Result<MailUrl, String> {
        text.parse()
    }

    fn show(&self, value: &MailUrl) -> String {
        value.to_string()
    }
}

impl Format<DatabaseUrl> for Url {
    fn parse(&self, text: &str) -> Result<DatabaseUrl, String> {
        text.parse()
    }

    fn show(&self, value: &DatabaseUrl) -> String {
        value.to_string()
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
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

/// The verification of a new account's address by mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verification {
    /// No mail is sent.
    Off,
    /// A mail is sent, and nothing waits for it.
    Optional,
    /// Nobody signs in before the address is verified.
    Required,
}

impl FromStr for Verification {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "off" => Ok(Self::Off),
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        })
    }
}

/// Converts a setting, which is bounded and in whole seconds, so that nothing is lost.
pub fn seconds(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX)
}
