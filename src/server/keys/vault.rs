//! The vault seals and unseals keys. To seal is to encrypt with authentication; texts for operators say encrypt and
//! decrypt. Private keys are never stored in plaintext.
//!
//! The passphrase is stretched (Argon2id, RFC 9106) into a key that seals a random installation key (AES-256-GCM,
//! SP 800-38D). A key derived from that (HKDF, RFC 5869) seals each signing key. The columns beside a seal are its
//! associated data, so a row that was altered or moved does not unseal. No SQL, no prompts.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use chrono::{DateTime, SubsecRound, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};
use zxcvbn::feedback::Feedback;

use crate::server::model::{KdfParams, SealedInstallation, SealedKey};

/// The lowest cost of stretching: 64 MiB, three passes, four lanes.
const FLOOR: KdfParams = KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 };

/// The highest cost that a row may ask for. Without a limit, an attacker who can write to the database could make a
/// start take forever.
const CEILING: KdfParams = KdfParams { memory_kib: 1_048_576, iterations: 16, lanes: 16 };

const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Part of all associated data, so that a later format cannot be mistaken for this one.
const FORMAT: &[u8] = b"hallpass vault 1";

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

/// An error of sealing or unsealing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The installation does not unseal. A wrong passphrase and an altered row look the same.
    #[error(
        "wrong passphrase for this database; type the one that was chosen at its first start, or restore the database if it was altered"
    )]
    WrongPassphrase,
    /// The row has a cost of stretching that is not accepted.
    #[error(
        "the database's installation row was altered: its key derivation is outside what is accepted; restore it from a backup"
    )]
    Parameters,
    /// A signing key does not unseal.
    #[error(
        "the signing key {0} cannot be decrypted, so its row was altered; restore the database from a backup"
    )]
    KeyAltered(String),
    /// The cryptographic library failed, or there is not enough memory for stretching.
    #[error("the key derivation or the encryption of a key failed: {0}")]
    Failed(&'static str),
}

/// The reason why a new passphrase is too weak, with advice. It never holds the passphrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this passphrase is too weak: {0}; five or six unrelated words make a good one")]
pub(crate) struct WeakPassphrase(String);

/// An unsealed vault. It has the installation key, in memory only.
pub struct Vault {
    id: Uuid,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl Vault {
    /// Makes a new installation at `now`: a random id, salt and key, sealed under `passphrase`.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub(crate) fn create(
        passphrase: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(Self, SealedInstallation), VaultError> {
        Self::create_with(passphrase, FLOOR, now)
    }

    /// Makes a new installation with another cost of stretching.
    ///
    /// # Errors
    /// [`VaultError::Parameters`] for a cost that is not accepted, [`VaultError::Failed`].
    pub fn create_with(
        passphrase: &SecretString,
        kdf: KdfParams,
        now: DateTime<Utc>,
    ) -> Result<(Self, SealedInstallation), VaultError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random(&mut *key)?;
        let vault = Self { id: Uuid::new_v4(), key };
        let sealed = vault.seal_under(passphrase, kdf, now.trunc_subsecs(3))?;
        Ok((vault, sealed))
    }

    /// Unseals the installation with its passphrase.
    ///
    /// # Errors
    /// [`VaultError::WrongPassphrase`], [`VaultError::Parameters`], [`VaultError::Failed`].
    pub fn unseal(installation: &SealedInstallation, passphrase: &SecretString) -> Result<Self, VaultError> {
        let stretched = stretch(passphrase, installation.kdf, &installation.salt)?;
        let unsealed = unseal(&*stretched, &installation.sealed_key, &installation.associated_data())
            .ok_or(VaultError::WrongPassphrase)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if unsealed.len() != KEY_BYTES {
            return Err(VaultError::WrongPassphrase);
        }
        key.copy_from_slice(&unsealed);
        Ok(Self { id: installation.id, key })
    }

