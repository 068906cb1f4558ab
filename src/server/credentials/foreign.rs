//! Password hashes of other programs: parsed, limited in cost, and compared, so that users keep their passwords when
//! their accounts are imported. Each is replaced by a hash of ours at the next successful sign-in.
//!
//! | as written by | text |
//! |---|---|
//! | bcrypt, most languages | `$2a$…`, `$2b$…`, `$2x$…`, `$2y$…` |
//! | Django | `bcrypt$$2b$…`, `bcrypt_sha256$$2b$…`, `pbkdf2_sha256$…`, `pbkdf2_sha1$…`, `scrypt$…`, `argon2$argon2id$…` |
//! | Werkzeug | `scrypt:N:r:p$…`, `pbkdf2:sha1:…`, `pbkdf2:sha256:…`, `pbkdf2:sha512:…` |
//! | argon2, PHC string | `$argon2id$…` |

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::Digest;
use zeroize::Zeroizing;

/// The most memory that a stored hash may ask for, KiB.
const MAX_MEMORY_KIB: u64 = 256 * 1024;

/// The most rounds of PBKDF2.
const MAX_ROUNDS: u32 = 10_000_000;

/// The most passes and lanes of the memory-hard functions.
const MAX_PASSES: u32 = 16;

/// The highest cost of bcrypt that is computed: at 31 one hash takes days.
const MAX_BCRYPT_COST: u32 = 18;

/// The bytes of a password that bcrypt reads; those beyond do not count.
const BCRYPT_BYTES: usize = 72;

/// A hash of another program, of an accepted cost.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    Bcrypt { hash: Zeroizing<String>, prehashed: bool },
    Argon2id { memory_kib: u32, passes: u32, lanes: u32, salt: Vec<u8>, hash: Zeroizing<Vec<u8>> },
    Scrypt { log_n: u8, r: u32, p: u32, salt: Vec<u8>, hash: Zeroizing<Vec<u8>> },
    Pbkdf2 { digest: Digest2, rounds: u32, salt: Vec<u8>, hash: Zeroizing<Vec<u8>> },
}

/// The digest under PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest2 {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest2 {
    /// Returns the bytes of a digest.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The error for text that is not a hash of a kind above.
const UNKNOWN: &str = "is no hash that is accepted: bcrypt, argon2id, and scrypt and PBKDF2 as Django and Werkzeug \
                       write them are";
/// The error for a hash that would take too long.
const TOO_COSTLY: &str = "asks for more work than is accepted";

