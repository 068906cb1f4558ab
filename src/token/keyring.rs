//! The keys in use, found by `kid`, and the one that signs.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::KeyError;
use super::jwk::{Jwk, SymmetricKeys};
use super::jwk_set::{self, JwkSet};
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;

/// Verifying keys by `kid`, and at most one signing key. It is immutable: a rotation makes a new one.
///
/// # Example: the keys that another server publishes
/// ```
/// use hallpass::token::Keyring;
///
/// let keys = Keyring::from_jwks(r#"{"keys": [
///     {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty": "RSA", "kid": "skipped", "n": "…", "e": "AQAB"}
/// ]}"#)?;
/// assert!(keys.find(Some("a")).is_some());
/// assert!(keys.find(Some("skipped")).is_none());
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<VerifyingKey>,
    signer: Option<Arc<SigningKey>>,
}

impl Keyring {
    /// Makes a keyring that only verifies.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] if there is no key. [`KeyError::DuplicateKid`] and [`KeyError::SeveralWithoutKid`] if
    /// two keys have the same `kid` or none.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Keyring, VerifyingKey};
    ///
    /// let key = VerifyingKey::hs256(b"thirty-two bytes, or rather more of them")?.with_kid("mine");
    /// let keys = Keyring::new([key])?;
    /// assert!(keys.find(Some("mine")).is_some());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        let mut kids = HashSet::new();
        for key in &keys {
            if !kids.insert(key.kid()) {
                return Err(match key.kid() {
                    Some(kid) => KeyError::DuplicateKid(kid.to_owned()),
                    None => KeyError::SeveralWithoutKid,
                });
            }
        }
        Ok(Self { keys, signer: None })
    }

    /// Reads the usable keys of a JWK set of at most 256 KiB and 100 keys. The set may come from an untrusted source.
    ///
    /// Keys of another type, curve, algorithm or purpose are skipped.
    ///
    /// # Errors
    /// [`KeyError::SetInvalid`] and [`KeyError::SetTooLarge`] for the set. [`KeyError::SymmetricKey`],
    /// [`KeyError::PrivateKey`] and [`KeyError::SmallOrder`] if any of its keys is a secret or unsafe. Otherwise as
    /// [`new`](Self::new).
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Keyring;
    ///
    /// let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// assert_eq!(keys.keys().len(), 1);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7517 §5, RFC 8725 §3.4.
    pub fn from_jwks(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(jwk_set::read(json.as_ref(), SymmetricKeys::Refused)?)
    }

    /// Like [`from_jwks`](Self::from_jwks), but also accepts symmetric keys for HS256. Use it only for a file of
    /// your own, never for JSON that was fetched.
    ///
    /// # Errors
    /// As [`from_jwks`](Self::from_jwks), and [`KeyError::SecretTooShort`].
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Keyring;
    ///
    /// let file = r#"{"keys": [{"kty": "oct", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#;
    /// assert!(Keyring::from_secret_jwks(file).is_ok());
    /// assert!(Keyring::from_jwks(file).is_err(), "refused in a fetched set");
    /// ```
    pub fn from_secret_jwks(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(jwk_set::read(json.as_ref(), SymmetricKeys::Accepted)?)
    }

    /// Sets the signing key. Its tokens are verified too. A verifying key with the same `kid` is replaced.
    ///
    /// # Example
    /// ```
    /// # use std::sync::Arc;
    /// # use hallpass::token::{Algorithm, KeyMaterial, Keyring, SigningKey};
    /// # let old = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
    /// let keys = old.with_signer(Arc::new(key));
    /// assert_eq!((keys.keys().len(), keys.signer().is_some()), (2, true));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    #[must_use]
    pub fn with_signer(mut self, key: Arc<SigningKey>) -> Self {
        self.keys.retain(|known| known.kid() != Some(key.kid()));
        self.keys.push(key.verifying_key().clone());
        self.signer = Some(key);
        self
    }

    /// Returns the key that signs new tokens, if there is one.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::Keyring;
    /// let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// assert!(keys.signer().is_none(), "a published set only verifies");
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn signer(&self) -> Option<&Arc<SigningKey>> {
        self.signer.as_ref()
    }

    /// Returns the verifying keys.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::{Algorithm, Keyring};
    /// let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// assert_eq!(keys.keys()[0].algorithm(), Algorithm::EdDsa);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// Returns the key for a token with this `kid` in its header.
    ///
    /// A token without a `kid` gets the key without a `kid`, or the only key. If the only key has no `kid`, it is
    /// used for every token: a secret or a PEM text does not say which `kid` the issuer uses.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::Keyring;
    /// let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// assert!(keys.find(None).is_some(), "the only key");
    /// assert!(keys.find(Some("another")).is_none());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn find(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        let exact = self.keys.iter().find(|key| key.kid() == kid);
        exact.or(match self.keys.as_slice() {
            [only] if kid.is_none() || only.kid().is_none() => Some(only),
            _ => None,
        })
    }

    /// Returns the public keys as a JWK set. Symmetric keys are left out, so the set is empty with HS256.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::Keyring;
    /// let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// let published = serde_json::to_string(&keys.jwks()).unwrap();
    /// assert!(Keyring::from_jwks(published).is_ok());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7517 §5.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().filter_map(Jwk::publish).collect() }
    }
}

impl From<VerifyingKey> for Keyring {
    fn from(key: VerifyingKey) -> Self {
        Self { keys: vec![key], signer: None }
    }
}

impl From<Arc<SigningKey>> for Keyring {
    fn from(key: Arc<SigningKey>) -> Self {
        Self { keys: Vec::new(), signer: None }.with_signer(key)
    }
}

#[cfg(test)]
mod tests;
