//! Keys as JSON: a JWK read, a set published, a thumbprint.
//!
//! What is published is built from [`PublicKey`], which has no room for a secret. Fetching is not done here;
//! what is read may come from a stranger all the same.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::key::{Algorithm, KeyError, PublicKey, VerifyingKey};

/// More than any issuer's set has, certificates included.
pub(super) const MAX_SET_BYTES: usize = 256 * 1024;
/// Bounds the work that a hostile set can cause.
pub(crate) const MAX_SET_KEYS: usize = 100;

/// A set of public keys as it is published (RFC 7517 §5). Never holds a symmetric key.
///
/// # Example: what a server publishes
/// ```
/// # let key = hallpass::token::KeyMaterial::generate(hallpass::token::Algorithm::EdDsa)
/// #     .and_then(|material| hallpass::token::SigningKey::new(hallpass::token::Algorithm::EdDsa, &material))?;
/// use std::sync::Arc;
/// use hallpass::token::Keyring;
///
/// let set = Keyring::from(Arc::new(key)).jwks();
/// assert_eq!(serde_json::to_value(&set).unwrap()["keys"][0]["crv"], "Ed25519");
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct JwkSet {
    /// The keys, in the ring's order.
    pub keys: Vec<Jwk>,
}

/// A public signature key as it is published (RFC 7517 §4). Has no member for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    #[serde(flatten)]
    point: Point,
    r#use: &'static str,
    alg: Algorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

impl Jwk {
    /// The public half of `key`; `None` for HS256, which has none.
    pub(super) fn publish(key: &VerifyingKey) -> Option<Self> {
        let point = Point::from(key.public()?);
        Some(Self { point, r#use: "sig", alg: key.algorithm(), kid: key.kid().map(str::to_owned) })
    }
}

/// The required members alone, in lexicographic order: the text that a thumbprint is made from (RFC 7638 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Point {
    crv: &'static str,
    kty: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl From<&PublicKey> for Point {
    fn from(key: &PublicKey) -> Self {
        match key {
            PublicKey::Ed25519(x) => {
                Self { crv: "Ed25519", kty: "OKP", x: URL_SAFE_NO_PAD.encode(x), y: None }
            }
            PublicKey::P256(point) => Self {
                crv: "P-256",
                kty: "EC",
                x: URL_SAFE_NO_PAD.encode(&point[1..33]),
                y: Some(URL_SAFE_NO_PAD.encode(&point[33..])),
            },
        }
    }
}

/// The SHA-256 thumbprint in base64url (RFC 7638 §3, RFC 8037 §2).
pub(super) fn thumbprint(key: &PublicKey) -> String {
    let members = serde_json::to_vec(&Point::from(key)).expect("a struct of strings is JSON");
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &members))
}

/// What to do with a symmetric key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    /// Anybody may have read the text.
    Refused,
    /// The text is the operator's own file.
    Accepted,
}

/// The one key in `json`.
pub(super) fn read_one(json: &[u8], secrets: Secrets) -> Result<VerifyingKey, KeyError> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(jwk)) => read(&jwk, secrets)?.ok_or(KeyError::JwkInvalid),
        _ => Err(KeyError::JwkInvalid),
    }
}

/// The usable keys of the set in `json`. Those of another kind are skipped, as RFC 7517 §5 asks.
pub(super) fn read_set(json: &[u8], secrets: Secrets) -> Result<Vec<VerifyingKey>, KeyError> {
    if json.len() > MAX_SET_BYTES {
        return Err(KeyError::SetTooLarge);
    }
    let set: Value = serde_json::from_slice(json).map_err(|_| KeyError::SetInvalid)?;
    let entries = set.get("keys").and_then(Value::as_array).ok_or(KeyError::SetInvalid)?;
    if entries.len() > MAX_SET_KEYS {
        return Err(KeyError::SetTooLarge);
    }
    entries.iter().filter_map(Value::as_object).filter_map(|jwk| read(jwk, secrets).transpose()).collect()
}

