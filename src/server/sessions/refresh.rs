//! Refresh: rotation of refresh tokens (RFC 9700 §4.14.2). Each token can be used once, for its successor. The same
//! token again within the grace period gets the same successor; later it counts as stolen, and the session is revoked.

use chrono::{DateTime, Utc};

use super::{Parts, Refresh, RefreshToken, Sessions, Tokens};
use crate::log_limit::LogLimit;
use crate::server::error::{Error, outcome};
use crate::server::model::{
    Authentication, CLOCK_STEP, Client, Event, EventKind, Lifetimes, Rotation, Session, UserRecord,
};
use crate::server::store::{FirstUse, StoreError, Transaction};

static LAST_KEY: LogLimit = LogLimit::new("a refreshed session's token is signed by the last known key");

/// A refresh token as the client sent it.
#[derive(Debug)]
pub(crate) struct RefreshCredential {
    /// The text.
    pub text: zeroize::Zeroizing<String>,
    /// The token came in the cookie.
    pub by_cookie: bool,
}

/// The outcome of presenting a refresh token.
enum Outcome {
    /// The client gets the successor made with `salt`.
    Successor {
        user: Box<UserRecord>,
        salt: [u8; 32],
        expires_at: DateTime<Utc>,
        authentication: Authentication,
    },
    /// The token was used before the grace period. The session has been revoked.
    Reused,
    /// The session has ended or never existed, or its tokens do not come this way (cookie or body). Nothing was
    /// changed.
    Refused,
    /// Too many refreshes. Nothing was changed.
    Delayed(Error),
}

/// A refresh token that this server issued, and what its refresh needs.
struct RefreshRequest<'a> {
    token: &'a RefreshToken,
    by_cookie: bool,
    at: DateTime<Utc>,
    /// The expiry of the access token to issue.
    token_until: DateTime<Utc>,
    /// The first use: the salt of its successor, and the successor's digest.
    rotation: Rotation,
    successor: [u8; 32],
    client: Client,
}

impl Sessions {
    /// Issues the next tokens of a session.
    ///
    /// # Errors
    /// [`Error::RefreshInvalid`] for a token that is unknown or expired, or that came in the cookie instead of the body
    /// or the reverse; and for one that was used before, whose session then ends; [`Error::TooManyAttempts`],
    /// [`Error::Unavailable`].
    pub(crate) async fn refresh(
        &self,
        credential: &RefreshCredential,
        client: Client,
    ) -> Result<Tokens, Error> {
        let refreshed = self.try_refresh(credential, client).await;
        self.inner.counts.refreshes.count(outcome(&refreshed));
        refreshed
    }

