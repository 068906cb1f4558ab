//! Sign-in with a password. Every failure has the same answer after the same work.

use uuid::Uuid;

use super::begin::store_session;
use super::{Parts, Proof, Sessions, Tokens};
use crate::server::credentials::{Origin, Password};
use crate::server::error::{Error, outcome};
use crate::server::model::{Client, Event, EventKind, MailKind, NewMail, UserRecord};

impl Sessions {
    /// Signs in the user with this `email` (trimmed, in lower case).
    ///
    /// # Errors
    /// [`Error::SecondFactorRequired`] for the right password of an account with a second factor;
    /// [`Error::CredentialsInvalid`] for an unknown address, a wrong password, a disabled user and a user without a
    /// password, each after one bcrypt; [`Error::TooManyAttempts`] before it, by the typed address and the client's
    /// address; [`Error::EmailUnverified`] after the right password, where `registration.verify` is `required`;
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub(crate) async fn sign_in(
        &self,
        email: &str,
        password: &Password,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let signed_in = self.try_sign_in(email, password, client, by_cookie).await;
        self.inner.counts.sign_ins.count(outcome(&signed_in));
        signed_in
    }

    async fn try_sign_in(
        &self,
        email: &str,
        password: &Password,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let Parts { store, clock, limiter, passwords, per_user, .. } = &*self.inner;
        let attempt = limiter.begin_attempt(email, client.counted_address(), clock.now()).await?;
        let mut failed = Event::new(EventKind::SignInFailed, clock.now()).by(client);
        // A second round is for the rare case that the user was changed while the hash was computed.
        for _ in 0..2 {
            let user = store.read(async |connection| connection.user_by_email(email).await).await;
            let user = limiter.or_take_back(&attempt, user).await?;
            failed.user = user.as_ref().map(|user| user.id);
            let is_right = passwords.verify(password, user.as_ref(), attempt.origin()).await;
            let is_right = limiter.or_take_back(&attempt, is_right).await?;
            let Some(mut user) = user else { break };
            let Some(hash) = user.password_hash.take() else { break };
            if !is_right || !user.is_enabled() {
                break;
            }
            if self.inner.needs_verified && user.email_verified_at.is_none() {
                let sent = self.send_verification(&user, client).await;
                limiter.or_take_back(&attempt, sent.and(Err::<(), _>(Error::EmailUnverified))).await?;
            }
            let proof = Proof::Password { hash };
            if !user.second_factors.is_empty() {
                let asked = self.ask_second_factor(user.id, &proof, &attempt, client, by_cookie).await?;
                let Some(asked) = asked else { continue };
                let Proof::Password { hash } = &proof;
                self.renew_hash(user.id, password, hash, attempt.origin()).await;
                return Err(Error::SecondFactorRequired(Box::new(asked)));
            }
            let prepared = self.prepare(user.id, proof.methods(), client, by_cookie)?;
            let Proof::Password { hash } = &proof;
            let (session, remembered) = (&prepared.session, attempt.remembered(prepared.session.at));
            let mut begun =
                store.try_begin_session(session, hash, attempt.counted(), remembered, *per_user).await?;
            if begun.is_none() {
                begun = store
                    .write(async |tx| {
                        let user = store_session(tx, session, &proof, passwords, *per_user).await?;
                        if user.is_some() {
                            attempt.succeed(tx, session.at).await?;
                        }
                        Ok::<_, Error>(user)
                    })
                    .await?;
            }
            if let Some(user) = begun {
                let id = user.id;
                let tokens = self.tokens(user, prepared).await?;
                self.renew_hash(id, password, hash, attempt.origin()).await;
                return Ok(tokens);
            }
        }
        if !store.try_record(&failed).await? {
            store.write(async |tx| tx.record(failed.clone()).await).await?;
        }
        Err(Error::CredentialsInvalid)
    }

    /// Sends a link to verify the address to a user who cannot sign in before. If enough mails were sent, the last one
    /// still works.
    pub(super) async fn send_verification(&self, user: &UserRecord, client: &Client) -> Result<(), Error> {
        let Parts { store, clock, limiter, .. } = &*self.inner;
        let now = clock.now();
        match limiter.try_count_mail(&user.email, client.counted_address(), now).await {
            Err(Error::TooManyAttempts { .. }) => return Ok(()),
            counted => counted?,
        }
        let mail = NewMail::new(MailKind::Verify, &user.email, Some(user.id), client, now);
        Ok(store.write(async |tx| tx.insert_mail(&mail, None).await).await?)
    }

    /// Replaces a hash of a lower cost, or of another program, by one at the configured cost, and seals one that is not sealed
    /// under the newest installation key. A failure is logged: the sign-in has succeeded already.
    ///
    /// A hash that ignores the end of the password stays: made anew from what was typed, it would let in whoever
    /// mistyped that end, and refuse the owner from then on.
    async fn renew_hash(&self, user: Uuid, password: &Password, stored: &str, origin: Origin) {
        let Parts { store, passwords, .. } = &*self.inner;
        let is_outdated = passwords.is_outdated(user, password, stored);
        if !is_outdated && passwords.hashes.is_current(stored) {
            return;
        }
        let renewed = async {
            let hash = if is_outdated {
                passwords.hash(user, password, origin).await?
            } else {
                // It is not sealed, or under an earlier installation key.
                passwords.seal_anew(user, stored)?
            };
            store
                .write(async |tx| {
                    // Otherwise the password was changed meanwhile.
                    let is_same = |now: Option<String>| passwords.is_same(user, now.as_deref(), Some(stored));
                    if tx.lock_user(user).await?.is_some_and(|user| is_same(user.password_hash)) {
                        tx.set_password_hash(user, &hash).await?;
                    }
                    Ok::<_, Error>(())
                })
                .await
        };
        if let Err(error) = renewed.await {
            log::warn!("the password hash of user {user} is not renewed: {error}");
        }
    }
}
