//! `hallpass token`: what a token says, and whether it is good by a key set.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use clap::Subcommand;
use serde_json::Value;

use super::out::say;
use super::{Common, Failed, block_on, open_store};
use crate::clock::{Clock, rfc3339};
use crate::server::config::DatabaseUrl;
use crate::server::keys::rotation::states;
use crate::token::{Expected, KeyError, Keyring, MAX_TOKEN_BYTES, TokenType, verify};

/// The largest key set that is read, bytes; the ring itself takes no more.
const MAX_JWKS_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Show what a token says, without judging it
    Inspect {
        /// The token; - or nothing reads it from standard input
        token: Option<String>,
    },
    /// Say whether tokens are good by a key set: signature, algorithm, type, times
    Verify {
        /// The key set (RFC 7517), such as the server's /.well-known/jwks.json saved
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        /// The issuer that the token must name
        #[arg(long)]
        issuer: Option<String>,
        /// The audience that the token must name
        #[arg(long)]
        audience: Option<String>,
        /// Accept tokens of any type, not access tokens (at+jwt) alone
        #[arg(long)]
        any_type: bool,
        /// The token; - or nothing reads many from standard input, one a line
        token: Option<String>,
    },
}

pub(super) fn run(common: &Common, command: TokenCommand) -> Result<(), Failed> {
    match command {
        TokenCommand::Inspect { token } => inspect(common, token),
        TokenCommand::Verify { jwks, issuer, audience, any_type, token } => {
            let accepted = if any_type { TokenType::Any } else { TokenType::default() };
            let ring = read_keys(&jwks)?;
            let leeway = Duration::from_std(common.settings(None)?.token.leeway).unwrap_or_default();
            let expected = |token: &str| {
                let own = |name| claim(token, name).unwrap_or_default();
                let issuer = issuer.clone().unwrap_or_else(|| own("iss"));
                let audience = audience.clone().unwrap_or_else(|| own("aud"));
                Expected::new(issuer, audience).with_type(accepted).with_leeway(leeway)
            };
            judge(token, |token, now| {
                let ring = ring.as_ref().ok_or("the key set holds no key that verifies")?;
                let claims = verify(token, ring, &expected(token), now).map_err(|error| error.to_string())?;
                let expiry = relative("expires", claims.expires_at(), now);
                Ok(format!("{}, {expiry}", claims.sub.escape_debug()))
            })
        }
    }
}

/// The keys of a set; `None` where it has none, as the server's has under HS256.
fn read_keys(path: &Path) -> Result<Option<Keyring>, Failed> {
    let unusable =
        |reason: String| Failed::usage(format!("--jwks {} cannot be used: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    let mut text = zeroize::Zeroizing::new(Vec::new());
    file.take(MAX_JWKS_BYTES).read_to_end(&mut text).map_err(|error| unusable(error.to_string()))?;
    // The operator's own file may hold a symmetric key.
    match Keyring::from_secret_jwks(&*text) {
        Ok(ring) => Ok(Some(ring)),
        Err(KeyError::NoKey) => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// Says of each token whether it is valid.
fn judge(
    given: Option<String>,
    verdict: impl Fn(&str, DateTime<Utc>) -> Result<String, String>,
) -> Result<(), Failed> {
    // Told for each: a stream of tokens may go on for long.
    let verdict = |token: &str| verdict(bare(token), Clock::system().now());
    if let Some(token) = given.filter(|token| token != "-") {
        return match verdict(&token) {
            Ok(about) => say(format_args!("valid: {about}")),
            Err(reason) => Err(Failed::running(format!("not valid: {reason}"))),
        };
    }
    let (mut all, mut bad) = (0, 0);
    for (number, line) in lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        all += 1;
        match verdict(&line) {
            Ok(about) => say(format_args!("{}: valid: {about}", number + 1))?,
            Err(reason) => {
                bad += 1;
                say(format_args!("{}: not valid: {reason}", number + 1))?;
            }
        }
    }
    match (all, bad) {
        (0, _) => Err(Failed::usage("there is no token on standard input; give one, or one a line")),
        (_, 0) => Ok(()),
        (1, _) => Err(Failed::running("the token is not valid")),
        (all, bad) => Err(Failed::running(format!("{bad} of {all} tokens are not valid"))),
    }
}

/// The lines of standard input. What of a line is longer than any token is left out.
fn lines() -> impl Iterator<Item = Result<String, Failed>> {
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
                // One that is too long stays too long; its rest is no token of its own.
                if !line.ends_with(b"\n") && line.len() as u64 == limit {
                    let _ = input.skip_until(b'\n');
                }
                Some(Ok(String::from_utf8_lossy(&line).trim_end().to_owned()))
            }
            Err(error) => Some(Err(unreadable(error))),
        }
    })
}

