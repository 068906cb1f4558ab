//! Why a key cannot be used, and why a token was refused.

use super::algorithm::Algorithm;
use super::limits::{MAX_SET_BYTES, MAX_SET_KEYS, MAX_TOKEN_BYTES, MIN_SECRET_BYTES};

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
    /// An Ed25519 public key is one of the points whose order divides 8, for which anybody can make signatures.
    #[error(
        "the Ed25519 key is a point of small order, under which anybody can sign; the public key of a generated \
         key pair is accepted"
    )]
    SmallOrder,
    /// A symmetric key where anybody may have read it.
    #[error("a symmetric key (kty oct) is refused here; public keys are accepted, kty OKP or EC")]
    SymmetricKey,
    /// The text is not a JWK set (RFC 7517 §5).
    #[error("not a JWK set; a JSON object with an array of keys in \"keys\" is accepted")]
    SetInvalid,
    /// The JWK set is too large.
    #[error(
        "the key set is too large; at most {} bytes and {} keys are accepted",
        MAX_SET_BYTES,
        MAX_SET_KEYS
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

/// Why a token was refused: the first check that failed.
///
/// # Example
/// ```
/// # use hallpass::token::{Expected, Keyring, TokenError, verify};
/// # let ring = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
/// let verdict = verify("no.such.token", &ring, &Expected::new("i", "a"), chrono::Utc::now());
/// assert_eq!(verdict.unwrap_err(), TokenError::Malformed);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`], and refused unread.
    #[error("the token is too long; at most {MAX_TOKEN_BYTES} bytes are accepted")]
    TooLong,
    /// Not a JWS in compact form with a JSON object as header and payload (RFC 7515 §7.1, RFC 7519 §7.2).
    #[error("the token is malformed; three base64url parts with a JSON object in the first two are accepted")]
    Malformed,
    /// A header parameter, named here, that is never obeyed or has the wrong type (RFC 8725 §3.10).
    #[error("the token's header has an unacceptable {0:?}; alg, typ and kid are accepted")]
    HeaderRefused(&'static str),
    /// No algorithm of ours, or not the key's own (RFC 8725 §3.1, §3.2).
    #[error("the token's algorithm is refused; that of our key is accepted")]
    AlgorithmRefused,
    /// No key of ours has that name (RFC 7515 §4.1.4).
    #[error("the token names a key that is not known; the kid of one of our keys is accepted")]
    KeyUnknown,
    /// A token of another kind (RFC 8725 §3.11).
    #[error("the token is of another type; the expected typ is accepted")]
    TypeRefused,
    /// Changed, or signed by somebody else.
    #[error("the token's signature is wrong; that of our key is accepted")]
    SignatureWrong,
    /// A claim, named here, that must be there and is not.
    #[error("the token has no {0}, which is required")]
    ClaimMissing(&'static str),
    /// A claim, named here, that has the wrong type or is out of range.
    #[error("the token's {0} is unacceptable; the type and range of RFC 7519 are accepted")]
    ClaimInvalid(&'static str),
    /// Issued by somebody else (RFC 8725 §3.8).
    #[error("the token is from another issuer; the expected iss is accepted")]
    IssuerWrong,
    /// Issued for somebody else (RFC 8725 §3.9).
    #[error("the token is for another audience; the expected aud is accepted")]
    AudienceWrong,
    /// From the future, by more than clocks differ (RFC 7519 §4.1.5).
    #[error("the token is not yet valid; it is accepted from its nbf and iat on")]
    NotYetValid,
    /// Fully genuine, but its time has come (RFC 7519 §4.1.4).
    #[error("the token has expired; it was accepted until its exp")]
    Expired,
}

impl TokenError {
    /// Whether the token was in order but for its age; what a client cures by refreshing.
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
