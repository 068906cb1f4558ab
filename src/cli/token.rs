//! `hallpass token`: shows the contents of tokens, and verifies tokens against a key set.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use clap::Subcommand;
use serde_json::Value;

use super::common::{Common, block_on, open_store};
use super::error::CommandError;
use super::output::print_line;
use crate::clock::{Clock, rfc3339};
use crate::server::config::DatabaseUrl;
use crate::server::keys::rotation::states;
use crate::token::{Expected, KeyError, Keyring, MAX_TOKEN_BYTES, TokenType, verify};

/// The largest key set that is read, in bytes; a keyring takes no larger one.
const MAX_JWKS_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Show the contents of a token, without verifying it
    Inspect {
        /// The token; read from standard input if it is - or left out
        token: Option<String>,
    },
    /// Verify tokens against a key set: signature, algorithm, type and times
    Verify {
        /// The key set (RFC 7517), such as a saved copy of the server's /.well-known/jwks.json
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        /// The issuer that the token must have
        #[arg(long)]
        issuer: Option<String>,
        /// The audience that the token must have
        #[arg(long)]
        audience: Option<String>,
        /// Accept tokens of any type, not only access tokens (at+jwt)
        #[arg(long)]
        any_type: bool,
        /// The token; if it is - or left out, tokens are read from standard input, one per line
        token: Option<String>,
    },
}

pub(super) fn run(common: &Common, command: TokenCommand) -> Result<(), CommandError> {
    match command {
        TokenCommand::Inspect { token } => inspect(common, token),
        TokenCommand::Verify { jwks, issuer, audience, any_type, token } => {
            let accepted = if any_type { TokenType::Any } else { TokenType::default() };
            let keys = read_keys(&jwks)?;
            let leeway = Duration::from_std(common.settings(None)?.token.leeway).unwrap_or_default();
            let expected = |token: &str| {
                let own = |name| claim(token, name).unwrap_or_default();
                let issuer = issuer.clone().unwrap_or_else(|| own("iss"));
                let audience = audience.clone().unwrap_or_else(|| own("aud"));
                Expected::new(issuer, audience).with_type(accepted).with_leeway(leeway)
            };
            verify_all(token, |token, now| {
                let keys = keys.as_ref().ok_or("the key set has no key that verifies")?;
                let claims = verify(token, keys, &expected(token), now).map_err(|error| error.to_string())?;
                let expiry = relative("expires", claims.expires_at(), now);
                Ok(format!("{}, {expiry}", claims.sub.escape_debug()))
            })
        }
    }
}

/// Reads the keys of a set; `None` if it has none, like the server's with HS256.
fn read_keys(path: &Path) -> Result<Option<Keyring>, CommandError> {
    let unusable =
        |reason: String| CommandError::usage(format!("--jwks {} cannot be used: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    let mut text = zeroize::Zeroizing::new(Vec::new());
    file.take(MAX_JWKS_BYTES).read_to_end(&mut text).map_err(|error| unusable(error.to_string()))?;
    // A symmetric key is accepted: the file is the operator's own.
    match Keyring::from_secret_jwks(&*text) {
        Ok(keys) => Ok(Some(keys)),
        Err(KeyError::NoKey) => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// Prints the result of `verify` for the token `given`, or for each token on standard input.
///
/// # Errors
/// [`CommandError`] if a token is not valid, or if there is none.
fn verify_all(
    given: Option<String>,
    verify: impl Fn(&str, DateTime<Utc>) -> Result<String, String>,
) -> Result<(), CommandError> {
    // The time is read for each token: they may arrive over a long time.
    let verify = |token: &str| verify(strip_scheme(token), Clock::system().now());
    if let Some(token) = given.filter(|token| token != "-") {
        return match verify(&token) {
            Ok(details) => print_line(format_args!("valid: {details}")),
            Err(reason) => Err(CommandError::running(format!("not valid: {reason}"))),
        };
    }
    let (mut total, mut invalid) = (0, 0);
    for (number, line) in lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        total += 1;
        match verify(&line) {
            Ok(details) => print_line(format_args!("{}: valid: {details}", number + 1))?,
            Err(reason) => {
                invalid += 1;
                print_line(format_args!("{}: not valid: {reason}", number + 1))?;
            }
        }
    }
    match (total, invalid) {
        (0, _) => Err(CommandError::usage(
            "there is no token on standard input; give one as the argument, or one per line",
        )),
        (_, 0) => Ok(()),
        (1, _) => Err(CommandError::running("the token is not valid")),
        _ => Err(CommandError::running(format!("{invalid} of {total} tokens are not valid"))),
    }
}

/// Reads the lines of standard input. A line that is longer than any token is cut off.
fn lines() -> impl Iterator<Item = Result<String, CommandError>> {
    let mut input = std::io::stdin().lock();
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let limit = MAX_TOKEN_BYTES as u64 + 64;
        if let Err(error) = skip_blanks(&mut input) {
            return Some(Err(unreadable(error)));
        }
        match input.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                // The rest of a line that is too long must not be read as a token.
                if !line.ends_with(b"\n") && line.len() as u64 == limit {
                    let _ = input.skip_until(b'\n');
                }
                Some(Ok(String::from_utf8_lossy(&line).trim_end().to_owned()))
            }
            Err(error) => Some(Err(unreadable(error))),
        }
    })
}

fn unreadable(error: std::io::Error) -> CommandError {
    CommandError::running(format!("standard input cannot be read: {error}"))
}

