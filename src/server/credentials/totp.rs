//! Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 s, which every app has. Pure: the
//! time is a parameter, and whether a code was used before is for the store to say.

use aws_lc_rs::{constant_time, hmac, rand};
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use qrcode::QrCode;
use qrcode::render::svg;
use zeroize::Zeroizing;

/// The length of a secret: that of the hash (RFC 4226 §4, R6).
const SECRET_BYTES: usize = 20;

/// The length of a step, in seconds (RFC 6238 §4.1).
const STEP_SECS: i64 = 30;

/// The digits of a code (RFC 4226 §5.3).
const DIGITS: usize = 6;

/// The secret that an account shares with an authenticator app. It is wiped when dropped, and `Debug` does not show it.
pub(crate) struct TotpSecret(Zeroizing<Vec<u8>>);

impl TotpSecret {
    /// Makes a random secret; `None` where the system provides no random numbers.
    pub(crate) fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns the bytes, to be sealed.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret as it is typed into an app (RFC 4648 §6).
    pub(crate) fn to_base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(BASE32_NOPAD.encode_len(self.0.len())));
        BASE32_NOPAD.encode_append(&self.0, &mut text);
        text
    }

    /// Returns the URI that apps read from a QR code. `issuer` and `account` are shown beside the code.
    pub(crate) fn to_uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (percent_encoded(issuer), percent_encoded(account));
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECS}",
            *self.to_base32()
        ))
    }

    /// Returns the step within `skew` steps of `now` whose code is `code`; the earliest where it is that of several, which
    /// leaves the later ones good.
    pub(crate) fn step_of(&self, code: &str, now: DateTime<Utc>, skew: u32) -> Option<i64> {
        let code: String = code.chars().filter(|letter| *letter != ' ').take(DIGITS + 1).collect();
        let current = now.timestamp().div_euclid(STEP_SECS);
        let skew = i64::from(skew);
        let is_right = |step: &i64| {
            constant_time::verify_slices_are_equal(self.code(*step).as_bytes(), code.as_bytes()).is_ok()
        };
        (current - skew..=current + skew).filter(|step| *step >= 0).find(is_right)
    }

    /// Returns the code of a step (RFC 4226 §5.3).
    fn code(&self, step: i64) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let hash = tag.as_ref();
        let offset = usize::from(hash[hash.len() - 1] & 0xf);
        let word = [hash[offset] & 0x7f, hash[offset + 1], hash[offset + 2], hash[offset + 3]];
        Zeroizing::new(format!("{:06}", u32::from_be_bytes(word) % 1_000_000))
    }
}

impl From<Zeroizing<Vec<u8>>> for TotpSecret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// Returns the QR code of `text` as an SVG; `None` where it is too long for one.
pub(crate) fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::new(text.as_bytes()).ok()?;
    Some(code.render::<svg::Color<'_>>().min_dimensions(200, 200).build())
}

/// Percent-encodes everything but the unreserved characters (RFC 3986 §2.3).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// RFC 6238, appendix B: the rows of SHA-1. There the codes have eight digits; ours are the last six of them.
    const VECTORS: [(i64, &str); 6] = [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        for (seconds, code) in VECTORS {
            assert_eq!(secret().step_of(&code[2..], at(seconds), 0), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_as_many_beside_it_as_the_skew() {
        let (seconds, code) = VECTORS[2];
        let step = seconds / 30;
        for (skew, offset, is_good) in [
            (0, 0, true),
            (0, -1, false),
            (0, 1, false),
            (1, -1, true),
            (1, 1, true),
            (1, -2, false),
            (1, 2, false),
        ] {
            let found = secret().step_of(&code[2..], at((step + offset) * 30), skew);
            assert_eq!(found, is_good.then_some(step), "{skew} {offset}");
        }
    }

    #[test]
    fn only_six_digits_are_a_code_and_spaces_in_it_do_not_matter() {
        let now = at(59);
        assert_eq!(secret().step_of("287 082", now, 0), Some(1));
        for wrong in ["", "287083", "28708", "94287082", "0287082", "287082x", "２８７０８２", "-87082"]
        {
            assert_eq!(secret().step_of(wrong, now, 1), None, "{wrong}");
        }
    }

    #[test]
    fn an_app_reads_the_secret_from_the_uri() {
        let uri = secret().to_uri("Example & Co", "ada+x@example.com");
        assert_eq!(
            *uri,
            "otpauth://totp/Example%20%26%20Co:ada%2Bx%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Example%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
        let svg = qr_code(&uri).unwrap();
        assert!(svg.contains("<svg") && !svg.contains("<script"), "{svg}");
        assert_eq!(qr_code(&"x".repeat(5_000)), None);
    }

    #[test]
    fn two_secrets_differ_and_debug_shows_none() {
        let (one, other) = (TotpSecret::generate().unwrap(), TotpSecret::generate().unwrap());
        assert_ne!(one.as_bytes(), other.as_bytes());
        assert_eq!((one.as_bytes().len(), format!("{one:?}").as_str()), (20, "TotpSecret(…)"));
    }
}
