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
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use chrono::{DateTime, Duration, SubsecRound, Utc};
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use super::error::VaultError;
use super::passphrase::{FLOOR, SALT_BYTES, stretch};
pub use super::seal::Purpose;
use super::seal::{self, HEADER_BYTES, Header, KEY_BYTES, Place, length_prefixed};
use crate::server::model::{EarlierKey, KdfParams, SealedInstallation, SealedKey};

/// Part of the associated data of the installation and of signing keys before there was a [`seal`] format, and of what is
/// derived.
const FORMAT: &[u8] = b"hallpass vault 1";

/// An installation key with its generation, on its way to another process.
pub(crate) type Part = (u32, Zeroizing<[u8; KEY_BYTES]>);

/// An unsealed vault. It has the installation keys, in memory only.
pub struct Vault {
    id: Uuid,
    /// In the order of their generations, at least one. The last one seals.
    keys: ArcSwap<Vec<Arc<InstallationKey>>>,
    /// The time at which the newest one replaced the one before, in milliseconds since the epoch; 0 for the first.
    rekeyed_at: AtomicI64,
}

/// An installation key.
pub(super) struct InstallationKey {
    /// 1 for the first; each later one has the next number.
    pub(super) generation: u32,
    pub(super) key: Zeroizing<[u8; KEY_BYTES]>,
}

