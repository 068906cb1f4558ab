//! The format of a seal: bytes that are encrypted with authentication, together with what they belong to.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | the version of this format: 1 |
//! | 1 | the suite: how the key is derived and which cipher encrypts. 1 is HKDF-SHA-256 (RFC 5869) and AES-256-GCM (SP 800-38D) with a random nonce |
//! | 4 | the generation of the installation key, big-endian |
//! | 12 | suite 1: the nonce |
//! | rest | suite 1: the ciphertext and its tag of 16 bytes |
//!
//! Only the newest installation key is sealed under the passphrase instead: in suite 1 by Argon2id (RFC 9106), whose costs are
//! stored beside it.
//!
//! The first six bytes are authenticated too. A suite that must be replaced stays readable until everything is sealed anew
//! under the next one.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// The bytes of an installation key, and of every key derived from it.
pub(super) const KEY_BYTES: usize = 32;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The bytes before the nonce.
pub(super) const HEADER_BYTES: usize = 6;
const VERSION: u8 = 1;
const HKDF_SHA256_AES_256_GCM: u8 = 1;

/// Part of all associated data and of each derivation, so that nothing else that this server encrypts can stand in the
/// place of a seal.
const DOMAIN: &[u8] = b"hallpass seal";

/// The purpose of a seal. Each purpose has a key of its own, so a seal of one is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The private key of a signing key.
    SigningKey,
    /// The hash of a user's password.
    PasswordHash,
    /// An earlier installation key.
    InstallationKey,
    /// The secret of a user's authenticator app (RFC 6238).
    TotpSecret,
    /// A token in a mail that waits to be sent.
    MailToken,
}

impl Purpose {
    /// Returns what is sealed for it, for error texts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SigningKey => "a signing key",
            Self::PasswordHash => "the hash of a password",
            Self::InstallationKey => "an earlier installation key",
            Self::TotpSecret => "the secret of an authenticator app",
            Self::MailToken => "a token in a mail",
        }
    }

    /// Returns its name in the derivation. It is never changed: what was sealed under it would not unseal.
    fn label(self) -> &'static [u8] {
        match self {
            Self::SigningKey => b"signing key",
            Self::PasswordHash => b"password hash",
            Self::InstallationKey => b"installation key",
            Self::TotpSecret => b"totp secret",
            Self::MailToken => b"mail token",
        }
    }
}

/// The header of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    suite: u8,
    /// The generation of the installation key.
    pub(super) generation: u32,
}

impl Header {
    /// Returns the header of a seal that is made now.
    pub(super) fn new(generation: u32) -> Self {
        Self { suite: HKDF_SHA256_AES_256_GCM, generation }
    }

    /// Returns the header of `sealed`, if this binary knows its version and suite.
    pub(super) fn of(sealed: &[u8]) -> Option<Self> {
        let (&[version, suite, ref generation @ ..], _) = sealed.split_first_chunk::<HEADER_BYTES>()?;
        let generation = u32::from_be_bytes(*generation);
        (version == VERSION && suite == HKDF_SHA256_AES_256_GCM).then_some(Self { suite, generation })
    }

    pub(super) fn bytes(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.generation.to_be_bytes();
        [VERSION, self.suite, a, b, c, d]
    }
}

/// The place of a seal: an installation, a purpose, and the values that are stored beside it. A seal that was moved to
/// another place does not unseal.
pub(super) struct Place<'a> {
    pub(super) installation: Uuid,
    pub(super) purpose: Purpose,
    pub(super) about: &'a [&'a [u8]],
}

impl Place<'_> {
    /// Seals `plain` under the installation key `key` of this generation.
    pub(super) fn seal(&self, key: &[u8], generation: u32, plain: &[u8]) -> Result<Vec<u8>, &'static str> {
        let header = Header::new(generation);
        let sealed = encrypt(&*self.derive(key, header), plain, &self.associated_data(header))?;
        Ok([&header.bytes()[..], &sealed].concat())
    }

    /// Unseals what [`seal`](Self::seal) returned; `None` if anything differs.
    pub(super) fn unseal(&self, key: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let header = Header::of(sealed)?;
        decrypt(&*self.derive(key, header), &sealed[HEADER_BYTES..], &self.associated_data(header))
    }

    fn derive(&self, key: &[u8], header: Header) -> Zeroizing<[u8; KEY_BYTES]> {
        derive(key, DOMAIN, &[DOMAIN, &[header.suite], self.installation.as_bytes(), self.purpose.label()])
    }

    fn associated_data(&self, header: Header) -> Vec<u8> {
        let bytes = header.bytes();
        let mut fields = vec![DOMAIN, &bytes, self.installation.as_bytes(), self.purpose.label()];
        fields.extend(self.about);
        length_prefixed(&fields)
    }
}