impl Foreign {
    /// Reads a stored hash.
    ///
    /// # Errors
    /// The reason in words, when it is of an unknown kind, damaged, or too costly to compute.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(rest) = text.strip_prefix("bcrypt_sha256$") {
            return bcrypt(rest, true);
        }
        if let Some(rest) = text.strip_prefix("bcrypt$") {
            return bcrypt(rest, false);
        }
        if text.starts_with("$2") {
            return bcrypt(text, false);
        }
        if let Some(rest) = text.strip_prefix("$argon2id$").or_else(|| text.strip_prefix("argon2$argon2id$"))
        {
            return argon2id(rest);
        }
        let (head, rest) = text.split_once('$').ok_or(UNKNOWN)?;
        match head.split_once(':') {
            Some(("scrypt", parameters)) => werkzeug_scrypt(parameters, rest),
            Some(("pbkdf2", parameters)) => werkzeug_pbkdf2(parameters, rest),
            Some(_) => Err(UNKNOWN),
            None => match head {
                "scrypt" => django_scrypt(rest),
                "pbkdf2_sha256" => django_pbkdf2(Digest2::Sha256, rest),
                "pbkdf2_sha1" => django_pbkdf2(Digest2::Sha1, rest),
                _ => Err(UNKNOWN),
            },
        }
    }

    /// Tells whether this is the hash of `password`; the work is that of the stored cost.
    ///
    /// A password with a NUL byte never matches: bcrypt stops at it, and HMAC pads a short key with NULs, so that such
    /// a byte would not count.
    pub(super) fn verify(&self, password: &str) -> bool {
        self.matches(password) && Self::may_match(password)
    }

    /// Tells whether a hash of another program can be that of `password`: see [`verify`](Self::verify).
    pub(super) fn may_match(password: &str) -> bool {
        !password.contains('\0')
    }

    /// Returns what bcrypt is to hash for `password`, and bcrypt's own string; `None` for another function.
    pub(super) fn bcrypt(&self, password: &str) -> Option<(Zeroizing<String>, &str)> {
        match self {
            Self::Bcrypt { hash, prehashed: true } => {
                let digest = sha2::Sha256::digest(password.as_bytes());
                Some((
                    Zeroizing::new(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
                    hash.as_str(),
                ))
            }
            // bcrypt ignores all beyond 72 bytes, here as in the program that made the hash: see `reads_all`.
            Self::Bcrypt { hash, prehashed: false } => {
                Some((Zeroizing::new(password.to_owned()), hash.as_str()))
            }
            Self::Argon2id { .. } | Self::Scrypt { .. } | Self::Pbkdf2 { .. } => None,
        }
    }

    /// Tells whether every byte of `password` counts in this hash.
    pub(super) fn reads_all(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt { prehashed: false, .. } => password.len() <= BCRYPT_BYTES,
            Self::Bcrypt { prehashed: true, .. }
            | Self::Argon2id { .. }
            | Self::Scrypt { .. }
            | Self::Pbkdf2 { .. } => true,
        }
    }

    fn matches(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt { .. } => self
                .bcrypt(password)
                .is_some_and(|(text, hash)| bcrypt::verify(&*text, hash).unwrap_or(false)),
            Self::Argon2id { memory_kib, passes, lanes, salt, hash } => {
                let mut out = Zeroizing::new(vec![0; hash.len()]);
                argon2::Params::new(*memory_kib, *passes, *lanes, Some(hash.len())).is_ok_and(|params| {
                    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                        .hash_password_into(password.as_bytes(), salt, &mut out)
                        .is_ok()
                }) && is_equal(&out, hash)
            }
            Self::Scrypt { log_n, r, p, salt, hash } => {
                let mut out = Zeroizing::new(vec![0; hash.len()]);
                scrypt::Params::new(*log_n, *r, *p)
                    .is_ok_and(|params| scrypt::scrypt(password.as_bytes(), salt, &params, &mut out).is_ok())
                    && is_equal(&out, hash)
            }
            Self::Pbkdf2 { digest, rounds, salt, hash } => {
                let mut out = Zeroizing::new(vec![0; hash.len()]);
                let password = password.as_bytes();
                match digest {
                    Digest2::Sha1 => pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt, *rounds, &mut out),
                    Digest2::Sha256 => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, *rounds, &mut out),
                    Digest2::Sha512 => pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password, salt, *rounds, &mut out),
                }
                is_equal(&out, hash)
            }
        }
    }
}

fn is_equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

fn bcrypt(text: &str, prehashed: bool) -> Result<Foreign, &'static str> {
    let known = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
    if !known || text.len() != 60 || !text.is_ascii() {
        return Err(UNKNOWN);
    }
    let parts: bcrypt::HashParts = text.parse().map_err(|_| UNKNOWN)?;
    match parts.get_cost() {
        4..=MAX_BCRYPT_COST => Ok(Foreign::Bcrypt { hash: Zeroizing::new(text.to_owned()), prehashed }),
        _ => Err(TOO_COSTLY),
    }
}

