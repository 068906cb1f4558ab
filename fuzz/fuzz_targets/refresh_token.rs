//! A refresh token.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| hallpass::fuzzing::refresh_token(text));
