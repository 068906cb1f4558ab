//! Words that are easy to guess for one user: the product, the sites, the parts of the e-mail address and of the name
//! (NIST SP 800-63B §3.1.1.2, context-specific words).

use std::sync::Arc;

use crate::server::config::Settings;

/// The shortest word of a site that counts: shorter parts of host names are generic, such as `www` and `api`.
const SITE_WORD_CHARS: usize = 4;

/// The shortest part of an address or a name that counts.
const USER_WORD_CHARS: usize = 3;

/// A password of words like these and at most so many other letters and digits is refused: a year, say.
const OTHER_CHARS: usize = 4;

/// The rules for new passwords on one server.
#[derive(Debug, Clone)]
pub struct PasswordRules {
    min_chars: usize,
    nfc: bool,
    site_words: Arc<[String]>,
}

/// The context that a user's new password must not resemble.
#[derive(Debug, Clone)]
pub(crate) struct PasswordContext {
    pub(super) min_chars: usize,
    /// Passwords are normalised to NFC first.
    pub(super) nfc: bool,
    pub(super) email: String,
    /// In lower case, the longest first.
    pub(super) words: Vec<String>,
}

impl PasswordRules {
    /// Returns the rules of the settings.
    pub fn new(settings: &Settings) -> Self {
        let sites = [&settings.token.issuer, &settings.token.audience].into_iter().flatten();
        let hosts = sites.chain(&settings.server.cors_origins).filter_map(|url| host(url));
        let words = hosts.flat_map(labels).chain(["hallpass".to_owned()]);
        Self {
            min_chars: settings.password.min_length,
            nfc: settings.password.nfc,
            site_words: words.filter(|word| word.chars().count() >= SITE_WORD_CHARS).collect(),
        }
    }

    /// Returns the context of a new password for the user with this address and name.
    pub(crate) fn context(&self, email: &str, name: Option<&str>) -> PasswordContext {
        let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
        let own = words(local).chain(labels(domain)).chain(words(name.unwrap_or_default()));
        let own = own.filter(|word| word.chars().count() >= USER_WORD_CHARS);
        let mut words: Vec<String> = own.chain(self.site_words.iter().cloned()).collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        PasswordContext { min_chars: self.min_chars, nfc: self.nfc, email: email.to_owned(), words }
    }
}

impl PasswordContext {
    /// Returns the word that `password` consists of, but for a few letters and digits.
    pub(super) fn word_behind(&self, password: &str) -> Option<&str> {
        let mut rest = password.to_lowercase();
        let mut found = None;
        for word in &self.words {
            if rest.contains(word.as_str()) {
                found = found.or(Some(word.as_str()));
                // A space, so that what stood around the word makes no new one.
                rest = rest.replace(word.as_str(), " ");
            }
        }
        let others = rest.chars().filter(|character| character.is_alphanumeric()).count();
        found.filter(|_| others <= OTHER_CHARS)
    }
}

/// Returns the host of a URL.
fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    rest.split(['/', ':', '?', '#']).next()
}

/// Returns the labels of a host name but the last, which many hosts share.
fn labels(host: &str) -> impl Iterator<Item = String> {
    words(host.rsplit_once('.').map_or("", |(labels, _)| labels))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> PasswordContext {
        let mut settings = Settings::default();
        settings.token.issuer = Some("https://id.museum-of-clocks.example/auth".into());
        settings.server.cors_origins = vec!["https://tickets.example:8443".into()];
        PasswordRules::new(&settings).context("ada.lovelace@analytical.example", Some("Augusta Ada King"))
    }

    #[test]
    fn a_password_that_is_little_more_than_a_word_of_its_place_is_found() {
        for (password, word) in [
            ("hallpass1", "hallpass"),
            ("HALLPASS-2026!!", "hallpass"),
            ("lovelace2026", "lovelace"),
            ("AdaLovelace", "lovelace"),
            ("augusta1815", "augusta"),
            ("museumclocks", "museum"),
            ("tickets#99", "tickets"),
            ("Analytical12", "analytical"),
        ] {
            assert_eq!(context().word_behind(password), Some(word), "{password}");
        }
    }

    #[test]
    fn such_a_word_among_others_makes_no_password_bad() {
        for password in
            ["lovelace wrote notes", "a hallpass for tomorrow", "king of the clouds", "correct horse"]
        {
            assert_eq!(context().word_behind(password), None, "{password}");
        }
    }
}
