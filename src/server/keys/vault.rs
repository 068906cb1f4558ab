//! The vault seals and unseals keys. To seal is to encrypt with authentication; texts for operators say encrypt and
//! decrypt. Private keys are never stored in plaintext.
//!
//! The passphrase is stretched (Argon2id, RFC 9106) into a key that seals a random installation key (AES-256-GCM,
//! SP 800-38D). Keys derived from that (HKDF, RFC 5869), one for each purpose, seal everything else; see
//! `seal`. The columns beside a seal are its associated data, so a row that was altered or moved does not
//! unseal. No SQL, no prompts.
//!
//! The installation key may be replaced: each has a generation. The newest seals, and the earlier ones unseal what is not
//! sealed anew yet.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use chrono::{DateTime, SubsecRound, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;
use zxcvbn::feedback::Feedback;

pub use super::seal::Purpose;
use super::seal::{self, Header, KEY_BYTES, Place, length_prefixed};
use crate::server::model::{KdfParams, SealedInstallation, SealedKey};

/// The lowest cost of stretching: 64 MiB, three passes, four lanes.
const FLOOR: KdfParams = KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 };

/// The highest cost that a row may ask for. Without a limit, an attacker who can write to the database could make a
/// start take forever.
const CEILING: KdfParams = KdfParams { memory_kib: 1_048_576, iterations: 16, lanes: 16 };

const SALT_BYTES: usize = 16;

/// Part of the associated data of the installation and of signing keys before there was a [`seal`] format, and of what is
/// derived.
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
    /// What is sealed does not unseal.
    #[error("{0} cannot be decrypted, so its row was altered or moved; restore it from a backup")]
    Altered(&'static str),
    /// What is sealed needs an installation key that this process does not have.
    #[error(
        "the installation key was replaced, and this process has not received the new one (generation {0}); restart it"
    )]
    UnknownGeneration(u32),
    /// The cryptographic library failed, or there is not enough memory for stretching.
    #[error("the key derivation or the encryption of a key failed: {0}")]
    Failed(&'static str),
}

/// The reason why a new passphrase is too weak, with advice. It never holds the passphrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this passphrase is too weak: {0}; five or six unrelated words make a good one")]
pub(crate) struct WeakPassphrase(String);

/// An installation key with its generation, on its way to another process.
pub(crate) type Part = (u32, Zeroizing<[u8; KEY_BYTES]>);

/// An unsealed vault. It has the installation keys, in memory only.
pub struct Vault {
    id: Uuid,
    /// In the order of their generations, at least one. The last one seals.
    keys: ArcSwap<Vec<Arc<InstallationKey>>>,
}

