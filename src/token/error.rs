//! The errors for keys that cannot be used and for tokens that are refused.

use super::algorithm::Algorithm;
use super::limits::{MAX_SET_BYTES, MAX_SET_KEYS, MAX_TOKEN_BYTES, MIN_SECRET_BYTES};

/// The reason why a key or a set of keys cannot be used. Contains no key material.
///
/// # Example
/// ```
/// use hallpass::token::{KeyError, VerifyingKey};
///
/// assert!(matches!(VerifyingKey::hs256(b"short"), Err(KeyError::SecretTooShort(5))));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A shared secret is too short for HS256 (RFC 7518 §3.2). The number is its length in bytes.
    #[error(
        "a shared secret of {0} bytes is too short, at least {MIN_SECRET_BYTES} are needed; \
         `openssl rand -base64 32` makes a good one"
    )]
    SecretTooShort(usize),
    /// The bytes are not a private key for the algorithm.
    #[error("the bytes are not a private key for {0}; PKCS#8 DER is accepted")]
    MaterialInvalid(Algorithm),
    /// The key is private, but verification needs only the public key.
    #[error("this is a private key; give the public key that belongs to it")]
    PrivateKey,
    /// The text is not exactly one public key in PEM.
    #[error(
        "not a public key in PEM; one `-----BEGIN PUBLIC KEY-----` block with an Ed25519 or an uncompressed \
         P-256 key is accepted"
    )]
    PemInvalid,
    /// The text is not a JWK that can verify signatures.
    #[error(
        "not a JWK that can verify tokens; a public signature key is accepted, kty OKP with crv Ed25519 or kty EC \
         with crv P-256"
    )]
    JwkInvalid,
    /// The Ed25519 public key is one of the points whose order divides 8. Anyone can forge signatures for such a key.
    #[error(
        "the Ed25519 key is a point of small order, for which anyone can forge signatures; the public key of a \
         generated key pair is accepted"
    )]
    SmallOrder,
    /// The key is symmetric, and its text may have been public.
    #[error("a symmetric key (kty oct) is refused here; public keys are accepted, kty OKP or EC")]
    SymmetricKey,
    /// The text is not a JWK set (RFC 7517 §5).
    #[error("not a JWK set; a JSON object with an array of keys in \"keys\" is accepted")]
    SetInvalid,
    /// The JWK set has too many bytes or too many keys.
    #[error("the key set is too large; at most {MAX_SET_BYTES} bytes and {MAX_SET_KEYS} keys are accepted")]
    SetTooLarge,
    /// There is no key, or no usable one.
    #[error("there is no usable key; at least one is needed for EdDSA, ES256 or HS256")]
    NoKey,
    /// Two keys have the same `kid`.
    #[error("two keys have the same kid {0:?}; each needs its own")]
    DuplicateKid(String),
    /// More than one key has no `kid`.
    #[error("several keys have no kid; at most one may go without")]
    SeveralWithoutKid,
    /// An HS256 key has no `kid`. It cannot get a thumbprint as its `kid`, so one must be given.
    #[error("a key for HS256 has no public thumbprint; give it a kid that is not empty")]
    KidMissing,
    /// The `kid` of a public key is not its thumbprint (RFC 7638), so the `kid` belongs to another key.
    #[error("the kid {0:?} belongs to another key; the RFC 7638 thumbprint is accepted")]
    KidMismatch(String),
    /// The operating system's random number generator or the cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cryptography,
    /// The claims cannot be serialized as JSON.
    #[error("the claims cannot be written as JSON")]
    ClaimsUnwritable,
}

/// The reason why a token was refused: the first check that failed.
///
/// # Example
/// ```
/// # use hallpass::token::{Expected, Keyring, TokenError, verify};
/// # let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
/// let result = verify("no.such.token", &keys, &Expected::new("i", "a"), chrono::Utc::now());
/// assert_eq!(result.unwrap_err(), TokenError::Malformed);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is longer than [`MAX_TOKEN_BYTES`]. It was not parsed.
    #[error("the token is too long; at most {MAX_TOKEN_BYTES} bytes are accepted")]
    TooLong,
    /// The token is not a JWS in compact form with a JSON object as header and payload (RFC 7515 §7.1, RFC 7519 §7.2).
    #[error("the token is malformed; three base64url parts with a JSON object in the first two are accepted")]
    Malformed,
    /// A header parameter, named here, is forbidden or has the wrong type (RFC 8725 §3.10).
    #[error("the token's header has an unacceptable {0:?}; alg, typ and kid are accepted")]
    HeaderRefused(&'static str),
    /// The `alg` is unknown or not the algorithm of the key (RFC 8725 §3.1, §3.2).
    #[error("the token's algorithm is refused; the algorithm of the key is accepted")]
    AlgorithmRefused,
    /// There is no key with the token's `kid` (RFC 7515 §4.1.4).
    #[error("the token's key is unknown; the kid of a configured key is accepted")]
    KeyUnknown,
    /// The `typ` is not the expected one (RFC 8725 §3.11).
    #[error("the token is of another type; the expected typ is accepted")]
    TypeRefused,
    /// The token was changed, or signed with another key.
    #[error("the token's signature is wrong; a signature by the key that it names is accepted")]
    SignatureWrong,
    /// A required claim, named here, is missing.
    #[error("the token has no {0}, which is required")]
    ClaimMissing(&'static str),
    /// A claim, named here, has the wrong type or is out of range.
    #[error("the token's {0} is unacceptable; the type and range of RFC 7519 are accepted")]
    ClaimInvalid(&'static str),
    /// The `iss` is not the expected one (RFC 8725 §3.8).
    #[error("the token is from another issuer; the expected iss is accepted")]
    IssuerWrong,
    /// The `aud` does not contain the expected audience (RFC 8725 §3.9).
    #[error("the token is for another audience; the expected aud is accepted")]
    AudienceWrong,
    /// The `nbf` or `iat` is further in the future than clocks may differ (RFC 7519 §4.1.5).
    #[error("the token is not yet valid; it is accepted from its nbf and iat on")]
    NotYetValid,
    /// The token passed every other check, but its `exp` has come (RFC 7519 §4.1.4).
    #[error("the token has expired; it was accepted until its exp")]
    Expired,
}

impl TokenError {
    /// Returns true if the token passed every check except its expiry. A client gets a new one by refreshing.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::TokenError;
    ///
    /// assert!(TokenError::Expired.is_expired());
    /// assert!(!TokenError::SignatureWrong.is_expired());
    /// ```
    pub fn is_expired(self) -> bool {
        self == Self::Expired
    }
}
