//! Fuzz targets: tokens and key sets.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use super::algorithm::Algorithm;
use super::expected::Expected;
use super::issue::{Grant, Issuer};
use super::key_material::KeyMaterial;
use super::keyring::Keyring;
use super::limits::MAX_SET_KEYS;
use super::public_key::PublicKey;
use super::signing_key::SigningKey;
use super::verify::verify;
use super::verifying_key::VerifyingKey;

const ISSUER: &str = "issuer";
const AUDIENCE: &str = "audience";

/// One key of each algorithm, and a token of each.
struct Keys {
    ring: Keyring,
    signers: Vec<SigningKey>,
    tokens: Vec<String>,
    /// HS256 keys whose secrets are the public keys of the others, under their names.
    confused: Vec<SigningKey>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let signer = |algorithm| {
        let material = KeyMaterial::generate(algorithm).unwrap();
        SigningKey::with_kid(SigningKey::fresh_kid(algorithm, &material).unwrap(), algorithm, &material)
            .unwrap()
    };
    let signers: Vec<_> = Algorithm::ALL.iter().map(|algorithm| signer(*algorithm)).collect();
    let ring = Keyring::new(signers.iter().map(|key| key.verifying_key().clone())).unwrap();
    let issuer = Issuer::new(ISSUER, AUDIENCE, Duration::hours(1));
    let grant = Grant { subject: "ada".into(), roles: vec!["editor".into()], ..Grant::default() };
    let tokens = signers.iter().map(|key| issuer.issue(key, &grant, now()).unwrap().token).collect();
    let confused = signers.iter().filter_map(|key| {
        let secret = match key.verifying_key().public()? {
            PublicKey::Ed25519(bytes) => bytes.to_vec(),
            PublicKey::P256(point) => point.to_vec(),
        };
        let material = KeyMaterial::from_bytes(secret);
        Some(SigningKey::with_kid(key.kid(), Algorithm::Hs256, &material).unwrap())
    });
    Keys { confused: confused.collect(), ring, signers, tokens }
});

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A token is accepted only if a key of the ring signed it, as it is, and for what is expected.
///
/// The input is a token; a header and a payload with a zero byte between them; and changes of tokens that are good.
pub fn token(bytes: &[u8]) {
    let Keys { ring, signers, tokens, confused } = &*KEYS;
    let expected = Expected::new(ISSUER, AUDIENCE);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(text, ring, &expected, now()).is_err(), "nobody signed it");
    }
    for good in tokens {
        assert!(verify(good, ring, &expected, now()).is_ok());
        if let Ok(text) = String::from_utf8(altered(good.as_bytes(), bytes)) {
            let verified = verify(&text, ring, &expected, now());
            assert_eq!(verified.is_ok(), text == *good, "{text}");
        }
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (header, payload) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let [head, body] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    for key in confused {
        let token = key.sign_parts(&head, &body).unwrap();
        assert!(verify(&token, ring, &expected, now()).is_err(), "a public key is no secret");
    }
    for key in signers {
        // The name of the key is random, and the input cannot have it.
        let named = String::from_utf8_lossy(header).replace("KID", key.kid());
        let token = key.sign_parts(&URL_SAFE_NO_PAD.encode(&named), &body).unwrap();
        let Ok(claims) = verify(&token, ring, &expected, now()) else { continue };
        let header: Value = serde_json::from_str(&named).unwrap();
        assert_eq!(header["alg"].as_str(), Some(key.algorithm().name()));
        assert!(claims.iss == ISSUER && claims.aud.contains(AUDIENCE) && !claims.sub.is_empty());
        assert!(
            claims.expires_at() > now()
                && claims.not_before().is_none_or(|from| from <= now() + Duration::seconds(60))
        );
        let whole: Value = claims.custom().unwrap();
        assert_eq!(whole["sub"].as_str(), Some(claims.sub.as_str()), "another reader of JSON reads the same");
        assert_eq!(whole["iss"].as_str(), Some(ISSUER));
    }
}

/// A key set has no more keys than are allowed and no secret, and reads the same when it is published again.
pub fn jwk_set(bytes: &[u8]) {
    if let Ok(key) = VerifyingKey::from_pem(bytes) {
        assert!(key.thumbprint().is_some() && key.algorithm() != Algorithm::Hs256);
    }
    let identities = |keys: &Keyring| -> Vec<_> {
        keys.keys()
            .iter()
            .map(|key| (key.kid().map(str::to_owned), key.thumbprint(), key.algorithm()))
            .collect()
    };
    let Ok(keys) = Keyring::from_jwks(bytes) else { return };
    assert!((1..=MAX_SET_KEYS).contains(&keys.keys().len()));
    assert!(keys.keys().iter().all(|key| key.algorithm() != Algorithm::Hs256));
    let published = serde_json::to_vec(&keys.jwks()).unwrap();
    assert_eq!(identities(&Keyring::from_jwks(&published).unwrap()), identities(&keys));
    assert_eq!(identities(&Keyring::from_secret_jwks(bytes).unwrap()), identities(&keys));
    for key in keys.keys() {
        assert_eq!(keys.find(key.kid()).unwrap().thumbprint(), key.thumbprint());
    }
}

/// Returns `good` with the changes that `edits` says: three bytes each, the kind, the place and the byte.
pub(crate) fn altered(good: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for edit in edits.chunks_exact(3) {
        let place = usize::from(edit[1]) * (bytes.len() + 1) / 256;
        match edit[0] % 5 {
            0 if place < bytes.len() => bytes[place] = edit[2],
            1 if place < bytes.len() => bytes[place] ^= edit[2],
            2 if place < bytes.len() => drop(bytes.remove(place)),
            3 => bytes.truncate(place),
            _ => bytes.insert(place, edit[2]),
        }
    }
    bytes
}
