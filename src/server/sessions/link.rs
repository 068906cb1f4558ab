//! Sign-in by mail: with the link, in the browser that asked for it where that has a cookie, or with the code beside it, on
//! any device.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::begin::store_session;
use super::{Parts, Proof, Sessions, Tokens};
use crate::server::credentials::Class;
use crate::server::error::Error;
use crate::server::mail::{digest, random_token, to_hex};
use crate::server::model::{
    Client, Event, EventKind, MailKind, MailPurpose, MailToken, NewMail, NewSession, UserRecord,
};
use crate::server::store::Transaction;

/// The most codes that can be tried for one link. The link itself still works after them: otherwise strangers could use up
/// anybody's.
const MOST_CODES: u32 = 5;

impl Sessions {
    /// Sends a link and a code to sign in to `email` (trimmed, in lower case), if it has an account. If the link is to work
    /// in one browser alone, returns what that browser must keep.
    ///
    /// Nothing is looked up: the same row is written for every address.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn ask_for_link(
        &self,
        email: &str,
        client: &Client,
        is_bound: bool,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        let Parts { store, clock, limiter, .. } = &*self.inner;
        let now = clock.now();
        limiter.count_mail(email, client.counted_address(), now).await?;
        let (kept, digest) = random_token().map_err(|error| Error::Internal(error.to_string()))?;
        let mut mail = NewMail::new(MailKind::Link, email, None, client, now);
        mail.details.browser = is_bound.then(|| to_hex(&digest));
        store.write(async |tx| tx.insert_mail(&mail, None).await).await?;
        Ok(is_bound.then_some(kept))
    }

    /// Signs in with the token of a link. `kept` is what the browser kept when it asked for the link.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`], also in another browser, where the link stays good; [`Error::TooManyAttempts`],
    /// [`Error::Unavailable`].
    pub(crate) async fn sign_in_by_link(
        &self,
        token: &str,
        kept: Option<&str>,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let Parts { store, clock, limiter, .. } = &*self.inner;
        let now = clock.now();
        // Not counted for the account: nobody guesses 256 bits, and no stranger may delay who has them.
        let _attempt = limiter.begin_estimate(Class::Estimate, client.counted_address(), now).await?;
        let token = digest(token).ok_or(Error::LinkInvalid)?;
        let token = store.read(async |connection| connection.mail_token(&token, now).await).await?;
        let is_here = |token: &MailToken| {
            token.purpose == MailPurpose::Link
                && (token.browser.is_none() || token.browser == kept.and_then(digest))
        };
        let token = token.filter(is_here).ok_or(Error::LinkInvalid)?;
        let proof = Proof::Mail { email: token.email.clone() };
        let prepared = self.prepare(token.user, &proof, client, by_cookie)?;
        let session = &prepared.session;
        let begun = store.write(async |tx| self.begin_by_mail(tx, session, &proof, &token, now).await).await?;
        self.tokens(begun, prepared).await
    }

    /// Signs in with the code that was sent to `email` (trimmed, in lower case) beside a link. Each code counts like a
    /// password.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`] for a wrong code, after the same work whether or not there is an account or a link;
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn sign_in_by_code(
        &self,
        email: &str,
        code: &str,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let Parts { store, clock, limiter, mail_tokens, .. } = &*self.inner;
        let now = clock.now();
        let attempt = limiter.begin_attempt(email, client.counted_address(), now).await?;
        let user = store.read(async |connection| connection.user_by_email(email).await).await?;
        let id = user.as_ref().map_or(Uuid::nil(), |user| user.id);
        let mut failed = Event::new(EventKind::SignInFailed, now).by(client);
        failed.user = user.map(|user| user.id);
        let proof = Proof::Mail { email: email.to_owned() };
        let prepared = self.prepare(id, &proof, client, by_cookie)?;
        let session = &prepared.session;
        let begun = store
            .write(async |tx| {
                let token = tx.count_code_try(id, now, MOST_CODES).await?;
                let token = token.filter(|token| mail_tokens.is_code_of(token, code));
                let Some(token) = token else {
                    // Committed, so that the try stays counted.
                    tx.record(failed.clone()).await?;
                    return Ok(None);
                };
                let user = self.begin_by_mail(tx, session, &proof, &token, now).await?;
                attempt.succeed(tx, now).await?;
                Ok::<_, Error>(Some(user))
            })
            .await?;
        self.tokens(begun.ok_or(Error::LinkInvalid)?, prepared).await
    }

    /// Uses the token up and stores the session, of a user whose address is verified by that.
    async fn begin_by_mail(
        &self,
        tx: &mut Transaction,
        session: &NewSession,
        proof: &Proof,
        token: &MailToken,
        now: DateTime<Utc>,
    ) -> Result<UserRecord, Error> {
        let user = tx.lock_user(token.user).await?.ok_or(Error::LinkInvalid)?;
        if !tx.delete_mail_token(&token.digest).await? {
            return Err(Error::LinkInvalid);
        }
        if user.email_verified_at.is_none() && user.email == token.email {
            tx.set_email_verified(user.id, Some(now)).await?;
        }
        let begun = store_session(tx, session, proof, self.inner.per_user).await?;
        begun.ok_or(Error::LinkInvalid)
    }
}