/// Skips blanks, but no line end: they do not belong to the token, and must not count towards its length.
fn skip_blanks(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let blanks = buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let is_over = blanks < buffer.len() || buffer.is_empty();
        input.consume(blanks);
        if is_over {
            return Ok(());
        }
    }
}

/// Removes `Bearer` and the space around a token.
fn strip_scheme(text: &str) -> &str {
    let text = text.trim();
    match text.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer ") => rest.trim_start(),
        _ => text,
    }
}

fn part(token: &str, place: usize) -> Result<Value, &'static str> {
    let part = token.split('.').nth(place).ok_or("is missing")?;
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "is not base64url")?;
    serde_json::from_slice(&bytes).map_err(|_| "is not JSON")
}

/// Returns a claim of a token that is not verified yet.
fn claim(token: &str, name: &str) -> Option<String> {
    let claims = part(token, 1).ok()?;
    let value = match &claims[name] {
        Value::Array(values) => values.first()?,
        value => value,
    };
    value.as_str().map(str::to_owned)
}

fn inspect(common: &Common, given: Option<String>) -> Result<(), CommandError> {
    let text = match given.filter(|token| token != "-") {
        Some(token) => token,
        None => lines().next().transpose()?.unwrap_or_default(),
    };
    let token = strip_scheme(&text);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(CommandError::running(format!(
            "the token is longer than {MAX_TOKEN_BYTES} bytes; servers refuse such tokens"
        )));
    }
    if token.split('.').count() != 3 {
        return Err(CommandError::running(
            "this is not a token: three parts of base64url, separated by dots, are expected",
        ));
    }
    let now = Clock::system().now();
    let mut header = Value::Null;
    for (place, name) in ["header", "claims"].into_iter().enumerate() {
        match part(token, place) {
            Ok(value) => {
                print_line(format_args!("{name}: {}", printable(&value)))?;
                if place == 0 {
                    header = value;
                } else {
                    print_times(&value, now)?;
                }
            }
            Err(reason) => {
                return Err(CommandError::running(format!("this is not a token: its {name} part {reason}")));
            }
        }
    }
    print_line(format_args!("signature: not checked; hallpass token verify checks it"))?;
    let kid = header["kid"].as_str();
    print_line(format_args!("key: {}", describe_key(common, kid, now)?))
}

/// Formats JSON on several lines. Control and invisible characters are escaped, because the author of the token chose
/// them.
fn printable(value: &Value) -> String {
    let mut shown = String::new();
    for character in format!("{value:#}").chars() {
        let is_plain = matches!(character, '\n' | '"' | '\'' | '\\') || character.escape_debug().len() == 1;
        if is_plain {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

/// Prints the times of a token, and how far off they are.
fn print_times(claims: &Value, now: DateTime<Utc>) -> Result<(), CommandError> {
    for (name, verb) in [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")] {
        let time = claims[name].as_f64().and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0));
        if let Some(time) = time {
            print_line(format_args!("{name}: {} ({})", rfc3339(time), relative(verb, time, now)))?;
        }
    }
    Ok(())
}

/// Describes the key that a token names, as far as the database shows it without a passphrase.
fn describe_key(common: &Common, kid: Option<&str>, now: DateTime<Utc>) -> Result<String, CommandError> {
    let Some(kid) = kid else {
        return Ok("the token names no key".into());
    };
    // The author of the token chose it, so control characters are escaped.
    let shown = kid.escape_debug();
    let settings = common.settings(None)?;
    if matches!(&settings.database.url, DatabaseUrl::Sqlite(path) if !path.exists()) {
        return Ok(format!("{shown}; there is no database to compare it with"));
    }
    let rows = block_on(async {
        let store = open_store(&settings).await?;
        let rows = store.read(async |connection| connection.signing_keys().await).await;
        store.close().await;
        Ok::<_, CommandError>(rows?)
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(CommandError { message, .. }) => {
            return Ok(format!("{shown}; it cannot be compared with the database: {message}"));
        }
    };
    let leeway = Duration::from_std(settings.token.leeway).unwrap_or_default();
    let known = rows.iter().zip(states(&rows, now, leeway)).find(|(row, _)| row.sealed.kid == kid);
    Ok(match known {
        Some((row, state)) => {
            format!("{shown}, a key of this installation ({}, {state})", row.sealed.algorithm)
        }
        None => format!("{shown}, not a key of this installation, or a deleted one"),
    })
}

/// Formats a time as in "expires in 59 min", "expired 3 min ago" or "issued 2 h ago".
fn relative(verb: &str, time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let is_past = time <= now;
    let verb = if verb == "expires" && is_past { "expired" } else { verb };
    let amount = amount((time - now).abs());
    if is_past { format!("{verb} {amount} ago") } else { format!("{verb} in {amount}") }
}

fn amount(duration: Duration) -> String {
    match duration.num_seconds() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_its_distance_from_now() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (seconds, expected) in [
            (0, "expired 0 s ago"),
            (-1, "expired 1 s ago"),
            (1, "expires in 1 s"),
            (-180, "expired 3 min ago"),
            (3_599, "expires in 59 min"),
            (-7_200, "expired 2 h ago"),
            (172_800, "expires in 2 days"),
        ] {
            assert_eq!(relative("expires", now + Duration::seconds(seconds), now), expected);
        }
        assert_eq!(relative("issued", now - Duration::minutes(5), now), "issued 5 min ago");
    }

    #[test]
    fn a_token_is_read_with_its_scheme_and_space_around_it() {
        for text in ["a.b.c", " a.b.c\r\n", "Bearer a.b.c", "bearer   a.b.c "] {
            assert_eq!(strip_scheme(text), "a.b.c", "{text:?}");
        }
    }
}
