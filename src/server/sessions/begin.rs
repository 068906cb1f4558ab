//! A session begins with a proof of identity.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::end::end_surplus;
use super::{Parts, Passwords, Refresh, Sessions, Tokens};
use crate::server::error::Error;
use crate::server::model::{Authentication, Change, Client, Event, EventKind, NewSession, UserRecord};
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
}

impl Proof {
    /// Returns the method of the proof (RFC 8176 §2).
    pub(super) fn methods(&self) -> Vec<String> {
        match self {
            Self::Password { .. } => by_password(),
        }
    }

    /// Tells whether the proof is still valid for the user as stored now.
    pub(super) fn holds_for(&self, user: &UserRecord, passwords: &Passwords) -> bool {
        match self {
            Self::Password { hash } => passwords.is_same(user.id, user.password_hash.as_deref(), Some(hash)),
        }
    }
}

/// Returns the methods of a sign-in by password (RFC 8176 §2).
pub(crate) fn by_password() -> Vec<String> {
    vec!["pwd".to_owned()]
}

/// A session about to begin, and the refresh token for its client.
pub(in crate::server) struct Prepared {
    pub(in crate::server) session: NewSession,
    refresh: Refresh,
}

impl Sessions {
    /// Makes a session for `user`, who has just proved who they are by these methods; it begins once it is stored.
    ///
    /// # Errors
    /// [`Error::Internal`] where the system provides no random numbers.
    pub(in crate::server) fn prepare(
        &self,
        user: Uuid,
        methods: Vec<String>,
        client: &Client,
        by_cookie: bool,
    ) -> Result<Prepared, Error> {
        let Parts { clock, access_tokens, refresh_tokens, lifetimes, .. } = &*self.inner;
        let now = clock.now();
        let id = Uuid::now_v7();
        let token = refresh_tokens.first(id, now).map_err(|error| Error::Internal(error.to_string()))?;
        let session = NewSession {
            id,
            user_id: user,
            at: now,
            authentication: Authentication { at: now, methods },
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
                session.authentication.clone(),
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
    passwords: &Passwords,
    most: u32,
) -> Result<Option<UserRecord>, StoreError> {
    let user = tx.lock_user(session.user_id).await?;
    let is_enough = |user: &UserRecord| {
        user.is_enabled() && proof.holds_for(user, passwords) && user.second_factors.is_empty()
    };
    let Some(user) = user.filter(is_enough) else {
        return Ok(None);
    };
    if tx.session(session.id).await?.is_some() {
        // It was stored before, and the answer was lost.
        return Ok(Some(user));
    }
    Ok(Some(begin_session(tx, user, session, most).await?))
}

/// Stores a session of a user who is locked, and ends the user's oldest beyond `most`. Returns the user as stored then.
pub(super) async fn begin_session(
    tx: &mut Transaction,
    user: UserRecord,
    session: &NewSession,
    most: u32,
) -> Result<UserRecord, StoreError> {
    let at: DateTime<Utc> = session.at;
    tx.set_last_login(user.id, at).await?;
    tx.insert_session(session).await?;
    end_surplus(tx, user.id, most, at, &session.client).await?;
    tx.note_change(Change::User(user.id), at).await?;
    let event = Event::new(EventKind::SignedIn, at).user(user.id).session(session.id);
    tx.record(event.by(&session.client)).await?;
    Ok(UserRecord { last_login_at: Some(at), ..user })
}
