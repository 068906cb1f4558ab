//! The acts of an account's owner: register, rename, change the password, delete.

use chrono::Duration;
use uuid::Uuid;

use super::admin::NewUser;
use super::last_admin::check_another_admin;
use crate::clock::Clock;
use crate::guard::{AuthUser, User};
use crate::server::abuse::RateLimiter;
use crate::server::config::Verification;
use crate::server::credentials::{
    Class, Origin, Password, PasswordContext, PasswordRules, RelyingParty, Strength,
};
use crate::server::error::{Error, FieldErrors};
use crate::server::keys::PasswordHashes;
use crate::server::keys::vault::Vault;
use crate::server::mail::MailTokens;
use crate::server::model::{Authentication, Change, Client, Event, EventKind, MailKind, NewMail, UserRecord};
use crate::server::sessions::{Ended, Passwords, Sessions, Tokens, WebauthnChallenges, by_password};
use crate::server::state::State;
use crate::server::store::Store;

/// The accounts of an installation, as their owners use them.
#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    pub(in crate::server) store: Store,
    pub(in crate::server) clock: Clock,
    pub(in crate::server) state: std::sync::Arc<State>,
    pub(in crate::server) limiter: RateLimiter,
    pub(in crate::server) passwords: Passwords,
    pub(in crate::server) sessions: Sessions,
    /// `registration.open`
    pub(in crate::server) registration_is_open: bool,
    /// The rules for new passwords.
    pub(in crate::server) password_rules: PasswordRules,
    /// The rules for second factors.
    pub(in crate::server) second_factors: SecondFactorRules,
    /// The challenges of passkeys.
    pub(in crate::server) webauthn: std::sync::Arc<WebauthnChallenges>,
    /// The party that passkeys are made for.
    pub(in crate::server) relying_party: std::sync::Arc<RelyingParty>,
    /// Seals their secrets.
    pub(in crate::server) vault: std::sync::Arc<Vault>,
    /// `registration.verify`; `None` without mail.
    pub(in crate::server) verification: Option<Verification>,
    /// The tokens in mails.
    pub(in crate::server) mail_tokens: MailTokens,
}

/// The outcome of a registration.
#[derive(Debug)]
pub(crate) enum Registered {
    /// The new user.
    Made(Box<User>),
    /// A mail says what became of it, to the owner of the address alone.
    Told,
}

/// The settings of second factors.
#[derive(Debug, Clone)]
pub(crate) struct SecondFactorRules {
    /// `second_factor.fresh_s`
    pub(in crate::server) fresh: Duration,
    /// `second_factor.totp_skew`
    pub(in crate::server) totp_skew: u32,
    /// `second_factor.issuer`
    pub(in crate::server) issuer: String,
}

impl Accounts {
    /// Tells whether mails are sent.
    pub(crate) fn has_mail(&self) -> bool {
        self.verification.is_some()
    }

    /// Checks that `registration.open` is on.
    ///
    /// # Errors
    /// [`Error::RegistrationClosed`].
    pub(crate) fn check_registration_is_open(&self) -> Result<(), Error> {
        if self.registration_is_open { Ok(()) } else { Err(Error::RegistrationClosed) }
    }

    /// Returns what a new password of the user with this address and name is judged by.
    pub(crate) fn password_context(&self, email: &str, name: Option<&str>) -> PasswordContext {
        self.password_rules.context(email, name)
    }

    /// Estimates how good `password` would be for the user with this `email`.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::Unavailable`].
    pub(crate) async fn estimate_strength(
        &self,
        password: &Password,
        email: &str,
        client: &Client,
    ) -> Result<Strength, Error> {
        let now = self.clock.now();
        let attempt = self.limiter.begin_estimate(Class::Estimate, client.counted_address(), now).await?;
        let strength = self
            .passwords
            .hasher
            .estimate(password, self.password_context(email, None), attempt.origin())
            .await;
        self.limiter.or_take_back(&attempt, strength).await
    }

