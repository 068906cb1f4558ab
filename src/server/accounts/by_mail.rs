//! Accounts by mail: reset of a password, verification and change of an address. A mail is written to the outbox in the
//! transaction that causes it; nothing here waits for the mail server.
//!
//! Where only an address is typed, nothing is looked up: the same row is written for every address, and the worker
//! finds out whether there is an account. So neither the answer nor its time says who has one.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::own::{Accounts, check_uncommon, is_unchanged};
use crate::guard::AuthUser;
use crate::server::credentials::{Class, Origin, Password, PasswordContext};
use crate::server::error::{Error, FieldErrors};
use crate::server::mail::digest;
use crate::server::model::{
    Change, Client, Event, EventKind, MailKind, MailPurpose, MailToken, NewMail, UserRecord,
};
use crate::server::store::{StoreError, Transaction};

impl Accounts {
    /// Sends a link to choose another password to `email` (trimmed, in lower case), if it has an account.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn forgot(&self, email: &str, client: &Client) -> Result<(), Error> {
        let now = self.clock.now();
        self.limiter.count_mail(email, client.counted_address(), now).await?;
        let mail = NewMail::new(MailKind::Reset, email, None, client, now);
        Ok(self.store.write(async |tx| tx.insert_mail(&mail, None).await).await?)
    }

    /// Returns the user who may choose a password with this token, which stays good. Counted like an estimate of a
    /// password.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`], [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn user_of_reset(&self, token: &str, client: &Client) -> Result<UserRecord, Error> {
        let token = self.token(token, &[MailPurpose::Reset, MailPurpose::Invite], client).await?;
        let user = self.store.read(async |connection| connection.user(token.user).await).await?;
        user.filter(|user| owns(user, &token)).ok_or(Error::LinkInvalid)
    }

    /// Gives the user of the token, which [`user_of_reset`](Self::user_of_reset) returned, another password. Every
    /// session ends, a delay of sign-ins is lifted, and the user is told by mail.
    ///
    /// # Errors
    /// [`Error::ValidationFailed`] for a common password; [`Error::LinkInvalid`], [`Error::Overloaded`],
    /// [`Error::Unavailable`].
    pub(crate) async fn reset(
        &self,
        token: &str,
        user: &UserRecord,
        new: (&Password, PasswordContext),
        client: &Client,
    ) -> Result<(), Error> {
        let digest = digest(token).ok_or(Error::LinkInvalid)?;
        let (new, context) = new;
        let origin = Origin::new(Class::Known, client.counted_address());
        check_uncommon("new_password", self.passwords.hasher.estimate(new, context, origin).await?)?;
        let hash = self.passwords.hash(user.id, new, origin).await?;
        let now = self.clock.now();
        let event = Event::new(EventKind::PasswordReset, now).user(user.id).by(client);
        let told = NewMail::new(MailKind::PasswordChanged, &user.email, Some(user.id), client, now);
        self.store
            .write(async |tx| {
                let user = tx.lock_user(user.id).await?;
                let token = tx.mail_token(&digest, now).await?;
                let both = user.zip(token).filter(|(user, token)| owns(user, token));
                let Some((user, _)) = both else { return Err(Error::LinkInvalid) };
                tx.set_password_hash(user.id, &hash).await?;
                if user.email_verified_at.is_none() {
                    tx.set_email_verified(user.id, Some(now)).await?;
                }
                self.end_everything(tx, user.id, now).await?;
                self.limiter.forgive(tx, &user.email, client.counted_address(), now).await?;
                tx.insert_mail(&told, None).await?;
                Ok(tx.record(event.clone()).await?)
            })
            .await?;
        Ok(self.state.sync_changes().await?)
    }

    /// Marks the address of the token's user as verified.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`], [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn verify_email(&self, token: &str, client: &Client) -> Result<(), Error> {
        let token = self.token(token, &[MailPurpose::Verify], client).await?;
        let now = self.clock.now();
        let event = Event::new(EventKind::EmailVerified, now).user(token.user).by(client);
        self.store
            .write(async |tx| {
                self.use_up(tx, &token).await?;
                tx.set_email_verified(token.user, Some(now)).await?;
                tx.note_change(Change::User(token.user), now).await?;
                Ok::<_, Error>(tx.record(event.clone()).await?)
            })
            .await?;
        Ok(self.state.sync_changes().await?)
    }

    /// Sends the user another link to verify the address, unless it is verified, which the worker finds out.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`], [`Error::UserGone`], [`Error::Unavailable`].
    pub(crate) async fn resend(&self, id: Uuid, client: &Client) -> Result<(), Error> {
        let user = self.store.read(async |connection| connection.user(id).await).await?;
        let user = user.filter(UserRecord::is_enabled).ok_or(Error::UserGone)?;
        let now = self.clock.now();
        self.limiter.count_mail(&user.email, client.counted_address(), now).await?;
        let mail = NewMail::new(MailKind::Verify, &user.email, Some(id), client, now);
        Ok(self.store.write(async |tx| tx.insert_mail(&mail, None).await).await?)
    }

    /// Sends a link to the new address `email`, and a notice to the old one. Nothing changes before the link is used.
    ///
    /// # Errors
    /// [`Error::ValidationFailed`] for the address that the user has; [`Error::PasswordWrong`];
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`] for a user with a second factor;
    /// [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::UserGone`], [`Error::Unavailable`].
    pub(crate) async fn ask_for_email(
        &self,
        caller: &AuthUser,
        id: Uuid,
        email: &str,
        password: &Password,
        client: &Client,
    ) -> Result<(), Error> {
        self.check_fresh_if_enrolled(&caller.second_factors, caller.claims())?;
        let user = self.confirm(id, password, client).await?;
        self.check_fresh_if_enrolled(&user.second_factors, caller.claims())?;
        if user.email == email {
            let reasons = vec!["is the account's address already".to_owned()];
            return Err(Error::ValidationFailed(FieldErrors::from([("email", reasons)])));
        }
        let now = self.clock.now();
        self.limiter.count_mail(email, client.counted_address(), now).await?;
        let asked = Event::new(EventKind::EmailChangeAsked, now).user(id).by(client);
        let link = NewMail::new(MailKind::Change, email, Some(id), client, now);
        let notice = NewMail::new(MailKind::ChangeAsked, &user.email, Some(id), client, now);
        self.store
            .write(async |tx| {
                if !is_unchanged(tx.lock_user(id).await?, &user, &self.passwords.hashes) {
                    return Err(Error::UserGone);
                }
                // An earlier link dies now, not when the worker makes the next one.
                tx.delete_mail_tokens(id, MailPurpose::Change).await?;
                tx.insert_mail(&link, None).await?;
                tx.insert_mail(&notice, None).await?;
                Ok(tx.record(asked.clone()).await?)
            })
            .await
    }

    /// Makes the address of the token the account's, and sends the old one a link that takes the change back.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`], also where the address has an account meanwhile; [`Error::TooManyAttempts`],
    /// [`Error::Unavailable`].
    pub(crate) async fn change_email(&self, token: &str, client: &Client) -> Result<(), Error> {
        let token = self.token(token, &[MailPurpose::Change], client).await?;
        let now = self.clock.now();
        let event = Event::new(EventKind::EmailChanged, now).user(token.user).by(client);
        self.store
            .write(async |tx| {
                let user = self.use_up(tx, &token).await?;
                if tx.is_reserved(&token.email, user.id, now).await?
                    || !tx.set_email(user.id, &token.email, now).await?
                {
                    return Err(Error::LinkInvalid);
                }
                // Links that the old address has got are for somebody who need not read it any more.
                tx.revoke_mail_tokens(user.id).await?;
                tx.delete_waiting_mails(user.id).await?;
                // The token is made here and not by the worker: from now on nobody else gets the old address.
                let told = NewMail::new(MailKind::Changed, &user.email, Some(user.id), client, now);
                let undo = self.mail_tokens.issue(
                    (told.id, told.kind, &told.recipient),
                    user.id,
                    &told.details,
                    now,
                );
                let undo = undo?;
                if let Some(undo) = &undo {
                    tx.insert_mail_token(&undo.row).await?;
                }
                tx.insert_mail(&told, undo.as_ref().map(|undo| &undo.sealed)).await?;
                tx.note_change(Change::User(user.id), now).await?;
                Ok(tx.record(event.clone()).await?)
            })
            .await?;
        Ok(self.state.sync_changes().await?)
    }

    /// Gives the account the address of the token back, which a change took from it. Every session ends, the password
    /// no longer works, and a link to choose another is sent.
    ///
    /// # Errors
    /// As for [`change_email`](Self::change_email).
    pub(crate) async fn undo_email(&self, token: &str, client: &Client) -> Result<(), Error> {
        let token = self.token(token, &[MailPurpose::Undo], client).await?;
        let now = self.clock.now();
        let event = Event::new(EventKind::EmailChangeUndone, now).user(token.user).by(client);
        let link = NewMail::new(MailKind::Reset, &token.email, Some(token.user), client, now);
        self.store
            .write(async |tx| {
                let user = self.use_up(tx, &token).await?;
                if !tx.set_email(user.id, &token.email, now).await? {
                    return Err(Error::LinkInvalid);
                }
                // Whoever made this change must not take it back in turn, with the undo of a later one.
                tx.delete_undo_tokens(user.id, token.created_at).await?;
                // An authenticator app that was added since would keep the owner out; a passkey would let another in.
                let added = tx.totp(user.id).await?.and_then(|totp| totp.confirmed_at);
                if added.is_some_and(|at| at >= token.created_at) {
                    tx.delete_totp(user.id).await?;
                }
                tx.delete_passkeys_since(user.id, token.created_at).await?;
                tx.set_second_factors(user.id).await?;
                tx.remove_password(user.id).await?;
                self.end_everything(tx, user.id, now).await?;
                self.limiter.forgive(tx, &token.email, client.counted_address(), now).await?;
                tx.insert_mail(&link, None).await?;
                Ok(tx.record(event.clone()).await?)
            })
            .await?;
        Ok(self.state.sync_changes().await?)
    }

    /// Returns the token of this text, if it is for one of `purposes`. Counted like an estimate of a password, so that
    /// a flood of wrong ones stays small.
    async fn token(&self, text: &str, purposes: &[MailPurpose], client: &Client) -> Result<MailToken, Error> {
        let now = self.clock.now();
        let _attempt = self.limiter.begin_estimate(Class::Estimate, client.counted_address(), now).await?;
        let digest = digest(text).ok_or(Error::LinkInvalid)?;
        let token = self.store.read(async |connection| connection.mail_token(&digest, now).await).await?;
        token.filter(|token| purposes.contains(&token.purpose)).ok_or(Error::LinkInvalid)
    }

    /// Uses a token up and returns its user, locked.
    async fn use_up(&self, tx: &mut Transaction, token: &MailToken) -> Result<UserRecord, Error> {
        let user = tx.lock_user(token.user).await?;
        let is_used = tx.delete_mail_token(&token.digest).await?;
        user.filter(|user| is_used && owns(user, token)).ok_or(Error::LinkInvalid)
    }

    /// Ends every session of the user and revokes every link but the undo of a change.
    async fn end_everything(
        &self,
        tx: &mut Transaction,
        user: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        tx.end_sessions_of(user, now).await?;
        tx.revoke_mail_tokens(user).await?;
        tx.delete_waiting_mails(user).await?;
        tx.note_change(Change::User(user), now).await
    }
}

/// Tells whether the token is still the user's: of an enabled user, and of the address that it was sent to where that
/// must be the account's.
fn owns(user: &UserRecord, token: &MailToken) -> bool {
    let is_for_own_address = matches!(
        token.purpose,
        MailPurpose::Reset | MailPurpose::Invite | MailPurpose::Verify | MailPurpose::Link
    );
    user.is_enabled() && token.user == user.id && (!is_for_own_address || user.email == token.email)
}
