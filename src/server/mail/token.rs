//! Tokens and codes that are sent by mail. A token is 256 random bits; the database has its digest, and beside a mail
//! that waits the token itself, sealed.

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::server::config::{Settings, seconds};
use crate::server::keys::vault::{Purpose, Vault, VaultError};
use crate::server::model::{Digest, MailDetails, MailKind, MailPurpose, MailToken, SealedToken, WaitingMail};

const TOKEN_BYTES: usize = 32;

/// The number of codes: six digits.
const CODES: u32 = 1_000_000;

/// How long a change of the address can be taken back.
const UNDO_LIFETIME: Duration = Duration::days(7);

/// Makes and compares tokens. Clones share the keys.
#[derive(Clone)]
pub(crate) struct MailTokens {
    vault: Arc<Vault>,
    code_key: hmac::Key,
    reset: Duration,
    verify: Duration,
    link: Duration,
}

/// The secrets in a mail: the token, and the code beside a sign-in link.
pub(crate) struct MailSecret {
    /// The token as text.
    pub(crate) token: Zeroizing<String>,
    /// Six digits.
    pub(crate) code: Option<Zeroizing<String>>,
}

/// A new token: the secret, the row, and the sealed form for the mail.
pub(crate) struct NewToken {
    pub(crate) secret: MailSecret,
    pub(crate) row: MailToken,
    pub(crate) sealed: SealedToken,
}

/// Returns the digest of the text of a token; `None` for a text that is none.
pub(crate) fn digest(text: &str) -> Option<Digest> {
    let is_token = text.len() == 43
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_token.then(|| digest_of(text))
}

fn digest_of(text: &str) -> Digest {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    sum.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Returns 256 random bits as text, and their digest.
///
/// # Errors
/// [`VaultError::Failed`] where the system provides no random numbers.
pub(crate) fn random_token() -> Result<(Zeroizing<String>, Digest), VaultError> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    rand::fill(&mut *bytes).map_err(|_| VaultError::Failed("the system provides no random numbers"))?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    let digest = digest_of(&text);
    Ok((text, digest))
}

fn random_code() -> Result<Zeroizing<String>, VaultError> {
    // Numbers beyond the last whole range would favour the low codes.
    const LIMIT: u32 = u32::MAX - u32::MAX % CODES;
    loop {
        let mut bytes = [0; 4];
        rand::fill(&mut bytes).map_err(|_| VaultError::Failed("the system provides no random numbers"))?;
        let number = u32::from_be_bytes(bytes);
        if number < LIMIT {
            return Ok(Zeroizing::new(format!("{:06}", number % CODES)));
        }
    }
}

impl MailTokens {
    /// The tokens of the installation of `vault`.
    pub(crate) fn new(vault: Arc<Vault>, settings: &Settings) -> Self {
        let code_key = hmac::Key::new(hmac::HMAC_SHA256, &*vault.derive("mail code"));
        Self {
            vault,
            code_key,
            reset: seconds(settings.mail.reset_lifetime),
            verify: seconds(settings.mail.verify_lifetime),
            link: seconds(settings.link.lifetime),
        }
    }

    fn lifetime(&self, purpose: MailPurpose) -> Duration {
        match purpose {
            MailPurpose::Reset => self.reset,
            MailPurpose::Verify | MailPurpose::Change | MailPurpose::Invite => self.verify,
            MailPurpose::Undo => UNDO_LIFETIME,
            MailPurpose::Link => self.link,
        }
    }

