//! The ring of keys that tokens are checked with, and the one that signs.
//!
//! A ring never changes; whoever rotates keys makes another. It looks at a key's name, never at a token.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::KeyError;
use super::jwk::{Jwk, SymmetricKeys};
use super::jwk_set::{self, JwkSet};
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;

/// Verifying keys by their `kid`, and at most one signing key. Clones are cheap enough for a rotation.
///
/// # Example: the keys that another server publishes
/// ```
/// use hallpass::token::Keyring;
///
/// let ring = Keyring::from_jwks(r#"{"keys": [
///     {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty": "RSA", "kid": "skipped", "n": "…", "e": "AQAB"}
/// ]}"#)?;
/// assert!(ring.find(Some("a")).is_some());
/// assert!(ring.find(Some("skipped")).is_none());
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<VerifyingKey>,
    signer: Option<Arc<SigningKey>>,
}

impl Keyring {
    /// A ring of these keys, which only verifies.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] when there is none, [`KeyError::DuplicateKid`] and [`KeyError::SeveralWithoutKid`]
    /// when a token could not tell them apart.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Keyring, VerifyingKey};
    ///
    /// let key = VerifyingKey::hs256(b"thirty-two bytes, or rather more of them")?.with_kid("mine");
    /// let ring = Keyring::new([key])?;
    /// assert!(ring.find(Some("mine")).is_some());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        let mut seen = HashSet::new();
        for key in &keys {
            if !seen.insert(key.kid()) {
                return Err(match key.kid() {
                    Some(kid) => KeyError::DuplicateKid(kid.to_owned()),
                    None => KeyError::SeveralWithoutKid,
                });
            }
        }
        Ok(Self { keys, signer: None })
    }

    /// The usable keys of a JWK set, which a stranger may have written: at most 256 KiB and 100 keys.
    ///
    /// Keys of another kind, curve, algorithm or purpose are skipped.
    ///
    /// # Errors
    /// [`KeyError::SetInvalid`] and [`KeyError::SetTooLarge`] for the text; [`KeyError::SymmetricKey`] and
    /// [`KeyError::PrivateKey`] when the set gives away what must stay secret; otherwise as [`new`](Self::new).
    ///
    /// Source: RFC 7517 §5, RFC 8725 §3.4.
    pub fn from_jwks(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(jwk_set::read(json.as_ref(), SymmetricKeys::Refused)?)
    }

    /// As [`from_jwks`](Self::from_jwks), and symmetric keys for HS256 too: for a file of the operator's own,
    /// never for anything fetched.
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
    /// assert!(Keyring::from_jwks(file).is_err(), "in a fetched set it is refused");
    /// ```
    pub fn from_secret_jwks(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(jwk_set::read(json.as_ref(), SymmetricKeys::Accepted)?)
    }

    /// The same ring with `key` to sign, whose tokens it then also verifies.
    ///
    /// # Example
    /// ```
    /// # use std::sync::Arc;
    /// # use hallpass::token::{Algorithm, KeyMaterial, Keyring, SigningKey};
    /// # let old = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
    /// let ring = old.with_signer(Arc::new(key));
    /// assert_eq!((ring.keys().len(), ring.signer().is_some()), (2, true));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    #[must_use]
    pub fn with_signer(mut self, key: Arc<SigningKey>) -> Self {
        self.keys.retain(|known| known.kid() != Some(key.kid()));
        self.keys.push(key.verifying_key().clone());
        self.signer = Some(key);
        self
    }

    /// The key that signs new tokens, if this ring has one.
    pub fn signer(&self) -> Option<&Arc<SigningKey>> {
        self.signer.as_ref()
    }

    /// The verifying keys.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// The key for a token whose header names `kid`.
    ///
    /// A token that names none gets the key without a name, or the only key. A ring whose only key has no name
    /// serves every token: whoever gave a secret or a PEM text knows but one key and not what it is called.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::Keyring;
    /// let ring = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// assert!(ring.find(None).is_some(), "the only key");
    /// assert!(ring.find(Some("another")).is_none());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn find(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        let named = self.keys.iter().find(|key| key.kid() == kid);
        named.or(match self.keys.as_slice() {
            [only] if kid.is_none() || only.kid().is_none() => Some(only),
            _ => None,
        })
    }

    /// The public keys, to be published: empty under HS256, since a symmetric key is never shown.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::Keyring;
    /// let ring = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// let published = serde_json::to_string(&ring.jwks()).unwrap();
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
