//! A password and its stored hash.
//!
//! A stored hash of ours is `$hallpass$1` followed by bcrypt's own string, computed over base64(HMAC-SHA-384(domain,
//! password)): 64 characters, so that every byte of a password of any length counts, NUL bytes too, although bcrypt
//! itself reads at most 72 bytes and stops at NUL. The prefix tells such a hash apart from a plain one of `$2b$`.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::error::HashError;
use super::foreign::Foreign;
use crate::server::model::SEALED_HASH;

/// The longest password, in characters.
pub(crate) const MAX_CHARS: usize = 256;

/// The HMAC key, a public constant: it separates this use of HMAC from every other.
const DOMAIN: &[u8] = b"hallpass password v1";

const PREFIX: &str = "$hallpass$1";

/// The beginning of a hash of a password that was normalised to NFC first (`password.nfc`). So a hash says itself what
/// was hashed, and every password stays good when the setting changes.
const PREFIX_NFC: &str = "$hallpass$2";

/// The lowest cost that bcrypt has.
const MIN_COST: u32 = 4;

/// The characters of the digest, at the end of bcrypt's own string.
const DIGEST_CHARS: usize = 31;

/// The base64 of bcrypt, with an alphabet of its own.
pub(super) const BASE_64: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::BCRYPT, NO_PAD);

/// A bcrypt hash of a higher cost is not computed: at 31 one takes days.
const MAX_COST: u32 = 18;

/// A password as typed. It is wiped when dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Password {
    typed: SecretString,
    /// It has been normalised to NFC, and its hash is to say so.
    is_nfc: bool,
}

impl Password {
    /// Returns the characters, for the rules and the hash alone.
    pub(super) fn expose(&self) -> &str {
        self.typed.expose_secret()
    }

    /// Returns the password normalised to NFC (Unicode Standard Annex #15).
    pub(super) fn nfc(&self) -> Self {
        use unicode_normalization::UnicodeNormalization;

        // In one block, since one that grows leaves copies behind; no text grows to more than three times its bytes.
        let mut normal = Zeroizing::new(String::with_capacity(self.expose().len() * 3));
        normal.extend(self.expose().nfc());
        Self { typed: SecretString::from(normal.as_str()), is_nfc: true }
    }
}

impl From<SecretString> for Password {
    fn from(typed: SecretString) -> Self {
        Self { typed, is_nfc: false }
    }
}

/// The empty password, which no user has.
impl Default for Password {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<&str> for Password {
    fn from(typed: &str) -> Self {
        Self::from(SecretString::from(typed))
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

/// A stored hash. It is revealed when it is compared, and wiped after.
pub(crate) struct StoredHash(Box<dyn FnOnce() -> Result<Zeroizing<String>, HashError> + Send>);

impl StoredHash {
    /// A hash that `reveal` returns.
    pub(crate) fn revealed_by(
        reveal: impl FnOnce() -> Result<Zeroizing<String>, HashError> + Send + 'static,
    ) -> Self {
        Self(Box::new(reveal))
    }

    pub(super) fn reveal(self) -> Result<Zeroizing<String>, HashError> {
        (self.0)()
    }
}

impl From<String> for StoredHash {
    fn from(hash: String) -> Self {
        let hash = Zeroizing::new(hash);
        Self::revealed_by(move || Ok(hash))
    }
}

/// Returns the text that bcrypt hashes in place of the password.
fn digest(password: &Password) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA384, DOMAIN);
    let tag = hmac::sign(&key, password.expose().as_bytes());
    Zeroizing::new(STANDARD_NO_PAD.encode(tag.as_ref()))
}

/// One computation of bcrypt, for [`Lanes`](super::lanes::Lanes): to make a hash or to compare with one.
pub(super) struct Bcrypt {
    /// The bytes that bcrypt hashes.
    pub(super) text: Zeroizing<String>,
    pub(super) salt: [u8; 16],
    pub(super) cost: u32,
    /// The beginning of the string to store.
    prefix: &'static str,
    /// The digest to compare with, as stored; `None` where no digest would match.
    expected: Option<Zeroizing<String>>,
}

impl Bcrypt {
    /// Begins a hash to store for `password`.
    ///
    /// # Errors
    /// [`HashError::Failed`] when the system provides no random numbers.
    pub(super) fn hash(password: &Password, cost: u32) -> Result<Self, HashError> {
        let mut salt = [0; 16];
        let failed = |_| HashError::Failed("the system provides no random numbers".into());
        rand::fill(&mut salt).map_err(failed)?;
        let prefix = if password.is_nfc { PREFIX_NFC } else { PREFIX };
        Ok(Self { text: digest(password), salt, cost, prefix, expected: None })
    }