fn unreadable(error: std::io::Error) -> Failed {
    Failed::running(format!("standard input cannot be read: {error}"))
}

/// Skips blanks up to the line's end: they are no part of a token, and do not count as its length.
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

/// The token without what it often comes with.
fn bare(text: &str) -> &str {
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

/// A claim, before anything of the token is believed.
fn claim(token: &str, name: &str) -> Option<String> {
    let claims = part(token, 1).ok()?;
    let value = match &claims[name] {
        Value::Array(several) => several.first()?,
        value => value,
    };
    value.as_str().map(str::to_owned)
}

fn inspect(common: &Common, given: Option<String>) -> Result<(), Failed> {
    let text = match given.filter(|token| token != "-") {
        Some(token) => token,
        None => lines().next().transpose()?.unwrap_or_default(),
    };
    let token = bare(&text);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Failed::running(format!(
            "the token is longer than {MAX_TOKEN_BYTES} bytes, which no server reads"
        )));
    }
    if token.split('.').count() != 3 {
        return Err(Failed::running(
            "this is no token: three parts of base64url with dots between them are expected",
        ));
    }
    let now = Clock::system().now();
    let mut header = Value::Null;
    for (place, name) in ["header", "claims"].into_iter().enumerate() {
        match part(token, place) {
            Ok(value) => {
                say(format_args!("{name}: {}", printable(&value)))?;
                if place == 0 {
                    header = value;
                } else {
                    times(&value, now)?;
                }
            }
            Err(reason) => {
                return Err(Failed::running(format!("this is no token: its {name} part {reason}")));
            }
        }
    }
    say(format_args!("signature: not checked here; hallpass token verify does that"))?;
    let kid = header["kid"].as_str();
    say(format_args!("key: {}", whose(common, kid, now)?))
}

/// JSON on several lines, in which whatever a terminal would not show as it stands is escaped: whoever made the token
/// chose it.
fn printable(value: &Value) -> String {
    let mut shown = String::new();
    for character in format!("{value:#}").chars() {
        let is_plain = matches!(character, '\n' | '"' | '\'' | '\\') || character.escape_debug().len() == 1;
        match is_plain {
            true => shown.push(character),
            false => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    shown.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    shown
}

/// The times of a token in words.
fn times(claims: &Value, now: DateTime<Utc>) -> Result<(), Failed> {
    for (name, verb) in [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")] {
        let time = claims[name].as_f64().and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0));
        if let Some(time) = time {
            say(format_args!("{name}: {} ({})", rfc3339(time), relative(verb, time, now)))?;
        }
    }
    Ok(())
}

/// Which key of this installation a token names, as far as the database tells without a passphrase.
fn whose(common: &Common, kid: Option<&str>, now: DateTime<Utc>) -> Result<String, Failed> {
    let Some(kid) = kid else {
        return Ok("the token names none".into());
    };
    // Whoever made the token chose it: it stays on its line, and moves no cursor.
    let shown = kid.escape_debug();
    let settings = common.settings(None)?;
    if matches!(&settings.database.url, DatabaseUrl::Sqlite(path) if !path.exists()) {
        return Ok(format!("{shown}; there is no database here to compare with"));
    }
    let rows = block_on(async {
        let store = open_store(&settings).await?;
        let rows = store.read(async |connection| connection.signing_keys().await).await;
        store.close().await;
        Ok::<_, Failed>(rows?)
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(Failed { message, .. }) => return Ok(format!("{shown}; nothing to compare with: {message}")),
    };
    let leeway = Duration::from_std(settings.token.leeway).unwrap_or_default();
    let known = rows.iter().zip(states(&rows, now, leeway)).find(|(row, _)| row.sealed.kid == kid);
    Ok(match known {
        Some((row, state)) => format!("{shown}, which is ours ({}, {state})", row.sealed.algorithm),
        None => format!("{shown}, which is not ours, or no more"),
    })
}

/// "expires in 59 min", "expired 3 min ago", "issued 2 h ago".
fn relative(verb: &str, time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let is_past = time <= now;
    let verb = if verb == "expires" && is_past { "expired" } else { verb };
    let amount = amount((time - now).abs());
    match is_past {
        true => format!("{verb} {amount} ago"),
        false => format!("{verb} in {amount}"),
    }
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
    fn times_are_told_in_words() {
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
    fn a_token_is_taken_with_what_it_often_comes_with() {
        for text in ["a.b.c", " a.b.c\r\n", "Bearer a.b.c", "bearer   a.b.c "] {
            assert_eq!(bare(text), "a.b.c", "{text:?}");
        }
    }
}
