use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::algorithm::Algorithm;
use super::super::fixtures::*;
use super::super::key_material::KeyMaterial;
use super::super::limits::{MAX_SET_BYTES, MAX_SET_KEYS};
use super::*;

type Kid = Option<&'static str>;

fn key(secret: u8, kid: Option<&str>) -> VerifyingKey {
    let key = VerifyingKey::hs256(&[secret; 32]).unwrap();
    match kid {
        Some(kid) => key.with_kid(kid),
        None => key,
    }
}

#[test]
fn a_key_is_found_by_kid_and_without_one_only_if_there_is_no_choice() {
    let cases: [(&[Kid], Kid, Option<usize>); 10] = [
        (&[Some("a"), Some("b")], Some("b"), Some(1)),
        (&[Some("a"), Some("b")], Some("c"), None),
        (&[Some("a"), Some("b")], None, None),
        (&[Some("a")], None, Some(0)),
        (&[Some("a")], Some("b"), None),
        (&[None], None, Some(0)),
        (&[None], Some("a"), Some(0)),
        (&[Some("a"), None], None, Some(1)),
        (&[Some("a"), None], Some("a"), Some(0)),
        (&[Some("a"), None], Some("b"), None),
    ];
    for (kids, asked, expected) in cases {
        let keys = Keyring::new(kids.iter().map(|kid| key(1, *kid))).unwrap();
        let found = keys.find(asked).map(VerifyingKey::kid);
        assert_eq!(found, expected.map(|index| kids[index]), "{asked:?} among {kids:?}");
    }
}

#[test]
fn a_keyring_has_at_least_one_key_and_no_duplicate_kid() {
    let cases: [(&[Kid], KeyError); 3] = [
        (&[], KeyError::NoKey),
        (&[Some("a"), None, Some("a")], KeyError::DuplicateKid("a".to_owned())),
        (&[None, Some("a"), None], KeyError::SeveralWithoutKid),
    ];
    for (kids, expected) in cases {
        assert_eq!(Keyring::new(kids.iter().map(|kid| key(1, *kid))).unwrap_err(), expected);
    }
}

#[test]
fn a_signing_key_replaces_a_verifying_key_with_the_same_kid() {
    let secret = KeyMaterial::from_bytes(vec![2; 32]);
    let signer = Arc::new(SigningKey::with_kid("a", Algorithm::Hs256, &secret).unwrap());
    let keys = Keyring::new([key(1, Some("a")), key(3, Some("b"))]).unwrap().with_signer(signer);
    assert_eq!(keys.keys().len(), 2);
    let token = keys.signer().unwrap().sign(&serde_json::json!({})).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(keys.find(Some("a")).unwrap().verify_signature(message.as_bytes(), signature), Ok(()));
}

#[test]
fn a_published_key_has_exactly_the_members_of_the_rfcs() {
    let keys = [ed25519_jwk(), p256_jwk()].map(|jwk| VerifyingKey::from_jwk(jwk.to_string()).unwrap());
    let keys = Keyring::new(keys).unwrap();
    assert_eq!(
        serde_json::to_value(keys.jwks()).unwrap(),
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": X, "use": "sig", "alg": "EdDSA", "kid": "a"},
            {"kty": "EC", "crv": "P-256", "x": PX, "y": PY, "use": "sig", "alg": "ES256", "kid": "b"},
        ]})
    );
}

#[test]
fn a_symmetric_key_is_never_published() {
    let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
    let signer = Arc::new(SigningKey::with_kid("signer", Algorithm::Hs256, &secret).unwrap());
    let symmetric = [
        VerifyingKey::hs256(secret.as_bytes()).unwrap(),
        VerifyingKey::from_secret_jwk(oct_jwk().to_string()).unwrap(),
        signer.verifying_key().clone(),
    ];
    for key in &symmetric {
        assert_eq!(Jwk::publish(key), None);
        assert_eq!(Jwk::publish(&key.clone().with_kid("renamed")), None);
    }
    let alone = Keyring::new(symmetric.clone()).unwrap().with_signer(signer.clone());
    assert_eq!(serde_json::to_string(&alone.jwks()).unwrap(), r#"{"keys":[]}"#);

    let public = SigningKey::random(Algorithm::EdDsa).verifying_key().clone();
    let mixed = Keyring::new(symmetric.into_iter().chain([public.clone()])).unwrap().with_signer(signer);
    assert_eq!(mixed.jwks(), Keyring::from(public).jwks());
}

#[test]
fn a_published_key_verifies_what_its_signing_key_signed() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = SigningKey::random(algorithm);
        let published = serde_json::to_vec(&Keyring::from(key.clone()).jwks()).unwrap();
        let keys = Keyring::from_jwks(published).unwrap();
        let token = key.sign(&json!({})).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let found = keys.find(Some(key.kid())).unwrap();
        assert_eq!(found.verify_signature(message.as_bytes(), signature), Ok(()), "{algorithm}");
        assert_eq!(found.algorithm(), algorithm);
    }
}