    async fn try_refresh(&self, credential: &RefreshCredential, client: Client) -> Result<Tokens, Error> {
        let Parts { store, clock, state, access_tokens, refresh_tokens, lifetimes, limiter, .. } =
            &*self.inner;
        let now = clock.now();
        // A token that was never issued is refused without reading the database.
        let invalid = |session_ended| Error::RefreshInvalid { session_ended };
        let token = refresh_tokens.read(&credential.text).ok_or_else(|| invalid(false))?;
        let salt = refresh_tokens.salt().map_err(|error| Error::Internal(error.to_string()))?;
        let request = RefreshRequest {
            token: &token,
            by_cookie: credential.by_cookie,
            at: now,
            token_until: now + access_tokens.lifetime(),
            rotation: Rotation { salt, at: now },
            successor: refresh_tokens.successor(&token, &salt).digest(),
            client,
        };
        let address = request.client.counted_address();
        let first_use = FirstUse {
            session: token.session(),
            digest: token.digest(),
            successor: request.successor,
            rotation: &request.rotation,
            by_cookie: request.by_cookie,
            token_until: request.token_until,
            client: &request.client,
            lifetimes,
            limit: limiter.refresh_limit(token.session(), address),
        };
        let done = store.try_first_use(&first_use).await?;
        let decide = store.write(async |tx| {
            let counters = match limiter.lock_refresh(tx, token.session(), address, now).await? {
                Ok(counters) => counters,
                Err(delayed) => return Ok(Outcome::Delayed(delayed)),
            };
            let outcome = rotate(tx, &request, lifetimes).await?;
            match outcome {
                Outcome::Successor { .. } => counters.succeed(tx).await?,
                _ => counters.fail(tx).await?,
            }
            Ok::<_, Error>(outcome)
        });
        let outcome = match done {
            Some((user, began, authentication)) => {
                let expires_at = (began + lifetimes.absolute).min(now + lifetimes.idle);
                Outcome::Successor { user: Box::new(user), salt, expires_at, authentication }
            }
            None => decide.await?,
        };
        match outcome {
            Outcome::Successor { user, salt, expires_at, authentication } => {
                // Synced so that the token is not signed by a key that was revoked meanwhile. The old refresh token has
                // been used, so a failure here must not lose the new one.
                if let Err(error) = state.sync_changes().await {
                    LAST_KEY.log(log::Level::Warn, &error);
                }
                Ok(Tokens {
                    access_token: access_tokens.issue(
                        &user,
                        token.session(),
                        authentication,
                        expires_at,
                        now,
                    )?,
                    refresh: Refresh {
                        token: refresh_tokens.successor(&token, &salt),
                        expires_in: expires_at - now,
                        by_cookie: credential.by_cookie,
                    },
                    user: (*user).into(),
                })
            }
            Outcome::Reused => {
                state.sync_changes().await?;
                Err(invalid(true))
            }
            Outcome::Refused => Err(invalid(false)),
            Outcome::Delayed(error) => limiter.hold_refusal(Err(error)).await,
        }
    }
}

/// Decides about a refresh token and stores the decision.
async fn rotate(
    tx: &mut Transaction,
    request: &RefreshRequest<'_>,
    lifetimes: &Lifetimes,
) -> Result<Outcome, StoreError> {
    let RefreshRequest { token, at, rotation, client, .. } = request;
    let session = tx.lock_session(token.session()).await?;
    let is_accepted =
        |session: &Session| session.is_alive(lifetimes, *at) && session.by_cookie == request.by_cookie;
    let Some(session) = session.filter(is_accepted) else { return Ok(Outcome::Refused) };
    let Some(user_id) = session.user_id else { return Ok(Outcome::Refused) };
    let Some(user) = tx.user(user_id).await? else { return Ok(Outcome::Refused) };
    let user = Box::new(user);
    let event = |kind| Event::new(kind, *at).user(user_id).session(session.id).by(client);

    if session.refresh_digest == token.digest() {
        tx.insert_rotation(session.id, &token.digest(), rotation).await?;
        tx.set_refresh_digest(session.id, &request.successor, *at, client).await?;
        tx.extend_tokens(session.id, request.token_until).await?;
        tx.record(event(EventKind::Refreshed)).await?;
        let authentication = session.authentication.clone();
        let expires_at = Session { refreshed_at: *at, ..session }.expires_at(lifetimes);
        return Ok(Outcome::Successor { user, salt: rotation.salt, expires_at, authentication });
    }
    match tx.rotation(session.id, &token.digest()).await? {
        Some(first_use) if is_repeat(&first_use, *at, lifetimes) => {
            tx.extend_tokens(session.id, request.token_until).await?;
            let expires_at = session.expires_at(lifetimes);
            let authentication = session.authentication;
            Ok(Outcome::Successor { user, salt: first_use.salt, expires_at, authentication })
        }
        _ => {
            tx.end_session(session.id, *at).await?;
            tx.record(event(EventKind::RefreshReused)).await?;
            Ok(Outcome::Reused)
        }
    }
}

/// Tells whether a use at `at` is within the grace period. A clock that stepped back lengthens it by one step at most.
fn is_repeat(first_use: &Rotation, at: DateTime<Utc>, lifetimes: &Lifetimes) -> bool {
    (first_use.at - CLOCK_STEP..first_use.at + lifetimes.grace).contains(&at)
}
