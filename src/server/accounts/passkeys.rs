//! The acts of an account's owner on their passkeys.

use uuid::Uuid;

use super::own::Accounts;
use super::second_factors::with_second_factor;
use crate::guard::AuthUser;
use crate::server::credentials::{CreationOptions, Password, RegistrationResponse, verify_registration};
use crate::server::error::{Error, FieldErrors};
use crate::server::model::{Client, Event, EventKind, Passkey, UserRecord};
use crate::server::sessions::{Ceremony, WEBAUTHN_LIFETIME};
use crate::server::state::session_of;

/// The most passkeys of an account.
const MOST: usize = 50;

impl Accounts {
    /// Returns what `navigator.credentials.create()` takes. Nothing is stored.
    ///
    /// # Errors
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`], [`Error::PasswordWrong`]; [`Error::TooManyAttempts`],
    /// [`Error::Overloaded`], [`Error::Unavailable`], [`Error::UserGone`].
    pub(crate) async fn passkey_creation_options(
        &self,
        user: &AuthUser,
        id: Uuid,
        password: &Password,
        client: &Client,
    ) -> Result<CreationOptions, Error> {
        let stored = self.confirm_for_factors(user, id, password, client).await?;
        let known = self.store.read(async |connection| connection.passkeys_of(id).await).await?;
        let issued = self.webauthn.issue(Ceremony::Registration(id), self.clock.now());
        let issued = issued.ok_or_else(|| Error::Internal("the system provides no random numbers".into()))?;
        let party = (&*self.relying_party, self.second_factors.issuer.as_str());
        Ok(CreationOptions::new(party, &stored, &issued, &known, WEBAUTHN_LIFETIME))
    }

    /// Adds a passkey. The session of this request counts as signed in with it.
    ///
    /// # Errors
    /// [`Error::SignInStale`], [`Error::SecondFactorMissing`]; [`Error::SecondFactorInvalid`] for a response that does
    /// not answer a challenge of [`passkey_creation_options`](Self::passkey_creation_options), or that answers it
    /// again; [`Error::AlreadyEnrolled`] for a credential that is known; [`Error::ValidationFailed`] with 50 passkeys;
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`], [`Error::UserGone`].
    pub(crate) async fn add_passkey(
        &self,
        user: &AuthUser,
        id: Uuid,
        name: String,
        response: &RegistrationResponse,
        client: &Client,
    ) -> Result<Passkey, Error> {
        self.check_fresh(&user.second_factors, user.claims())?;
        let now = self.clock.now();
        self.limiter.count_write(id, now).await?;
        let refused = |error: &dyn std::fmt::Display| {
            log::debug!("a passkey is not added: {error}");
            Error::SecondFactorInvalid
        };
        let answered = response.challenge().map_err(|error| refused(&error))?;
        let challenge = self.webauthn.read(&answered, Ceremony::Registration(id), now);
        let challenge = challenge.ok_or_else(|| refused(&"the challenge is none of ours, or has expired"))?;
        let made =
            verify_registration(&self.relying_party, &answered, response).map_err(|error| refused(&error))?;
        let passkey = Passkey {
            id: Uuid::now_v7(),
            user_id: id,
            credential_id: made.id,
            public_key: made.public_key,
            transports: response.transports.clone(),
            name,
            sign_count: made.sign_count,
            syncable: made.syncable,
            synced: made.synced,
            created_at: now,
            last_used_at: None,
        };
        let session = session_of(user.claims());
        let event =
            Event::new(EventKind::SecondFactorAdded, now).user(id).by(client).detail("method", "passkey");
        self.store
            .write(async |tx| {
                let stored = tx.lock_user(id).await?.filter(UserRecord::is_enabled).ok_or(Error::UserGone)?;
                self.check_fresh(&stored.second_factors, user.claims())?;
                if tx.passkeys_of(id).await?.len() >= MOST {
                    let reason = format!("is one too many: {MOST} passkeys are accepted");
                    return Err(Error::ValidationFailed(FieldErrors::from([("credential", vec![reason])])));
                }
                if tx.use_challenge(&challenge.digest, challenge.expires_at).await? == 0 {
                    return Err(Error::SecondFactorInvalid);
                }
                if tx.insert_passkey(&passkey).await? == 0 {
                    return Err(Error::AlreadyEnrolled);
                }
                if let Some(session) = session {
                    tx.set_methods(session, &with_second_factor(user.claims(), "hwk")).await?;
                }
                Ok(self.factors_changed(tx, &stored, event.clone(), client).await?)
            })
            .await?;
        self.state.sync_changes().await?;
        Ok(passkey)
    }

    /// Lists the user's passkeys, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn passkeys(&self, id: Uuid) -> Result<Vec<Passkey>, Error> {
        Ok(self.store.read(async |connection| connection.passkeys_of(id).await).await?)
    }

    /// Renames a passkey, and returns it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the user has no such passkey; [`Error::SignInStale`], [`Error::SecondFactorMissing`],
    /// [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn rename_passkey(
        &self,
        user: &AuthUser,
        id: Uuid,
        passkey: Uuid,
        name: &str,
        client: &Client,
    ) -> Result<Passkey, Error> {
        self.check_fresh(&user.second_factors, user.claims())?;
        let event = Event::new(EventKind::PasskeyRenamed, self.clock.now()).user(id).by(client);
        self.limiter.count_write(id, event.at).await?;
        self.store
            .write(async |tx| {
                if tx.rename_passkey(id, passkey, name).await? == 0 {
                    return Err(Error::NotFound);
                }
                tx.record(event.clone().detail("passkey", passkey.to_string())).await?;
                tx.passkeys_of(id).await?.into_iter().find(|key| key.id == passkey).ok_or(Error::NotFound)
            })
            .await
    }

    /// Removes a passkey.
    ///
    /// # Errors
    /// As for [`rename_passkey`](Self::rename_passkey).
    pub(crate) async fn remove_passkey(
        &self,
        user: &AuthUser,
        id: Uuid,
        passkey: Uuid,
        client: &Client,
    ) -> Result<(), Error> {
        self.check_fresh(&user.second_factors, user.claims())?;
        let event = Event::new(EventKind::SecondFactorRemoved, self.clock.now()).user(id).by(client);
        let event = event.detail("method", "passkey");
        self.store
            .write(async |tx| {
                let stored = tx.lock_user(id).await?.ok_or(Error::UserGone)?;
                self.check_fresh(&stored.second_factors, user.claims())?;
                if tx.delete_passkey(id, passkey).await? == 0 {
                    return Err(Error::NotFound);
                }
                Ok(self.factors_changed(tx, &stored, event.clone(), client).await?)
            })
            .await?;
        Ok(self.state.sync_changes().await?)
    }
}