    /// Begins to compare `password` with `stored`; `None` where `stored` is of another function.
    ///
    /// # Errors
    /// [`HashError::UnknownHash`].
    pub(super) fn verify(password: &Password, stored: &str) -> Result<Option<Self>, HashError> {
        let foreign;
        let (text, hash, can_match) = match ours(stored) {
            Some(ours) if is_nfc(stored) => (digest(&password.nfc()), ours, true),
            Some(ours) => (digest(password), ours, true),
            None => {
                foreign = Foreign::parse(stored).map_err(|_| HashError::UnknownHash)?;
                match foreign.bcrypt(password.expose()) {
                    Some((text, hash)) => (text, hash, Foreign::may_match(password.expose())),
                    None => return Ok(None),
                }
            }
        };
        let parts: bcrypt::HashParts = hash.parse().map_err(|_| HashError::UnknownHash)?;
        if !(MIN_COST..=MAX_COST).contains(&parts.get_cost()) {
            return Err(HashError::UnknownHash);
        }
        let expected = can_match.then(|| Zeroizing::new(hash[hash.len() - DIGEST_CHARS..].to_owned()));
        Ok(Some(Self { text, salt: parts.get_salt_raw(), cost: parts.get_cost(), prefix: PREFIX, expected }))
    }

    /// Returns the string to store, once the digest is computed.
    pub(super) fn stored(&self, digest: [u8; 23]) -> String {
        let (salt, digest) = (BASE_64.encode(self.salt), BASE_64.encode(digest));
        format!("{}$2b${:02}${salt}{digest}", self.prefix, self.cost)
    }

    /// Tells whether the computed digest is the stored one.
    pub(super) fn is_match(&self, digest: [u8; 23]) -> bool {
        let digest = BASE_64.encode(digest);
        self.expected
            .as_ref()
            .is_some_and(|expected| verify_slices_are_equal(digest.as_bytes(), expected.as_bytes()).is_ok())
    }
}

/// Computes the string to store for `password`, alone.
pub(super) fn hash(password: &Password, cost: u32) -> Result<String, HashError> {
    bcrypt::hash(&**digest(password), cost)
        .map(|hash| format!("{PREFIX}{hash}"))
        .map_err(|error| HashError::Failed(error.to_string()))
}

/// Tells whether `stored`, of another program and function, is the hash of `password`.
///
/// # Errors
/// [`HashError::UnknownHash`].
pub(super) fn verify_foreign(password: &Password, stored: &str) -> Result<bool, HashError> {
    let foreign = Foreign::parse(stored).map_err(|_| HashError::UnknownHash)?;
    Ok(foreign.verify(password.expose()))
}

/// Checks that `stored` is a hash that this binary accepts: ours, or of a known kind of another program, and of an
/// accepted cost.
///
/// # Errors
/// The reason.
pub(crate) fn check_stored(stored: &str) -> Result<(), &'static str> {
    if stored.starts_with(SEALED_HASH) {
        return Err(
            "is sealed by the installation that it comes from; hallpass user export there, with its passphrase, writes it unsealed",
        );
    }
    match cost_of(stored) {
        Some(MIN_COST..=MAX_COST) => Ok(()),
        Some(_) => Err("asks for more work than is accepted"),
        None => Foreign::parse(stored).map(|_| ()),
    }
}

