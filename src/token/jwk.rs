//! JWKs (RFC 7517 §4): one key as JSON, read and published.
//!
//! The JSON may come from anyone. It is not fetched here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::public_key::{PublicKey, PublicMembers};
use super::verifying_key::VerifyingKey;

/// A public signature key in the form in which it is published (RFC 7517 §4). It has no member for a secret.
///
/// # Example
/// ```
/// # let key = hallpass::token::KeyMaterial::generate(hallpass::token::Algorithm::EdDsa)
/// #     .and_then(|material| hallpass::token::SigningKey::new(hallpass::token::Algorithm::EdDsa, &material))?;
/// use std::sync::Arc;
/// use hallpass::token::{Jwk, Keyring};
///
/// let jwk: &Jwk = &Keyring::from(Arc::new(key)).jwks().keys[0];
/// assert_eq!(serde_json::to_value(jwk).unwrap()["alg"], "EdDSA");
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    #[serde(flatten)]
    members: PublicMembers,
    r#use: &'static str,
    alg: Algorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

impl Jwk {
    /// Returns the JWK of a public key, and `None` for an HS256 key.
    pub(super) fn publish(key: &VerifyingKey) -> Option<Self> {
        let members = PublicMembers::from(key.public()?);
        Some(Self { members, r#use: "sig", alg: key.algorithm(), kid: key.kid().map(str::to_owned) })
    }
}

/// The treatment of symmetric keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SymmetricKeys {
    /// For JSON that may be public.
    Refused,
    /// For a file of the operator.
    Accepted,
}

impl VerifyingKey {
    /// Reads a public key from a JWK: `kty` OKP with Ed25519, or `kty` EC with P-256.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] and [`KeyError::SymmetricKey`] for a key that is not public,
    /// [`KeyError::SmallOrder`] for an unsafe Ed25519 key, [`KeyError::JwkInvalid`] for anything else that cannot
    /// verify: another curve, a `use` other than `sig`, an `alg` that does not fit the key.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, VerifyingKey};
    ///
    /// let jwk = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// assert_eq!(VerifyingKey::from_jwk(jwk)?.algorithm(), Algorithm::EdDsa);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7517 §4, RFC 7518 §6.2, RFC 8037 §2, RFC 9864 §2.2 (`alg` may be `EdDSA` or `Ed25519`).
    pub fn from_jwk(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        read_one(json.as_ref(), SymmetricKeys::Refused)
    }

    /// Like [`from_jwk`](Self::from_jwk), but also accepts a symmetric key for HS256. Use it only for a file of your
    /// own, never for JSON that was fetched.
    ///
    /// # Errors
    /// As [`from_jwk`](Self::from_jwk), and [`KeyError::SecretTooShort`].
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, VerifyingKey};
    ///
    /// let jwk = r#"{"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    /// assert_eq!(VerifyingKey::from_secret_jwk(jwk)?.algorithm(), Algorithm::Hs256);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 7518 §6.4.
    pub fn from_secret_jwk(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        read_one(json.as_ref(), SymmetricKeys::Accepted)
    }
}

fn read_one(json: &[u8], symmetric: SymmetricKeys) -> Result<VerifyingKey, KeyError> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(jwk)) => read(&jwk, symmetric)?.ok_or(KeyError::JwkInvalid),
        _ => Err(KeyError::JwkInvalid),
    }
}

