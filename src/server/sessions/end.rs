//! Sign-out: of one session, or of all sessions of a user.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Parts, RefreshCredential, Sessions};
use crate::server::error::Error;
use crate::server::model::{Client, Event, EventKind, Session};
use crate::server::state::session_of;
use crate::server::store::{StoreError, Transaction};
use crate::token::Claims;

/// The sessions that a request has ended.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ended {
    /// The session of the request was by cookie, so the cookie is to be cleared.
    pub(crate) by_cookie: bool,
}

impl Sessions {
    /// Ends the sessions that a verified access token and a refresh token name.
    ///
    /// # Errors
    /// [`Error::RefreshInvalid`] when nothing names a session; [`Error::Unavailable`].
    pub(crate) async fn sign_out(
        &self,
        claims: Option<&Claims>,
        credential: Option<&RefreshCredential>,
        client: &Client,
    ) -> Result<Ended, Error> {
        let Parts { store, clock, state, refresh_tokens, .. } = &*self.inner;
        let by_token = claims.and_then(session_of);
        let by_refresh = credential.and_then(|credential| refresh_tokens.read(&credential.text));
        let by_refresh = by_refresh.map(|token| token.session());
        if by_token.is_none() && by_refresh.is_none() {
            return Err(Error::RefreshInvalid { session_ended: false });
        }
        let second = by_refresh.filter(|session| by_token != Some(*session));
        let named: Vec<Uuid> = by_token.into_iter().chain(second).collect();
        let event = Event::new(EventKind::SignedOut, clock.now()).by(client);
        let ended = store
            .write(async |tx| {
                let mut ended = Vec::new();
                for session in &named {
                    // A session that had ended already needs nothing.
                    ended.extend(end(tx, *session, None, &event).await?);
                }
                Ok::<_, Error>(ended)
            })
            .await?;
        state.sync_changes().await?;
        let is_by_cookie = credential.is_some_and(|credential| credential.by_cookie);
        Ok(Ended { by_cookie: is_by_cookie || ended.iter().any(|session| session.by_cookie) })
    }

    /// Ends every session of the user.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn sign_out_everywhere(
        &self,
        user: Uuid,
        claims: &Claims,
        client: &Client,
    ) -> Result<Ended, Error> {
        let Parts { store, clock, state, .. } = &*self.inner;
        let is_by_cookie = self.is_by_cookie(claims).await?;
        let event = Event::new(EventKind::SignedOutEverywhere, clock.now()).user(user).by(client);
        store
            .write(async |tx| {
                tx.lock_user(user).await?;
                tx.end_sessions_of(user, event.at).await?;
                tx.record(event.clone()).await
            })
            .await?;
        state.sync_changes().await?;
        Ok(Ended { by_cookie: is_by_cookie })
    }

    /// Ends one of the user's sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the user has no such session; [`Error::TooManyAttempts`], [`Error::Unavailable`].
    pub(crate) async fn end(
        &self,
        user: Uuid,
        session: Uuid,
        claims: &Claims,
        client: &Client,
    ) -> Result<Ended, Error> {
        let Parts { store, clock, state, limiter, .. } = &*self.inner;
        let event = Event::new(EventKind::SessionEnded, clock.now()).by(client);
        limiter.count_write(user, event.at).await?;
        let ended = store.write(async |tx| end(tx, session, Some(user), &event).await).await?;
        let ended = ended.ok_or(Error::NotFound)?;
        state.sync_changes().await?;
        Ok(Ended { by_cookie: ended.by_cookie && session_of(claims) == Some(session) })
    }
}

/// Ends the oldest sessions of the user but the newest `most`, which a session that has just begun at `at` is one of.
pub(super) async fn end_surplus(
    tx: &mut Transaction,
    user: Uuid,
    most: u32,
    at: DateTime<Utc>,
    client: &Client,
) -> Result<(), StoreError> {
    for session in tx.surplus_sessions(user, most).await? {
        tx.end_session(session, at).await?;
        let event = Event::new(EventKind::SessionEnded, at).user(user).session(session).by(client);
        tx.record(event.detail("because", "session.per_user")).await?;
    }
    Ok(())
}

/// Ends a session; with an `owner`, only of that user. Returns it, or `None` where there is no such session or it had
/// ended before.
async fn end(
    tx: &mut Transaction,
    id: Uuid,
    owner: Option<Uuid>,
    event: &Event,
) -> Result<Option<Session>, StoreError> {
    let is_meant =
        |session: &Session| session.ended_at.is_none() && (owner.is_none() || session.user_id == owner);
    let Some(session) = tx.lock_session(id).await?.filter(is_meant) else { return Ok(None) };
    tx.end_session(id, event.at).await?;
    tx.record(Event { user: session.user_id, ..event.clone() }.session(id)).await?;
    Ok(Some(session))
}
