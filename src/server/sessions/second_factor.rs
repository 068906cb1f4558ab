//! Sign-in in two steps: the first factor gives a challenge, and the challenge with a second factor gives a session.
//! Nothing has begun in between.

use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::begin::{Proof, begin_session};
use super::passkey::METHOD;
use super::{Parts, Sessions, Tokens};
use crate::server::abuse::Attempt;
use crate::server::credentials::{AssertionResponse, RecoveryCode, TotpSecret};
use crate::server::error::{Error, outcome};
use crate::server::keys::vault::{Purpose, Vault};
use crate::server::model::{
    Client, Event, EventKind, NewMail, SecondFactorAsked, SignInChallenge, StoredTotp, UserRecord,
};
use crate::server::store::{StoreError, Transaction};

/// How long a challenge is good.
const LIFETIME: Duration = Duration::seconds(300);

/// The most answers to a challenge.
const MOST_ANSWERS: u32 = 5;

/// The name of recovery codes among the methods of a challenge.
const RECOVERY_CODE: &str = "recovery_code";

/// The answer to a challenge.
pub(crate) enum Answer {
    /// A code of an authenticator app.
    Code(Zeroizing<String>),
    /// A recovery code.
    RecoveryCode(Zeroizing<String>),
    /// The response of an authenticator with a passkey.
    Passkey(Box<AssertionResponse>),
}

impl Sessions {
    /// Issues a challenge to the user, whose first factor was right, and takes `attempt` back: nothing was guessed. The
    /// address is not remembered as one that has signed in. Returns `None` where the account has changed meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn ask_second_factor(
        &self,
        id: Uuid,
        proof: &Proof,
        attempt: &Attempt,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Option<SecondFactorAsked>, Error> {
        let Parts { store, passwords, .. } = &*self.inner;
        let waiting = self.waiting(id, proof.methods(), client, by_cookie)?;
        let methods = store
            .write(async |tx| {
                let user = tx.lock_user(id).await?;
                let is_same = |user: &UserRecord| user.is_enabled() && proof.holds_for(user, passwords);
                let Some(user) = user.filter(is_same).filter(|user| !user.second_factors.is_empty()) else {
                    return Ok(None);
                };
                tx.uncount(attempt.counted()).await?;
                Ok::<_, Error>(Some(waiting.store(tx, user).await?))
            })
            .await?;
        Ok(methods.map(|methods| SecondFactorAsked { challenge: waiting.challenge, methods }))
    }

    /// Makes the challenge of a user whose first factor, proved by these methods, was right.
    ///
    /// # Errors
    /// [`Error::Internal`] where the system provides no random numbers.
    pub(super) fn waiting(
        &self,
        user: Uuid,
        methods: Vec<String>,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Waiting, Error> {
        let Parts { clock, challenges, .. } = &*self.inner;
        let no_randomness = || Error::Internal("the system provides no random numbers".into());
        let (challenge, digest) = challenges.issue().ok_or_else(no_randomness)?;
        let now = clock.now();
        let expires_at = now + LIFETIME;
        let stored =
            SignInChallenge { digest, user_id: user, methods, by_cookie, created_at: now, expires_at };
        let event = Event::new(EventKind::SecondFactorAsked, now).user(user).by(client);
        Ok(Waiting { challenge, stored, event })
    }

    /// Signs in by the answer to a challenge. Each answer counts for the challenge and, like a password, for the
    /// account and the client's address.
    ///
    /// # Errors
    /// [`Error::SecondFactorInvalid`] for a wrong or used answer, and for a challenge that is unknown, used up or
    /// expired; [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn second_factor(
        &self,
        challenge: &str,
        answer: &Answer,
        client: &Client,
    ) -> Result<Tokens, Error> {
        let signed_in = self.try_second_factor(challenge, answer, client).await;
        self.inner.counts.sign_ins.count(outcome(&signed_in));
        signed_in
    }