/// Returns `None` for a key of an unsupported type or for another purpose.
pub(super) fn read(
    jwk: &Map<String, Value>,
    symmetric: SymmetricKeys,
) -> Result<Option<VerifyingKey>, KeyError> {
    // These two come first: a secret that may be public is refused whatever else the entry says.
    if jwk.contains_key("d") {
        return Err(KeyError::PrivateKey);
    }
    let kty = string(jwk, "kty");
    if kty == Some("oct") && symmetric == SymmetricKeys::Refused {
        return Err(KeyError::SymmetricKey);
    }
    if !is_for_verifying(jwk) {
        return Ok(None);
    }
    let key = match (kty, string(jwk, "crv")) {
        (Some("OKP"), Some("Ed25519")) => ed25519(jwk)?.map(VerifyingKey::from),
        (Some("EC"), Some("P-256")) => p256(jwk).map(VerifyingKey::from),
        // The minimum length holds for HS256 only. A key for HS384 is skipped, not refused as too short.
        (Some("oct"), _) if is_for(jwk, Algorithm::Hs256) => {
            bytes(jwk, "k").map(|secret| VerifyingKey::hs256(&secret)).transpose()?
        }
        _ => None,
    };
    let Some(key) = key.filter(|key| is_for(jwk, key.algorithm())) else {
        return Ok(None);
    };
    Ok(match jwk.get("kid") {
        None => Some(key),
        Some(Value::String(kid)) => Some(key.with_kid(kid)),
        Some(_) => None,
    })
}

/// Returns false for a key that is only for encryption or only for signing (RFC 7517 §4.2, §4.3).
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    jwk.get("use").is_none_or(|purpose| purpose == "sig")
        && jwk.get("key_ops").is_none_or(|ops| {
            ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify"))
        })
}

/// Returns false if the key names another algorithm (RFC 7517 §4.4).
fn is_for(jwk: &Map<String, Value>, algorithm: Algorithm) -> bool {
    jwk.get("alg").is_none_or(|alg| alg.as_str().and_then(Algorithm::from_alg) == Some(algorithm))
}

fn ed25519(jwk: &Map<String, Value>) -> Result<Option<PublicKey>, KeyError> {
    bytes(jwk, "x").map_or(Ok(None), |x| PublicKey::ed25519(&x))
}

/// Each coordinate must have 32 bytes (RFC 7518 §6.2.1.2). The total alone would also fit 31 and 33.
fn p256(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    (x.len() == 32).then(|| PublicKey::p256(&[&[4], x.as_slice(), y.as_slice()].concat()))?
}

