//! Fuzz targets: refresh tokens and challenges.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::challenge::Challenges;
use super::refresh_token::RefreshTokens;
use super::webauthn_challenge::{Ceremony, WebauthnChallenges};
use crate::server::keys::vault::Vault;
use crate::server::model::KdfParams;
use crate::token::fuzzing::altered;

static VAULT: LazyLock<Arc<Vault>> = LazyLock::new(|| {
    Arc::new(Vault::create_with(&"a river of lanterns".into(), KdfParams::for_tests(), now()).unwrap().0)
});

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A refresh token is ours only if it is, to the letter, one that was issued.
///
/// The input is a token, and changes of one that is good.
pub fn refresh_token(bytes: &[u8]) {
    static TOKENS: LazyLock<(RefreshTokens, String)> = LazyLock::new(|| {
        let tokens = RefreshTokens::new(Arc::clone(&VAULT));
        let good = tokens.first(Uuid::from_u128(7), now()).unwrap().to_text().to_string();
        (tokens, good)
    });
    let (tokens, good) = &*TOKENS;
    for text in [bytes.to_vec(), altered(good.as_bytes(), bytes)] {
        let Ok(text) = String::from_utf8(text) else { continue };
        let read = tokens.read(&text);
        assert_eq!(read.is_some(), text == *good, "{text}");
        let Some(read) = read else { continue };
        assert!(read.session() == Uuid::from_u128(7) && *read.to_text() == *good);
    }
}

/// A challenge is ours only if it is, to the letter, one that was issued, and for what it was issued.
///
/// The input is a challenge, and changes of one that is good.
pub fn challenge(bytes: &[u8]) {
    struct Issued {
        sign_in: (Challenges, String),
        webauthn: (WebauthnChallenges, Vec<u8>),
    }
    static ISSUED: LazyLock<Issued> = LazyLock::new(|| {
        let (sign_in, webauthn) = (Challenges::new(&VAULT), WebauthnChallenges::new(&VAULT));
        let text = sign_in.issue().unwrap().0.expose_secret().to_owned();
        let asked = webauthn.issue(Ceremony::SignIn, now()).unwrap();
        Issued { sign_in: (sign_in, text), webauthn: (webauthn, asked) }
    });
    let (challenges, good) = &ISSUED.sign_in;
    for text in [bytes.to_vec(), altered(good.as_bytes(), bytes)] {
        if let Ok(text) = String::from_utf8(text) {
            assert_eq!(challenges.read(&text).is_some(), text == *good, "{text}");
        }
    }
    let (challenges, good) = &ISSUED.webauthn;
    for asked in [bytes.to_vec(), altered(good, bytes)] {
        assert_eq!(challenges.read(&asked, Ceremony::SignIn, now()).is_some(), asked == *good, "{asked:?}");
        for other in [Ceremony::Registration(Uuid::from_u128(7)), Ceremony::SecondFactor(&[0; 32])] {
            assert!(challenges.read(&asked, other, now()).is_none(), "{asked:?}");
        }
    }
}
