//! A JWK set, as a guard fetches it.
#![no_main]

use hallpass::token::Keyring;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Keyring::from_jwks(bytes);
});
