//! Sign-in by a passkey: alone, where the authenticator has verified its user, or as the second factor of a sign-in.

use chrono::{DateTime, Utc};

use super::begin::begin_session;
use super::webauthn_challenge::{Ceremony, LIFETIME, Recognised};
use super::{Parts, Sessions, Tokens};
use crate::log_limit::LogLimit;
use crate::server::credentials::{Assertion, AssertionResponse, RequestOptions, verify_assertion};
use crate::server::error::{Error, outcome};
use crate::server::model::{Client, CounterKey, Digest, Event, EventKind, NewMail, Passkey, UserRecord};
use crate::server::store::{StoreError, Transaction};

static REFUSED: LogLimit = LogLimit::new("a passkey was refused");

/// How a passkey proves who the user is (RFC 8176 §2).
pub(super) const METHOD: &str = "hwk";

/// A stored passkey, and the challenge that its response answers. Nothing is verified yet.
pub(super) struct Presented {
    pub(super) passkey: Passkey,
    challenge: Recognised,
    answered: Vec<u8>,
}

/// A verified assertion, to be used up in the transaction that begins the session.
pub(super) struct Verified {
    passkey: Passkey,
    assertion: Assertion,
    challenge: Recognised,
}

impl Sessions {
    /// Returns what `navigator.credentials.get()` takes to sign in by a passkey; or to answer the challenge of a
    /// sign-in that waits for its second factor. Nothing is stored.
    ///
    /// # Errors
    /// [`Error::SecondFactorInvalid`] for a challenge that is unknown or expired; [`Error::Unavailable`].
    pub(crate) async fn passkey_options(&self, challenge: Option<&str>) -> Result<RequestOptions, Error> {
        let Parts { store, clock, challenges, webauthn, relying_party, .. } = &*self.inner;
        let now = clock.now();
        let digest = match challenge {
            Some(text) => Some(challenges.read(text).ok_or(Error::SecondFactorInvalid)?),
            None => None,
        };
        let (ceremony, allowed) = match &digest {
            None => (Ceremony::SignIn, None),
            Some(digest) => {
                let found = store
                    .read(async |connection| match connection.sign_in_challenge(digest, now).await? {
                        Some(challenge) => Ok(Some(connection.passkeys_of(challenge.user_id).await?)),
                        None => Ok(None),
                    })
                    .await?;
                (Ceremony::SecondFactor(digest), Some(found.ok_or(Error::SecondFactorInvalid)?))
            }
        };
        let no_randomness = || Error::Internal("the system provides no random numbers".into());
        let issued = webauthn.issue(ceremony, now).ok_or_else(no_randomness)?;
        Ok(RequestOptions::new(relying_party, &issued, allowed.as_deref(), LIFETIME))
    }

