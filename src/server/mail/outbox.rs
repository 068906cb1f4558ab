//! Prepares a mail that is due: its user, looked up now, and its token. A mail that nobody needs any more is not
//! sent.

use chrono::{DateTime, Utc};

use super::token::{MailSecret, MailTokens, NewToken};
use crate::server::error::Error;
use crate::server::model::{MailKind, MailPurpose, UserRecord, WaitingMail};
use crate::server::store::Transaction;

/// A mail that can be sent.
pub(super) struct Prepared {
    /// The kind. It differs from that of the outbox where the address turned out to be another account's.
    pub(super) kind: MailKind,
    /// The user it is about.
    pub(super) user: UserRecord,
    /// The token in it, and the time until which it works.
    pub(super) secret: Option<(MailSecret, DateTime<Utc>)>,
}

impl MailTokens {
    /// Looks up what `mail`, of this `kind`, needs at `now`, and makes its token. Returns `None` where nobody needs it.
    pub(super) async fn prepare(
        &self,
        tx: &mut Transaction,
        mail: &WaitingMail,
        kind: MailKind,
        now: DateTime<Utc>,
    ) -> Result<Option<Prepared>, Error> {
        // The owner of the address, whom the mail tells.
        let owner = tx.user_by_email(&mail.recipient).await?;
        let id = mail.user.or(owner.as_ref().map(|owner| owner.id));
        let Some(id) = id else { return Ok(None) };
        let Some(user) = tx.lock_user(id).await? else { return Ok(None) };
        let is_own = user.is_enabled() && user.email == mail.recipient;
        let is_wanted = match kind {
            MailKind::Verify => is_own && user.email_verified_at.is_none(),
            MailKind::Reset | MailKind::Invite | MailKind::Link | MailKind::Taken => is_own,
            MailKind::Change => user.is_enabled() && user.email != mail.recipient,
            MailKind::ChangeAsked
            | MailKind::Changed
            | MailKind::PasswordChanged
            | MailKind::SecondFactors => true,
        };
        if !is_wanted {
            return Ok(None);
        }
        if kind == MailKind::Change
            && let Some(owner) = owner
        {
            // Told in the mail alone: the answer to the request must not say who has an account.
            let told = Prepared { kind: MailKind::Taken, user: owner, secret: None };
            return Ok(Some(told).filter(|told| told.user.is_enabled()));
        }
        let Some(purpose) = kind.purpose() else { return Ok(Some(Prepared { kind, user, secret: None })) };
        if let Some(token) = &mail.token {
            let stored = tx.mail_token(&token.digest, DateTime::UNIX_EPOCH).await?;
            // Used, or revoked by a newer one or a new password.
            let Some(stored) = stored else { return Ok(None) };
            if stored.expires_at > now {
                let secret = self.unseal(mail, token).map_err(|error| match Error::from(error) {
                    Error::Internal(reason) => Error::Internal(format!("the mail {}: {reason}", mail.id)),
                    error => error,
                })?;
                return Ok(Some(Prepared { kind, user, secret: Some((secret, stored.expires_at)) }));
            }
        }
        // None yet, or it expired while the mail waited.
        let made = self.issue((mail.id, kind, &mail.recipient), user.id, &mail.details, now)?;
        let Some(NewToken { secret, row, sealed }) = made else { return Ok(None) };
        if purpose != MailPurpose::Undo {
            tx.delete_mail_tokens(user.id, purpose).await?;
        }
        tx.insert_mail_token(&row).await?;
        tx.set_mail_token(mail.id, user.id, &sealed).await?;
        Ok(Some(Prepared { kind, user, secret: Some((secret, row.expires_at)) }))
    }
}
