//! What parses the texts of strangers, for the targets in `fuzz/`. Compiled with `--cfg fuzzing` alone, which `cargo fuzz`
//! sets.

#![allow(clippy::unwrap_used, missing_docs, reason = "it is for the targets alone")]

use std::sync::LazyLock;

use chrono::DateTime;

use crate::guard::{Scheme, credential_of};
use crate::server::credentials::check_stored;
use crate::server::keys::vault::Vault;
use crate::server::model::KdfParams;
use crate::server::sessions::RefreshTokens;

/// The values of a header, with a zero byte between them.
pub fn credential(bytes: &[u8]) {
    let schemes = [
        Scheme::Whole,
        Scheme::Named { name: "Bearer".into(), bare: true },
        Scheme::Named { name: "Bearer".into(), bare: false },
    ];
    for scheme in schemes {
        if let Ok(token) = credential_of(bytes.split(|byte| *byte == 0), &scheme) {
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

/// A refresh token: none is ours but those that we have made.
pub fn refresh_token(text: &str) {
    static TOKENS: LazyLock<RefreshTokens> = LazyLock::new(|| {
        let made = Vault::create_with(&"fuzz".into(), KdfParams::for_tests(), DateTime::UNIX_EPOCH);
        RefreshTokens::new(&made.unwrap().0)
    });
    assert!(TOKENS.read(text).is_none());
}

/// A hash, as an import brings it.
pub fn stored_hash(text: &str) {
    let _ = check_stored(text);
}