    /// Makes the token of a mail of this `kind`, with this `id` and `recipient`, for the account of `user`; `None` for
    /// a mail without a token.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    pub(crate) fn issue(
        &self,
        (id, kind, recipient): (Uuid, MailKind, &str),
        user: Uuid,
        details: &MailDetails,
        now: DateTime<Utc>,
    ) -> Result<Option<NewToken>, VaultError> {
        let Some(purpose) = kind.purpose() else { return Ok(None) };
        let (token, digest) = random_token()?;
        let code = (purpose == MailPurpose::Link).then(random_code).transpose()?;
        // With room for the code, because growing would leave a copy behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(64));
        plain.extend_from_slice(token.as_bytes());
        plain.extend_from_slice(code.as_ref().map_or("", |code| code).as_bytes());
        let sealed = self.vault.seal(
            Purpose::MailToken,
            &[id.as_bytes(), kind.name().as_bytes(), recipient.as_bytes()],
            &plain,
        )?;
        let row = MailToken {
            digest,
            purpose,
            user,
            email: recipient.to_owned(),
            code: code.as_ref().map(|code| self.code_mac(user, code)),
            browser: details.browser.as_deref().and_then(from_hex),
            created_at: now,
            expires_at: now + self.lifetime(purpose),
        };
        let secret = MailSecret { token, code };
        Ok(Some(NewToken { secret, row, sealed: SealedToken { digest, sealed } }))
    }

    /// Returns what `token`, that of a mail that waits, has sealed.
    ///
    /// # Errors
    /// [`VaultError::Altered`] if the row of the mail was altered; [`VaultError::UnknownGeneration`].
    pub(crate) fn unseal(&self, mail: &WaitingMail, token: &SealedToken) -> Result<MailSecret, VaultError> {
        let about: [&[u8]; 3] = [mail.id.as_bytes(), mail.kind.as_bytes(), mail.recipient.as_bytes()];
        let plain = self.vault.open(Purpose::MailToken, &about, &token.sealed)?;
        let text = std::str::from_utf8(&plain).ok().and_then(|text| text.split_at_checked(43));
        let (token, code) = text.ok_or(VaultError::Altered("a token in a mail"))?;
        Ok(MailSecret {
            token: Zeroizing::new(token.to_owned()),
            code: (!code.is_empty()).then(|| Zeroizing::new(code.to_owned())),
        })
    }

    /// Returns what is stored of a code.
    fn code_mac(&self, user: Uuid, code: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.code_key);
        context.update(user.as_bytes());
        context.update(code.as_bytes());
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// Tells whether `code` is that of the token.
    pub(crate) fn is_code_of(&self, token: &MailToken, code: &str) -> bool {
        let mac = self.code_mac(token.user, code);
        token.code.is_some_and(|stored| constant_time::verify_slices_are_equal(&stored, &mac).is_ok())
    }
}

/// Returns a digest as hexadecimal digits.
pub(crate) fn to_hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(digest)
}

impl std::fmt::Debug for MailTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::model::KdfParams;

    #[test]
    fn a_token_is_unsealed_only_beside_its_own_mail() {
        let passphrase = "a river of seventeen blue lanterns".into();
        let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        let (vault, _) = Vault::create_with(&passphrase, KdfParams::for_tests(), now).unwrap();
        let tokens = MailTokens::new(Arc::new(vault), &Settings::default());
        let (id, user) = (Uuid::now_v7(), Uuid::now_v7());
        let details = MailDetails { browser: Some("ab".repeat(32)), ..MailDetails::default() };
        let new =
            tokens.issue((id, MailKind::Link, "ada@example.com"), user, &details, now).unwrap().unwrap();
        let mail = WaitingMail {
            id,
            kind: "link".into(),
            recipient: "ada@example.com".into(),
            user: Some(user),
            details,
            token: Some(new.sealed.clone()),
            created_at: now,
            next_try_at: now,
            tries: 0,
            last_error: None,
        };
        let code = new.secret.code.as_ref().unwrap();
        let read = tokens.unseal(&mail, &new.sealed).unwrap();
        assert_eq!((&*read.token, read.code.as_deref()), (&*new.secret.token, Some(&**code)));
        assert_eq!(digest(&read.token), Some(new.row.digest));
        assert_eq!(new.row.browser, Some([0xab; 32]));
        assert!(tokens.is_code_of(&new.row, code));
        assert!(!tokens.is_code_of(&MailToken { user: Uuid::now_v7(), ..new.row.clone() }, code));
        for moved in [
            WaitingMail { id: Uuid::now_v7(), ..mail.clone() },
            WaitingMail { kind: "reset".into(), ..mail.clone() },
            WaitingMail { recipient: "eve@example.com".into(), ..mail.clone() },
        ] {
            let read = tokens.unseal(&moved, &new.sealed);
            assert_eq!(read.err(), Some(VaultError::Altered("a token in a mail")), "{moved:?}");
        }
        assert!(tokens.issue((id, MailKind::Taken, "a@b"), user, &mail.details, now).unwrap().is_none());
    }

    #[test]
    fn a_text_that_is_no_token_has_no_digest() {
        for text in ["", "short", &"x".repeat(44), &"ä".repeat(43), &" ".repeat(43)] {
            assert_eq!(digest(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_code_is_six_digits() {
        for _ in 0..100 {
            let code = random_code().unwrap();
            assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{}", *code);
        }
    }
}
