//! The acts of an account's owner on their second factors.
//!
//! Each needs a fresh sign-in: by the second factor where the account has one, so that a password alone, or a stolen
//! session, takes none away.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::own::Accounts;
use crate::guard::AuthUser;
use crate::server::credentials::{Password, RECOVERY_CODES, RecoveryCode, TotpSecret, qr_code};
use crate::server::error::Error;
use crate::server::model::{Change, Client, Digest, Event, EventKind, NewMail, UserRecord};
use crate::server::sessions::{seal_totp, unseal_totp};
use crate::server::state::session_of;
use crate::server::store::{StoreError, Transaction};
use crate::token::Claims;

/// The secret of an authenticator app that is about to be added.
#[derive(Debug)]
pub(crate) struct TotpEnrolment {
    /// The secret in base32, to be typed.
    pub secret: Zeroizing<String>,
    /// The URI that apps read.
    pub uri: Zeroizing<String>,
    /// The URI as a QR code, in SVG.
    pub qr: Zeroizing<String>,
}

/// Recovery codes, to be shown once.
pub(crate) type RecoveryCodes = Vec<Zeroizing<String>>;

impl Accounts {
    /// Checks that the user of these claims has signed in a short time ago: with a second factor, where one of `factors` is
    /// theirs.
    ///
    /// # Errors
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`].
    pub(crate) fn check_fresh(&self, factors: &[String], claims: &Claims) -> Result<(), Error> {
        let fresh = self.second_factors.fresh;
        if claims.authenticated_at().is_none_or(|at| self.clock.now() - at > fresh) {
            return Err(Error::SignInStale { max_age: fresh });
        }
        if !factors.is_empty() && !claims.amr.iter().any(|method| method == "mfa") {
            return Err(Error::SecondFactorMissing);
        }
        Ok(())
    }

    /// Checks the same for an act that a password alone allows where the account has no second factor.
    ///
    /// # Errors
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`].
    pub(crate) fn check_fresh_if_enrolled(&self, factors: &[String], claims: &Claims) -> Result<(), Error> {
        if factors.is_empty() { Ok(()) } else { self.check_fresh(factors, claims) }
    }

    /// Makes the secret of an authenticator app, in place of one that was never confirmed. Nothing is asked for before
    /// [`confirm_totp`](Self::confirm_totp).
    ///
    /// # Errors
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`], [`Error::PasswordWrong`]; [`Error::AlreadyEnrolled`];
    /// [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::Unavailable`], [`Error::UserGone`].
    pub(crate) async fn enrol_totp(
        &self,
        user: &AuthUser,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<TotpEnrolment, Error> {
        let confirmed = self.confirm_for_factors(user, id, password, client).await?;
        let secret = TotpSecret::generate().ok_or_else(no_randomness)?;
        let sealed = seal_totp(&self.vault, id, &secret)?;
        let now = self.clock.now();
        self.store
            .write(async |tx| {
                tx.lock_user(id).await?.ok_or(Error::UserGone)?;
                let is_new = tx.put_totp(id, &sealed, now).await? > 0;
                if is_new { Ok(()) } else { Err(Error::AlreadyEnrolled) }
            })
            .await?;
        let uri = secret.to_uri(&self.second_factors.issuer, &confirmed.email);
        let too_long = || Error::Internal("an otpauth URI is too long for a QR code".into());
        let qr = Zeroizing::new(qr_code(&uri).ok_or_else(too_long)?);
        Ok(TotpEnrolment { secret: secret.to_base32(), uri, qr })
    }

    /// Confirms the authenticator app by a code of it: from now on it is asked for. The session of this request counts as
    /// signed in with it. Returns new recovery codes.
    ///
    /// # Errors
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`]; [`Error::SecondFactorInvalid`] for a wrong code;
    /// [`Error::NotFound`] where no secret was made, [`Error::AlreadyEnrolled`] where it is confirmed;
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`], [`Error::UserGone`].
    pub(crate) async fn confirm_totp(
        &self,
        user: &AuthUser,
        id: Uuid,
        code: &str,
        client: &Client,
    ) -> Result<RecoveryCodes, Error> {
        self.check_fresh(&user.second_factors, user.claims())?;
        let now = self.clock.now();
        self.limiter.count_write(id, now).await?;
        let codes = new_codes()?;
        let session = session_of(user.claims());
        let event =
            Event::new(EventKind::SecondFactorAdded, now).user(id).by(client).detail("method", "totp");
        self.store
            .write(async |tx| {
                let stored = tx.lock_user(id).await?.filter(UserRecord::is_enabled).ok_or(Error::UserGone)?;
                self.check_fresh(&stored.second_factors, user.claims())?;
                let totp = tx.totp(id).await?.ok_or(Error::NotFound)?;
                if totp.confirmed_at.is_some() {
                    return Err(Error::AlreadyEnrolled);
                }
                let secret = unseal_totp(&self.vault, id, &totp)?;
                let step = secret.step_of(code, now, self.second_factors.totp_skew);
                tx.confirm_totp(id, step.ok_or(Error::SecondFactorInvalid)?, now).await?;
                tx.replace_recovery_codes(id, &digests(&codes), now).await?;
                if let Some(session) = session {
                    tx.set_methods(session, &with_second_factor(user.claims(), "otp")).await?;
                }
                Ok(self.factors_changed(tx, &stored, event.clone(), client).await?)
            })
            .await?;
        self.state.sync_changes().await?;
        Ok(codes.iter().map(RecoveryCode::to_text).collect())
    }

    /// Removes the authenticator app.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none; otherwise as for [`enrol_totp`](Self::enrol_totp).
    pub(crate) async fn remove_totp(
        &self,
        user: &AuthUser,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<(), Error> {
        self.confirm_for_factors(user, id, password, client).await?;
        let event = Event::new(EventKind::SecondFactorRemoved, self.clock.now()).user(id).by(client);
        let event = event.detail("method", "totp");
        self.store
            .write(async |tx| {
                let stored = tx.lock_user(id).await?.ok_or(Error::UserGone)?;
                if tx.delete_totp(id).await? == 0 {
                    return Err(Error::NotFound);
                }
                Ok(self.factors_changed(tx, &stored, event.clone(), client).await?)
            })
            .await?;
        Ok(self.state.sync_changes().await?)
    }

    /// Replaces the recovery codes, and returns the new ones.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the account has no second factor; otherwise as for [`enrol_totp`](Self::enrol_totp).
    pub(crate) async fn renew_recovery_codes(
        &self,
        user: &AuthUser,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<RecoveryCodes, Error> {
        self.confirm_for_factors(user, id, password, client).await?;
        let codes = new_codes()?;
        let event = Event::new(EventKind::RecoveryCodesMade, self.clock.now()).user(id).by(client);
        self.store
            .write(async |tx| {
                let stored = tx.lock_user(id).await?.ok_or(Error::UserGone)?;
                if stored.second_factors.is_empty() {
                    return Err(Error::NotFound);
                }
                tx.replace_recovery_codes(id, &digests(&codes), event.at).await?;
                self.tell_of_factors(tx, &stored, &event, client).await?;
                Ok(tx.record(event.clone()).await?)
            })
            .await?;
        Ok(codes.iter().map(RecoveryCode::to_text).collect())
    }

    /// Notes that second factors of the user were added or removed: in the user, for every server, as an event, and in a mail
    /// to the owner.
    pub(super) async fn factors_changed(
        &self,
        tx: &mut Transaction,
        user: &UserRecord,
        event: Event,
        client: &Client,
    ) -> Result<(), StoreError> {
        tx.set_second_factors(user.id).await?;
        tx.note_change(Change::User(user.id), event.at).await?;
        self.tell_of_factors(tx, user, &event, client).await?;
        tx.record(event).await
    }

    async fn tell_of_factors(
        &self,
        tx: &mut Transaction,
        user: &UserRecord,
        event: &Event,
        client: &Client,
    ) -> Result<(), StoreError> {
        if self.has_mail() {
            tx.insert_mail(&NewMail::of_second_factors(event, user, client), None).await?;
        }
        Ok(())
    }

    /// Checks the sign-in and the password of a user who is about to change their second factors.
    pub(super) async fn confirm_for_factors(
        &self,
        user: &AuthUser,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<UserRecord, Error> {
        // Checked first by what is in memory, which costs no hash; then by what is stored.
        self.check_fresh(&user.second_factors, user.claims())?;
        let stored = self.confirm(id, password, client).await?;
        self.check_fresh(&stored.second_factors, user.claims())?;
        Ok(stored)
    }
}

/// Returns the methods of a session whose user has just proved to have a second factor.
pub(super) fn with_second_factor(claims: &Claims, method: &str) -> Vec<String> {
    let mut methods = claims.amr.clone();
    for method in [method, "mfa"] {
        if !methods.iter().any(|known| known == method) {
            methods.push(method.to_owned());
        }
    }
    methods
}

fn new_codes() -> Result<Vec<RecoveryCode>, Error> {
    std::iter::repeat_with(RecoveryCode::generate)
        .take(RECOVERY_CODES)
        .collect::<Option<_>>()
        .ok_or_else(no_randomness)
}

fn digests(codes: &[RecoveryCode]) -> Vec<Digest> {
    codes.iter().map(RecoveryCode::digest).collect()
}

fn no_randomness() -> Error {
    Error::Internal("the system provides no random numbers".into())
}