/// `None` for a key of a kind or purpose that is not ours.
fn read(jwk: &Map<String, Value>, secrets: Secrets) -> Result<Option<VerifyingKey>, KeyError> {
    // Asked first: a secret in the wrong place is worth a refusal, whatever else the entry says.
    if jwk.contains_key("d") {
        return Err(KeyError::PrivateKey);
    }
    let kty = text(jwk, "kty");
    if kty == Some("oct") && secrets == Secrets::Refused {
        return Err(KeyError::SymmetricKey);
    }
    if !is_for_verifying(jwk) {
        return Ok(None);
    }
    let key = match (kty, text(jwk, "crv")) {
        (Some("OKP"), Some("Ed25519")) => ed25519(jwk).map(VerifyingKey::from_public),
        (Some("EC"), Some("P-256")) => p256(jwk).map(VerifyingKey::from_public),
        // A key for HS384 may be shorter or longer than ours; it is not ours to judge.
        (Some("oct"), _) if jwk.get("alg").is_none_or(|alg| alg == Algorithm::Hs256.name()) => {
            bytes(jwk, "k").map(|secret| VerifyingKey::hs256(&secret)).transpose()?
        }
        _ => None,
    };
    let Some(key) = key.filter(|key| jwk.get("alg").is_none_or(|alg| alg == key.algorithm().name())) else {
        return Ok(None);
    };
    Ok(match jwk.get("kid") {
        None => Some(key),
        Some(Value::String(kid)) => Some(key.with_kid(kid)),
        Some(_) => None,
    })
}

/// RFC 7517 §4.2, §4.3: what is for encryption or for signing alone is not for us.
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    jwk.get("use").is_none_or(|purpose| purpose == "sig")
        && jwk.get("key_ops").is_none_or(|ops| {
            ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify"))
        })
}

fn ed25519(jwk: &Map<String, Value>) -> Option<PublicKey> {
    PublicKey::ed25519(&bytes(jwk, "x")?)
}

