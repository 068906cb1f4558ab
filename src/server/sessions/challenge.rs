//! The format of the challenge of a sign-in that waits for its second factor: `hpc_` and, in base64url, 256 random bits
//! and a MAC over them. So a challenge that was never issued is refused without the database.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::server::keys::vault::Vault;
use crate::server::model::Digest;

const PREFIX: &str = "hpc_";

const SECRET: usize = 32;
const MAC: usize = 16;
const LENGTH: usize = SECRET + MAC;

/// Issues and recognises challenges. `Debug` shows no key.
#[derive(Debug)]
pub(crate) struct Challenges(hmac::Key);

impl Challenges {
    /// Returns the challenges of the installation of `vault`.
    pub(crate) fn new(vault: &Vault) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*vault.derive("sign-in challenge")))
    }

    /// Issues a challenge. Returns its text for the client, and the digest that is stored; `None` where the system provides
    /// no random numbers.
    pub(super) fn issue(&self) -> Option<(SecretString, Digest)> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        rand::fill(&mut bytes[..SECRET]).ok()?;
        let mac = hmac::sign(&self.0, &bytes[..SECRET]);
        bytes[SECRET..].copy_from_slice(&mac.as_ref()[..MAC]);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + LENGTH.div_ceil(3) * 4));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        Some((SecretString::from(text.as_str()), digest_of(&*bytes)))
    }

    /// Returns the digest of a challenge that this installation issued.
    pub(crate) fn read(&self, text: &str) -> Option<Digest> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let length = URL_SAFE_NO_PAD.decode_slice(text.strip_prefix(PREFIX)?, &mut *bytes).ok()?;
        let mac = hmac::sign(&self.0, &bytes[..SECRET]);
        let is_ours = length == LENGTH
            && constant_time::verify_slices_are_equal(&mac.as_ref()[..MAC], &bytes[SECRET..]).is_ok();
        is_ours.then(|| digest_of(&*bytes))
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let mut stored = [0; 32];
    stored.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    stored
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::server::model::KdfParams;

    fn challenges() -> Challenges {
        let passphrase = "a river of lanterns".into();
        let (vault, _) =
            Vault::create_with(&passphrase, KdfParams::for_tests(), DateTime::UNIX_EPOCH).unwrap();
        Challenges::new(&vault)
    }

    #[test]
    fn a_challenge_is_recognised_by_its_own_installation_alone() {
        let (ours, others) = (challenges(), challenges());
        let (text, digest) = ours.issue().unwrap();
        assert_eq!(ours.read(text.expose_secret()), Some(digest));
        assert_eq!(others.read(text.expose_secret()), None);
        assert_ne!(ours.issue().unwrap().1, digest, "256 random bits");
    }

    #[test]
    fn another_text_is_no_challenge() {
        let challenges = challenges();
        let text = challenges.issue().unwrap().0.expose_secret().to_owned();
        let other = if text.ends_with('A') { "B" } else { "A" };
        let altered = format!("{}{other}", &text[..text.len() - 1]);
        for wrong in
            ["", "hpc_", "x", &text[4..], &text[..60], &format!("{text}A"), &format!("{text}="), &altered]
        {
            assert_eq!(challenges.read(wrong), None, "{wrong}");
        }
    }
}
