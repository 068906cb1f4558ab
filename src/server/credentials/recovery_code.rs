//! Recovery codes: 128 random bits each, so that a plain digest at rest tells nobody a code.

use aws_lc_rs::{digest, rand};
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::server::model::Digest;

/// The random bytes of a code.
const BYTES: usize = 16;

/// The characters in a group. Groups are separated by hyphens, so that a code can be copied by hand.
const GROUP: usize = 5;

/// How many codes an account has at first.
pub(crate) const RECOVERY_CODES: usize = 10;

/// A recovery code. It is wiped when dropped, and `Debug` does not show it.
pub(crate) struct RecoveryCode(Zeroizing<[u8; BYTES]>);

impl RecoveryCode {
    /// Makes a random code; `None` where the system provides no random numbers.
    pub(crate) fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        rand::fill(&mut *bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads a code as typed: in either case, with or without its hyphens and spaces.
    pub(crate) fn read(typed: &str) -> Option<Self> {
        // A longer text is no code, and is not copied.
        if typed.len() > 64 {
            return None;
        }
        let letters = typed.chars().filter(|letter| !matches!(letter, ' ' | '-'));
        let text = Zeroizing::new(letters.map(|letter| letter.to_ascii_uppercase()).collect::<String>());
        let decoded = Zeroizing::new(BASE32_NOPAD.decode(text.as_bytes()).ok()?);
        let mut bytes = Zeroizing::new([0; BYTES]);
        if decoded.len() != BYTES {
            return None;
        }
        bytes.copy_from_slice(&decoded);
        Some(Self(bytes))
    }

    /// Returns the code as its user sees it, once.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let mut plain = Zeroizing::new(String::with_capacity(BASE32_NOPAD.encode_len(BYTES)));
        BASE32_NOPAD.encode_append(&*self.0, &mut plain);
        let mut text = Zeroizing::new(String::with_capacity(plain.len() + plain.len() / GROUP));
        for (place, letter) in plain.chars().enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(letter.to_ascii_lowercase());
        }
        text
    }

    /// Returns the digest, which is stored instead of the code.
    pub(crate) fn digest(&self) -> Digest {
        let mut stored = [0; 32];
        stored.copy_from_slice(digest::digest(&digest::SHA256, &*self.0).as_ref());
        stored
    }
}

impl std::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_was_shown_and_as_people_copy_it() {
        let code = RecoveryCode::generate().unwrap();
        let text = code.to_text();
        assert_eq!(text.len(), 31, "26 letters in groups of five: {}", *text);
        for typed in [
            text.to_string(),
            text.to_uppercase(),
            text.replace('-', ""),
            format!(" {} ", text.replace('-', " ")),
        ] {
            assert_eq!(RecoveryCode::read(&typed).unwrap().digest(), code.digest(), "{typed}");
        }
    }

    #[test]
    fn another_text_is_no_code() {
        let text = RecoveryCode::generate().unwrap().to_text();
        let long = "a".repeat(65);
        for wrong in ["", "123456", &text[1..], &format!("{}a", *text), "ä", long.as_str()] {
            assert!(RecoveryCode::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn two_codes_differ_and_debug_shows_none() {
        let (one, other) = (RecoveryCode::generate().unwrap(), RecoveryCode::generate().unwrap());
        assert_ne!(one.digest(), other.digest());
        assert_eq!(format!("{one:?}"), "RecoveryCode(…)");
    }
}
