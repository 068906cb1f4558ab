//! Keys that sign tokens.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde::Serialize;

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::header;
use super::key_material::KeyMaterial;
use super::verifying_key::VerifyingKey;

/// A key that signs tokens, together with the key that verifies them.
///
/// # Example
/// ```
/// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
///
/// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
/// assert_eq!(Some(key.kid()), key.verifying_key().kid());
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    verifying: VerifyingKey,
    /// The header of every access token that this key signs, in base64url.
    header: String,
}

impl SigningKey {
    /// Makes an EdDSA or ES256 key. Its `kid` is its thumbprint.
    ///
    /// # Errors
    /// [`KeyError::MaterialInvalid`] if the bytes are not a key for `algorithm`. [`KeyError::KidMissing`] for
    /// HS256, which has no thumbprint: use [`fresh_kid`](Self::fresh_kid) and [`with_kid`](Self::with_kid).
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
    /// assert_eq!(key.verifying_key().thumbprint().as_deref(), Some(key.kid()));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7638 §3 (thumbprint, with SHA-256).
    pub fn new(algorithm: Algorithm, material: &KeyMaterial) -> Result<Self, KeyError> {
        let verifying = VerifyingKey::from_material(algorithm, material)?;
        let kid = verifying.thumbprint().ok_or(KeyError::KidMissing)?;
        Self::assemble(kid, material, verifying)
    }

    /// Makes a key with a known `kid`, for example one that was stored with it.
    ///
    /// # Errors
    /// [`KeyError::MaterialInvalid`] and [`KeyError::SecretTooShort`] for the bytes. [`KeyError::KidMismatch`] if
    /// `kid` is not the thumbprint of an EdDSA or ES256 key. [`KeyError::KidMissing`] if `kid` is empty for HS256.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::with_kid("2026", Algorithm::Hs256, &KeyMaterial::generate(Algorithm::Hs256)?)?;
    /// assert_eq!(key.kid(), "2026");
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn with_kid(
        kid: impl Into<String>,
        algorithm: Algorithm,
        material: &KeyMaterial,
    ) -> Result<Self, KeyError> {
        let kid = kid.into();
        let verifying = VerifyingKey::from_material(algorithm, material)?;
        match verifying.thumbprint() {
            Some(thumbprint) if thumbprint != kid => Err(KeyError::KidMismatch(kid)),
            None if kid.is_empty() => Err(KeyError::KidMissing),
            _ => Self::assemble(kid, material, verifying),
        }
    }

