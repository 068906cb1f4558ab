//! The format of refresh tokens, and their successors.
//!
//! A token is `hpr_` and, in base64url, 64 bytes: the session's id, 256 random bits, and a MAC over both, which proves
//! that this installation issued it. So a token that was never issued is refused without the database, and every token
//! that was issued is recognised, although the database stores only the digest of the current one, and the digests of
//! used ones for the grace period.
//!
//! The 256 bits of a successor are an HMAC over the token and a random salt. The first refresh stores the salt; a
//! second one with the same token makes the same successor from it. The key is derived from the installation key, so
//! the database alone reveals no successor.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::server::keys::vault::Vault;
use crate::server::model::Digest;

/// The prefix of every token, so that scanners for leaked secrets can recognise one.
const PREFIX: &str = "hpr_";

const ID: usize = 16;
const SECRET: usize = 32;
const MAC: usize = 16;
const LENGTH: usize = ID + SECRET + MAC;

/// A refresh token that this installation issued. It is wiped when dropped.
pub(crate) struct RefreshToken {
    bytes: Zeroizing<[u8; LENGTH]>,
    /// The generation of the installation key under which its session began. Every token of the session has the same, so
    /// that a successor is the same before and after the installation key was replaced.
    generation: u32,
}

/// Issues and recognises refresh tokens. `Debug` shows no key.
#[derive(Debug)]
pub(crate) struct RefreshTokens {
    vault: Arc<Vault>,
    /// In the order of their generations; made anew when the vault has more.
    keys: ArcSwap<Vec<Keys>>,
}

/// The keys derived from one installation key.
#[derive(Debug, Clone)]
struct Keys {
    generation: u32,
    issued: hmac::Key,
    successor: hmac::Key,
}

impl Keys {
    fn of(vault: &Vault) -> Vec<Self> {
        let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let (issued, successor) =
            (vault.derive_each("refresh token: issued"), vault.derive_each("refresh token: successor"));
        let pairs = issued.iter().zip(&successor);
        let keys = pairs.map(|((generation, issued), (_, successor))| Self {
            generation: *generation,
            issued: key(&**issued),
            successor: key(&**successor),
        });
        keys.collect()
    }

    fn mac(&self, named: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        mac.copy_from_slice(&hmac::sign(&self.issued, named).as_ref()[..MAC]);
        mac
    }
}

/// The system provides no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system provides no random numbers")]
pub(crate) struct NoRandomness;

impl RefreshToken {
    /// Returns the session of the token.
    pub(crate) fn session(&self) -> Uuid {
        let mut id = [0; ID];
        id.copy_from_slice(&self.bytes[..ID]);
        Uuid::from_bytes(id)
    }

    /// Returns the digest, which is stored instead of the token.
    pub(crate) fn digest(&self) -> Digest {
        let mut kept = [0; 32];
        kept.copy_from_slice(digest::digest(&digest::SHA256, &*self.bytes).as_ref());
        kept
    }

    /// Returns the text for the client.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + LENGTH.div_ceil(3) * 4));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(*self.bytes, &mut text);
        text
    }
}

impl RefreshTokens {
    /// Returns the refresh tokens of the installation of `vault`.
    pub(crate) fn new(vault: Arc<Vault>) -> Self {
        Self { keys: ArcSwap::from_pointee(Keys::of(&vault)), vault }
    }

    /// Returns the keys of each installation key that the vault has now.
    fn keys(&self) -> Arc<Vec<Keys>> {
        let known = self.keys.load_full();
        if known.last().is_some_and(|keys| keys.generation == self.vault.generation()) {
            return known;
        }
        let keys = Arc::new(Keys::of(&self.vault));
        self.keys.store(Arc::clone(&keys));
        keys
    }

    fn keys_of(&self, generation: u32) -> Keys {
        let keys = self.keys();
        let found = keys.iter().find(|keys| keys.generation == generation).or(keys.last());
        found.expect("a vault has at least one key").clone()
    }

    /// Issues the first token of a session that begins at `now`.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn first(&self, session: Uuid, now: DateTime<Utc>) -> Result<RefreshToken, NoRandomness> {
        let mut secret = Zeroizing::new([0; SECRET]);
        rand::fill(&mut *secret).map_err(|_| NoRandomness)?;
        // Every server must recognise it.
        Ok(issue(&self.keys_of(self.vault.settled_generation(now)), session, &secret))
    }

    /// Returns the successor of `token` made with `salt`: always the same one.
    pub(crate) fn successor(&self, token: &RefreshToken, salt: &[u8; 32]) -> RefreshToken {
        let keys = self.keys_of(token.generation);
        let mut context = hmac::Context::with_key(&keys.successor);
        context.update(&*token.bytes);
        context.update(salt);
        let mut secret = Zeroizing::new([0; SECRET]);
        secret.copy_from_slice(context.sign().as_ref());
        issue(&keys, token.session(), &secret)
    }

    /// Returns a random salt.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn salt(&self) -> Result<[u8; 32], NoRandomness> {
        let mut salt = [0; 32];
        rand::fill(&mut salt).map_err(|_| NoRandomness).map(|()| salt)
    }

    /// Returns the token that `text` encodes, if this installation issued it.
    pub(crate) fn read(&self, text: &str) -> Option<RefreshToken> {
        let encoded = text.strip_prefix(PREFIX)?;
        let mut bytes = Zeroizing::new([0; LENGTH]);
        // The decoder stops at the end of the slice, so a longer text takes no more time.
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut *bytes).ok()?;
        let (named, mac) = bytes.split_at(ID + SECRET);
        let is_ours =
            |keys: &&Keys| aws_lc_rs::constant_time::verify_slices_are_equal(&keys.mac(named), mac).is_ok();
        let generation = self.keys().iter().rev().find(is_ours)?.generation;
        (length == LENGTH).then_some(RefreshToken { bytes, generation })
    }
}