#[test]
fn unusable_keys_of_a_set_are_skipped_and_a_set_with_a_dangerous_key_is_refused() {
    let set = |keys: &[Value]| json!({"keys": keys}).to_string();
    let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r"});
    let unnamed = || without(ed25519_jwk(), "kid");
    let cases = [
        ("ours", set(&[ed25519_jwk(), p256_jwk()]), Ok(2)),
        ("ours among others", set(&[rsa.clone(), ed25519_jwk(), json!(7), json!({})]), Ok(1)),
        ("an unusable one of the same name", set(&[ed25519_jwk(), with(p256_jwk(), "use", "enc")]), Ok(1)),
        ("one whose alg is that of RFC 9864", set(&[with(ed25519_jwk(), "alg", "Ed25519")]), Ok(1)),
        ("one without a name", set(&[unnamed(), p256_jwk()]), Ok(2)),
        ("nothing", set(&[]), Err(KeyError::NoKey)),
        ("nothing usable", set(&[rsa]), Err(KeyError::NoKey)),
        ("a symmetric key among ours", set(&[ed25519_jwk(), oct_jwk()]), Err(KeyError::SymmetricKey)),
        (
            "a private key among ours",
            set(&[ed25519_jwk(), with(p256_jwk(), "d", X)]),
            Err(KeyError::PrivateKey),
        ),
        (
            "two of one name",
            set(&[ed25519_jwk(), with(p256_jwk(), "kid", "a")]),
            Err(KeyError::DuplicateKid("a".to_owned())),
        ),
        (
            "two without a name",
            set(&[unnamed(), without(p256_jwk(), "kid")]),
            Err(KeyError::SeveralWithoutKid),
        ),
        (
            "a key of small order among ours",
            set(&[p256_jwk(), with(ed25519_jwk(), "x", IDENTITY)]),
            Err(KeyError::SmallOrder),
        ),
        ("too many", set(&vec![json!({}); MAX_SET_KEYS + 1]), Err(KeyError::SetTooLarge)),
        ("too long", " ".repeat(MAX_SET_BYTES + 1), Err(KeyError::SetTooLarge)),
        ("too deep", "[".repeat(100_000), Err(KeyError::SetInvalid)),
        ("a key that is no set", ed25519_jwk().to_string(), Err(KeyError::SetInvalid)),
        ("keys that are no list", json!({"keys": {}}).to_string(), Err(KeyError::SetInvalid)),
        ("no JSON", "keys".to_owned(), Err(KeyError::SetInvalid)),
        ("no text", String::new(), Err(KeyError::SetInvalid)),
    ];
    for (name, json, expected) in cases {
        assert_eq!(Keyring::from_jwks(json).map(|keys| keys.keys().len()), expected, "{name}");
    }
}

#[test]
fn a_file_of_the_operator_may_contain_a_symmetric_key_that_is_long_enough() {
    let cases = [
        ("symmetric", oct_jwk(), Ok(1)),
        ("of its algorithm", with(oct_jwk(), "alg", "HS256"), Ok(1)),
        ("too short", with(oct_jwk(), "k", "c2hvcnQ"), Err(KeyError::SecretTooShort(5))),
        ("of another algorithm", with(oct_jwk(), "alg", "HS512"), Err(KeyError::NoKey)),
        (
            "short, but not for us",
            with(with(oct_jwk(), "k", "c2hvcnQ"), "alg", "HS384"),
            Err(KeyError::NoKey),
        ),
        ("for encryption", with(oct_jwk(), "use", "enc"), Err(KeyError::NoKey)),
        ("without its value", without(oct_jwk(), "k"), Err(KeyError::NoKey)),
        ("public", ed25519_jwk(), Ok(1)),
    ];
    for (name, jwk, expected) in cases {
        let json = json!({"keys": [jwk]}).to_string();
        assert_eq!(Keyring::from_secret_jwks(json).map(|keys| keys.keys().len()), expected, "{name}");
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
    (proptest::sample::select(vec![ed25519_jwk(), p256_jwk(), oct_jwk(), json!({})]), changes).prop_map(
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
    fn a_hostile_set_never_panics_and_never_yields_a_symmetric_key(
        entries in proptest::collection::vec(entry(), 0..4),
    ) {
        let json = json!({"keys": entries}).to_string();
        if let Ok(keys) = Keyring::from_jwks(&json) {
            prop_assert!(keys.keys().iter().all(|key| key.public().is_some()));
            prop_assert!(keys.keys().iter().all(|key| key.verify_signature(b"message", "AAAA").is_err()));
        }
        let _ = Keyring::from_secret_jwks(&json);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Keyring::from_jwks(&bytes).is_err());
        prop_assert!(VerifyingKey::from_jwk(&bytes).is_err());
        prop_assert!(VerifyingKey::from_pem(&bytes).is_err());
    }
}
