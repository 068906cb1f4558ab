//! A header that may hold a credential.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hallpass::fuzzing::credential(bytes));