    async fn try_second_factor(
        &self,
        challenge: &str,
        answer: &Answer,
        client: &Client,
    ) -> Result<Tokens, Error> {
        let Parts { store, clock, limiter, challenges, vault, totp_skew, per_user, .. } = &*self.inner;
        let digest = challenges.read(challenge).ok_or(Error::SecondFactorInvalid)?;
        let now = clock.now();
        let found = store
            .read(async |connection| {
                let Some(challenge) = connection.sign_in_challenge(&digest, now).await? else {
                    return Ok(None);
                };
                Ok(connection.user(challenge.user_id).await?.map(|user| (challenge, user)))
            })
            .await?;
        let (challenge, user) = found.ok_or(Error::SecondFactorInvalid)?;
        let attempt = limiter.begin_attempt(&user.email, client.counted_address(), now).await?;
        let passkey = match answer {
            Answer::Passkey(response) => self.own_passkey(&user, response, &digest, now).await?,
            Answer::Code(_) | Answer::RecoveryCode(_) => None,
        };
        let second = if passkey.is_some() { METHOD } else { "otp" };
        let methods = challenge.methods.iter().map(String::as_str).chain([second, "mfa"]);
        let methods = methods.map(str::to_owned).collect();
        let prepared = self.prepare(user.id, methods, client, challenge.by_cookie)?;
        let session = &prepared.session;
        let failed = Event::new(EventKind::SecondFactorFailed, now).user(user.id).by(client);
        let begun = store
            .write(async |tx| {
                let user = tx.lock_user(user.id).await?.filter(UserRecord::is_enabled);
                let Some(user) = user else { return Ok(None) };
                if tx.session(session.id).await?.is_some() {
                    // It was stored before, and the answer was lost.
                    return Ok(Some(user));
                }
                if tx.count_answer(&digest, MOST_ANSWERS, now).await? == 0 {
                    return Ok(None);
                }
                let is_right = match answer {
                    Answer::Code(code) => use_code(tx, vault, user.id, code, *totp_skew, now).await?,
                    Answer::RecoveryCode(typed) => {
                        self.use_recovery_code(tx, &user, typed, now, client).await?
                    }
                    Answer::Passkey(_) => match &passkey {
                        Some(passkey) => self.use_passkey(tx, passkey, &user, now, client).await?,
                        None => false,
                    },
                };
                if !is_right {
                    tx.record(failed.clone()).await?;
                    return Ok(None);
                }
                tx.delete_sign_in_challenge(&digest).await?;
                let user = begin_session(tx, user, session, *per_user).await?;
                attempt.succeed(tx, session.at).await?;
                Ok::<_, Error>(Some(user))
            })
            .await?;
        self.tokens(begun.ok_or(Error::SecondFactorInvalid)?, prepared).await
    }

    /// Uses up a recovery code of the user, who is told by mail. Returns false for one that is wrong or was used before.
    async fn use_recovery_code(
        &self,
        tx: &mut Transaction,
        user: &UserRecord,
        typed: &str,
        now: DateTime<Utc>,
        client: &Client,
    ) -> Result<bool, Error> {
        let Some(code) = RecoveryCode::read(typed) else { return Ok(false) };
        if tx.use_recovery_code(user.id, &code.digest()).await? == 0 {
            return Ok(false);
        }
        let left = tx.count_recovery_codes(user.id).await?;
        let event =
            Event::new(EventKind::RecoveryCodeUsed, now).user(user.id).by(client).detail("left", left);
        if self.inner.has_mail {
            tx.insert_mail(&NewMail::of_second_factors(&event, user, client), None).await?;
        }
        tx.record(event).await?;
        Ok(true)
    }
}

/// A sign-in that waits for a second factor once it is stored.
pub(super) struct Waiting {
    /// The challenge for the client.
    pub(super) challenge: SecretString,
    stored: SignInChallenge,
    event: Event,
}

impl Waiting {
    /// Stores the challenge. Returns the methods that can answer it.
    pub(super) async fn store(
        &self,
        tx: &mut Transaction,
        user: UserRecord,
    ) -> Result<Vec<String>, StoreError> {
        tx.insert_sign_in_challenge(&self.stored).await?;
        tx.record(self.event.clone()).await?;
        let mut methods = user.second_factors;
        if tx.count_recovery_codes(user.id).await? > 0 {
            methods.push(RECOVERY_CODE.to_owned());
        }
        Ok(methods)
    }
}

/// Uses up a code of the user's authenticator app. Returns false for one that is wrong or was used before.
async fn use_code(
    tx: &mut Transaction,
    vault: &Vault,
    user: Uuid,
    code: &str,
    skew: u32,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let Some(totp) = tx.totp(user).await?.filter(|totp| totp.confirmed_at.is_some()) else {
        return Ok(false);
    };
    let Some(step) = unseal_totp(vault, user, &totp)?.step_of(code, now, skew) else { return Ok(false) };
    // The write decides: of any number of requests with one code, at any number of servers, one changes the row.
    Ok(tx.use_totp_step(user, step).await? > 0)
}

/// Seals the secret of the user's authenticator app.
///
/// # Errors
/// [`Error::Internal`].
pub(crate) fn seal_totp(vault: &Vault, user: Uuid, secret: &TotpSecret) -> Result<Vec<u8>, Error> {
    Ok(vault.seal(Purpose::TotpSecret, &[user.as_bytes()], secret.as_bytes())?)
}

/// Unseals the secret of the user's authenticator app.
///
/// # Errors
/// [`Error::Internal`] where its row was altered; [`Error::Unavailable`] where this server does not have the installation
/// key under which it was sealed yet.
pub(crate) fn unseal_totp(vault: &Vault, user: Uuid, totp: &StoredTotp) -> Result<TotpSecret, Error> {
    let secret = vault.open(Purpose::TotpSecret, &[user.as_bytes()], &totp.sealed);
    secret.map(TotpSecret::from).map_err(|error| match Error::from(error) {
        Error::Internal(reason) => Error::Internal(format!("user {user}: {reason}")),
        error => error,
    })
}
