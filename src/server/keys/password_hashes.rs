//! The stored hashes of passwords, sealed: `$sealed$`, then the seal in base64url, with the user's id as associated data. Nobody
//! can try a password against one without the installation key, and none can be moved to another user.
//!
//! Commands have no passphrase and write plain hashes, which a server seals soon after. So each may be of either kind.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::vault::{Purpose, Vault, VaultError};
use crate::server::model::SEALED_HASH;
use crate::server::store::{Store, StoreError};

/// The hashes that are sealed in one transaction, which so takes some hundredths of a second.
const BATCH: u32 = 500;

/// Seals and unseals the stored hashes of passwords. Clones share the vault.
#[derive(Debug, Clone)]
pub struct PasswordHashes {
    vault: Arc<Vault>,
}

impl PasswordHashes {
    /// The hashes of the installation of `vault`.
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault }
    }

    /// Seals the hash of the user's password.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub fn seal(&self, user: Uuid, hash: &str) -> Result<String, VaultError> {
        let sealed = self.vault.seal(Purpose::PasswordHash, &[user.as_bytes()], hash.as_bytes())?;
        Ok(format!("{SEALED_HASH}{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Returns the hash that is stored for the user, unsealed if it is sealed.
    ///
    /// # Errors
    /// [`VaultError::Altered`], also for the hash of another user; [`VaultError::UnknownGeneration`].
    pub fn open(&self, user: Uuid, stored: &str) -> Result<Zeroizing<String>, VaultError> {
        let altered = VaultError::Altered("the hash of a password");
        let Some(sealed) = sealed(stored) else { return Ok(Zeroizing::new(stored.to_owned())) };
        let sealed = sealed.ok_or(altered.clone())?;
        let hash = self.vault.open(Purpose::PasswordHash, &[user.as_bytes()], &sealed)?;
        let text = std::str::from_utf8(&hash).map_err(|_| altered)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Tells whether two stored strings hold the same hash. To seal one anew changes the string and not the password.
    pub fn is_same(&self, user: Uuid, one: Option<&str>, other: Option<&str>) -> bool {
        let (Some(one), Some(other)) = (one, other) else { return one == other };
        if one == other {
            return true;
        }
        let (Ok(one), Ok(other)) = (self.open(user, one), self.open(user, other)) else { return false };
        verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
    }

    /// Tells whether the vault has the installation key that unseals `stored`.
    pub(crate) fn can_open(&self, stored: &str) -> bool {
        sealed(stored).flatten().is_none_or(|sealed| self.vault.has_key_of(&sealed))
    }

    /// Tells whether `stored` is sealed under the newest installation key.
    pub(crate) fn is_current(&self, stored: &str) -> bool {
        sealed(stored).flatten().is_some_and(|sealed| self.vault.is_current(&sealed))
    }

    /// Seals hashes that are stored as they are, those of the users after `after`, in one transaction. Returns the last of
    /// these users; `None` if there was none. Another server takes others meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn seal_stored(&self, store: &Store, after: Uuid) -> Result<Option<Uuid>, StoreError> {
        // Read first: that does not hold up writers.
        if !store.read(async |connection| connection.has_hashes_to_seal(after).await).await? {
            return Ok(None);
        }
        store
            .write(async |tx| {
                let mut hashes = tx.lock_hashes_to_seal(after, BATCH).await?;
                for (user, stored, new) in &mut hashes {
                    *new = self.seal(*user, stored).map_err(|error| StoreError::Failed(error.to_string()))?;
                }
                tx.replace_hashes(&hashes).await?;
                Ok(hashes.last().map(|(user, ..)| *user))
            })
            .await
    }
}

/// Returns the bytes of a sealed hash: `None` if it is not sealed, `Some(None)` if it is not base64.
fn sealed(stored: &str) -> Option<Option<Vec<u8>>> {
    stored.strip_prefix(SEALED_HASH).map(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::server::model::KdfParams;

    const HASH: &str = "$hallpass$1$2b$04$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq";

    fn hashes() -> PasswordHashes {
        let made =
            Vault::create_with(&"a river".into(), KdfParams::for_tests(), DateTime::UNIX_EPOCH).unwrap();
        PasswordHashes::new(Arc::new(made.0))
    }

    #[test]
    fn a_sealed_hash_is_that_of_its_own_user_and_shows_nothing() {
        let (hashes, ada, bob) = (hashes(), Uuid::from_u128(1), Uuid::from_u128(2));
        let stored = hashes.seal(ada, HASH).unwrap();
        assert!(stored.starts_with("$sealed$AQEAAAAB"), "{stored}");
        assert!(!stored.contains("2b") || !stored.contains(&HASH[20..28]), "{stored}");
        assert_eq!(*hashes.open(ada, &stored).unwrap(), HASH);
        let altered = Some(VaultError::Altered("the hash of a password"));
        assert_eq!(hashes.open(bob, &stored).err(), altered, "moved to another user");
        for damaged in ["$sealed$", "$sealed$?", "$sealed$AQEAAAAB", &stored[..stored.len() - 1]] {
            assert_eq!(hashes.open(ada, damaged).err(), altered, "{damaged}");
        }
        assert!(hashes.is_current(&stored) && !hashes.is_current(HASH));
    }

    #[test]
    fn a_hash_that_was_sealed_anew_is_the_same_and_a_plain_one_is_read_as_it_is() {
        let (hashes, ada) = (hashes(), Uuid::from_u128(1));
        assert_eq!(*hashes.open(ada, HASH).unwrap(), HASH);
        let (one, two) = (hashes.seal(ada, HASH).unwrap(), hashes.seal(ada, HASH).unwrap());
        assert_ne!(one, two);
        for (a, b, is_same) in [
            (Some(one.as_str()), Some(two.as_str()), true),
            (Some(&one), Some(HASH), true),
            (Some(&one), Some("another"), false),
            (Some(&one), Some("$sealed$damaged"), false),
            (Some(&one), None, false),
            (None, None, true),
        ] {
            assert_eq!(hashes.is_same(ada, a, b), is_same, "{a:?} {b:?}");
        }
    }
}