/// Each coordinate has its full 32 bytes (RFC 7518 §6.2.1.2); two wrong lengths must not add up to a right one.
fn p256(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    (x.len() == 32).then(|| PublicKey::p256(&[&[4], x.as_slice(), y.as_slice()].concat()))?
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(text(jwk, member)?).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::key::{KeyMaterial, SigningKey};
    use super::super::keyring::Keyring;
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const PX: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const PY: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    const K: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a"})
    }

    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": PX, "y": PY, "kid": "b"})
    }

    fn oct() -> Value {
        json!({"kty": "oct", "k": K, "kid": "c"})
    }

    fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
        jwk[member] = value.into();
        jwk
    }

    fn without(mut jwk: Value, member: &str) -> Value {
        jwk.as_object_mut().unwrap().remove(member);
        jwk
    }

    fn fresh(algorithm: Algorithm) -> Arc<SigningKey> {
        let material = KeyMaterial::generate(algorithm).unwrap();
        let kid = SigningKey::fresh_kid(algorithm, &material).unwrap();
        Arc::new(SigningKey::with_kid(kid, algorithm, &material).unwrap())
    }

    #[test]
    fn a_published_key_has_the_members_of_the_rfcs_and_no_others() {
        let keys = [ed25519(), p256()].map(|jwk| VerifyingKey::from_jwk(jwk.to_string()).unwrap());
        let ring = Keyring::new(keys).unwrap();
        assert_eq!(
            serde_json::to_value(ring.jwks()).unwrap(),
            json!({"keys": [
                {"kty": "OKP", "crv": "Ed25519", "x": X, "use": "sig", "alg": "EdDSA", "kid": "a"},
                {"kty": "EC", "crv": "P-256", "x": PX, "y": PY, "use": "sig", "alg": "ES256", "kid": "b"},
            ]})
        );
    }

    #[test]
    fn no_symmetric_key_can_ever_be_published() {
        let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
        let signer = Arc::new(SigningKey::with_kid("signer", Algorithm::Hs256, &secret).unwrap());
        let symmetric = [
            VerifyingKey::hs256(secret.as_bytes()).unwrap(),
            VerifyingKey::from_secret_jwk(oct().to_string()).unwrap(),
            signer.verifying_key().clone(),
        ];
        for key in &symmetric {
            assert_eq!(Jwk::publish(key), None);
            assert_eq!(Jwk::publish(&key.clone().with_kid("renamed")), None);
        }
        let alone = Keyring::new(symmetric.clone()).unwrap().with_signer(signer.clone());
        assert_eq!(serde_json::to_string(&alone.jwks()).unwrap(), r#"{"keys":[]}"#);

        let public = fresh(Algorithm::EdDsa).verifying_key().clone();
        let mixed = Keyring::new(symmetric.into_iter().chain([public.clone()])).unwrap().with_signer(signer);
        let kids: Vec<_> = mixed.jwks().keys.into_iter().map(|jwk| jwk.kid).collect();
        assert_eq!(kids, [public.kid().map(str::to_owned)]);
    }

    #[test]
    fn what_is_published_verifies_what_was_signed() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let key = fresh(algorithm);
            let published = serde_json::to_vec(&Keyring::from(key.clone()).jwks()).unwrap();
            let ring = Keyring::from_jwks(published).unwrap();
            let token = key.sign(&json!({})).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let found = ring.find(Some(key.kid())).unwrap();
            assert_eq!(found.check(message.as_bytes(), signature), Ok(()), "{algorithm}");
            assert_eq!(found.algorithm(), algorithm);
        }
    }

    #[test]
    fn a_jwk_is_a_public_signature_key_of_ours_or_refused() {
        let off_curve = with(p256(), "y", PX);
        // The same 64 bytes, cut one byte too early.
        let point = [PX, PY].map(|half| URL_SAFE_NO_PAD.decode(half).unwrap()).concat();
        let (x, y) = point.split_at(31);
        let shifted = with(with(p256(), "x", URL_SAFE_NO_PAD.encode(x)), "y", URL_SAFE_NO_PAD.encode(y));
        let invalid = Err(KeyError::JwkInvalid);
        let cases = [
            ("Ed25519", ed25519(), Ok(Algorithm::EdDsa)),
            ("P-256", p256(), Ok(Algorithm::Es256)),
            ("for signatures", with(ed25519(), "use", "sig"), Ok(Algorithm::EdDsa)),
            ("of its algorithm", with(p256(), "alg", "ES256"), Ok(Algorithm::Es256)),
            ("to verify", with(p256(), "key_ops", json!(["verify"])), Ok(Algorithm::Es256)),
            ("without a name", without(p256(), "kid"), Ok(Algorithm::Es256)),
            ("symmetric", oct(), Err(KeyError::SymmetricKey)),
            ("symmetric and for encryption", with(oct(), "use", "enc"), Err(KeyError::SymmetricKey)),
            ("private", with(ed25519(), "d", X), Err(KeyError::PrivateKey)),
            ("private in another family", json!({"kty": "RSA", "d": "AQAB"}), Err(KeyError::PrivateKey)),
            ("for encryption", with(ed25519(), "use", "enc"), invalid.clone()),
            ("for a use that is no text", with(ed25519(), "use", 1), invalid.clone()),
            ("of another algorithm", with(ed25519(), "alg", "ES256"), invalid.clone()),
            ("of another family's algorithm", with(ed25519(), "alg", "HS256"), invalid.clone()),
            ("of no algorithm", with(ed25519(), "alg", Value::Null), invalid.clone()),
            ("to sign alone", with(p256(), "key_ops", json!(["sign"])), invalid.clone()),
            ("with operations that are no list", with(p256(), "key_ops", "verify"), invalid.clone()),
            ("another curve", with(ed25519(), "crv", "Ed448"), invalid.clone()),
            ("a curve of the other kind", with(ed25519(), "crv", "P-256"), invalid.clone()),
            ("an unknown kind", with(ed25519(), "kty", "AKP"), invalid.clone()),
            ("no kind", without(ed25519(), "kty"), invalid.clone()),
            ("no point", without(ed25519(), "x"), invalid.clone()),
            ("half a point", without(p256(), "y"), invalid.clone()),
            ("a point too short", with(ed25519(), "x", &X[..42]), invalid.clone()),
            ("a point off the curve", off_curve, invalid.clone()),
            ("coordinates of wrong lengths that add up", shifted, invalid.clone()),
            ("padded base64", with(ed25519(), "x", format!("{X}=")), invalid.clone()),
            ("a name that is no text", with(ed25519(), "kid", 7), invalid.clone()),
            ("a set", json!({"keys": [ed25519()]}), invalid.clone()),
            ("a list", json!([ed25519()]), invalid.clone()),
        ];
        for (name, jwk, expected) in cases {
            let read = VerifyingKey::from_jwk(jwk.to_string()).map(|key| key.algorithm());
            assert_eq!(read, expected, "{name}");
        }
        assert_eq!(VerifyingKey::from_jwk("{").map(|key| key.algorithm()), invalid, "not JSON");
    }

    #[test]
    fn a_set_is_read_for_what_is_usable_and_refused_for_what_is_dangerous() {
        let set = |keys: &[Value]| json!({"keys": keys}).to_string();
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r"});
        let unnamed = || without(ed25519(), "kid");
        let cases = [
            ("ours", set(&[ed25519(), p256()]), Ok(2)),
            ("ours among others", set(&[rsa.clone(), ed25519(), json!(7), json!({})]), Ok(1)),
            ("an unusable one of the same name", set(&[ed25519(), with(p256(), "use", "enc")]), Ok(1)),
            ("one without a name", set(&[unnamed(), p256()]), Ok(2)),
            ("nothing", set(&[]), Err(KeyError::NoKey)),
            ("nothing usable", set(&[rsa]), Err(KeyError::NoKey)),
            ("a symmetric key among ours", set(&[ed25519(), oct()]), Err(KeyError::SymmetricKey)),
            ("a private key among ours", set(&[ed25519(), with(p256(), "d", X)]), Err(KeyError::PrivateKey)),
            (
                "two of one name",
                set(&[ed25519(), with(p256(), "kid", "a")]),
                Err(KeyError::DuplicateKid("a".to_owned())),
            ),
            (
                "two without a name",
                set(&[unnamed(), without(p256(), "kid")]),
                Err(KeyError::SeveralWithoutKid),
            ),
            ("too many", set(&vec![json!({}); MAX_SET_KEYS + 1]), Err(KeyError::SetTooLarge)),
            ("too long", " ".repeat(MAX_SET_BYTES + 1), Err(KeyError::SetTooLarge)),
            ("too deep", "[".repeat(100_000), Err(KeyError::SetInvalid)),
            ("a key that is no set", ed25519().to_string(), Err(KeyError::SetInvalid)),
            ("keys that are no list", json!({"keys": {}}).to_string(), Err(KeyError::SetInvalid)),
            ("no JSON", "keys".to_owned(), Err(KeyError::SetInvalid)),
            ("no text", String::new(), Err(KeyError::SetInvalid)),
        ];
        for (name, json, expected) in cases {
            assert_eq!(Keyring::from_jwks(json).map(|ring| ring.keys().len()), expected, "{name}");
        }
    }

    #[test]
    fn the_operators_own_file_may_hold_a_symmetric_key_that_is_long_enough() {
        let cases = [
            ("symmetric", oct(), Ok(1)),
            ("of its algorithm", with(oct(), "alg", "HS256"), Ok(1)),
            ("too short", with(oct(), "k", "c2hvcnQ"), Err(KeyError::SecretTooShort(5))),
            ("of another algorithm", with(oct(), "alg", "HS512"), Err(KeyError::NoKey)),
            (
                "short, but not for us",
                with(with(oct(), "k", "c2hvcnQ"), "alg", "HS384"),
                Err(KeyError::NoKey),
            ),
            ("for encryption", with(oct(), "use", "enc"), Err(KeyError::NoKey)),
            ("without its value", without(oct(), "k"), Err(KeyError::NoKey)),
            ("public", ed25519(), Ok(1)),
        ];
        for (name, jwk, expected) in cases {
            let json = json!({"keys": [jwk]}).to_string();
            assert_eq!(Keyring::from_secret_jwks(json).map(|ring| ring.keys().len()), expected, "{name}");
        }
    }

    /// Entries that are nearly keys: each member is right, wrong in type, or missing.
    fn entry() -> impl Strategy<Value = Value> {
        let value = prop_oneof![
            4 => proptest::sample::select(vec![
                "OKP", "EC", "oct", "RSA", "Ed25519", "P-256", "sig", "enc", "EdDSA", "ES256", "HS256", X, PX, PY, K, "a", "",
            ])
            .prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => "\\PC{0,12}".prop_map(Value::from),
            1 => Just(json!([["verify"], {}, null])),
            1 => Just(Value::Null),
        ];
        let member = proptest::sample::select(vec![
            "kty", "crv", "x", "y", "k", "d", "use", "alg", "kid", "key_ops", "keys",
        ]);
        let changes = proptest::collection::vec((member, value), 0..4);
        (proptest::sample::select(vec![ed25519(), p256(), oct(), json!({})]), changes).prop_map(
            |(mut jwk, changes)| {
                for (member, value) in changes {
                    jwk[member] = value;
                }
                jwk
            },
        )
    }

    proptest! {
        #[test]
        fn a_hostile_set_never_panics_and_never_brings_a_symmetric_key(
            entries in proptest::collection::vec(entry(), 0..4),
        ) {
            let json = json!({"keys": entries}).to_string();
            if let Ok(ring) = Keyring::from_jwks(&json) {
                prop_assert!(ring.keys().iter().all(|key| key.public().is_some()));
                prop_assert!(ring.keys().iter().all(|key| key.check(b"message", "AAAA").is_err()));
            }
            let _ = Keyring::from_secret_jwks(&json);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Keyring::from_jwks(&bytes).is_err());
            prop_assert!(VerifyingKey::from_jwk(&bytes).is_err());
            prop_assert!(VerifyingKey::from_pem(&bytes).is_err());
        }
    }
}