/// Derives a key from an installation key (RFC 5869).
pub(super) fn derive(key: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            KEY_BYTES
        }
    }
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    Salt::new(HKDF_SHA256, salt)
        .extract(key)
        .expand(info, Length)
        .and_then(|okm| okm.fill(&mut *derived))
        .expect("HKDF yields 32 bytes for any label");
    derived
}

/// Joins the fields, each after its length, so that no two lists of fields give the same bytes.
pub(super) fn length_prefixed(fields: &[&[u8]]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|field| (field.len() as u64).to_be_bytes().into_iter().chain(field.iter().copied()))
        .collect()
}

/// Returns the nonce, then the ciphertext with its tag.
pub(super) fn encrypt(key: &[u8], plain: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, &'static str> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| "a key is unusable")?;
    // Allocated with room for the tag, because growing would leave a copy of the plaintext behind.
    let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
    sealed.extend_from_slice(plain);
    match key.seal_in_place_append_tag(Aad::from(associated_data), &mut sealed) {
        Ok(nonce) => Ok([&nonce.as_ref()[..], &sealed].concat()),
        Err(_) => {
            sealed.zeroize();
            Err("sealing failed")
        }
    }
}

/// Decrypts what [`encrypt`] returned; `None` if anything differs.
pub(super) fn decrypt(key: &[u8], sealed: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = Zeroizing::new(rest.to_vec());
    let length = key.open_in_place(nonce, Aad::from(associated_data), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    fn place<'a>(purpose: Purpose, about: &'a [&'a [u8]]) -> Place<'a> {
        Place { installation: Uuid::from_u128(1), purpose, about }
    }

    #[test]
    fn a_seal_unseals_in_its_own_place_alone() {
        let here = place(Purpose::PasswordHash, &[b"ada", b"x"]);
        let sealed = here.seal(&KEY, 1, b"secret").unwrap();
        assert_eq!(here.unseal(&KEY, &sealed).unwrap().as_slice(), b"secret");
        assert!(here.unseal(&[8; KEY_BYTES], &sealed).is_none(), "another key");
        let elsewhere =
            Place { installation: Uuid::from_u128(2), ..place(Purpose::PasswordHash, here.about) };
        assert!(elsewhere.unseal(&KEY, &sealed).is_none(), "another installation");
        for (what, place) in [
            ("another purpose", place(Purpose::TotpSecret, here.about)),
            ("another row", place(Purpose::PasswordHash, &[b"bob", b"x"])),
            ("a byte moved between values", place(Purpose::PasswordHash, &[b"adax", b""])),
            ("a value more", place(Purpose::PasswordHash, &[b"ada", b"x", b""])),
        ] {
            assert!(place.unseal(&KEY, &sealed).is_none(), "{what}");
        }
    }

    #[test]
    fn a_seal_says_its_version_suite_and_generation_and_shows_nothing_else() {
        let here = place(Purpose::PasswordHash, &[]);
        let (one, two) = (here.seal(&KEY, 258, b"secret").unwrap(), here.seal(&KEY, 258, b"secret").unwrap());
        assert_eq!(one[..6], [1, 1, 0, 0, 1, 2]);
        assert_eq!(Header::of(&one), Some(Header::new(258)));
        assert_eq!(one.len(), 6 + 12 + 6 + 16);
        assert_ne!(one[6..], two[6..], "a nonce of its own");
        for unknown in [&[2, 1, 0, 0, 0, 1][..], &[1, 2, 0, 0, 0, 1], &[1, 1, 0], &[]] {
            assert_eq!(Header::of(unknown), None, "{unknown:?}");
        }
    }

    proptest! {
        #[test]
        fn no_altered_byte_unseals(position in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let here = place(Purpose::MailToken, &[b"row"]);
            let mut sealed = here.seal(&KEY, 1, b"secret").unwrap();
            let position = position.index(sealed.len());
            sealed[position] ^= 1 << bit;
            prop_assert!(here.unseal(&KEY, &sealed).is_none());
        }

        #[test]
        fn two_lists_of_fields_look_alike_only_when_they_are_the_same(
            one in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..4), 0..4),
            other in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..4), 0..4),
        ) {
            let joined = |list: &Vec<Vec<u8>>| length_prefixed(&list.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(joined(&one) == joined(&other), one == other);
        }
    }
}
