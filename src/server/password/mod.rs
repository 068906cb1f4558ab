//! Passwords: what may be one, how it is stored, and who computes that.
//!
//! A stored hash of ours is `$hallpass$1` and then bcrypt's own string, made over
//! base64(HMAC-SHA-384(domain, password)): 64 characters, so that every byte of a password of any length
//! counts, NUL bytes too, though bcrypt itself looks at 72 at most and treats NUL as an end. The prefix
//! keeps such a hash from ever being taken for a plain `$2b$` one.

mod foreign;
mod hasher;

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use foreign::Foreign;
pub use hasher::{HashError, Hasher, Load};

/// The longest password, in characters.
pub const MAX_CHARS: usize = 256;

/// Told apart from every other use of the same function by this text, which is public.
const DOMAIN: &[u8] = b"hallpass password v1";

const PREFIX: &str = "$hallpass$1";

/// A password that zxcvbn finds within so many guesses is refused: each of the 30,000 of its list of common
/// passwords is, in small or capital letters.
const COMMON_GUESSES: u64 = 100_000;

/// The longest password that zxcvbn is asked about, in characters.
const ESTIMATED_CHARS: usize = 64;

/// A bcrypt hash of a higher cost is not computed: at 31 one takes days.
const MAX_COST: u32 = 18;

/// A password as typed. It is wiped when dropped, and shows itself nowhere.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// The characters, for the rules and the hash alone.
    fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<SecretString> for Password {
    fn from(typed: SecretString) -> Self {
        Self(typed)
    }
}

/// No characters at all, which nobody's password has.
impl Default for Password {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<&str> for Password {
    fn from(typed: &str) -> Self {
        Self(SecretString::from(typed))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Typed;

        impl Visitor<'_> for Typed {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            // Copied once, into a block of exactly its size.
            fn visit_str<E: serde::de::Error>(self, typed: &str) -> Result<Password, E> {
                Ok(typed.into())
            }
        }

        deserializer.deserialize_str(Typed)
    }
}

/// What keeps `password` from being presented at all: it could never be anybody's.
///
/// # Errors
/// The reason, and what is accepted.
pub fn check_presented(password: &Password) -> Result<(), String> {
    match password.expose().chars().count() {
        0 => Err("is required".into()),
        chars if chars > MAX_CHARS => Err(format!("is longer than {MAX_CHARS} characters")),
        _ => Ok(()),
    }
}

/// What keeps `password` from becoming the password of the user with this `email`. It may take as long as a hash
/// (a tenth of a second): see [`Hasher::judge`].
///
/// # Errors
/// The reason, and what to do instead.
pub fn check_new(password: &Password, email: &str, min_chars: usize) -> Result<(), String> {
    check_shape(password, email, min_chars)?;
    strength(password, email, min_chars).reason.map_or(Ok(()), Err)
}

/// The part of [`check_new`] that takes no time.
///
/// # Errors
/// The reason, and what to do instead.
pub fn check_shape(password: &Password, email: &str, min_chars: usize) -> Result<(), String> {
    check_presented(password)?;
    if password.expose().chars().count() < min_chars {
        return Err(format!("is shorter than {min_chars} characters; a few words make a good one"));
    }
    match password.expose().trim().eq_ignore_ascii_case(email) {
        true => Err("is the e-mail address; choose another".into()),
        false => Ok(()),
    }
}

/// How good a password is, for a person who is choosing one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Strength {
    /// From 0, which is guessed at once, to 4, which is not.
    #[schema(minimum = 0, maximum = 4)]
    score: u8,
    /// What keeps it from being taken, as the `fields` of a refused request say it; null where nothing does.
    #[schema(required = true)]
    pub(crate) reason: Option<String>,
    /// What would make it better.
    advice: Vec<String>,
}

/// How good `password` would be for the user with this `email`: zxcvbn's estimate, whose cost grows with the
/// square of the length and with every character that may stand for another, and is therefore bounded.
fn strength(password: &Password, email: &str, min_chars: usize) -> Strength {
    let (beginning, is_whole) = match password.expose().char_indices().nth(ESTIMATED_CHARS) {
        Some((end, _)) => (&password.expose()[..end], false),
        None => (password.expose(), true),
    };
    let entropy = zxcvbn::zxcvbn(beginning, &[email]);
    // Nothing longer is common.
    let is_common = is_whole && entropy.guesses() <= COMMON_GUESSES;
    let reason = check_shape(password, email, min_chars).err().or_else(|| {
        is_common.then(|| format!("is among those that are tried first{}; choose another", advice(&entropy)))
    });
    let suggestions = entropy.feedback().map(|feedback| feedback.suggestions()).unwrap_or_default();
    Strength {
        score: u8::from(entropy.score()),
        reason,
        advice: suggestions.iter().map(ToString::to_string).collect(),
    }
}

/// What zxcvbn says against a password, in words that a person can act on.
fn advice(entropy: &zxcvbn::Entropy) -> String {
    let feedback = entropy.feedback();
    let warning = feedback.and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
    let suggestion = feedback.and_then(|feedback| feedback.suggestions().first()).map(ToString::to_string);
    let words = [warning, suggestion].into_iter().flatten();
    words.map(|text| format!(": {}", text.trim_end_matches('.').to_lowercase())).collect()
}

