//! A token: any text, and any header and payload under a good signature, so that what comes after it is reached.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::token::{Expected, Keyring, VerifyingKey, verify};

const SECRET: &[u8] = b"thirty-two bytes, or rather more of them";

static KEYS: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new([VerifyingKey::hs256(SECRET).unwrap()]).unwrap());

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let expected = Expected::new("issuer", "audience");
    let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(text, &KEYS, &expected, now).is_err(), "without the secret");
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (header, payload) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    if let Ok(claims) = verify(&token, &KEYS, &expected, now) {
        assert_eq!(claims.iss, "issuer");
        assert!(!claims.sub.is_empty());
    }
});