    /// Returns a `kid` for a new key: the thumbprint for EdDSA and ES256, a random one for HS256.
    ///
    /// # Errors
    /// [`KeyError::MaterialInvalid`] and [`KeyError::SecretTooShort`] for the bytes. [`KeyError::Cryptography`] if
    /// the operating system provides no random numbers.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let material = KeyMaterial::generate(Algorithm::EdDsa)?;
    /// let kid = SigningKey::fresh_kid(Algorithm::EdDsa, &material)?;
    /// let key = SigningKey::with_kid(&kid, Algorithm::EdDsa, &material)?;
    /// assert_eq!(key.verifying_key().thumbprint(), Some(kid));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn fresh_kid(algorithm: Algorithm, material: &KeyMaterial) -> Result<String, KeyError> {
        if let Some(thumbprint) = VerifyingKey::from_material(algorithm, material)?.thumbprint() {
            return Ok(thumbprint);
        }
        let mut kid = [0; 16];
        rand::fill(&mut kid).map_err(|_| KeyError::Cryptography)?;
        Ok(URL_SAFE_NO_PAD.encode(kid))
    }

    fn assemble(kid: String, material: &KeyMaterial, verifying: VerifyingKey) -> Result<Self, KeyError> {
        let algorithm = verifying.algorithm();
        let encoding = match algorithm {
            Algorithm::EdDsa => EncodingKey::from_ed_der(material.as_bytes()),
            Algorithm::Es256 => EncodingKey::from_ec_der(material.as_bytes()),
            Algorithm::Hs256 => EncodingKey::from_secret(material.as_bytes()),
        };
        let header = header::for_access_tokens(algorithm, &kid)?;
        let verifying = verifying.with_kid(kid.clone());
        Ok(Self { kid, algorithm, encoding, verifying, header })
    }

    /// Returns the `kid` that the key's tokens have in their header.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::with_kid("2026", Algorithm::Hs256, &KeyMaterial::generate(Algorithm::Hs256)?)?;
    /// assert_eq!(key.kid(), "2026");
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the algorithm that this key signs with.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::Es256, &KeyMaterial::generate(Algorithm::Es256)?)?;
    /// assert_eq!(key.algorithm(), Algorithm::Es256);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the key that verifies what this one signs. For HS256 both are the same secret.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, Keyring, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
    /// let keys = Keyring::new([key.verifying_key().clone()])?;
    /// assert!(keys.find(Some(key.kid())).is_some());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Signs arbitrary claims, with the `alg`, `typ` and `kid` of an access token in the header.
    ///
    /// The claims are not checked. [`Issuer::issue`](super::Issuer::issue) makes complete access tokens.
    ///
    /// # Errors
    /// [`KeyError::ClaimsUnwritable`] if `claims` cannot be written as JSON, [`KeyError::Cryptography`] if signing
    /// fails.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
    /// let token = key.sign(&serde_json::json!({"sub": "ada"}))?;
    /// assert_eq!(token.split('.').count(), 3);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7515 §5.1, §7.1 (compact serialization).
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let payload = serde_json::to_string(claims).map_err(|_| KeyError::ClaimsUnwritable)?;
        self.sign_payload(&payload)
    }

    /// Signs a payload that is JSON text already.
    pub(super) fn sign_payload(&self, payload: &str) -> Result<String, KeyError> {
        self.sign_parts(&self.header, &URL_SAFE_NO_PAD.encode(payload))
    }

    /// Signs an encoded header and payload unchanged. Tests use it to sign invalid ones.
    pub(crate) fn sign_parts(&self, header: &str, payload: &str) -> Result<String, KeyError> {
        let message = format!("{header}.{payload}");
        let algorithm = self.algorithm.to_jsonwebtoken();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, algorithm)
            .map_err(|_| KeyError::Cryptography)?;
        Ok(format!("{message}.{signature}"))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl SigningKey {
    /// Generates a key.
    pub(super) fn random(algorithm: Algorithm) -> std::sync::Arc<Self> {
        let material = KeyMaterial::generate(algorithm).unwrap();
        let kid = Self::fresh_kid(algorithm, &material).unwrap();
        std::sync::Arc::new(Self::with_kid(kid, algorithm, &material).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::super::fixtures::{RFC_8037_PRIVATE, RFC_8037_TOKEN};
    use super::*;

    fn material(base64: &str) -> KeyMaterial {
        KeyMaterial::from_bytes(STANDARD.decode(base64).unwrap())
    }

    #[test]
    fn the_private_key_of_rfc_8037_makes_the_signature_of_rfc_8037() {
        let key = SigningKey::new(Algorithm::EdDsa, &material(RFC_8037_PRIVATE)).unwrap();
        let mut parts = RFC_8037_TOKEN.split('.');
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(key.sign_parts(header, payload).unwrap(), RFC_8037_TOKEN);
    }

    #[test]
    fn the_kid_is_the_thumbprint_given_in_rfc_8037() {
        let key = SigningKey::new(Algorithm::EdDsa, &material(RFC_8037_PRIVATE)).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.verifying_key().kid(), Some(key.kid()));
    }

    #[test]
    fn stored_key_material_makes_the_same_key_again() {
        for algorithm in Algorithm::ALL {
            let material = KeyMaterial::generate(algorithm).unwrap();
            let kid = SigningKey::fresh_kid(algorithm, &material).unwrap();
            let key = SigningKey::with_kid(&*kid, algorithm, &material).unwrap();
            let token = key.sign(&serde_json::json!({"sub": "ada"})).unwrap();

            let stored = KeyMaterial::from_bytes(material.as_bytes().to_vec());
            let again = SigningKey::with_kid(&*kid, algorithm, &stored).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            assert_eq!(
                again.verifying_key().verify_signature(message.as_bytes(), signature),
                Ok(()),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn key_material_for_another_algorithm_or_for_none_is_refused() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let others = Algorithm::ALL.into_iter().filter(|other| *other != algorithm);
            let mut wrong: Vec<_> = others.map(|other| KeyMaterial::generate(other).unwrap()).collect();
            wrong.push(KeyMaterial::from_bytes(Vec::new()));
            let good = KeyMaterial::generate(algorithm).unwrap();
            wrong.push(KeyMaterial::from_bytes(good.as_bytes()[..40].to_vec()));
            for material in wrong {
                let error = SigningKey::new(algorithm, &material).unwrap_err();
                assert_eq!(error, KeyError::MaterialInvalid(algorithm));
            }
        }
    }

    #[test]
    fn a_kid_that_does_not_belong_to_the_key_is_refused() {
        let ed = KeyMaterial::generate(Algorithm::EdDsa).unwrap();
        let swapped = SigningKey::with_kid("another key's", Algorithm::EdDsa, &ed).unwrap_err();
        assert_eq!(swapped, KeyError::KidMismatch("another key's".to_owned()));

        let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
        let unnamed = SigningKey::new(Algorithm::Hs256, &secret).unwrap_err();
        assert_eq!(unnamed, KeyError::KidMissing);
        assert_eq!(SigningKey::with_kid("", Algorithm::Hs256, &secret).unwrap_err(), KeyError::KidMissing);
        assert!(SigningKey::with_kid("any", Algorithm::Hs256, &secret).is_ok());
    }

    #[test]
    fn the_kid_of_a_symmetric_key_is_random_and_does_not_depend_on_the_key() {
        let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
        let [a, b] = [(); 2].map(|()| SigningKey::fresh_kid(Algorithm::Hs256, &secret).unwrap());
        assert_ne!(a, b);
        assert_eq!(VerifyingKey::hs256(secret.as_bytes()).unwrap().thumbprint(), None);
    }

    #[test]
    fn rfc_8725_3_5_a_short_secret_is_refused_with_the_command_that_makes_a_good_one() {
        assert!(VerifyingKey::hs256(&[7; 32]).is_ok());
        let error = VerifyingKey::hs256(&[7; 31]).unwrap_err();
        assert_eq!(error, KeyError::SecretTooShort(31));
        assert!(error.to_string().contains("`openssl rand -base64 32`"), "{error}");
        let material = KeyMaterial::from_bytes(vec![7; 31]);
        let error = SigningKey::with_kid("k", Algorithm::Hs256, &material).unwrap_err();
        assert_eq!(error, KeyError::SecretTooShort(31));
    }

    #[test]
    fn debug_prints_no_secret() {
        let material = KeyMaterial::from_bytes(vec![7; 32]);
        let key = SigningKey::with_kid("name", Algorithm::Hs256, &material).unwrap();
        assert_eq!(format!("{material:?}"), "KeyMaterial([redacted])");
        assert_eq!(format!("{key:?}"), r#"SigningKey { kid: "name", algorithm: Hs256, .. }"#);
        assert_eq!(
            format!("{:?}", key.verifying_key()),
            r#"VerifyingKey { kid: Some("name"), algorithm: Hs256, .. }"#
        );
    }
}
