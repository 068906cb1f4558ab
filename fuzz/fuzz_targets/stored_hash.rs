//! A hash of another program, as an import brings it.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| hallpass::fuzzing::stored_hash(text));