fn string<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(string(jwk, member)?).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::error::TokenError;
    use super::super::fixtures::*;
    use super::super::signing_key::SigningKey;
    use super::*;

    #[test]
    fn a_jwk_that_is_not_a_supported_public_signature_key_is_refused() {
        let off_curve = with(p256_jwk(), "y", PX);
        // The same 64 bytes, cut one byte too early.
        let point = [PX, PY].map(|half| URL_SAFE_NO_PAD.decode(half).unwrap()).concat();
        let (x, y) = point.split_at(31);
        let shifted = with(with(p256_jwk(), "x", URL_SAFE_NO_PAD.encode(x)), "y", URL_SAFE_NO_PAD.encode(y));
        let invalid = Err(KeyError::JwkInvalid);
        let cases = [
            ("Ed25519", ed25519_jwk(), Ok(Algorithm::EdDsa)),
            ("P-256", p256_jwk(), Ok(Algorithm::Es256)),
            ("for signatures", with(ed25519_jwk(), "use", "sig"), Ok(Algorithm::EdDsa)),
            ("of its algorithm", with(p256_jwk(), "alg", "ES256"), Ok(Algorithm::Es256)),
            (
                "of its algorithm's name of RFC 9864",
                with(ed25519_jwk(), "alg", "Ed25519"),
                Ok(Algorithm::EdDsa),
            ),
            ("of that name on another curve", with(p256_jwk(), "alg", "Ed25519"), invalid.clone()),
            ("to verify", with(p256_jwk(), "key_ops", json!(["verify"])), Ok(Algorithm::Es256)),
            ("without a name", without(p256_jwk(), "kid"), Ok(Algorithm::Es256)),
            ("symmetric", oct_jwk(), Err(KeyError::SymmetricKey)),
            ("symmetric and for encryption", with(oct_jwk(), "use", "enc"), Err(KeyError::SymmetricKey)),
            ("private", with(ed25519_jwk(), "d", X), Err(KeyError::PrivateKey)),
            ("private in another family", json!({"kty": "RSA", "d": "AQAB"}), Err(KeyError::PrivateKey)),
            ("for encryption", with(ed25519_jwk(), "use", "enc"), invalid.clone()),
            ("for a use that is no text", with(ed25519_jwk(), "use", 1), invalid.clone()),
            ("of another algorithm", with(ed25519_jwk(), "alg", "ES256"), invalid.clone()),
            ("of another family's algorithm", with(ed25519_jwk(), "alg", "HS256"), invalid.clone()),
            ("of no algorithm", with(ed25519_jwk(), "alg", Value::Null), invalid.clone()),
            ("to sign alone", with(p256_jwk(), "key_ops", json!(["sign"])), invalid.clone()),
            ("with operations that are no list", with(p256_jwk(), "key_ops", "verify"), invalid.clone()),
            ("another curve", with(ed25519_jwk(), "crv", "Ed448"), invalid.clone()),
            ("a curve of the other kind", with(ed25519_jwk(), "crv", "P-256"), invalid.clone()),
            ("an unknown kind", with(ed25519_jwk(), "kty", "AKP"), invalid.clone()),
            ("no kind", without(ed25519_jwk(), "kty"), invalid.clone()),
            ("no point", without(ed25519_jwk(), "x"), invalid.clone()),
            ("half a point", without(p256_jwk(), "y"), invalid.clone()),
            ("a point too short", with(ed25519_jwk(), "x", &X[..42]), invalid.clone()),
            ("the identity", with(ed25519_jwk(), "x", IDENTITY), Err(KeyError::SmallOrder)),
            ("a point off the curve", off_curve, invalid.clone()),
            ("coordinates of wrong lengths that add up", shifted, invalid.clone()),
            ("padded base64", with(ed25519_jwk(), "x", format!("{X}=")), invalid.clone()),
            ("a name that is no text", with(ed25519_jwk(), "kid", 7), invalid.clone()),
            ("a set", json!({"keys": [ed25519_jwk()]}), invalid.clone()),
            ("a list", json!([ed25519_jwk()]), invalid.clone()),
        ];
        for (name, jwk, expected) in cases {
            let read = VerifyingKey::from_jwk(jwk.to_string()).map(|key| key.algorithm());
            assert_eq!(read, expected, "{name}");
        }
        assert_eq!(VerifyingKey::from_jwk("{").map(|key| key.algorithm()), invalid, "not JSON");
    }

    #[test]
    fn the_signatures_of_the_rfcs_verify_and_those_of_another_message_or_key_do_not() {
        let vectors = [
            ("RFC 8037 A.4", RFC_8037_PUBLIC, RFC_8037_TOKEN),
            ("RFC 7515 A.1", RFC_7515_SECRET, RFC_7515_HS256_TOKEN),
            ("RFC 7515 A.3", RFC_7515_PUBLIC, RFC_7515_ES256_TOKEN),
        ];
        for (name, jwk, token) in vectors {
            let key = VerifyingKey::from_secret_jwk(jwk).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            assert_eq!(key.verify_signature(message.as_bytes(), signature), Ok(()), "{name}");
            let other = format!("{message}A");
            assert_eq!(
                key.verify_signature(other.as_bytes(), signature),
                Err(TokenError::SignatureWrong),
                "{name}"
            );
            let stranger = SigningKey::random(key.algorithm());
            assert_eq!(
                stranger.verifying_key().verify_signature(message.as_bytes(), signature),
                Err(TokenError::SignatureWrong),
                "{name}"
            );
        }
    }

    #[test]
    fn the_thumbprint_of_a_p_256_key_equals_that_of_another_implementation() {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_str(RFC_7515_PUBLIC).unwrap();
        let theirs = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(VerifyingKey::from_jwk(RFC_7515_PUBLIC).unwrap().thumbprint(), Some(theirs));
    }
}
