//! A session begins with a proof of identity.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::end::end_surplus;
use super::{Parts, Refresh, Sessions, Tokens};
use crate::server::error::Error;
use crate::server::model::{Change, Client, Event, EventKind, NewSession, UserRecord};
use crate::server::store::{StoreError, Transaction};

/// The proof of identity with which a session begins. It is checked once more in the transaction that begins the
/// session, because the account may have changed since.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// The password behind this stored hash.
    Password {
        /// The stored hash that was compared.
        hash: String,
    },
    /// A link or a code that was sent to this address.
    Mail {
        /// The address.
        email: String,
    },
}

impl Proof {
    /// Returns the method of the proof (RFC 8176 §2).
    fn methods(&self) -> Vec<String> {
        let methods: &[&str] = match self {
            Self::Password { .. } => &["pwd"],
            Self::Mail { .. } => &["email"],
        };
        methods.iter().map(|&method| method.to_owned()).collect()
    }

    /// Tells whether the proof is still valid for the user as stored now.
    fn holds_for(&self, user: &UserRecord) -> bool {
        match self {
            Self::Password { hash } => user.password_hash.as_ref() == Some(hash),
            Self::Mail { email } => user.email == *email,
        }
    }
}

/// A session about to begin, and the refresh token for its client.
pub(in crate::server) struct Prepared {
    pub(in crate::server) session: NewSession,
    refresh: Refresh,
}

impl Sessions {
    /// Makes a session for `user`, who gave `proof`; it begins once it is stored.
    ///
    /// # Errors
    /// [`Error::Internal`] where the system provides no random numbers.
    pub(in crate::server) fn prepare(
        &self,
        user: Uuid,
        proof: &Proof,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Prepared, Error> {
        let Parts { clock, access_tokens, refresh_tokens, lifetimes, .. } = &*self.inner;
        let now = clock.now();
        let id = Uuid::now_v7();
        let token = refresh_tokens.first(id).map_err(|error| Error::Internal(error.to_string()))?;
        let session = NewSession {
            id,
            user_id: user,
            at: now,
            methods: proof.methods(),
            token_until: now + access_tokens.lifetime(),
            refresh_digest: token.digest(),
            by_cookie,
            client: client.clone(),
        };
        let refresh = Refresh { token, expires_in: lifetimes.idle.min(lifetimes.absolute), by_cookie };
        Ok(Prepared { session, refresh })
    }

    /// Returns the tokens of a session that has just been stored.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::server) async fn tokens(
        &self,
        user: UserRecord,
        Prepared { session, refresh }: Prepared,
    ) -> Result<Tokens, Error> {
        let Parts { state, access_tokens, .. } = &*self.inner;
        // Synced first, so that the token is not signed by a key that was revoked meanwhile.
        state.sync_changes().await?;
        let session_end = session.at + refresh.expires_in;
        Ok(Tokens {
            access_token: access_tokens.issue(
                &user,
                session.id,
                session.authentication(),
                session_end,
                session.at,
            )?,
            refresh,
            user: user.into(),
        })
    }
}

/// Stores a session that begins with `proof`, and ends the user's oldest beyond `most`. Returns the user as stored
/// then, or `None` where the user was disabled or deleted, or the proof no longer holds; nothing was written then.
pub(super) async fn store_session(
    tx: &mut Transaction,
    session: &NewSession,
    proof: &Proof,
    most: u32,
) -> Result<Option<UserRecord>, StoreError> {
    let user = tx.lock_user(session.user_id).await?;
    let Some(user) = user.filter(|user| user.is_enabled() && proof.holds_for(user)) else {
        return Ok(None);
    };
    if tx.session(session.id).await?.is_some() {
        // It was stored before, and the answer was lost.
        return Ok(Some(user));
    }
    let at: DateTime<Utc> = session.at;
    tx.set_last_login(user.id, at).await?;
    tx.insert_session(session).await?;
    end_surplus(tx, user.id, most, at, &session.client).await?;
    tx.note_change(Change::User(user.id), at).await?;
    let event = Event::new(EventKind::SignedIn, at).user(user.id).session(session.id);
    tx.record(event.by(&session.client)).await?;
    Ok(Some(UserRecord { last_login_at: Some(at), ..user }))
}