    /// Seals the same installation under another passphrase, with a new salt.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub(crate) fn reseal(
        &self,
        installation: &SealedInstallation,
        passphrase: &SecretString,
    ) -> Result<SealedInstallation, VaultError> {
        self.seal_under(passphrase, FLOOR, installation.created_at)
    }

    fn seal_under(
        &self,
        passphrase: &SecretString,
        kdf: KdfParams,
        created_at: DateTime<Utc>,
    ) -> Result<SealedInstallation, VaultError> {
        let mut salt = vec![0; SALT_BYTES];
        random(&mut salt)?;
        let mut sealed = SealedInstallation { id: self.id, kdf, salt, sealed_key: Vec::new(), created_at };
        let stretched = stretch(passphrase, kdf, &sealed.salt)?;
        sealed.sealed_key = seal(&*stretched, &*self.key, &sealed.associated_data())?;
        Ok(sealed)
    }

    /// Seals a signing key together with the columns that are stored beside it.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub fn seal_key(
        &self,
        kid: &str,
        algorithm: &str,
        purpose: &str,
        created_at: DateTime<Utc>,
        signs_from: DateTime<Utc>,
        secret: &[u8],
    ) -> Result<SealedKey, VaultError> {
        let mut key = SealedKey {
            kid: kid.to_owned(),
            algorithm: algorithm.to_owned(),
            purpose: purpose.to_owned(),
            created_at: created_at.trunc_subsecs(3),
            signs_from: signs_from.trunc_subsecs(3),
            sealed: Vec::new(),
        };
        key.sealed = seal(&*self.derive("signing-key seal"), secret, &key.associated_data(self.id))?;
        Ok(key)
    }

    /// Unseals a signing key.
    ///
    /// # Errors
    /// [`VaultError::KeyAltered`] when its row was altered.
    pub fn unseal_key(&self, key: &SealedKey) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        unseal(&*self.derive("signing-key seal"), &key.sealed, &key.associated_data(self.id))
            .ok_or_else(|| VaultError::KeyAltered(key.kid.clone()))
    }

    /// Derives the key for one purpose, which `label` names (RFC 5869 §3.2). It reveals neither the installation key
    /// nor the key of another purpose.
    pub(crate) fn derive(&self, label: &'static str) -> Zeroizing<[u8; KEY_BYTES]> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                KEY_BYTES
            }
        }
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        let info = [FORMAT, self.id.as_bytes(), label.as_bytes()];
        Salt::new(HKDF_SHA256, FORMAT)
            .extract(&*self.key)
            .expand(&info, Length)
            .and_then(|okm| okm.fill(&mut *derived))
            .expect("HKDF yields 32 bytes for any label");
        derived
    }

    /// Returns the id of the installation.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SealedInstallation {
    fn associated_data(&self) -> Vec<u8> {
        let kdf = [self.kdf.memory_kib, self.kdf.iterations, self.kdf.lanes].map(u32::to_be_bytes).concat();
        let created_at = self.created_at.timestamp_millis().to_be_bytes();
        length_prefixed(&[FORMAT, b"installation", self.id.as_bytes(), &kdf, &self.salt, &created_at])
    }
}

impl SealedKey {
    fn associated_data(&self, installation: Uuid) -> Vec<u8> {
        length_prefixed(&[
            FORMAT,
            b"signing key",
            installation.as_bytes(),
            self.kid.as_bytes(),
            self.algorithm.as_bytes(),
            self.purpose.as_bytes(),
            &self.created_at.timestamp_millis().to_be_bytes(),
            &self.signs_from.timestamp_millis().to_be_bytes(),
        ])
    }
}

/// Joins the fields, each after its length, so that no two lists of fields give the same bytes.
fn length_prefixed(fields: &[&[u8]]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|field| (field.len() as u64).to_be_bytes().into_iter().chain(field.iter().copied()))
        .collect()
}

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