fn issue(keys: &Keys, session: Uuid, secret: &[u8; SECRET]) -> RefreshToken {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    bytes[..ID].copy_from_slice(session.as_bytes());
    bytes[ID..ID + SECRET].copy_from_slice(secret);
    let mut mac = keys.mac(&bytes[..ID + SECRET]);
    bytes[ID + SECRET..].copy_from_slice(&mac);
    mac.zeroize();
    RefreshToken { bytes, generation: keys.generation }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshToken(session {})", self.session())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::model::KdfParams;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000, 0).unwrap()
    }

    fn tokens() -> RefreshTokens {
        let (vault, _) = Vault::create_with(
            &"a river of lanterns".into(),
            KdfParams::for_tests(),
            DateTime::<Utc>::UNIX_EPOCH,
        )
        .unwrap();
        RefreshTokens::new(Arc::new(vault))
    }

    #[test]
    fn a_token_is_recognised_and_names_its_session() {
        let tokens = tokens();
        let session = Uuid::now_v7();
        let token = tokens.first(session, now()).unwrap();
        let read = tokens.read(&token.to_text()).expect("our own token");
        assert_eq!((read.session(), read.digest()), (session, token.digest()));
        assert_ne!(tokens.first(session, now()).unwrap().digest(), token.digest(), "256 random bits");
    }

    #[test]
    fn the_successor_depends_only_on_the_token_and_the_salt() {
        let tokens = tokens();
        let token = tokens.first(Uuid::now_v7(), now()).unwrap();
        let successor = tokens.successor(&token, &[1; 32]);
        assert_eq!(*successor.to_text(), *tokens.successor(&token, &[1; 32]).to_text());
        assert_ne!(successor.digest(), tokens.successor(&token, &[2; 32]).digest());
        assert_ne!(successor.digest(), token.digest());
        assert_eq!(successor.session(), token.session());
        assert!(tokens.read(&successor.to_text()).is_some());
    }

    #[test]
    fn a_token_of_another_installation_and_one_with_another_secret_are_refused() {
        let (ours, others) = (tokens(), tokens());
        let token = ours.first(Uuid::now_v7(), now()).unwrap();
        assert!(others.read(&token.to_text()).is_none());
        let mut forged = token.bytes.clone();
        forged[ID] ^= 1;
        assert!(ours.read(&RefreshToken { bytes: forged, generation: 1 }.to_text()).is_none());
    }

    #[test]
    fn a_token_has_one_spelling() {
        let tokens = tokens();
        let text = tokens.first(Uuid::now_v7(), now()).unwrap().to_text();
        assert_eq!(text.len(), 90);
        let bare = text.strip_prefix(PREFIX).unwrap();
        for other in [
            format!("{}=", *text),
            format!(" {}", *text),
            bare.to_owned(),
            format!("{}A", *text),
            text[..89].to_owned(),
        ] {
            assert!(tokens.read(&other).is_none(), "{other}");
        }
        // The last character carries four bits that must be zero.
        let last = text.chars().last().unwrap();
        for alternative in ('A'..='Z').chain('a'..='z').chain('0'..='9').filter(|other| *other != last) {
            assert!(tokens.read(&format!("{}{alternative}", &text[..89])).is_none(), "{alternative}");
        }
    }

    #[test]
    fn a_session_keeps_its_installation_key_and_a_new_one_takes_the_newest_that_every_server_has() {
        let passphrase = "a river of lanterns".into();
        let (vault, sealed) = Vault::create_with(&passphrase, KdfParams::for_tests(), now()).unwrap();
        let (vault, begun) = (Arc::new(vault), now());
        let tokens = RefreshTokens::new(Arc::clone(&vault));
        let token = tokens.first(Uuid::now_v7(), begun).unwrap();
        let successor = tokens.successor(&token, &[1; 32]).to_text();
        vault.rekeyed(&sealed, &passphrase, begun);

        let read = tokens.read(&token.to_text()).expect("a token of before");
        assert_eq!(*tokens.successor(&read, &[1; 32]).to_text(), *successor, "the same after as before");
        let only_new = |token: &RefreshToken| token.generation == 2;
        let soon = tokens.first(Uuid::now_v7(), begun + chrono::Duration::seconds(2)).unwrap();
        let later = tokens.first(Uuid::now_v7(), begun + chrono::Duration::seconds(61)).unwrap();
        assert!(!only_new(&soon) && only_new(&later));
        for token in [&soon, &later] {
            let read = tokens.read(&token.to_text()).expect("each is recognised");
            assert_eq!(tokens.successor(&read, &[2; 32]).generation, token.generation);
        }
    }

    #[test]
    fn debug_shows_only_the_session() {
        let token = tokens().first(Uuid::nil(), now()).unwrap();
        assert_eq!(format!("{token:?}"), format!("RefreshToken(session {})", Uuid::nil()));
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(text in "(hpr_)?[A-Za-z0-9_-]{0,100}") {
            prop_assert!(tokens().read(&text).is_none());
        }
    }
}