    /// Hashes a new password that is not among the common ones, for an admin. The hash is not sealed yet.
    ///
    /// # Errors
    /// [`Error::ValidationFailed`] for a common password; [`Error::Overloaded`].
    pub(crate) async fn hash_new(
        &self,
        field: &'static str,
        password: &Password,
        context: PasswordContext,
        client: &Client,
    ) -> Result<String, Error> {
        let origin = Origin::new(Class::Known, client.counted_address());
        check_uncommon(field, self.passwords.hasher.estimate(password, context, origin).await?)?;
        Ok(self.passwords.hasher.hash(password, origin).await?)
    }

    /// Registers an account. `email`, `name` and the shape of `password` have been checked. Where the address must be
    /// verified (`registration.verify`), a taken one has the same outcome after the same work, and its owner is told by
    /// mail.
    ///
    /// # Errors
    /// [`Error::RegistrationClosed`], [`Error::ValidationFailed`] for a common password, [`Error::TooManyAttempts`],
    /// [`Error::EmailTaken`] (of two registrations at once, one succeeds), [`Error::Overloaded`],
    /// [`Error::Unavailable`].
    pub(crate) async fn register(
        &self,
        email: String,
        password: &Password,
        name: Option<String>,
        client: &Client,
    ) -> Result<Registered, Error> {
        self.check_registration_is_open()?;
        let now = self.clock.now();
        let verification = self.verification.unwrap_or(Verification::Off);
        if verification != Verification::Off {
            self.limiter.count_mail(&email, client.counted_address(), now).await?;
        }
        let attempt = self.limiter.begin_registration(client.counted_address(), now).await?;
        let context = self.password_context(&email, name.as_deref());
        let strength = self.passwords.hasher.estimate(password, context, attempt.origin()).await;
        check_uncommon("password", self.limiter.or_take_back(&attempt, strength).await?)?;
        let user = NewUser { email, name, ..NewUser::default() };
        let mut user = user.into_record(self.clock.now());
        let hash = self.passwords.hash(user.id, password, attempt.origin()).await;
        user.password_hash = Some(self.limiter.or_take_back(&attempt, hash).await?);
        user.created_at = self.clock.now();
        let added = Event::new(EventKind::UserAdded, user.created_at).user(user.id).by(client);
        let taken = Event::new(EventKind::EmailTaken, user.created_at).by(client);
        let is_made = self
            .store
            .write(async |tx| {
                let is_free = !tx.is_reserved(&user.email, user.id, user.created_at).await?;
                let is_made = is_free && tx.insert_user(&user).await? == 1;
                if !is_made && verification != Verification::Required {
                    return Err(Error::EmailTaken);
                }
                if verification != Verification::Off {
                    let (kind, owner) =
                        if is_made { (MailKind::Verify, Some(user.id)) } else { (MailKind::Taken, None) };
                    let told = NewMail::new(kind, &user.email, owner, client, user.created_at);
                    tx.insert_mail(&told, None).await?;
                }
                tx.record(if is_made { added.clone() } else { taken.clone() }).await?;
                Ok(is_made)
            })
            .await?;
        Ok(if is_made && verification != Verification::Required {
            Registered::Made(Box::new(user.into()))
        } else {
            Registered::Told
        })
    }

    /// Gives the user another name and returns the user as changed. The name that the user has already changes nothing.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`]; [`Error::UserGone`] when the user was deleted meanwhile.
    pub(crate) async fn rename(&self, id: Uuid, name: &str, client: &Client) -> Result<User, Error> {
        let event = Event::new(EventKind::UserRenamed, self.clock.now()).user(id).by(client);
        self.limiter.count_write(id, event.at).await?;
        let user = self
            .store
            .write(async |tx| {
                let user = tx.lock_user(id).await?.ok_or(Error::UserGone)?;
                if user.name.as_deref() == Some(name) {
                    return Ok(user);
                }
                tx.set_name(id, Some(name)).await?;
                tx.note_change(Change::User(id), event.at).await?;
                tx.record_or_count(event.clone()).await?;
                Ok::<_, Error>(UserRecord { name: Some(name.to_owned()), ..user })
            })
            .await?;
        self.state.sync_changes().await?;
        Ok(user.into())
    }