/// An installation key.
struct InstallationKey {
    /// 1 for the first; each later one has the next number.
    generation: u32,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// The generation of the first installation key.
const FIRST: u32 = 1;

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
        let vault = Self::with(Uuid::new_v4(), InstallationKey { generation: FIRST, key });
        let sealed = vault.seal_under(passphrase, kdf, now.trunc_subsecs(3))?;
        Ok((vault, sealed))
    }

    /// Unseals the installation with its passphrase.
    ///
    /// # Errors
    /// [`VaultError::WrongPassphrase`], [`VaultError::Parameters`], [`VaultError::Failed`].
    pub fn unseal(installation: &SealedInstallation, passphrase: &SecretString) -> Result<Self, VaultError> {
        let stretched = stretch(passphrase, installation.kdf, &installation.salt)?;
        let unsealed = seal::decrypt(&*stretched, &installation.sealed_key, &installation.associated_data())
            .ok_or(VaultError::WrongPassphrase)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if unsealed.len() != KEY_BYTES {
            return Err(VaultError::WrongPassphrase);
        }
        key.copy_from_slice(&unsealed);
        Ok(Self::with(installation.id, InstallationKey { generation: FIRST, key }))
    }

    fn with(id: Uuid, key: InstallationKey) -> Self {
        Self { id, keys: ArcSwap::from_pointee(vec![Arc::new(key)]) }
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
        sealed.sealed_key = seal::encrypt(&*stretched, &*self.newest().key, &sealed.associated_data())
            .map_err(VaultError::Failed)?;
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
        key.sealed = self.seal(Purpose::SigningKey, &refs(&key.about()), secret)?;
        Ok(key)
    }

    /// Unseals a signing key.
    ///
    /// # Errors
    /// [`VaultError::KeyAltered`] when its row was altered; [`VaultError::UnknownGeneration`].
    pub fn unseal_key(&self, key: &SealedKey) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let unsealed = self.open(Purpose::SigningKey, &refs(&key.about()), &key.sealed);
        let Err(error) = unsealed else { return unsealed };
        // Sealed before there was a header. Its first bytes are a nonce and may look like one.
        let headerless = |first: Arc<InstallationKey>| {
            let derived = first.derive(self.id, "signing-key seal");
            seal::decrypt(&*derived, &key.sealed, &key.headerless_associated_data(self.id))
        };
        self.of(FIRST).and_then(headerless).ok_or(match error {
            VaultError::UnknownGeneration(_) => error,
            _ => VaultError::KeyAltered(key.kid.clone()),
        })
    }

    /// Seals `plain` for `purpose`. `about` are the values that are stored beside it and tell whose it is, at least the key
    /// of its row: with others it does not unseal.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub fn seal(&self, purpose: Purpose, about: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let newest = self.newest();
        let place = Place { installation: self.id, purpose, about };
        place.seal(&*newest.key, newest.generation, plain).map_err(VaultError::Failed)
    }

    /// Unseals what [`seal`](Self::seal) returned for the same `purpose` and `about`.
    ///
    /// # Errors
    /// [`VaultError::Altered`] if anything differs; [`VaultError::UnknownGeneration`] if it was sealed under an installation
    /// key that this vault does not have.
    pub fn open(
        &self,
        purpose: Purpose,
        about: &[&[u8]],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let altered = VaultError::Altered(purpose.name());
        let Some(Header { generation, .. }) = Header::of(sealed) else { return Err(altered) };
        let key = self.of(generation).ok_or(VaultError::UnknownGeneration(generation))?;
        Place { installation: self.id, purpose, about }.unseal(&*key.key, sealed).ok_or(altered)
    }

    /// Tells whether `sealed` is a seal under the newest installation key, by the newest suite.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&Header::new(self.newest().generation).bytes())
    }

    fn newest(&self) -> Arc<InstallationKey> {
        let keys = self.keys.load();
        Arc::clone(keys.last().expect("a vault has at least one key"))
    }

    fn of(&self, generation: u32) -> Option<Arc<InstallationKey>> {
        self.keys.load().iter().find(|key| key.generation == generation).map(Arc::clone)
    }

    /// Derives the key for one purpose, which `label` names (RFC 5869 §3.2). It reveals neither the installation key
    /// nor the key of another purpose.
    pub(crate) fn derive(&self, label: &'static str) -> Zeroizing<[u8; KEY_BYTES]> {
        self.newest().derive(self.id, label)
    }

    /// Returns the vault of what [`parts`](Self::parts) has returned in another process; `None` without a key.
    pub(crate) fn from_parts(id: Uuid, keys: Vec<Part>) -> Option<Self> {
        let keys: Vec<_> =
            keys.into_iter().map(|(generation, key)| Arc::new(InstallationKey { generation, key })).collect();
        (!keys.is_empty()).then(|| Self { id, keys: ArcSwap::from_pointee(keys) })
    }

    /// Returns the installation's id and its keys, each with its generation, for the process that takes over.
    pub(crate) fn parts(&self) -> (Uuid, Vec<Part>) {
        let keys = self.keys.load();
        (self.id, keys.iter().map(|key| (key.generation, key.key.clone())).collect())
    }

    /// Returns the same vault again.
    pub(crate) fn share(&self) -> Self {
        Self { id: self.id, keys: ArcSwap::new(self.keys.load_full()) }
    }

    /// Returns the id of the installation.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl InstallationKey {
    fn derive(&self, installation: Uuid, label: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        seal::derive(&*self.key, FORMAT, &[FORMAT, installation.as_bytes(), label.as_bytes()])
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
    /// The columns beside the seal.
    fn about(&self) -> [Vec<u8>; 5] {
        let time = |time: DateTime<Utc>| time.timestamp_millis().to_be_bytes().to_vec();
        [
            self.kid.clone().into_bytes(),
            self.algorithm.clone().into_bytes(),
            self.purpose.clone().into_bytes(),
            time(self.created_at),
            time(self.signs_from),
        ]
    }

    fn headerless_associated_data(&self, installation: Uuid) -> Vec<u8> {
        let about = self.about();
        let mut fields: Vec<&[u8]> = vec![FORMAT, b"signing key", installation.as_bytes()];
        fields.extend(refs(&about));
        length_prefixed(&fields)
    }
}

fn refs<const COUNT: usize>(fields: &[Vec<u8>; COUNT]) -> [&[u8]; COUNT] {
    fields.each_ref().map(Vec::as_slice)
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
    fn a_signing_key_that_was_sealed_before_there_was_a_header_unseals() {
        let (vault, _, key) = new_installation();
        let derived = vault.derive("signing-key seal");
        let data = key.headerless_associated_data(vault.id());
        let old = SealedKey { sealed: seal::encrypt(&*derived, SECRET, &data).unwrap(), ..key.clone() };
        assert_eq!(&**vault.unseal_key(&old).unwrap(), SECRET);
        assert!(!vault.is_current(&old.sealed) && vault.is_current(&key.sealed));
        let altered = SealedKey { kid: "kid-2".into(), ..old };
        assert_eq!(vault.unseal_key(&altered).err(), Some(VaultError::KeyAltered("kid-2".into())));
    }

    #[test]
    fn anything_can_be_sealed_for_its_row_and_purpose() {
        let (vault, ..) = new_installation();
        let sealed = vault.seal(Purpose::TotpSecret, &[b"ada"], SECRET).unwrap();
        assert_eq!(&**vault.open(Purpose::TotpSecret, &[b"ada"], &sealed).unwrap(), SECRET);
        let altered = Some(VaultError::Altered("the secret of an authenticator app"));
        assert_eq!(vault.open(Purpose::TotpSecret, &[b"bob"], &sealed).err(), altered);
        let later = [&sealed[..2], &9_u32.to_be_bytes(), &sealed[6..]].concat();
        let unknown = vault.open(Purpose::TotpSecret, &[b"ada"], &later).err();
        assert_eq!(unknown, Some(VaultError::UnknownGeneration(9)));
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
        let key_bytes = vault.newest().key.to_vec();
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
        fn no_altered_byte_unseals(position in 0_usize..82, bit in 0_u8..8) {
            let (vault, mut installation, mut key) = new_installation();
            let length = key.sealed.len();
            key.sealed[position % length] ^= 1 << bit;
            prop_assert!(vault.unseal_key(&key).is_err());
            let length = installation.sealed_key.len();
            installation.sealed_key[position % length] ^= 1 << bit;
            prop_assert!(Vault::unseal(&installation, &PASSPHRASE.into()).is_err());
        }
    }
}