    /// Signs in by a passkey alone.
    ///
    /// # Errors
    /// [`Error::SecondFactorInvalid`] for an assertion that is wrong, used, of a passkey that was removed or whose user
    /// is disabled, or without verification of the user; [`Error::EmailUnverified`] after one that is right, where
    /// `registration.verify` is `required`; [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn sign_in_by_passkey(
        &self,
        response: &AssertionResponse,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let signed_in = self.try_passkey(response, client, by_cookie).await;
        self.inner.counts.sign_ins.count(outcome(&signed_in));
        signed_in
    }

    async fn try_passkey(
        &self,
        response: &AssertionResponse,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Tokens, Error> {
        let Parts { store, clock, limiter, .. } = &*self.inner;
        let now = clock.now();
        let counted = limiter.count_passkey(client.counted_address(), now).await?;
        let mut failed = Event::new(EventKind::SignInFailed, now).by(client).detail("method", "passkey");
        if let Some(presented) = self.presented(response, Ceremony::SignIn, now).await? {
            failed.user = Some(presented.passkey.user_id);
            if let Some(verified) = self.verified(presented, response)
                && names_owner(&verified, response)
                && verified.assertion.user_verified
                && let Some(tokens) = self.begin_by_passkey(&verified, &counted, client, by_cookie).await?
            {
                return Ok(tokens);
            }
        }
        if !store.try_record(&failed).await? {
            store.write(async |tx| tx.record(failed.clone()).await).await?;
        }
        Err(Error::SecondFactorInvalid)
    }

    /// Begins the session of a verified assertion. `None` for one that was used, for a copied key, and for a user who
    /// is disabled or gone.
    async fn begin_by_passkey(
        &self,
        verified: &Verified,
        counted: &[CounterKey],
        client: &Client,
        by_cookie: bool,
    ) -> Result<Option<Tokens>, Error> {
        let Parts { store, limiter, per_user, needs_verified, .. } = &*self.inner;
        let owner = verified.passkey.user_id;
        let methods = vec![METHOD.to_owned(), "mfa".to_owned()];
        let prepared = self.prepare(owner, methods, client, by_cookie)?;
        let session = &prepared.session;
        let begun = store
            .write(async |tx| {
                let Some(user) = tx.lock_user(owner).await?.filter(UserRecord::is_enabled) else {
                    return Ok(None);
                };
                if tx.session(session.id).await?.is_some() {
                    // It was stored before, and the answer was lost.
                    return Ok(Some((user, true)));
                }
                if !self.use_passkey(tx, verified, &user, session.at, client).await? {
                    return Ok(None);
                }
                limiter
                    .passkey_accepted(tx, counted, (&user.email, client.counted_address()), session.at)
                    .await?;
                if *needs_verified && user.email_verified_at.is_none() {
                    return Ok(Some((user, false)));
                }
                Ok::<_, Error>(Some((begin_session(tx, user, session, *per_user).await?, true)))
            })
            .await?;
        match begun {
            Some((user, true)) => Ok(Some(self.tokens(user, prepared).await?)),
            Some((user, false)) => {
                self.send_verification(&user, client).await?;
                Err(Error::EmailUnverified)
            }
            None => Ok(None),
        }
    }

    /// Notes the signature of `user`. Returns false for a challenge that was answered before, for a passkey that was
    /// removed, and for a counter that has not grown, which is an event: somebody may have copied the key.
    pub(super) async fn use_passkey(
        &self,
        tx: &mut Transaction,
        verified: &Verified,
        user: &UserRecord,
        now: DateTime<Utc>,
        client: &Client,
    ) -> Result<bool, StoreError> {
        let Verified { passkey, assertion, challenge } = verified;
        if tx.use_challenge(&challenge.digest, challenge.expires_at).await? == 0 {
            return Ok(false);
        }
        if tx.use_passkey(passkey.id, assertion.sign_count, assertion.synced, now).await? > 0 {
            return Ok(true);
        }
        if tx.passkeys_of(user.id).await?.iter().any(|known| known.id == passkey.id) {
            let event = Event::new(EventKind::PasskeyCloned, now).user(user.id).by(client);
            let event = event.detail("passkey", passkey.id.to_string());
            if self.inner.has_mail {
                tx.insert_mail(&NewMail::of_second_factors(&event, user, client), None).await?;
            }
            tx.record(event).await?;
        }
        Ok(false)
    }

    /// Verifies the response of an authenticator to the challenge of a sign-in with this digest, by a passkey of
    /// `user`. `None` for one that is not right.
    pub(super) async fn own_passkey(
        &self,
        user: &UserRecord,
        response: &AssertionResponse,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> Result<Option<Verified>, Error> {
        let presented = self.presented(response, Ceremony::SecondFactor(digest), now).await?;
        let verified = presented
            .filter(|presented| presented.passkey.user_id == user.id)
            .and_then(|presented| self.verified(presented, response));
        // An authenticator that is told which passkeys to use may leave the user out (WebAuthn §7.2, step 6).
        Ok(verified.filter(|verified| response.user_handle.is_none() || names_owner(verified, response)))
    }

    /// Finds the passkey of a response, which answers a challenge of ours for `ceremony`.
    async fn presented(
        &self,
        response: &AssertionResponse,
        ceremony: Ceremony<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Presented>, Error> {
        let Parts { store, webauthn, .. } = &*self.inner;
        let answered = match response.challenge() {
            Ok(answered) => answered,
            Err(error) => return Ok(refused(&error)),
        };
        let Some(challenge) = webauthn.read(&answered, ceremony, now) else {
            return Ok(refused(&"the challenge is none of ours, or has expired"));
        };
        let found =
            store.read(async |connection| connection.passkey_by_credential(&response.id).await).await?;
        Ok(match found {
            Some(passkey) => Some(Presented { passkey, challenge, answered }),
            None => refused(&"the credential is unknown"),
        })
    }

    /// Verifies a response by the stored key. Nothing is written.
    fn verified(&self, presented: Presented, response: &AssertionResponse) -> Option<Verified> {
        let Presented { passkey, challenge, answered } = presented;
        let party = &self.inner.relying_party;
        match verify_assertion(party, &answered, response, &passkey.public_key, passkey.syncable) {
            Ok(assertion) => Some(Verified { passkey, assertion, challenge }),
            Err(error) => refused(&error),
        }
    }
}

/// Tells whether the response names the owner of the passkey. One that is found without a user must (WebAuthn §7.2,
/// step 6).
fn names_owner(verified: &Verified, response: &AssertionResponse) -> bool {
    response.user_handle.as_deref() == Some(verified.passkey.user_id.as_bytes())
}

fn refused<T>(reason: &dyn std::fmt::Display) -> Option<T> {
    REFUSED.log(log::Level::Info, reason);
    None
}
