//! The rules for a new password.

use serde::Serialize;
use utoipa::ToSchema;
use zxcvbn::feedback::Feedback;

use super::Password;
use super::password::MAX_CHARS;

/// A password that zxcvbn finds within this many guesses is refused. That includes all 30,000 of its common passwords,
/// in lower and upper case.
const COMMON_GUESSES: u64 = 100_000;

/// The characters of a password that zxcvbn estimates; its cost grows with the square of their number.
const ESTIMATED_CHARS: usize = 64;

/// Checks that `password` could be the password of any user.
///
/// # Errors
/// The reason, with what is accepted.
pub(crate) fn check_presented(password: &Password) -> Result<(), String> {
    match password.expose().chars().count() {
        0 => Err("is required".into()),
        chars if chars > MAX_CHARS => Err(format!("is longer than {MAX_CHARS} characters")),
        _ => Ok(()),
    }
}

/// Checks that `password` may become the password of the user with this `email`. It may take as long as a hash (a tenth
/// of a second): see [`Hasher::estimate`](super::Hasher::estimate).
///
/// # Errors
/// The reason, with advice.
pub(crate) fn check_new(password: &Password, email: &str, min_chars: usize) -> Result<(), String> {
    check_shape(password, email, min_chars)?;
    strength(password, email, min_chars).reason.map_or(Ok(()), Err)
}

/// Checks the part of [`check_new`] that takes no time.
///
/// # Errors
/// The reason, with advice.
pub(crate) fn check_shape(password: &Password, email: &str, min_chars: usize) -> Result<(), String> {
    check_presented(password)?;
    if password.expose().chars().count() < min_chars {
        return Err(format!("is shorter than {min_chars} characters; a few words make a good one"));
    }
    if password.expose().trim().eq_ignore_ascii_case(email) {
        return Err("is the e-mail address; choose another".into());
    }
    Ok(())
}

/// An estimate of a password, for the person who chooses it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Strength {
    /// From 0, which is guessed within moments, to 4, which is hard to guess.
    #[schema(minimum = 0, maximum = 4)]
    score: u8,
    /// The reason why it would be refused, in the words of a 422; null if it would be accepted.
    #[schema(required = true)]
    pub(crate) reason: Option<String>,
    /// Advice to make it better.
    advice: Vec<String>,
}

/// Estimates how good `password` would be for the user with this `email`, by zxcvbn. The cost grows with the square of
/// the length and with every character that can replace another, so the length is limited.
pub(super) fn strength(password: &Password, email: &str, min_chars: usize) -> Strength {
    let (beginning, is_whole) = match password.expose().char_indices().nth(ESTIMATED_CHARS) {
        Some((end, _)) => (&password.expose()[..end], false),
        None => (password.expose(), true),
    };
    let entropy = zxcvbn::zxcvbn(beginning, &[email]);
    // No longer password is common.
    let is_common = is_whole && entropy.guesses() <= COMMON_GUESSES;
    let reason = check_shape(password, email, min_chars).err().or_else(|| {
        is_common.then(|| format!("is among those that are tried first{}; choose another", advice(&entropy)))
    });
    let suggestions = entropy.feedback().map(Feedback::suggestions).unwrap_or_default();
    Strength {
        score: u8::from(entropy.score()),
        reason,
        advice: suggestions.iter().map(ToString::to_string).collect(),
    }
}

/// Returns the objections of zxcvbn.
fn advice(entropy: &zxcvbn::Entropy) -> String {
    let feedback = entropy.feedback();
    let warning = feedback.and_then(Feedback::warning).map(|warning| warning.to_string());
    let suggestion = feedback.and_then(|feedback| feedback.suggestions().first()).map(ToString::to_string);
    let words = [warning, suggestion].into_iter().flatten();
    words.map(|text| format!(": {}", text.trim_end_matches('.').to_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
