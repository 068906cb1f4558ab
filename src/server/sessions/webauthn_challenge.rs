//! The challenges of WebAuthn. They are signed instead of stored, so that asking for one writes nothing: 16 random
//! bytes, the time, and a MAC over both and over what the challenge is for. An answer is stored, so that it is good
//! once.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::server::keys::vault::Vault;
use crate::server::model::{CLOCK_STEP, Digest};

/// How long a challenge is good.
pub(crate) const LIFETIME: Duration = Duration::seconds(300);

const RANDOM: usize = 16;
const TIME: usize = 8;
const MAC: usize = 32;

/// The purpose of a challenge. It is good for no other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ceremony<'a> {
    /// To add a passkey to this user.
    Registration(Uuid),
    /// To sign in, whoever it is.
    SignIn,
    /// To answer the challenge of a sign-in with this digest.
    SecondFactor(&'a Digest),
}

/// Issues and recognises challenges. `Debug` shows no key.
#[derive(Debug)]
pub(crate) struct WebauthnChallenges(hmac::Key);

/// A challenge of ours that has not expired.
#[derive(Debug)]
pub(crate) struct Recognised {
    /// SHA-256 of the challenge.
    pub digest: Digest,
    /// It is not good from then on.
    pub expires_at: DateTime<Utc>,
}

impl WebauthnChallenges {
    /// Returns the challenges of the installation of `vault`.
    pub(crate) fn new(vault: &Vault) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*vault.derive("webauthn challenge")))
    }

    /// Issues a challenge at `now`; `None` where the system provides no random numbers.
    pub(crate) fn issue(&self, ceremony: Ceremony<'_>, now: DateTime<Utc>) -> Option<Vec<u8>> {
        let mut challenge = vec![0; RANDOM];
        rand::fill(&mut challenge).ok()?;
        challenge.extend(now.timestamp_millis().to_be_bytes());
        let mac = self.mac(ceremony, &challenge);
        challenge.extend(mac.as_ref());
        Some(challenge)
    }

    /// Recognises a challenge that was issued for this ceremony and is good at `now`.
    pub(crate) fn read(
        &self,
        challenge: &[u8],
        ceremony: Ceremony<'_>,
        now: DateTime<Utc>,
    ) -> Option<Recognised> {
        let (named, mac) = challenge.split_at_checked(RANDOM + TIME).filter(|(_, mac)| mac.len() == MAC)?;
        constant_time::verify_slices_are_equal(self.mac(ceremony, named).as_ref(), mac).ok()?;
        let millis = i64::from_be_bytes(*named.last_chunk::<TIME>()?);
        let issued = DateTime::from_timestamp_millis(millis)?;
        let expires_at = issued + LIFETIME;
        let mut stored = [0; 32];
        stored.copy_from_slice(digest::digest(&digest::SHA256, challenge).as_ref());
        // A clock that stepped back has not seen it yet.
        let is_good = issued - CLOCK_STEP <= now && now < expires_at;
        is_good.then_some(Recognised { digest: stored, expires_at })
    }

    fn mac(&self, ceremony: Ceremony<'_>, named: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        match ceremony {
            Ceremony::Registration(user) => {
                context.update(b"c");
                context.update(user.as_bytes());
            }
            Ceremony::SignIn => context.update(b"g"),
            Ceremony::SecondFactor(digest) => {
                context.update(b"s");
                context.update(digest);
            }
        }
        context.update(named);
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::model::KdfParams;

    fn challenges() -> WebauthnChallenges {
        let passphrase = "a river of lanterns".into();
        let (vault, _) =
            Vault::create_with(&passphrase, KdfParams::for_tests(), DateTime::UNIX_EPOCH).unwrap();
        WebauthnChallenges::new(&vault)
    }

    #[test]
    fn a_challenge_is_good_for_its_own_ceremony_for_300_seconds() {
        let (ours, others) = (challenges(), challenges());
        let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let challenge = ours.issue(Ceremony::Registration(ada), now).unwrap();
        let read = |ceremony, at| ours.read(&challenge, ceremony, at).map(|it| it.expires_at);
        assert_eq!(read(Ceremony::Registration(ada), now), Some(now + LIFETIME));
        assert_eq!(read(Ceremony::Registration(bob), now), None);
        assert_eq!(read(Ceremony::SignIn, now), None);
        assert_eq!(read(Ceremony::SecondFactor(&[0; 32]), now), None);
        assert_eq!(read(Ceremony::Registration(ada), now + LIFETIME), None);
        assert!(read(Ceremony::Registration(ada), now - Duration::seconds(5)).is_some());
        assert!(others.read(&challenge, Ceremony::Registration(ada), now).is_none());
        for length in 0..challenge.len() {
            assert!(ours.read(&challenge[..length], Ceremony::Registration(ada), now).is_none(), "{length}");
        }
        assert_ne!(ours.issue(Ceremony::SignIn, now), ours.issue(Ceremony::SignIn, now));
    }
}