/// How long after the installation key was replaced some server may not have the new one.
const SETTLE: Duration = Duration::minutes(1);

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
        let (id, key) = (Uuid::new_v4(), InstallationKey::random(FIRST)?);
        let sealed = key.seal_under(passphrase, id, kdf, now.trunc_subsecs(3))?;
        Ok((Self::with(id, key), sealed))
    }

    /// Unseals the installation with its passphrase.
    ///
    /// # Errors
    /// [`VaultError::WrongPassphrase`], [`VaultError::Parameters`], [`VaultError::Failed`].
    pub fn unseal(installation: &SealedInstallation, passphrase: &SecretString) -> Result<Self, VaultError> {
        let stretched = stretch(passphrase, installation.kdf, &installation.salt)?;
        let (associated_data, ciphertext) = match Header::of(&installation.sealed_key) {
            Some(header) if header.generation == installation.generation => {
                (installation.associated_data(header), &installation.sealed_key[HEADER_BYTES..])
            }
            // The first installations were sealed before there was a header.
            _ if installation.generation == FIRST => {
                (installation.headerless_associated_data(), &installation.sealed_key[..])
            }
            _ => return Err(VaultError::WrongPassphrase),
        };
        let unsealed =
            seal::decrypt(&*stretched, ciphertext, &associated_data).ok_or(VaultError::WrongPassphrase)?;
        let key = InstallationKey::from_bytes(installation.generation, &unsealed)
            .ok_or(VaultError::WrongPassphrase)?;
        let vault = Self::with(installation.id, key);
        vault.set_rekeyed_at(installation.rekeyed_at);
        Ok(vault)
    }

    /// Adds the earlier installation keys, which are sealed under the newest.
    ///
    /// # Errors
    /// [`VaultError::Altered`].
    pub fn add_earlier(&self, earlier: &[EarlierKey]) -> Result<(), VaultError> {
        for EarlierKey { generation, sealed } in earlier {
            let key = self.open(Purpose::InstallationKey, &[&generation.to_be_bytes()], sealed)?;
            let key = InstallationKey::from_bytes(*generation, &key)
                .ok_or(VaultError::Altered(Purpose::InstallationKey.name()))?;
            self.adopt(key);
        }
        Ok(())
    }

    /// Adds an installation key, unless it is there.
    pub(super) fn adopt(&self, key: InstallationKey) {
        let key = Arc::new(key);
        self.keys.rcu(|keys| {
            let mut keys = Vec::clone(keys);
            if let Err(place) = keys.binary_search_by_key(&key.generation, |known| known.generation) {
                keys.insert(place, Arc::clone(&key));
            }
            keys
        });
    }

    /// Makes the next installation key, and seals it under `passphrase` and every earlier one under it. It is not used
    /// before [`adopt`](Self::adopt).
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub(super) fn next(
        &self,
        installation: &SealedInstallation,
        passphrase: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(InstallationKey, SealedInstallation, Vec<EarlierKey>), VaultError> {
        let generation = installation.generation + 1;
        let next = InstallationKey::random(generation)?;
        let mut sealed = next.seal_under(passphrase, self.id, installation.kdf, installation.created_at)?;
        sealed.rekeyed_at = Some(now.trunc_subsecs(3));
        let seal_earlier = |key: &Arc<InstallationKey>| {
            let about: &[&[u8]] = &[&key.generation.to_be_bytes()];
            let place = Place { installation: self.id, purpose: Purpose::InstallationKey, about };
            let sealed = place.seal(&*next.key, generation, &*key.key).map_err(VaultError::Failed)?;
            Ok(EarlierKey { generation: key.generation, sealed })
        };
        let earlier = self.keys.load().iter().map(seal_earlier).collect::<Result<_, _>>()?;
        Ok((next, sealed, earlier))
    }

    fn with(id: Uuid, key: InstallationKey) -> Self {
        Self { id, keys: ArcSwap::from_pointee(vec![Arc::new(key)]), rekeyed_at: AtomicI64::new(0) }
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
        let sealed = self.newest().seal_under(passphrase, self.id, FLOOR, installation.created_at)?;
        Ok(SealedInstallation { rekeyed_at: installation.rekeyed_at, ..sealed })
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

    /// Replaces the installation key as a rekey does.
    #[cfg(test)]
    pub(crate) fn rekeyed(
        &self,
        installation: &SealedInstallation,
        passphrase: &SecretString,
        now: DateTime<Utc>,
    ) {
        let (next, sealed, _) = self.next(installation, passphrase, now).unwrap();
        self.adopt(next);
        self.set_rekeyed_at(sealed.rekeyed_at);
    }

    /// Returns the generation of the newest installation key.
    pub(crate) fn generation(&self) -> u32 {
        self.newest().generation
    }

    /// Sets the time at which the newest installation key replaced the one before.
    pub(in crate::server) fn set_rekeyed_at(&self, at: Option<DateTime<Utc>>) {
        self.rekeyed_at.store(at.map_or(0, |at| at.timestamp_millis()), Ordering::Relaxed);
    }

    /// Returns the newest generation that every running server has at `now`: for a minute after the installation key was
    /// replaced, that is the one before.
    pub(crate) fn settled_generation(&self, now: DateTime<Utc>) -> u32 {
        let keys = self.keys.load();
        let is_settled =
            now.timestamp_millis() - self.rekeyed_at.load(Ordering::Relaxed) > SETTLE.num_milliseconds();
        let place = keys.len().saturating_sub(if is_settled { 1 } else { 2 });
        keys.get(place).map_or(FIRST, |key| key.generation)
    }

    /// Derives the key for one purpose from each installation key, in the order of their generations.
    pub(crate) fn derive_each(&self, label: &str) -> Vec<(u32, Zeroizing<[u8; KEY_BYTES]>)> {
        self.keys.load().iter().map(|key| (key.generation, key.derive(self.id, label))).collect()
    }

    /// Tells whether the vault has the installation key under which `sealed` was sealed.
    pub(super) fn has_key_of(&self, sealed: &[u8]) -> bool {
        Header::of(sealed).is_none_or(|header| self.of(header.generation).is_some())
    }

    pub(super) fn newest(&self) -> Arc<InstallationKey> {
        let keys = self.keys.load();
        Arc::clone(keys.last().expect("a vault has at least one key"))
    }

    pub(super) fn of(&self, generation: u32) -> Option<Arc<InstallationKey>> {
        self.keys.load().iter().find(|key| key.generation == generation).map(Arc::clone)
    }

    /// Derives the key for one purpose, which `label` names (RFC 5869 §3.2). It reveals neither the installation key
    /// nor the key of another purpose. It stays the same when the installation key is replaced.
    pub(crate) fn derive(&self, label: &'static str) -> Zeroizing<[u8; KEY_BYTES]> {
        let keys = self.keys.load();
        keys.first().expect("a vault has at least one key").derive(self.id, label)
    }

    /// Returns the vault of what [`parts`](Self::parts) has returned in another process; `None` without a key.
    pub(crate) fn from_parts(id: Uuid, keys: Vec<Part>) -> Option<Self> {
        let keys: Vec<_> =
            keys.into_iter().map(|(generation, key)| Arc::new(InstallationKey { generation, key })).collect();
        (!keys.is_empty()).then(|| Self {
            id,
            keys: ArcSwap::from_pointee(keys),
            rekeyed_at: AtomicI64::new(0),
        })
    }

    /// Returns the installation's id and its keys, each with its generation, for the process that takes over.
    pub(crate) fn parts(&self) -> (Uuid, Vec<Part>) {
        let keys = self.keys.load();
        (self.id, keys.iter().map(|key| (key.generation, key.key.clone())).collect())
    }

    /// Returns the same vault again.
    pub(crate) fn share(&self) -> Self {
        let rekeyed_at = AtomicI64::new(self.rekeyed_at.load(Ordering::Relaxed));
        Self { id: self.id, keys: ArcSwap::new(self.keys.load_full()), rekeyed_at }
    }

    /// Returns the id of the installation.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl InstallationKey {
    fn random(generation: u32) -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random(&mut *key)?;
        Ok(Self { generation, key })
    }

    pub(super) fn from_bytes(generation: u32, bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self { generation, key })
    }

    fn seal_under(
        &self,
        passphrase: &SecretString,
        id: Uuid,
        kdf: KdfParams,
        created_at: DateTime<Utc>,
    ) -> Result<SealedInstallation, VaultError> {
        let mut salt = vec![0; SALT_BYTES];
        random(&mut salt)?;
        let mut sealed = SealedInstallation {
            id,
            kdf,
            salt,
            sealed_key: Vec::new(),
            created_at,
            generation: self.generation,
            rekeyed_at: None,
        };
        let (header, stretched) = (Header::new(self.generation), stretch(passphrase, kdf, &sealed.salt)?);
        let ciphertext = seal::encrypt(&*stretched, &*self.key, &sealed.associated_data(header))
            .map_err(VaultError::Failed)?;
        sealed.sealed_key = [&header.bytes()[..], &ciphertext].concat();
        Ok(sealed)
    }

    pub(super) fn derive(&self, installation: Uuid, label: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        seal::derive(&*self.key, FORMAT, &[FORMAT, installation.as_bytes(), label.as_bytes()])
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SealedInstallation {
    fn associated_data(&self, header: Header) -> Vec<u8> {
        let headerless = self.headerless_associated_data();
        length_prefixed(&[b"hallpass installation", &header.bytes(), &headerless])
    }

    fn headerless_associated_data(&self) -> Vec<u8> {
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

fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    rand::fill(bytes).map_err(|_| VaultError::Failed("the system provides no random numbers"))
}

#[cfg(test)]
mod tests;