fn stretch(
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

/// Returns the nonce, then the ciphertext with its tag.
fn seal(key: &[u8], plain: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, VaultError> {
    let key =
        RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Failed("a key is unusable"))?;
    // Allocated with room for the tag, because growing would leave a copy of the plaintext behind.
    let mut sealed = Vec::with_capacity(plain.len() + 16);
    sealed.extend_from_slice(plain);
    match key.seal_in_place_append_tag(Aad::from(associated_data), &mut sealed) {
        Ok(nonce) => Ok([&nonce.as_ref()[..], &sealed].concat()),
        Err(_) => {
            sealed.zeroize();
            Err(VaultError::Failed("sealing failed"))
        }
    }
}

fn unseal(key: &[u8], sealed: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = Zeroizing::new(rest.to_vec());
    let length = key.open_in_place(nonce, Aad::from(associated_data), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    rand::fill(bytes).map_err(|_| VaultError::Failed("the system provides no random numbers"))
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use proptest::prelude::*;

    use super::*;

    const PASSPHRASE: &str = "a river of seventeen blue lanterns";
    const SECRET: &[u8] = b"the private key, forty-eight bytes of PKCS#8 DER";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000, 123_456_789).unwrap()
    }

    fn new_installation() -> (Vault, SealedInstallation, SealedKey) {
        let (vault, installation) =
            Vault::create_with(&PASSPHRASE.into(), KdfParams::for_tests(), now()).unwrap();
        let key = vault.seal_key("kid-1", "EdDSA", "access-token", now(), now(), SECRET).unwrap();
        (vault, installation, key)
    }

    #[test]
    fn the_passphrase_unseals_the_vault_and_the_vault_its_keys() {
        let (vault, installation, key) = new_installation();
        let unsealed = Vault::unseal(&installation, &PASSPHRASE.into()).unwrap();
        assert_eq!(unsealed.id(), vault.id());
        assert_eq!(&**unsealed.unseal_key(&key).unwrap(), SECRET);
    }

    #[test]
    fn the_default_cost_of_stretching_is_that_of_the_contract() {
        let (_, installation) = Vault::create(&PASSPHRASE.into(), now()).unwrap();
        assert_eq!(installation.kdf, KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 });
        assert!(Vault::unseal(&installation, &PASSPHRASE.into()).is_ok());
    }

    #[test]
    fn any_other_passphrase_is_wrong() {
        let (_, installation, _) = new_installation();
        for wrong in ["", "A river of seventeen blue lanterns", "a river of seventeen blue lanterns "] {
            assert_eq!(
                Vault::unseal(&installation, &wrong.into()).err(),
                Some(VaultError::WrongPassphrase),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn an_altered_row_does_not_unseal() {
        let (vault, installation, key) = new_installation();
        let (_, other, other_key) = new_installation();
        let second = Duration::seconds(1);
        let altered = [
            ("the kid", SealedKey { kid: "kid-2".into(), ..key.clone() }),
            ("the algorithm", SealedKey { algorithm: "HS256".into(), ..key.clone() }),
            ("the purpose", SealedKey { purpose: "refresh".into(), ..key.clone() }),
            (
                "a character moved between fields",
                SealedKey { kid: "kid-1E".into(), algorithm: "dDSA".into(), ..key.clone() },
            ),
            ("the time it was made", SealedKey { created_at: key.created_at + second, ..key.clone() }),
            ("the time it signs from", SealedKey { signs_from: key.signs_from - second, ..key.clone() }),
            (
                "the seal of another installation",
                SealedKey { sealed: other_key.sealed.clone(), ..key.clone() },
            ),
            ("a seal cut short", SealedKey { sealed: key.sealed[..5].to_vec(), ..key.clone() }),
            ("no seal", SealedKey { sealed: vec![], ..key.clone() }),
        ];
        for (what, key) in altered {
            assert_eq!(vault.unseal_key(&key).err(), Some(VaultError::KeyAltered(key.kid.clone())), "{what}");
        }
        let wrong = Some(VaultError::WrongPassphrase);
        let altered = [
            ("the id", SealedInstallation { id: other.id, ..installation.clone() }),
            ("the salt", SealedInstallation { salt: other.salt.clone(), ..installation.clone() }),
            ("the key", SealedInstallation { sealed_key: other.sealed_key.clone(), ..installation.clone() }),
            ("the time", SealedInstallation { created_at: now() + second, ..installation.clone() }),
        ];
        for (what, installation) in altered {
            assert_eq!(Vault::unseal(&installation, &PASSPHRASE.into()).err(), wrong, "{what}");
        }
    }

    #[test]
    fn a_stretching_that_is_too_cheap_or_too_costly_is_refused() {
        let (_, installation, _) = new_installation();
        for (memory_kib, iterations, lanes) in [
            (8, 1, 1),
            (65_535, 3, 4),
            (65_536, 2, 4),
            (65_536, 3, 3),
            (u32::MAX, 3, 4),
            (65_536, u32::MAX, 4),
            (65_536, 3, u32::MAX),
        ] {
            let altered = SealedInstallation {
                kdf: KdfParams { memory_kib, iterations, lanes },
                ..installation.clone()
            };
            assert_eq!(Vault::unseal(&altered, &PASSPHRASE.into()).err(), Some(VaultError::Parameters));
        }
    }

    #[test]
    fn another_passphrase_unseals_the_same_vault_after_resealing() {
        let (vault, installation, key) = new_installation();
        let resealed = vault.reseal(&installation, &"nine copper kettles in the rain".into()).unwrap();
        assert_eq!((resealed.id, resealed.created_at), (installation.id, installation.created_at));
        assert_ne!(resealed.salt, installation.salt);
        let unsealed = Vault::unseal(&resealed, &"nine copper kettles in the rain".into()).unwrap();
        assert_eq!(&**unsealed.unseal_key(&key).unwrap(), SECRET);
        assert!(Vault::unseal(&resealed, &PASSPHRASE.into()).is_err());
    }

    #[test]
    fn each_purpose_and_each_installation_has_a_key_of_its_own() {
        let ((one, ..), (other, ..)) = (new_installation(), new_installation());
        assert_eq!(one.derive("a"), one.derive("a"));
        assert_ne!(one.derive("a"), one.derive("b"));
        assert_ne!(one.derive("a"), other.derive("a"));
    }

    #[test]
    fn rows_and_debug_show_no_secret() {
        let (vault, installation, key) = new_installation();
        let key_bytes = vault.key.to_vec();
        for secret in [SECRET, PASSPHRASE.as_bytes(), &key_bytes] {
            for row in [&installation.sealed_key, &installation.salt, &key.sealed] {
                assert!(!row.windows(8).any(|window| secret.windows(8).any(|piece| piece == window)));
            }
        }
        assert_eq!(format!("{vault:?}"), format!("Vault {{ id: {}, .. }}", vault.id()));
    }

    #[test]
    fn a_weak_passphrase_is_refused_with_a_reason_and_never_repeated() {
        for weak in
            ["", "secret", "password123", "hallpass", "qwertyuiop", "correct", "19991231", "aaaaaaaaaaaaaaaa"]
        {
            let reason = judge_new_passphrase(&weak.into()).unwrap_err().to_string();
            assert!(reason.starts_with("this passphrase is too weak: "), "{weak}: {reason}");
            assert!(weak.is_empty() || !reason.contains(weak), "{weak}: {reason}");
        }
        let long = "lantern ".repeat(128) + PASSPHRASE;
        for strong in [PASSPHRASE, "nine copper kettles in the rain", &long[long.len() - 1000..]] {
            assert_eq!(judge_new_passphrase(&strong.into()), Ok(()), "{strong}");
        }
    }

    proptest! {
        #[test]
        fn no_altered_byte_unseals(position in 0_usize..76, bit in 0_u8..8) {
            let (vault, mut installation, mut key) = new_installation();
            let length = key.sealed.len();
            key.sealed[position % length] ^= 1 << bit;
            prop_assert!(vault.unseal_key(&key).is_err());
            let length = installation.sealed_key.len();
            installation.sealed_key[position % length] ^= 1 << bit;
            prop_assert!(Vault::unseal(&installation, &PASSPHRASE.into()).is_err());
        }

        #[test]
        fn two_lists_of_fields_look_alike_only_when_they_are_the_same(
            one in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..4), 0..4),
            other in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..4), 0..4),
        ) {
            let joined = |list: &Vec<Vec<u8>>| length_prefixed(&list.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(joined(&one) == joined(&other), one == other);
        }
    }
}
