//! The rules for a new password.

use serde::Serialize;
use utoipa::ToSchema;
use zxcvbn::feedback::Feedback;

use super::context::PasswordContext;
use super::password::MAX_CHARS;
use super::{Password, leaked};

/// A password that zxcvbn finds within this many guesses is refused. That includes all 30,000 of its common passwords,
/// in lower and upper case.
const COMMON_GUESSES: u64 = 100_000;

/// The characters of a password that zxcvbn estimates; its cost grows with the square of their number.
const ESTIMATED_CHARS: usize = 32;

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

/// Checks that `password` may become the password of the user of `context`. It may take as long as a hash (a tenth of a
/// second): see [`Hasher::estimate`](super::Hasher::estimate).
///
/// # Errors
/// The reason, with advice.
pub(crate) fn check_new(password: &Password, context: &PasswordContext) -> Result<(), String> {
    strength(password, context).reason.map_or(Ok(()), Err)
}

/// Checks the part of [`check_new`] that takes no time.
///
/// # Errors
/// The reason, with advice.
pub(crate) fn check_shape(password: &Password, context: &PasswordContext) -> Result<(), String> {
    check_presented(password)?;
    let normal = context.nfc.then(|| password.nfc());
    let (typed, min_chars) = (normal.as_ref().unwrap_or(password).expose(), context.min_chars);
    if typed.chars().count() < min_chars {
        return Err(format!("is shorter than {min_chars} characters; a few words make a good one"));
    }
    if typed.trim().eq_ignore_ascii_case(&context.email) {
        return Err("is the e-mail address; choose another".into());
    }
    match context.word_behind(typed) {
        Some(word) => Err(format!("is little more than {word:?}, which is tried first here; choose another")),
        None => Ok(()),
    }
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

/// Estimates how good `password` would be for the user of `context`, by zxcvbn and the leaked passwords. The cost grows
/// with the square of the length and with every character that can replace another, so the length is limited.
pub(super) fn strength(password: &Password, context: &PasswordContext) -> Strength {
    let (beginning, is_whole) = match password.expose().char_indices().nth(ESTIMATED_CHARS) {
        Some((end, _)) => (&password.expose()[..end], false),
        None => (password.expose(), true),
    };
    let words: Vec<&str> =
        std::iter::once(context.email.as_str()).chain(context.words.iter().map(String::as_str)).collect();
    let entropy = zxcvbn::zxcvbn(beginning, &words);
    // No longer password is common.
    let is_common = is_whole && entropy.guesses() <= COMMON_GUESSES;
    let reason = check_shape(password, context).err().or_else(|| {
        if is_common {
            return Some(format!("is among those that are tried first{}; choose another", advice(&entropy)));
        }
        leaked::contains(password).then(|| "is in lists of leaked passwords; choose another".to_owned())
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
    use super::super::context::PasswordRules;
    use super::*;

    fn check(password: &str) -> Result<(), String> {
        let rules = PasswordRules::new(&crate::server::config::Settings::default());
        check_new(&password.into(), &rules.context("ada@example.com", None))
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
            ("Hallpass1", "is little more than \"hallpass\""),
            ("ada-2026", "is little more than \"ada\""),
            ("zrhfcjnrf17", "is in lists of leaked passwords"),
        ];
        for (password, reason) in table {
            let verdict = check(password);
            assert!(
                verdict.as_ref().is_err_and(|text| text.starts_with(reason)),
                "{password:?}: {verdict:?}"
            );
        }
        let too_long = "ä".repeat(257);
        assert!(check(&too_long).unwrap_err().contains("256"));
    }

    #[test]
    fn an_estimate_reads_32_characters_so_that_its_price_is_bounded() {
        let rules = PasswordRules::new(&crate::server::config::Settings::default());
        let score = |text: &str| strength(&text.into(), &rules.context("ada@example.com", None)).score;
        let beginning = "a".repeat(32);
        assert_eq!(score(&format!("{beginning}kX9!vQ2#mZ7@wR4$")), score(&beginning));
    }

    #[test]
    fn a_password_is_measured_in_characters_and_taken_as_typed() {
        for password in [
            "ä".repeat(256),
            "  eight  ".to_owned(),
            "пароль-дня".to_owned(),
            "nul\0in the middle".to_owned(),
        ] {
            assert_eq!(check(&password), Ok(()), "{password:?}");
        }
    }
}