/// `v=19$m=65536,t=3,p=4$salt$hash`
fn argon2id(text: &str) -> Result<Foreign, &'static str> {
    let mut parts = text.split('$');
    if parts.next() != Some("v=19") {
        return Err(UNKNOWN);
    }
    let (mut memory_kib, mut passes, mut lanes) = (None, None, None);
    for parameter in parts.next().ok_or(UNKNOWN)?.split(',') {
        match parameter.split_once('=') {
            Some(("m", value)) => memory_kib = Some(number(value)?),
            Some(("t", value)) => passes = Some(number(value)?),
            Some(("p", value)) => lanes = Some(number(value)?),
            _ => return Err(UNKNOWN),
        }
    }
    let (Some(memory_kib), Some(passes), Some(lanes)) = (memory_kib, passes, lanes) else {
        return Err(UNKNOWN);
    };
    let mut bytes = || STANDARD_NO_PAD.decode(parts.next().unwrap_or_default()).map_err(|_| UNKNOWN);
    let (salt, hash) = (bytes()?, bytes()?);
    if parts.next().is_some() || !is_digest(&hash) || !(8..=64).contains(&salt.len()) {
        return Err(UNKNOWN);
    }
    if u64::from(memory_kib) > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_PASSES {
        return Err(TOO_COSTLY);
    }
    argon2::Params::new(memory_kib, passes, lanes, Some(hash.len())).map_err(|_| UNKNOWN)?;
    Ok(Foreign::Argon2id { memory_kib, passes, lanes, salt, hash: Zeroizing::new(hash) })
}

/// `N$salt$r$p$hash`, the hash in base64.
fn django_scrypt(text: &str) -> Result<Foreign, &'static str> {
    let [n, salt, r, p, hash] = pieces(text)?;
    let hash = STANDARD.decode(hash).map_err(|_| UNKNOWN)?;
    scrypt_of(number(n)?, number(r)?, number(p)?, salt, hash)
}

/// `N:r:p` and `salt$hash`, the hash in hex.
fn werkzeug_scrypt(parameters: &str, rest: &str) -> Result<Foreign, &'static str> {
    let mut numbers = parameters.split(':').map(number);
    let mut next = || numbers.next().unwrap_or(Err(UNKNOWN));
    let (n, r, p) = (next()?, next()?, next()?);
    let [salt, hash] = pieces(rest)?;
    match numbers.next() {
        None => scrypt_of(n, r, p, salt, hex(hash)?),
        Some(_) => Err(UNKNOWN),
    }
}

fn scrypt_of(n: u32, r: u32, p: u32, salt: &str, hash: Vec<u8>) -> Result<Foreign, &'static str> {
    if !n.is_power_of_two() || n < 2 || !is_digest(&hash) || salt.is_empty() {
        return Err(UNKNOWN);
    }
    if u64::from(n) * u64::from(r) / 8 > MAX_MEMORY_KIB || p > MAX_PASSES || r > 64 {
        return Err(TOO_COSTLY);
    }
    let log_n = n.ilog2() as u8;
    scrypt::Params::new(log_n, r, p).map_err(|_| UNKNOWN)?;
    Ok(Foreign::Scrypt { log_n, r, p, salt: salt.into(), hash: Zeroizing::new(hash) })
}

/// `rounds$salt$hash`, the hash in base64.
fn django_pbkdf2(digest: Digest2, text: &str) -> Result<Foreign, &'static str> {
    let [rounds, salt, hash] = pieces(text)?;
    pbkdf2_of(digest, rounds, salt, STANDARD.decode(hash).map_err(|_| UNKNOWN)?)
}

/// `digest:rounds` and `salt$hash`, the hash in hex.
fn werkzeug_pbkdf2(parameters: &str, rest: &str) -> Result<Foreign, &'static str> {
    let (digest, rounds) = parameters.split_once(':').ok_or(UNKNOWN)?;
    let digest = match digest {
        "sha1" => Digest2::Sha1,
        "sha256" => Digest2::Sha256,
        "sha512" => Digest2::Sha512,
        _ => return Err(UNKNOWN),
    };
    let [salt, hash] = pieces(rest)?;
    pbkdf2_of(digest, rounds, salt, hex(hash)?)
}

fn pbkdf2_of(digest: Digest2, rounds: &str, salt: &str, hash: Vec<u8>) -> Result<Foreign, &'static str> {
    let rounds = number(rounds)?;
    if rounds == 0 || !is_digest(&hash) || salt.is_empty() {
        return Err(UNKNOWN);
    }
    match rounds {
        ..=MAX_ROUNDS => {
            Ok(Foreign::Pbkdf2 { digest, rounds, salt: salt.into(), hash: Zeroizing::new(hash) })
        }
        _ => Err(TOO_COSTLY),
    }
}

