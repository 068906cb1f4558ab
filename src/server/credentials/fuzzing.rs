//! Fuzz targets: hashes of other programs, and the responses of authenticators.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;
use serde_json::json;

use super::cost::Costs;
use super::password::{Bcrypt, Password, check_stored, ours, verify_foreign};
use super::webauthn::{RelyingParty, verify_assertion, verify_registration};

/// The time of a check from which it is not computed here.
const SLOW: Duration = Duration::from_millis(2);

/// A hash that is accepted has a cost, can be checked, and is not that of another password.
pub fn stored_hash(bytes: &[u8]) {
    static COSTS: LazyLock<Mutex<Costs>> = LazyLock::new(Mutex::default);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(reason) = check_stored(text) {
        assert!(!reason.is_empty() && reason.len() < 300);
        return;
    }
    let cost = COSTS.lock().unwrap().of(text).unwrap_or_else(|| panic!("no cost of {text}"));
    let password = Password::from("a password that nobody has");
    let bcrypt = Bcrypt::verify(&password, text).unwrap();
    if cost.time < SLOW && ours(text).is_none() {
        assert!(!verify_foreign(&password, text).unwrap());
    }
    assert!(bcrypt.is_some() || ours(text).is_none());
}

/// A passkey is registered only as what its authenticator data says, and signs in only by its own signature.
///
/// The input is JSON of a browser; an attestation object; authenticator data behind the party; a public key; and a
/// signature.
pub fn passkey(bytes: &[u8]) {
    static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());
    let party = RelyingParty { id: "example.org".into(), origins: vec!["https://example.org".into()] };
    let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let client_data = |kind: &str| {
        json!({"type": kind, "challenge": base64url(CHALLENGE), "origin": party.origins[0]}).to_string()
    };
    let data = [digest(&SHA256, party.id.as_bytes()).as_ref(), bytes].concat();

    if let Ok(response) = serde_json::from_slice(bytes) {
        let _ = verify_registration(&party, CHALLENGE, &response);
    }
    if let Ok(response) = serde_json::from_slice(bytes) {
        assert!(
            verify_assertion(&party, CHALLENGE, &response, &cose(&KEY), false).is_err(),
            "it did not sign"
        );
    }

    let none = Value::Map(vec![
        (Value::from("fmt"), Value::from("none")),
        (Value::from("attStmt"), Value::Map(vec![])),
        (Value::from("authData"), Value::from(data.clone())),
    ]);
    let mut object = Vec::new();
    ciborium::into_writer(&none, &mut object).unwrap();
    // As long as the authenticator data says that it is.
    let id = bytes
        .get(21..23)
        .and_then(|length| bytes[23..].get(..usize::from(u16::from_be_bytes(length.try_into().unwrap()))));
    for object in [bytes, &object] {
        let response = json!({"rawId": base64url(id.unwrap_or_default()), "type": "public-key", "response": {
            "clientDataJSON": base64url(client_data("webauthn.create").as_bytes()),
            "attestationObject": base64url(object),
        }});
        // Longer texts are refused.
        let Ok(response) = serde_json::from_value(response) else { continue };
        let Ok(made) = verify_registration(&party, CHALLENGE, &response) else { continue };
        assert!(made.id == response.id && (1..=1_023).contains(&made.id.len()));
        assert!(made.syncable || !made.synced);
        assert!(bytes.windows(made.public_key.len()).any(|it| it == made.public_key), "its own key");
    }

    let sign_in = |key: &[u8], data: &[u8], signature: &[u8]| {
        let response = json!({"rawId": "AA", "type": "public-key", "response": {
            "clientDataJSON": base64url(client_data("webauthn.get").as_bytes()),
            "authenticatorData": base64url(data),
            "signature": base64url(signature),
        }});
        let response = serde_json::from_value(response).ok()?;
        let syncable = data.get(32).is_some_and(|flags| flags & 0x08 != 0);
        verify_assertion(&party, CHALLENGE, &response, key, syncable).ok()
    };
    let signed = |data: &[u8]| {
        let client_data = client_data("webauthn.get");
        let message = [data, digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        KEY.sign(&message).as_ref().to_vec()
    };
    if let Some(assertion) = sign_in(&cose(&KEY), &data, &signed(&data)) {
        assert_eq!(assertion.sign_count.to_be_bytes(), bytes[1..5]);
        assert!(bytes[0] & 0x01 != 0 && assertion.user_verified == (bytes[0] & 0x04 != 0));
        assert_eq!(assertion.synced, bytes[0] & 0x10 != 0);
    }
    let plain = [&data[..32], &[0x05, 0, 0, 0, 1]].concat();
    let good = signed(&plain);
    assert!(sign_in(&cose(&KEY), &plain, &good).is_some());
    assert!(sign_in(&cose(&KEY), &plain, bytes).is_none() || bytes == good);
    if bytes != cose(&KEY) {
        assert!(sign_in(bytes, &plain, &good).is_none(), "the signature of another key");
    }
}

const CHALLENGE: &[u8] = b"a challenge of 24 bytes.";

/// Returns the COSE_Key of a key.
fn cose(key: &Ed25519KeyPair) -> Vec<u8> {
    [&[0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20][..], key.public_key().as_ref()].concat()
}
