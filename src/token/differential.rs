//! Compares `verify` with `jsonwebtoken::decode`: every token that we accept must be accepted there too.
//!
//! The tokens are damaged at random, or signed with the right key but with a random header and payload.

#![allow(clippy::disallowed_methods, reason = "the reference reads the time of the system")]

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{Duration, Utc};
use jsonwebtoken::{DecodingKey, Validation};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::{Algorithm, Expected, Grant, Issuer, KeyMaterial, Keyring, SigningKey, VerifyingKey, verify};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://api.example";

/// One key, for us and for the reference.
struct Pair {
    key: Arc<SigningKey>,
    reference: DecodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    use jsonwebtoken::Algorithm as Theirs;
    let algorithms = [
        (Algorithm::EdDsa, Theirs::EdDSA),
        (Algorithm::Es256, Theirs::ES256),
        (Algorithm::Hs256, Theirs::HS256),
    ];
    let pair = |(ours, theirs)| {
        let material = KeyMaterial::generate(ours).unwrap();
        let kid = SigningKey::fresh_kid(ours, &material).unwrap();
        let key = Arc::new(SigningKey::with_kid(kid, ours, &material).unwrap());
        let reference = match serde_json::to_value(Keyring::from(key.clone()).jwks()).unwrap()["keys"].get(0)
        {
            Some(jwk) => DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap(),
            None => DecodingKey::from_secret(material.as_bytes()),
        };
        Pair { key, reference, algorithm: theirs }
    };
    algorithms.into_iter().map(pair).collect()
});

/// One valid token for each key.
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let issuer = Issuer::new(ISSUER, AUDIENCE, Duration::hours(1));
    let grant = Grant { subject: "ada".to_owned(), roles: vec!["admin".to_owned()], ..Grant::default() };
    PAIRS.iter().map(|pair| issuer.issue(&pair.key, &grant, Utc::now()).unwrap().token).collect()
});

fn we_accept(token: &str, pair: &Pair) -> bool {
    verify(token, &Keyring::from(pair.key.clone()), &Expected::new(ISSUER, AUDIENCE), Utc::now()).is_ok()
}

/// Returns a token that the reference can read. It knows the name `EdDSA` but not `Ed25519` (RFC 9864 §2.2), so a
/// token with the latter is signed again with the former.
fn for_the_reference(pair: &Pair, header: &Map<String, Value>, payload: &Map<String, Value>) -> String {
    let mut header = header.clone();
    if pair.key.algorithm() == Algorithm::EdDsa && header.get("alg") == Some(&json!("Ed25519")) {
        header["alg"] = json!("EdDSA");
    }
    pair.key.sign_parts(&encode(&header), &encode(payload)).unwrap()
}

