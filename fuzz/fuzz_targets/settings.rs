//! A settings file.
#![no_main]

use std::path::PathBuf;

use hallpass::server::config::{Loaded, Sources};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let file = PathBuf::from(format!("/dev/shm/hallpass-fuzz-{}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let sources = Sources { folder: "/dev/shm".into(), config_file: Some(file), ..Sources::default() };
    let _ = Loaded::from(&sources);
});
