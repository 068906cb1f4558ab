//! The signing keys of a running server, unsealed in memory.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use super::KeysError;
use super::rotation::current_signer;
use super::sealed::unseal;
use super::vault::Vault;
use crate::server::model::StoredKey;
use crate::token::{JwkSet, Keyring, SigningKey};

/// The signing keys of a running server. They can be replaced while requests are served.
pub(crate) struct SigningKeys {
    vault: Arc<Vault>,
    unsealed: ArcSwap<Unsealed>,
}

/// Unsealed keys.
struct Unsealed {
    /// The keys that verify; `None` if there are none.
    keyring: Option<Arc<Keyring>>,
    /// The keys that sign, each with the time from which it does, in that order.
    signers: Vec<(DateTime<Utc>, Arc<SigningKey>)>,
}

impl SigningKeys {
    /// Unseals `keys`, all or none.
    ///
    /// # Errors
    /// [`KeysError`] for the first key that does not unseal; [`KeysError::NoSigningKey`] if there is none.
    pub(crate) fn unseal(vault: Arc<Vault>, keys: &[StoredKey]) -> Result<Self, KeysError> {
        let unsealed = Unsealed::all(keys, &vault)?;
        if unsealed.keyring.is_none() {
            return Err(KeysError::NoSigningKey);
        }
        Ok(Self { vault, unsealed: ArcSwap::from_pointee(unsealed) })
    }

    /// Returns the vault that unseals the keys.
    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Replaces the keys by those that the database has now.
    pub(crate) fn replace(&self, keys: &[StoredKey]) {
        let unsealed = Unsealed::all(keys, &self.vault).unwrap_or_else(|error| {
            // Keeping all known keys would also keep a key that was revoked.
            log::error!("{error}; the known keys stay in use, except those that were removed");
            let is_there = |key: &SigningKey| keys.iter().any(|row| row.sealed.kid == key.kid());
            let known = &self.unsealed.load().signers;
            Unsealed::of(known.iter().filter(|(_, key)| is_there(key)).cloned().collect())
        });
        if unsealed.keyring.is_none() {
            log::error!("no key is left to sign or verify with; hallpass key list shows the keys");
        }
        self.unsealed.store(Arc::new(unsealed));
    }

    /// Returns the keys that verify; `None` if there are none.
    pub(crate) fn keyring(&self) -> Option<Arc<Keyring>> {
        self.unsealed.load().keyring.clone()
    }

    /// Returns the public keys (RFC 7517 §5); none under HS256.
    pub(crate) fn jwks(&self) -> JwkSet {
        self.unsealed.load().keyring.as_ref().map(|keyring| keyring.jwks()).unwrap_or_default()
    }

    /// Returns the number of keys that verify, and the time from which the newest key that signs at `now` does.
    pub(crate) fn count_and_newest(&self, now: DateTime<Utc>) -> (usize, Option<DateTime<Utc>>) {
        let unsealed = self.unsealed.load();
        let newest = unsealed.signers.iter().map(|(from, _)| *from).filter(|from| *from <= now).max();
        (unsealed.signers.len(), newest)
    }

    /// Returns the key that signs at `now`.
    pub(crate) fn signer(&self, now: DateTime<Utc>) -> Option<Arc<SigningKey>> {
        let unsealed = self.unsealed.load();
        let times: Vec<_> = unsealed.signers.iter().map(|(from, _)| *from).collect();
        unsealed.signers.get(current_signer(&times, now)).map(|(_, key)| Arc::clone(key))
    }
}

impl Unsealed {
    /// Unseals every key, all or none.
    fn all(keys: &[StoredKey], vault: &Vault) -> Result<Self, KeysError> {
        let unsealed = |key: &StoredKey| Ok((key.sealed.signs_from, Arc::new(unseal(&key.sealed, vault)?)));
        Ok(Self::of(keys.iter().map(unsealed).collect::<Result<_, KeysError>>()?))
    }

    fn of(signers: Vec<(DateTime<Utc>, Arc<SigningKey>)>) -> Self {
        // Each kid is unique in the database, so making a keyring fails only if there is no key.
        let keyring = Keyring::new(signers.iter().map(|(_, key)| key.verifying_key().clone())).ok();
        Self { keyring: keyring.map(Arc::new), signers }
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").field("vault", &self.vault).finish_non_exhaustive()
    }
}
