//! Sign-in by a passkey: alone, where the authenticator has verified its user, or as the second factor of a sign-in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::begin::begin_session;
use super::webauthn_challenge::{Ceremony, LIFETIME, Recognised};
use super::{Parts, Sessions, Tokens};
use crate::log_limit::LogLimit;
use crate::server::credentials::{Assertion, AssertionResponse, Class, verify_assertion};
use crate::server::error::{Error, outcome};
use crate::server::model::{Client, Event, EventKind, Passkey, UserRecord};
use crate::server::store::{StoreError, Transaction};

static REFUSED: LogLimit = LogLimit::new("a passkey was refused");

/// A verified assertion, to be used up in the transaction that begins the session.
pub(super) struct Verified {
    pub(super) passkey: Passkey,
    assertion: Assertion,
    challenge: Recognised,
}

impl Verified {
    /// Returns how it proves who the user is (RFC 8176 §2): by a key of hardware, or by one that is copied.
    pub(super) fn method(&self) -> &'static str {
        if self.passkey.syncable { "swk" } else { "hwk" }
    }

    /// Notes the signature. Returns false for a challenge that was answered before, and for a counter that has not grown,
    /// which is an event: somebody has copied the key.
    pub(super) async fn use_up(
        &self,
        tx: &mut Transaction,
        now: DateTime<Utc>,
        client: &Client,
    ) -> Result<bool, StoreError> {
        if tx.use_challenge(&self.challenge.digest, self.challenge.expires_at).await? == 0 {
            return Ok(false);
        }
        let Assertion { sign_count, synced, .. } = self.assertion;
        if tx.use_passkey(self.passkey.id, sign_count, synced, now).await? > 0 {
            return Ok(true);
        }
        let event = Event::new(EventKind::PasskeyCloned, now).user(self.passkey.user_id).by(client);
        tx.record(event.detail("passkey", self.passkey.id.to_string())).await?;
        Ok(false)
    }
}

impl Sessions {
    /// Returns what `navigator.credentials.get()` takes, as JSON, to sign in by a passkey; or to answer the challenge of a
    /// sign-in that waits for its second factor. Nothing is stored.
    ///
    /// # Errors
    /// [`Error::SecondFactorInvalid`] for a challenge that is unknown or expired; [`Error::Unavailable`].
    pub(crate) async fn passkey_options(&self, challenge: Option<&str>) -> Result<Value, Error> {
        let Parts { store, clock, challenges, webauthn, relying_party, .. } = &*self.inner;
        let now = clock.now();
        let digest = match challenge {
            Some(text) => Some(challenges.read(text).ok_or(Error::SecondFactorInvalid)?),
            None => None,
        };
        let (ceremony, allowed) = match &digest {
            None => (Ceremony::SignIn, vec![]),
            Some(digest) => {
                let found = store
                    .read(async |connection| match connection.sign_in_challenge(digest, now).await? {
                        Some(challenge) => Ok(Some(connection.passkeys_of(challenge.user_id).await?)),
                        None => Ok(None),
                    })
                    .await?;
                (Ceremony::SecondFactor(digest), found.ok_or(Error::SecondFactorInvalid)?)
            }
        };
        let no_randomness = || Error::Internal("the system provides no random numbers".into());
        let issued = webauthn.issue(ceremony, now).ok_or_else(no_randomness)?;
        let allowed = allowed
            .iter()
            .map(|key| json!({"type": "public-key", "id": URL_SAFE_NO_PAD.encode(&key.credential_id)}));
        Ok(json!({
            "challenge": URL_SAFE_NO_PAD.encode(issued),
            "rpId": relying_party.id,
            "timeout": LIFETIME.num_milliseconds(),
            "allowCredentials": allowed.collect::<Vec<_>>(),
            // Alone it has to be both factors; after a password it is the second.
            "userVerification": if digest.is_none() { "required" } else { "discouraged" },
        }))
    }

    /// Signs in by a passkey alone.
    ///
    /// # Errors
    /// [`Error::SecondFactorInvalid`] for an assertion that is wrong, used, of a key that was removed, or without verification
    /// of the user; [`Error::TooManyAttempts`], [`Error::Unavailable`].
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
        let Parts { store, clock, limiter, per_user, .. } = &*self.inner;
        let now = clock.now();
        // Nothing can be guessed here; but each try reads the database and verifies a signature.
        let _in_flight = limiter.begin_estimate(Class::Stranger, client.counted_address(), now).await?;
        let verified = self.verify_passkey(response, Ceremony::SignIn, now).await?;
        // A key that is looked up without a user names its user itself (§7.2, step 6).
        let owner = verified.passkey.user_id;
        if response.user_handle.as_deref() != Some(owner.as_bytes()) || !verified.assertion.user_verified {
            return Err(Error::SecondFactorInvalid);
        }
        let methods = vec![verified.method().to_owned(), "mfa".to_owned()];
        let prepared = self.prepare(owner, methods, client, by_cookie)?;
        let session = &prepared.session;
        let begun = store
            .write(async |tx| {
                let Some(user) = tx.lock_user(owner).await?.filter(UserRecord::is_enabled) else {
                    return Ok(None);
                };
                if tx.session(session.id).await?.is_some() {
                    // It was stored before, and the answer was lost.
                    return Ok(Some(user));
                }
                if !verified.use_up(tx, now, client).await? {
                    return Ok(None);
                }
                Ok::<_, Error>(Some(begin_session(tx, user, session, *per_user).await?))
            })
            .await?;
        self.tokens(begun.ok_or(Error::SecondFactorInvalid)?, prepared).await
    }

    /// Verifies an assertion by the stored key. Nothing is written.
    pub(super) async fn verify_passkey(
        &self,
        response: &AssertionResponse,
        ceremony: Ceremony<'_>,
        now: DateTime<Utc>,
    ) -> Result<Verified, Error> {
        let Parts { store, webauthn, relying_party, .. } = &*self.inner;
        let refused = |reason: &dyn std::fmt::Display| {
            REFUSED.log(log::Level::Info, reason);
            Error::SecondFactorInvalid
        };
        let answered = response.challenge().map_err(|error| refused(&error))?;
        let challenge = webauthn.read(&answered, ceremony, now);
        let challenge = challenge.ok_or_else(|| refused(&"the challenge is none of ours, or has expired"))?;
        let read = store.read(async |connection| connection.passkey_by_credential(&response.id).await);
        let passkey = read.await?.ok_or_else(|| refused(&"the credential is unknown"))?;
        let assertion =
            verify_assertion(relying_party, &answered, response, &passkey.public_key, passkey.syncable)
                .map_err(|error| refused(&error))?;
        Ok(Verified { passkey, assertion, challenge })
    }
}
