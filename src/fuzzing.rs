//! The fuzz targets of `fuzz/`: what parses the input of strangers, and what must hold whatever the input is. Each target
//! is beside what it calls. Compiled with `--cfg fuzzing`, and for the test below.

#![allow(missing_docs, reason = "it is for fuzz/ alone")]

#[cfg(feature = "server")]
pub use crate::cli::fuzzing::import;
pub use crate::guard::fuzzing::credential;
#[cfg(feature = "server")]
pub use crate::server::config::fuzzing::settings;
#[cfg(feature = "server")]
pub use crate::server::credentials::fuzzing::{passkey, stored_hash};
#[cfg(feature = "server")]
pub use crate::server::http::fuzzing::{cookie, forwarded};
#[cfg(feature = "server")]
pub use crate::server::mail::fuzzing::mail_template;
#[cfg(feature = "server")]
pub use crate::server::sessions::fuzzing::{challenge, refresh_token};
pub use crate::token::fuzzing::{jwk_set, token};

/// A target: its name, and what it does with an input.
#[cfg(test)]
type Target = (&'static str, fn(&[u8]));

#[cfg(test)]
const TARGETS: &[Target] = &[
    ("credential", credential),
    ("jwk_set", jwk_set),
    ("token", token),
    #[cfg(feature = "server")]
    ("challenge", challenge),
    #[cfg(feature = "server")]
    ("cookie", cookie),
    #[cfg(feature = "server")]
    ("forwarded", forwarded),
    #[cfg(feature = "server")]
    ("import", import),
    #[cfg(feature = "server")]
    ("mail_template", mail_template),
    #[cfg(feature = "server")]
    ("passkey", passkey),
    #[cfg(feature = "server")]
    ("refresh_token", refresh_token),
    #[cfg(feature = "server")]
    ("settings", settings),
    #[cfg(feature = "server")]
    ("stored_hash", stored_hash),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_passes_with_its_corpus() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for (name, target) in TARGETS {
            let files = std::fs::read_dir(fuzz.join("corpus").join(name)).unwrap();
            let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
            assert!(!inputs.is_empty(), "{name}");
            target(&[]);
            for input in inputs {
                target(&input);
            }
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
        }
    }
}
