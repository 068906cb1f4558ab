//! The passphrase: what a new one must be, and how it is stretched into a key (Argon2id, RFC 9106).

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;
use zxcvbn::feedback::Feedback;

use super::error::VaultError;
use super::seal::KEY_BYTES;
use crate::server::model::KdfParams;

/// The lowest cost of stretching: 64 MiB, three passes, four lanes.
pub(super) const FLOOR: KdfParams = KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 };

/// The highest cost that a row may ask for. Without a limit, an attacker who can write to the database could make a
/// start take forever.
const CEILING: KdfParams = KdfParams { memory_kib: 1_048_576, iterations: 16, lanes: 16 };

/// The bytes of the random salt.
pub(super) const SALT_BYTES: usize = 16;

/// The number of characters of a passphrase that are estimated. The cost grows with its square.
const JUDGED_CHARS: usize = 100;

impl KdfParams {
    /// The cost in tests: next to nothing. Other builds do not unseal a vault made with it.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_tests() -> Self {
        Self { memory_kib: 64, iterations: 1, lanes: 1 }
    }

    fn is_accepted(self) -> bool {
        #[cfg(any(test, feature = "testing"))]
        if self == Self::for_tests() {
            return true;
        }
        (FLOOR.memory_kib..=CEILING.memory_kib).contains(&self.memory_kib)
            && (FLOOR.iterations..=CEILING.iterations).contains(&self.iterations)
            && (FLOOR.lanes..=CEILING.lanes).contains(&self.lanes)
    }
}

/// The reason why a new passphrase is too weak, with advice. It never holds the passphrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this passphrase is too weak: {0}; five or six unrelated words make a good one")]
pub(crate) struct WeakPassphrase(String);

/// Checks that `passphrase` is strong enough to be a new one: zxcvbn's best score.
///
/// # Errors
/// [`WeakPassphrase`] with the reason.
pub(crate) fn judge_new_passphrase(passphrase: &SecretString) -> Result<(), WeakPassphrase> {
    let judged: Zeroizing<String> =
        Zeroizing::new(passphrase.expose_secret().chars().take(JUDGED_CHARS).collect());
    let entropy = zxcvbn::zxcvbn(&judged, &["hallpass"]);
    if entropy.score() == zxcvbn::Score::Four {
        return Ok(());
    }
    let feedback = entropy.feedback();
    let reason = feedback.and_then(Feedback::warning).map(|warning| warning.to_string());
    let advice = feedback.and_then(|feedback| feedback.suggestions().first()).map(ToString::to_string);
    let words = [reason, advice].into_iter().flatten().map(|text| text.trim_end_matches('.').to_lowercase());
    let words: Vec<String> = words.collect();
    Err(WeakPassphrase(if words.is_empty() { "it can be guessed".into() } else { words.join("; ") }))
}

/// Stretches a passphrase into the key that seals an installation key.
pub(super) fn stretch(
    passphrase: &SecretString,
    kdf: KdfParams,
    salt: &[u8],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    if !kdf.is_accepted() || salt.len() != SALT_BYTES {
        return Err(VaultError::Parameters);
    }
    let params = argon2::Params::new(kdf.memory_kib, kdf.iterations, kdf.lanes, Some(KEY_BYTES))
        .map_err(|_| VaultError::Parameters)?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut stretched = Zeroizing::new([0; KEY_BYTES]);
    argon2
        .hash_password_into(passphrase.expose_secret().as_bytes(), salt, &mut *stretched)
        .map_err(|_| VaultError::Failed("Argon2id did not run; is there enough memory?"))?;
    Ok(stretched)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRONG: &str = "a river of seventeen blue lanterns";

    #[test]
    fn a_weak_passphrase_is_refused_with_a_reason_and_never_repeated() {
        for weak in
            ["", "secret", "password123", "hallpass", "qwertyuiop", "correct", "19991231", "aaaaaaaaaaaaaaaa"]
        {
            let reason = judge_new_passphrase(&weak.into()).unwrap_err().to_string();
            assert!(reason.starts_with("this passphrase is too weak: "), "{weak}: {reason}");
            assert!(weak.is_empty() || !reason.contains(weak), "{weak}: {reason}");
        }
        let long = "lantern ".repeat(128) + STRONG;
        for strong in [STRONG, "nine copper kettles in the rain", &long[long.len() - 1000..]] {
            assert_eq!(judge_new_passphrase(&strong.into()), Ok(()), "{strong}");
        }
    }
}