/// Tells whether `stored` depends on every byte of `password`, so that whoever was let in by it has typed all of it. A
/// plain bcrypt hash of another program knows the first 72 bytes alone.
pub(crate) fn is_proof_of_all(password: &Password, stored: &str) -> bool {
    ours(stored).is_some() || Foreign::parse(stored).is_ok_and(|foreign| foreign.reads_all(password.expose()))
}

/// Returns bcrypt's own string in a hash of ours.
pub(super) fn ours(stored: &str) -> Option<&str> {
    stored.strip_prefix(PREFIX).or_else(|| stored.strip_prefix(PREFIX_NFC))
}

/// Tells whether a hash is of a password that was normalised to NFC.
pub(super) fn is_nfc(stored: &str) -> bool {
    stored.starts_with(PREFIX_NFC)
}

/// Returns the cost of a hash of ours.
pub(super) fn cost_of(stored: &str) -> Option<u32> {
    let parts: bcrypt::HashParts = ours(stored)?.parse().ok()?;
    Some(parts.get_cost())
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Lanes;
    use super::*;

    fn verify(password: &Password, stored: &str) -> Result<bool, HashError> {
        let Some(bcrypt) = Bcrypt::verify(password, stored)? else { return verify_foreign(password, stored) };
        let (mut lanes, mut is_match) = (Lanes::new(), None);
        lanes.add(bcrypt.text.as_bytes(), bcrypt.salt, bcrypt.cost, ());
        while is_match.is_none() {
            lanes.advance(|(), digest| is_match = Some(bcrypt.is_match(digest)));
        }
        Ok(is_match.unwrap())
    }

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
    fn a_hash_of_a_normalised_password_takes_either_form_and_says_so_itself() {
        let (composed, decomposed) = (Password::from("café au lait"), Password::from("cafe\u{301} au lait"));
        let bcrypt = Bcrypt::hash(&decomposed.nfc(), 4).unwrap();
        let (mut lanes, mut stored) = (Lanes::new(), None);
        lanes.add(bcrypt.text.as_bytes(), bcrypt.salt, bcrypt.cost, ());
        while stored.is_none() {
            lanes.advance(|(), digest| stored = Some(bcrypt.stored(digest)));
        }
        let stored = stored.unwrap();
        assert!(stored.starts_with("$hallpass$2$2b$04$"), "{stored}");
        assert_eq!(cost_of(&stored), Some(4));
        assert!(is_proof_of_all(&composed, &stored));
        for (password, expected) in [(&composed, true), (&decomposed, true), (&"cafe au lait".into(), false)]
        {
            assert_eq!(verify(password, &stored), Ok(expected), "{}", password.expose());
        }
        let as_typed = hash(&decomposed, 4).unwrap();
        assert_eq!(verify(&decomposed, &as_typed), Ok(true), "what was stored before stays good");
        assert_eq!(verify(&composed, &as_typed), Ok(false));
    }

    #[test]
    fn a_stored_hash_is_recognisable_as_ours_and_salted() {
        let (one, two) = (hash(&"same".into(), 4).unwrap(), hash(&"same".into(), 4).unwrap());
        assert!(one.starts_with("$hallpass$1$2b$04$"), "{one}");
        assert_ne!(one, two);
        assert_eq!(cost_of(&one), Some(4));
    }

    #[test]
    fn a_hash_that_is_not_ours_or_too_costly_is_refused_without_being_computed() {
        let costly = hash(&"x".into(), 4).unwrap().replace("$04$", "$31$");
        for stored in ["", "plain", "$hallpass$1", "$hallpass$1$2b$é", &costly] {
            assert_eq!(verify(&"x".into(), stored), Err(HashError::UnknownHash), "{stored}");
        }
    }

    #[test]
    fn a_password_never_shows_itself() {
        let password: Password = serde_json::from_str("\"open sesame\"").unwrap();
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(password.expose(), "open sesame");
    }
}