/// Checks the length: long enough that no second password can be found for it, and no longer than any program writes.
fn is_digest(hash: &[u8]) -> bool {
    (16..=128).contains(&hash.len())
}

fn pieces<const COUNT: usize>(text: &str) -> Result<[&str; COUNT], &'static str> {
    text.split('$').collect::<Vec<_>>().try_into().map_err(|_| UNKNOWN)
}

fn number(text: &str) -> Result<u32, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UNKNOWN);
    }
    text.parse().map_err(|_| TOO_COSTLY)
}

fn hex(text: &str) -> Result<Vec<u8>, &'static str> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(UNKNOWN);
    }
    let byte = |start: usize| u8::from_str_radix(&text[start..start + 2], 16).map_err(|_| UNKNOWN);
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with Django 5.2.19 (`PBKDF2PasswordHasher().encode(password, salt, 1000)` and its siblings),
    /// Werkzeug 3.1.8 (`generate_password_hash(password, "scrypt:1024:8:1")` and its siblings), and the Python
    /// packages bcrypt 5.0.0 and argon2-cffi 25.1.0, at low costs.
    const PASSWORD: &str = "pässwörd of the old house";
    const VECTORS: &[&str] = &[
        "pbkdf2_sha256$1000$saltsalt12345678$+07ad3o8iOzWcExe4oPtbkGAEQv1mlPImPt/gur0FmQ=",
        "pbkdf2_sha1$1000$saltsalt12345678$yMe2TR3i32xCKH4aU8tHkLe0sxw=",
        "scrypt$1024$saltsalt12345678$8$5$ey94x0RHtqp/Q+HWc9JYPi6D8y4ppAzEbzoR+KpX/N32ozyt2lOHh2rBzFvdM6mX2VRacZjsCiO1XzfcUy15xQ==",
        "argon2$argon2id$v=19$m=1024,t=1,p=2$c2FsdHNhbHQxMjM0NTY3OA$2oboAM27IciA/FFHTTw3+tbuhXV/xZ1Vl+k+FQ6LdAQ",
        "$argon2id$v=19$m=1024,t=1,p=1$ktaeBLfnO9ZWO+iQlEo2Eg$w2COAm1j8pANP/zSt7on6lRFicdQpMJUz0E4zutRMvI",
        "bcrypt$$2b$04$yQ3eJs7hGrlXUtQNrTaasO/KiefqC/EBICa3lPHRai1hrcji0vUBq",
        "scrypt:1024:8:1$pLCkAp1HwkjtRWGC$271dfc6ee0b5d552dfc5bceca3d2fc149dd1b9c17b8ee479b37180144f4c394af14f8a0835fbae4209000b57887fd5ad4a2a3c0007949b0d3624e0ba883df4de",
        "pbkdf2:sha256:1000$m4Ya2JSVWMDzMWK4$8f4b3c5537d4e6fecfd0c5c41147591b95e6d0eb96633f6e23c334a32ec68d7c",
        "pbkdf2:sha1:1000$BIB2FV6aKQSoc4it$f2cfcbe180668a52abf2bd8d58791d1ad0d8baab",
        "pbkdf2:sha512:1000$msEYPKrHVKbKdEb4$fd30cc27baef3ea2dc84c0960e87b94d46b4d918285b353fac1b32111d797af66f6c80959097ce94633a0f52e91c637d678770f04edc54ea91c778a6bb50d074",
        "$2a$04$eEtOQdwdsaHZSpyvtr1xvuTjZxcD0eBPA1lfg3l/j5lKFrmYiQfuu",
        "$2b$04$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq",
        "$2y$04$MzH0XF8gPklRxJtVj2392u6ZyL.pwtHKiIINWqgFXrLuFhE16KW7G",
    ];

    #[test]
    fn what_other_tools_wrote_knows_its_password_and_no_other() {
        for vector in VECTORS {
            let hash = Foreign::parse(vector).unwrap_or_else(|reason| panic!("{vector}: {reason}"));
            assert!(hash.verify(PASSWORD), "{vector}");
            for wrong in
                ["", "pässwörd of the old hous", "Pässwörd of the old house", "pässwörd of the old house\0"]
            {
                assert!(!hash.verify(wrong), "{vector} {wrong:?}");
            }
        }
    }

    #[test]
    fn a_cost_is_bounded_before_it_is_obeyed() {
        let dear = [
            VECTORS[0].replace("$1000$", "$10000001$"),
            VECTORS[0].replace("$1000$", "$99999999999$"),
            VECTORS[2].replace("$1024$", "$1073741824$"),
            VECTORS[2].replace("$8$5$", "$8$1000$"),
            VECTORS[3].replace("m=1024", "m=4194304"),
            VECTORS[3].replace("t=1", "t=4000000000"),
            VECTORS[4].replace("p=1", "p=17"),
            VECTORS[6].replace(":1024:", ":1073741824:"),
            VECTORS[7].replace(":1000$", ":10000001$"),
            VECTORS[10].replace("$04$", "$31$"),
            VECTORS[11].replace("$04$", "$19$"),
        ];
        for text in dear {
            assert_eq!(Foreign::parse(&text), Err(TOO_COSTLY), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_of_a_known_kind_is_refused() {
        let damaged = [
            "",
            "$",
            "plain",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "$1$salt$5f4dcc3b5aa765d61d8327deb882cf99",
            "$2b$04$short",
            "$2z$04$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq",
            "$argon2i$v=19$m=1024,t=1,p=1$ktaeBLfnO9ZWO+iQlEo2Eg$w2COAm1j8pANP/zSt7on6lRFicdQpMJUz0E4zutRMvI",
            "$argon2id$v=16$m=1024,t=1,p=1$ktaeBLfnO9ZWO+iQlEo2Eg$w2COAm1j8pANP/zSt7on6lRFicdQpMJUz0E4zutRMvI",
            "$argon2id$v=19$m=1024,t=1$ktaeBLfnO9ZWO+iQlEo2Eg$w2COAm1j8pANP/zSt7on6lRFicdQpMJUz0E4zutRMvI",
            "$argon2id$v=19$m=1024,t=1,p=1$ktaeBLfnO9ZWO+iQlEo2Eg$AA",
            "pbkdf2_sha256$0$salt$+07ad3o8iOzWcExe4oPtbkGAEQv1mlPImPt/gur0FmQ=",
            "pbkdf2_sha256$1000$salt$",
            "pbkdf2_md5$1000$salt$+07ad3o8iOzWcExe4oPtbkGAEQv1mlPImPt/gur0FmQ=",
            "pbkdf2:md5:1000$salt$8f4b3c5537d4e6fecfd0c5c41147591b",
            "pbkdf2:sha256:1000$salt$xyz",
            "scrypt:1000:8:1$salt$8f4b3c5537d4e6fecfd0c5c41147591b",
            "scrypt:1024:8$salt$8f4b3c5537d4e6fecfd0c5c41147591b",
        ];
        for text in damaged {
            assert_eq!(Foreign::parse(text), Err(UNKNOWN), "{text}");
        }
    }

    #[test]
    fn a_hash_of_bcrypt_over_sha256_as_django_writes_it_is_read() {
        let digest: String =
            sha2::Sha256::digest(PASSWORD).iter().map(|byte| format!("{byte:02x}")).collect();
        let stored = format!("bcrypt_sha256${}", bcrypt::hash(digest, 4).unwrap());
        let hash = Foreign::parse(&stored).unwrap();
        assert!(hash.verify(PASSWORD) && !hash.verify("another"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[$:=,a-z0-9/+.]{0,80}", kind in 0..VECTORS.len(), cut in any::<prop::sample::Index>()) {
            let _ = Foreign::parse(&text);
            let vector = VECTORS[kind];
            let cut = cut.index(vector.len());
            if vector.is_char_boundary(cut) {
                let _ = Foreign::parse(&vector[..cut]);
                let _ = Foreign::parse(&format!("{}{text}", &vector[..cut]));
            }
        }
    }
}
