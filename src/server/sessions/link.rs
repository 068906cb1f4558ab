//! Sign-in by mail: with the link, in the browser that asked for it where that has a cookie, or with the code beside it, on
//! any device.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::begin::{Prepared, begin_session};
use super::second_factor::Waiting;
use super::{Parts, Sessions, Tokens};
use crate::server::credentials::Class;
use crate::server::error::{Error, outcome};
use crate::server::mail::{digest, random_token, to_hex};
use crate::server::model::{
    Client, Event, EventKind, MailKind, MailPurpose, MailToken, NewMail, SecondFactorAsked, UserRecord,
};
use crate::server::store::Transaction;

/// The most codes that can be tried for one link. The link itself still works after them: otherwise strangers could use up
/// anybody's.
const MOST_CODES: u32 = 5;

/// The outcome of a right link or code.
enum Outcome {
    SignedIn(Box<UserRecord>),
    /// The account has these second factors.
    Waits(Vec<String>),
}

/// A sign-in by mail before it is decided: the session and the challenge, of which one is used.
struct Draft {
    prepared: Prepared,
    waiting: Waiting,
}

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
    /// [`Error::LinkInvalid`], also in another browser, where the link stays good; [`Error::SecondFactorRequired`] where
    /// the account has one, and the link is used up then; [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn sign_in_by_link(
        &self,
        token: &str,
        kept: Option<&str>,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let signed_in = self.try_link(token, kept, client, by_cookie).await;
        self.inner.counts.sign_ins.count(outcome(&signed_in));
        signed_in
    }

    /// Signs in with the code that was sent to `email` (trimmed, in lower case) beside a link. Each code counts like a
    /// password.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`] for a wrong code, after the same work whether or not there is an account or a link;
    /// [`Error::SecondFactorRequired`], [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn sign_in_by_code(
        &self,
        email: &str,
        code: &str,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let signed_in = self.try_code(email, code, client, by_cookie).await;
        self.inner.counts.sign_ins.count(outcome(&signed_in));
        signed_in
    }

    async fn try_link(
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
        let draft = self.draft(token.user, client, by_cookie)?;
        let outcome = store.write(async |tx| self.use_token(tx, &draft, &token, client, now).await).await?;
        self.conclude(outcome, draft).await
    }

    async fn try_code(
        &self,
        email: &str,
        code: &str,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let Parts { store, clock, limiter, mail_tokens, .. } = &*self.inner;
        let now = clock.now();
        let attempt = limiter.begin_attempt(email, client.counted_address(), now).await?;
        let user = store.read(async |connection| connection.user_by_email(email).await).await;
        let user = limiter.or_take_back(&attempt, user).await?;
        let id = user.as_ref().map_or(Uuid::nil(), |user| user.id);
        let mut failed = Event::new(EventKind::SignInFailed, now).by(client);
        failed.user = user.map(|user| user.id);
        let draft = self.draft(id, client, by_cookie)?;
        let outcome = store
            .write(async |tx| {
                let token = tx.count_code_try(id, now, MOST_CODES).await?;
                let Some(token) = token.filter(|token| mail_tokens.is_code_of(token, code)) else {
                    // Committed, so that the try stays counted.
                    tx.record(failed.clone()).await?;
                    return Ok(None);
                };
                let outcome = self.use_token(tx, &draft, &token, client, now).await?;
                match outcome {
                    Outcome::SignedIn(_) => attempt.succeed(tx, now).await?,
                    // Nothing was guessed, but the address has not signed in yet.
                    Outcome::Waits(_) => tx.uncount(attempt.counted()).await?,
                }
                Ok::<_, Error>(Some(outcome))
            })
            .await?;
        self.conclude(outcome.ok_or(Error::LinkInvalid)?, draft).await
    }

    fn draft(&self, user: Uuid, client: &Client, by_cookie: bool) -> Result<Draft, Error> {
        // Not a method that RFC 8176 §2 lists.
        let methods = vec!["email".to_owned()];
        Ok(Draft {
            waiting: self.waiting(user, methods.clone(), client, by_cookie)?,
            prepared: self.prepare(user, methods, client, by_cookie)?,
        })
    }

    /// Uses the token up and begins the session, or the wait for the second factor, of a user whose address is verified by
    /// that.
    async fn use_token(
        &self,
        tx: &mut Transaction,
        draft: &Draft,
        token: &MailToken,
        client: &Client,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Error> {
        let session = &draft.prepared.session;
        let user = tx.lock_user(token.user).await?;
        let is_own = |user: &UserRecord| user.is_enabled() && user.email == token.email;
        let user = user.filter(is_own).ok_or(Error::LinkInvalid)?;
        if tx.session(session.id).await?.is_some() {
            // It was stored before, and the answer was lost.
            return Ok(Outcome::SignedIn(Box::new(user)));
        }
        if !tx.delete_mail_token(&token.digest).await? {
            return Err(Error::LinkInvalid);
        }
        if user.email_verified_at.is_none() {
            tx.set_email_verified(user.id, Some(now)).await?;
            tx.record(Event::new(EventKind::EmailVerified, now).user(user.id).by(client)).await?;
        }
        if !user.second_factors.is_empty() {
            return Ok(Outcome::Waits(draft.waiting.store(tx, user).await?));
        }
        let user = UserRecord { email_verified_at: user.email_verified_at.or(Some(now)), ..user };
        Ok(Outcome::SignedIn(Box::new(begin_session(tx, user, session, self.inner.per_user).await?)))
    }

    async fn conclude(&self, outcome: Outcome, draft: Draft) -> Result<Tokens, Error> {
        match outcome {
            Outcome::SignedIn(user) => self.tokens(*user, draft.prepared).await,
            Outcome::Waits(methods) => {
                let challenge = draft.waiting.challenge;
                Err(Error::SecondFactorRequired(Box::new(SecondFactorAsked { challenge, methods })))
            }
        }
    }
}