/// What bcrypt is given instead of the password itself.
fn digest(password: &Password) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA384, DOMAIN);
    let tag = hmac::sign(&key, password.expose().as_bytes());
    Zeroizing::new(STANDARD_NO_PAD.encode(tag.as_ref()))
}

/// The string to store for `password`.
fn hash(password: &Password, cost: u32) -> Result<String, HashError> {
    bcrypt::hash(&**digest(password), cost)
        .map(|hash| format!("{PREFIX}{hash}"))
        .map_err(|error| HashError::Failed(error.to_string()))
}

/// Whether `password` is the one behind `stored`.
fn verify(password: &Password, stored: &str) -> Result<bool, HashError> {
    match stored.strip_prefix(PREFIX) {
        Some(_) if cost_of(stored).is_none_or(|cost| cost > MAX_COST) => Err(HashError::UnknownHash),
        Some(ours) => bcrypt::verify(&**digest(password), ours).map_err(|_| HashError::UnknownHash),
        None => Foreign::parse(stored)
            .map(|foreign| foreign.verify(password.expose()))
            .map_err(|_| HashError::UnknownHash),
    }
}

/// Whether `stored` is a hash that this binary takes: one of ours, or of a known kind from elsewhere, at a
/// cost that may be obeyed.
///
/// # Errors
/// The reason in words.
pub fn check_stored(stored: &str) -> Result<(), &'static str> {
    match cost_of(stored) {
        Some(4..=MAX_COST) => Ok(()),
        Some(_) => Err("asks for more work than is accepted"),
        None => Foreign::parse(stored).map(|_| ()),
    }
}

/// The cost that `stored` was made with.
pub(super) fn cost_of(stored: &str) -> Option<u32> {
    let parts: bcrypt::HashParts = stored.strip_prefix(PREFIX)?.parse().ok()?;
    Some(parts.get_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_password_counts() {
        let long = "x".repeat(72);
        let pairs = [
            (format!("{long}one"), format!("{long}two")),
            ("a".to_owned(), "a\0a".to_owned()),
            ("a\0b".to_owned(), "a\0c".to_owned()),
            ("pässwörd".to_owned(), "password".to_owned()),
            ("é".to_owned(), "e\u{301}".to_owned()),
            ("word ".to_owned(), "word".to_owned()),
            ("Word".to_owned(), "word".to_owned()),
        ];
        for (one, other) in pairs {
            let stored = hash(&one.as_str().into(), 4).unwrap();
            assert_eq!(verify(&one.as_str().into(), &stored), Ok(true), "{one:?}");
            assert_eq!(verify(&other.as_str().into(), &stored), Ok(false), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_stored_hash_is_recognisable_as_ours_and_salted() {
        let (one, two) = (hash(&"same".into(), 4).unwrap(), hash(&"same".into(), 4).unwrap());
        assert!(one.starts_with("$hallpass$1$2b$04$"), "{one}");
        assert_ne!(one, two);
        assert_eq!(cost_of(&one), Some(4));
    }

    #[test]
    fn a_hash_that_is_not_ours_or_too_dear_is_refused_without_being_computed() {
        let dear = hash(&"x".into(), 4).unwrap().replace("$04$", "$31$");
        for stored in ["", "plain", "$hallpass$1", "$hallpass$1$2b$é", &dear] {
            assert_eq!(verify(&"x".into(), stored), Err(HashError::UnknownHash), "{stored}");
        }
    }

    #[test]
    fn the_rules_for_a_new_password_name_what_is_wrong() {
        let table = [
            ("", "is required"),
            ("seven77", "is shorter than 8 characters"),
            ("ada@example.com", "is the e-mail address"),
            ("ADA@example.com", "is the e-mail address"),
            ("password", "is among those that are tried first: "),
            ("PASSWORD", "is among those that are tried first: "),
            ("Password1", "is among those that are tried first: "),
            ("12345678", "is among those that are tried first: "),
            ("qwertyuiop", "is among those that are tried first: "),
            ("iloveyou", "is among those that are tried first: "),
            ("aaaaaaaa", "is among those that are tried first: "),
            ("superman", "is among those that are tried first: "),
            ("starwars", "is among those that are tried first: "),
        ];
        for (password, reason) in table {
            let verdict = check_new(&password.into(), "ada@example.com", 8);
            assert!(
                verdict.as_ref().is_err_and(|text| text.starts_with(reason)),
                "{password:?}: {verdict:?}"
            );
        }
        let too_long = "ä".repeat(257);
        assert!(check_new(&too_long.as_str().into(), "ada@example.com", 8).unwrap_err().contains("256"));
    }

    #[test]
    fn a_password_is_measured_in_characters_and_taken_as_typed() {
        for password in [
            "ä".repeat(256),
            "  eight  ".to_owned(),
            "пароль-дня".to_owned(),
            "nul\0in the middle".to_owned(),
        ] {
            assert_eq!(check_new(&password.as_str().into(), "ada@example.com", 8), Ok(()), "{password:?}");
        }
    }

    #[test]
    fn a_password_never_shows_itself() {
        let password: Password = serde_json::from_str("\"open sesame\"").unwrap();
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(password.expose(), "open sesame");
    }
}