/// Configures the reference as strictly as possible. It has one leeway for `exp` and `nbf`, so it is called twice.
fn the_reference_accepts(token: &str, pair: &Pair) -> bool {
    let mut validation = Validation::new(pair.algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    let punctual = Validation { leeway: 0, ..validation.clone() };
    let tolerant = Validation { leeway: 60, validate_nbf: true, ..validation };
    [punctual, tolerant]
        .iter()
        .all(|validation| jsonwebtoken::decode::<Value>(token, &pair.reference, validation).is_ok())
}

/// One way to damage a token.
#[derive(Debug, Clone)]
enum Damage {
    Replace(Index, char),
    Insert(Index, char),
    Remove(Index),
    FlipCase(Index),
    Truncate(Index),
    /// Replaces a segment by that of another key's token.
    Transplant {
        segment: usize,
        from: Index,
    },
    Swap(usize, usize),
    Duplicate(usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let character = || {
            prop_oneof![
                8 => select("ABCabc019-_".chars().collect::<Vec<_>>()),
                2 => select(". =+/\n\0é".chars().collect::<Vec<_>>()),
            ]
        };
        let index = any::<Index>;
        prop_oneof![
            (index(), character()).prop_map(|(at, character)| Self::Replace(at, character)),
            (index(), character()).prop_map(|(at, character)| Self::Insert(at, character)),
            index().prop_map(Self::Remove),
            index().prop_map(Self::FlipCase),
            index().prop_map(Self::Truncate),
            (0..3_usize, index()).prop_map(|(segment, from)| Self::Transplant { segment, from }),
            (0..3_usize, 0..3_usize).prop_map(|(a, b)| Self::Swap(a, b)),
            (0..3_usize).prop_map(Self::Duplicate),
        ]
    }

    fn applied(&self, token: &str) -> String {
        let mut letters: Vec<char> = token.chars().collect();
        let mut segments: Vec<&str> = token.split('.').collect();
        match self {
            _ if letters.is_empty() => {}
            Self::Replace(at, character) => *at.get_mut(&mut letters) = *character,
            Self::Insert(at, character) => letters.insert(at.index(letters.len()), *character),
            Self::Remove(at) => drop(letters.remove(at.index(letters.len()))),
            Self::Truncate(at) => letters.truncate(at.index(letters.len())),
            Self::FlipCase(at) => {
                let letter = at.get_mut(&mut letters);
                *letter = if letter.is_ascii_lowercase() {
                    letter.to_ascii_uppercase()
                } else {
                    letter.to_ascii_lowercase()
                };
            }
            Self::Transplant { segment, from } if *segment < segments.len() => {
                segments[*segment] = from.get(&TOKENS).split('.').nth(*segment).unwrap();
                return segments.join(".");
            }
            Self::Swap(a, b) if *a.max(b) < segments.len() => {
                segments.swap(*a, *b);
                return segments.join(".");
            }
            Self::Duplicate(segment) if *segment < segments.len() => {
                segments.insert(*segment, segments[*segment]);
                return segments.join(".");
            }
            Self::Transplant { .. } | Self::Swap(..) | Self::Duplicate(_) => {}
        }
        letters.into_iter().collect()
    }
}

/// Generates an object of some of the members, each with one of its values. The first value is valid and the most
/// frequent.
fn object(members: Vec<(&'static str, Vec<Value>)>) -> impl Strategy<Value = Map<String, Value>> {
    let member = |(name, mut values): (&'static str, Vec<Value>)| {
        let good = Just(Some(values.remove(0)));
        let others = select(values).prop_map(Some);
        prop_oneof![12 => good, 2 => others, 1 => Just(None)].prop_map(move |value| (name, value))
    };
    members.into_iter().map(member).collect::<Vec<_>>().prop_map(|members| {
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

fn payload() -> impl Strategy<Value = Map<String, Value>> {
    let now = Utc::now().timestamp();
    let odd = || vec![json!(null), json!("1"), json!([]), json!({}), json!(true), json!(-1), json!(1e300)];
    let values = |good: Value, others: Vec<Value>| [vec![good], others, odd()].concat();
    object(vec![
        ("iss", values(json!(ISSUER), vec![json!("other"), json!([ISSUER])])),
        ("aud", values(json!(AUDIENCE), vec![json!([AUDIENCE, "other"]), json!(["other"])])),
        ("sub", values(json!("ada"), vec![json!(""), json!(7)])),
        (
            "exp",
            values(
                json!(now + 3_600),
                vec![json!(now + 600), json!(now as f64 + 600.5), json!(now - 30), json!(0)],
            ),
        ),
        (
            "nbf",
            values(
                json!(now),
                vec![json!(now + 30), json!(now - 0x1000), json!(now + 600), json!(now as f64 + 0.5)],
            ),
        ),
        ("iat", values(json!(now), vec![json!(now + 30), json!(now + 600)])),
        ("roles", values(json!(["admin"]), vec![json!("admin"), json!([1])])),
        ("tenant", values(json!(7), Vec::new())),
    ])
}

fn header(pair: &Pair) -> impl Strategy<Value = Map<String, Value>> + use<> {
    let odd = || vec![json!(null), json!(1), json!([]), json!(""), json!("other")];
    let (name, kid) = (pair.key.algorithm().name(), pair.key.kid());
    let other_algorithms = ["none", "EdDSA", "Ed25519", "ES256", "HS256", "RS256"].map(Value::from).to_vec();
    object(vec![
        ("alg", [vec![json!(name)], other_algorithms, odd()].concat()),
        ("typ", [vec![json!("at+jwt"), json!("application/AT+JWT"), json!("JWT")], odd()].concat()),
        ("kid", [vec![json!(kid)], odd()].concat()),
    ])
}

/// A header and payload, and the index of the key that signs them.
fn signed() -> impl Strategy<Value = (usize, Map<String, Value>, Map<String, Value>)> {
    (0..PAIRS.len()).prop_flat_map(|index| (Just(index), header(&PAIRS[index]), payload()))
}

fn encode(object: &Map<String, Value>) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(object).unwrap())
}

#[test]
fn both_accept_a_valid_token() {
    for (pair, token) in PAIRS.iter().zip(TOKENS.iter()) {
        assert!(we_accept(token, pair), "{:?}", pair.key);
        assert!(the_reference_accepts(token, pair), "{:?}", pair.key);
    }
}

/// The only difference from the reference in which we accept more.
#[test]
fn ed25519_is_accepted_as_alg_although_the_reference_knows_only_eddsa() {
    let pair = PAIRS.iter().find(|pair| pair.key.algorithm() == Algorithm::EdDsa).unwrap();
    let now = Utc::now().timestamp();
    let members = |object: Value| object.as_object().unwrap().clone();
    let header = members(json!({"alg": "Ed25519", "typ": "at+jwt", "kid": pair.key.kid()}));
    let payload = members(json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 3_600}));
    let token = pair.key.sign_parts(&encode(&header), &encode(&payload)).unwrap();
    assert!(we_accept(&token, pair));
    assert!(
        !the_reference_accepts(&token, pair),
        "it knows Ed25519 now, so for_the_reference can be removed"
    );
    assert!(the_reference_accepts(&for_the_reference(pair, &header, &payload), pair));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_damaged_token_is_accepted_only_if_the_damage_changed_nothing(
        token in any::<Index>(),
        key in any::<Index>(),
        damages in proptest::collection::vec(Damage::any(), 0..3),
    ) {
        let original = token.get(&TOKENS);
        let pair = key.get(&PAIRS);
        let damaged = damages.iter().fold(original.clone(), |token, damage| damage.applied(&token));
        if we_accept(&damaged, pair) {
            prop_assert!(the_reference_accepts(&damaged, pair), "{damaged}");
            prop_assert!(TOKENS.contains(&damaged), "{damaged}");
        }
    }

    #[test]
    fn every_signed_token_that_we_accept_is_accepted_by_the_reference((index, header, payload) in signed()) {
        let pair = &PAIRS[index];
        let token = pair.key.sign_parts(&encode(&header), &encode(&payload)).unwrap();
        if we_accept(&token, pair) {
            let token = for_the_reference(pair, &header, &payload);
            prop_assert!(the_reference_accepts(&token, pair), "{header:?} {payload:?}");
        }
    }

    #[test]
    fn arbitrary_text_is_refused_without_a_panic(text in "\\PC{0,60}(\\.\\PC{0,60}){0,3}") {
        let unnamed = Keyring::from(VerifyingKey::hs256(&[7; 32]).unwrap());
        let expected = Expected::new(ISSUER, AUDIENCE);
        prop_assert!(verify(&text, &unnamed, &expected, Utc::now()).is_err());
        let wrapped = text.split('.').map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".");
        prop_assert!(verify(&wrapped, &unnamed, &expected, Utc::now()).is_err());
    }
}