    /// Gives the user another password, which is judged by its context, ends every session and begins a new one, in one
    /// transaction. The new session is by cookie if the session of this request is.
    ///
    /// # Errors
    /// [`Error::ValidationFailed`] for a common password; [`Error::PasswordWrong`] when `current` is not the password;
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`] for a user with a second factor;
    /// [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::Unavailable`]; [`Error::UserGone`] when the user was
    /// deleted or disabled meanwhile.
    pub(crate) async fn change_password(
        &self,
        caller: &AuthUser,
        id: Uuid,
        current: &Password,
        new: (&Password, PasswordContext),
        client: &Client,
    ) -> Result<Tokens, Error> {
        self.check_fresh_if_enrolled(&caller.second_factors, caller.claims())?;
        let (new, context) = new;
        let attempt =
            self.limiter.begin_estimate(Class::Known, client.counted_address(), self.clock.now()).await?;
        let origin = attempt.origin();
        let strength = self.passwords.hasher.estimate(new, context, origin).await;
        check_uncommon("new_password", self.limiter.or_take_back(&attempt, strength).await?)?;
        drop(attempt);
        let mut user = self.confirm(id, current, client).await?;
        self.check_fresh_if_enrolled(&user.second_factors, caller.claims())?;
        let by_cookie = self.sessions.is_by_cookie(caller.claims()).await?;
        let hash = self.passwords.hash(id, new, origin).await?;
        loop {
            // The user has just confirmed the old password.
            let mut prepared = self.sessions.prepare(id, by_password(), client, by_cookie)?;
            if let Some(kept) = with_second_factor(&user, caller) {
                prepared.session.authentication = kept;
            }
            let session = &prepared.session;
            let event =
                Event::new(EventKind::PasswordChanged, session.at).user(id).session(session.id).by(client);
            let is_changed = self
                .store
                .write(async |tx| {
                    if !is_unchanged(tx.lock_user(id).await?, &user, &self.passwords.hashes) {
                        return Ok(false);
                    }
                    tx.set_password_hash(id, &hash).await?;
                    tx.end_sessions_of(id, event.at).await?;
                    tx.revoke_mail_tokens(id).await?;
                    tx.delete_waiting_mails(id).await?;
                    if self.verification.is_some() {
                        let kind = MailKind::PasswordChanged;
                        let told = NewMail::new(kind, &user.email, Some(id), client, event.at);
                        tx.insert_mail(&told, None).await?;
                    }
                    tx.insert_session(session).await?;
                    tx.note_change(Change::User(id), event.at).await?;
                    tx.record(event.clone()).await?;
                    Ok::<_, Error>(true)
                })
                .await?;
            if is_changed {
                return self.sessions.tokens(user, prepared).await;
            }
            user = self.confirm_again(user, current, origin).await?;
        }
    }

    /// Deletes the user of this request and every session.
    ///
    /// # Errors
    /// [`Error::LastAdmin`]; otherwise as for [`change_password`](Self::change_password).
    pub(crate) async fn delete(
        &self,
        caller: &AuthUser,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<Ended, Error> {
        self.check_fresh_if_enrolled(&caller.second_factors, caller.claims())?;
        let origin = Origin::new(Class::Known, client.counted_address());
        let mut user = self.confirm(id, password, client).await?;
        self.check_fresh_if_enrolled(&user.second_factors, caller.claims())?;
        let by_cookie = self.sessions.is_by_cookie(caller.claims()).await?;
        let event = Event::new(EventKind::UserDeleted, self.clock.now()).user(id).by(client);
        loop {
            let is_deleted = self
                .store
                .write(async |tx| {
                    check_another_admin(tx, id).await?;
                    if !is_unchanged(tx.lock_user(id).await?, &user, &self.passwords.hashes) {
                        return Ok(false);
                    }
                    tx.end_sessions_of(id, event.at).await?;
                    tx.delete_user(id).await?;
                    tx.note_change(Change::User(id), event.at).await?;
                    tx.record(event.clone()).await?;
                    Ok::<_, Error>(true)
                })
                .await?;
            if is_deleted {
                self.state.sync_changes().await?;
                return Ok(Ended { by_cookie });
            }
            user = self.confirm_again(user, password, origin).await?;
        }
    }

    /// Checks the password of a signed-in user, limited like a sign-in, and returns the user.
    pub(super) async fn confirm(
        &self,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<UserRecord, Error> {
        let user = self.store.read(async |connection| connection.user(id).await).await?;
        let user = user.filter(UserRecord::is_enabled).ok_or(Error::UserGone)?;
        let now = self.clock.now();
        let attempt = self.limiter.begin_attempt(&user.email, client.counted_address(), now).await?;
        let is_right = self.passwords.verify(password, Some(&user), attempt.origin()).await;
        if !self.limiter.or_take_back(&attempt, is_right).await? {
            let event = Event::new(EventKind::SignInFailed, now).user(id).by(client);
            self.store.write(async |tx| tx.record(event.clone()).await).await?;
            return Err(Error::PasswordWrong);
        }
        self.store.write(async |tx| attempt.succeed(tx, self.clock.now()).await).await?;
        Ok(user)
    }

    /// Checks the password again, after the stored hash was changed, and returns the user. The password may be the
    /// same: a sign-in may have renewed the hash at the configured cost.
    async fn confirm_again(
        &self,
        user: UserRecord,
        password: &Password,
        origin: Origin,
    ) -> Result<UserRecord, Error> {
        let now = self.store.read(async |connection| connection.user(user.id).await).await?;
        let now =
            now.filter(|now| now.is_enabled() && !has_same_password(now, &user, &self.passwords.hashes));
        let now = now.ok_or(Error::UserGone)?;
        if !self.passwords.verify(password, Some(&now), origin).await? {
            return Err(Error::UserGone);
        }
        Ok(now)
    }
}

/// Refuses a new password that is among the common ones.
pub(super) fn check_uncommon(field: &'static str, strength: Strength) -> Result<(), Error> {
    match strength.reason {
        None => Ok(()),
        Some(reason) => Err(Error::ValidationFailed(FieldErrors::from([(field, vec![reason])]))),
    }
}

/// Returns how a user with a second factor has signed in. A password alone proves less, so a new one changes neither the
/// time nor the methods.
fn with_second_factor(user: &UserRecord, caller: &AuthUser) -> Option<Authentication> {
    let at = caller.claims().authenticated_at().filter(|_| !user.second_factors.is_empty())?;
    Some(Authentication { at, methods: caller.claims().amr.clone() })
}

/// Tells whether the user is still enabled and has the password that was confirmed, whose hash may have been sealed anew.
pub(super) fn is_unchanged(now: Option<UserRecord>, confirmed: &UserRecord, hashes: &PasswordHashes) -> bool {
    now.is_some_and(|now| now.is_enabled() && has_same_password(&now, confirmed, hashes))
}

fn has_same_password(one: &UserRecord, other: &UserRecord, hashes: &PasswordHashes) -> bool {
    hashes.is_same(one.id, one.password_hash.as_deref(), other.password_hash.as_deref())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::server::keys::vault::Vault;
    use crate::server::model::KdfParams;

    #[test]
    fn a_confirmation_holds_only_for_an_enabled_user_with_the_same_password() {
        let made = Vault::create_with(&"a river".into(), KdfParams::for_tests(), DateTime::UNIX_EPOCH);
        let hashes = PasswordHashes::new(Arc::new(made.unwrap().0));
        let user = NewUser { password_hash: Some("the hash".into()), ..NewUser::default() };
        let user = user.into_record(DateTime::UNIX_EPOCH);
        let is_unchanged = |now| is_unchanged(now, &user, &hashes);
        assert!(is_unchanged(Some(user.clone())));
        assert!(!is_unchanged(None), "deleted");
        let sealed = Some(hashes.seal(user.id, "the hash").unwrap());
        assert!(is_unchanged(Some(UserRecord { password_hash: sealed, ..user.clone() })), "sealed meanwhile");
        let other = UserRecord { password_hash: Some("another".into()), ..user.clone() };
        assert!(!is_unchanged(Some(other)), "another password");
        let disabled = UserRecord { disabled_at: Some(DateTime::UNIX_EPOCH), ..user.clone() };
        assert!(!is_unchanged(Some(disabled)), "disabled");
    }
}
