//! Sessions after their beginning: refreshed, looked at, ended. No HTTP, no SQL.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::Desk;
use super::error::ApiError;
use super::events::{Client, Event, EventKind};
use super::sign_in::{Refresh, SignedIn};
use super::store::{Presented, Rotation, SessionRow, UserRow};
use crate::guard::User;
use crate::token::{Claims, Grant};

/// A refresh token as it came in.
#[derive(Debug)]
pub struct RefreshCredential {
    /// As the client sent it.
    pub text: zeroize::Zeroizing<String>,
    /// Whether it came in the cookie.
    pub by_cookie: bool,
}

/// Hands out the next tokens of a session.
///
/// # Errors
/// [`ApiError::RefreshInvalid`] for a token that is unknown, over, or of another way to travel; the same for
/// one that was used before, whose session then ends; [`ApiError::TooManyAttempts`], [`ApiError::Unavailable`].
pub async fn refresh(
    desk: &Desk,
    credential: &RefreshCredential,
    client: Client,
) -> Result<SignedIn, ApiError> {
    let now = desk.clock().now();
    let tokens = desk.refresh_tokens();
    // What was never issued costs the database nothing.
    let token = tokens.read(&credential.text).ok_or_else(|| desk.refresh_invalid(false))?;
    let (store, address) = (desk.store(), client.counted_address());
    let admitted = desk.throttle().admit_refresh(store, token.session(), address, now).await?;
    let salt = tokens.salt()?;
    let presented = Presented {
        session: token.session(),
        digest: token.digest(),
        successor: tokens.successor(&token, &salt).digest(),
        salt,
        by_cookie: credential.by_cookie,
        at: now,
        token_until: now + desk.lifetime(),
        client,
    };
    match desk.store().rotate(&presented, &desk.lifetimes()).await? {
        Rotation::Successor { user, salt, expires_at } => {
            admitted.succeeded(desk.store()).await?;
            // So that what signs is no key that was revoked meanwhile. The old refresh token is used up: that this
            // fails must not cost the new one.
            if let Err(error) = desk.catch_up().await {
                log::warn!("a refreshed session's token is signed by the key that was last known: {error}");
            }
            Ok(SignedIn {
                token: desk.issue(&grant(&user, presented.session), now)?,
                expires_in: desk.lifetime(),
                refresh: Refresh {
                    token: tokens.successor(&token, &salt),
                    expires_in: expires_at - now,
                    by_cookie: credential.by_cookie,
                },
                user: User::from(*user),
            })
        }
        Rotation::Theft => {
            desk.catch_up().await?;
            Err(desk.refresh_invalid(true))
        }
        Rotation::Refused => Err(desk.refresh_invalid(false)),
    }
}

/// What every token of this user's `session` says.
pub(super) fn grant(user: &UserRow, session: Uuid) -> Grant {
    Grant {
        subject: user.id.to_string(),
        email: Some(user.email.clone()),
        roles: user.roles.clone(),
        session: Some(session.to_string()),
    }
}

/// Ends the sessions that a good access token and a refresh token of ours name. Whether one was by cookie.
///
/// # Errors
/// [`ApiError::RefreshInvalid`] when nothing names one; [`ApiError::Unavailable`].
pub async fn sign_out(
    desk: &Desk,
    claims: Option<&Claims>,
    credential: Option<&RefreshCredential>,
    client: &Client,
) -> Result<bool, ApiError> {
    let by_token = claims.and_then(session_of);
    let by_refresh =
        credential.and_then(|it| desk.refresh_tokens().read(&it.text)).map(|token| token.session());
    if by_token.is_none() && by_refresh.is_none() {
        return Err(desk.refresh_invalid(false));
    }
    let event = Event::new(EventKind::SignedOut, desk.clock().now()).by(client);
    let mut by_cookie = credential.is_some_and(|credential| credential.by_cookie);
    let second = by_refresh.filter(|session| by_token != Some(*session));
    for session in by_token.into_iter().chain(second) {
        // One that had ended already is as signed out as can be.
        by_cookie |= desk.store().end_session(session, None, &event).await?.unwrap_or(false);
    }
    desk.catch_up().await?;
    Ok(by_cookie)
}

/// Ends every session of the user who asks. Whether the one that asked was by cookie.
///
/// # Errors
/// [`ApiError::Unavailable`].
pub async fn sign_out_everywhere(
    desk: &Desk,
    user: Uuid,
    claims: &Claims,
    client: &Client,
) -> Result<bool, ApiError> {
    let by_cookie = is_by_cookie(desk, claims).await?;
    let event = Event::new(EventKind::SignedOutEverywhere, desk.clock().now()).user(user).by(client);
    desk.store().end_all_sessions(user, &event).await?;
    desk.catch_up().await?;
    Ok(by_cookie)
}

/// Ends one of the user's sessions. Whether it was the one that asked, and by cookie.
///
/// # Errors
/// [`ApiError::NotFound`] where the user has no such session; [`ApiError::Unavailable`].
pub async fn end(
    desk: &Desk,
    user: Uuid,
    session: Uuid,
    claims: &Claims,
    client: &Client,
) -> Result<bool, ApiError> {
    let event = Event::new(EventKind::SessionEnded, desk.clock().now()).by(client);
    let ended = desk.store().end_session(session, Some(user), &event).await?;
    let by_cookie = ended.ok_or(ApiError::NotFound)?;
    desk.catch_up().await?;
    Ok(by_cookie && session_of(claims) == Some(session))
}

/// A session as its user sees it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
pub struct ShownSession {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = String, format = DateTime)]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: DateTime<Utc>,
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: DateTime<Utc>,
    #[schema(required)]
    user_agent: Option<String>,
    #[schema(required)]
    ip: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

/// The user's sessions, the latest first.
///
/// # Errors
/// [`ApiError::Unavailable`].
pub async fn list(desk: &Desk, user: Uuid, claims: &Claims) -> Result<Vec<ShownSession>, ApiError> {
    let current = session_of(claims);
    let rows = desk.store().sessions(user, desk.clock().now(), &desk.lifetimes()).await?;
    let show = |row: SessionRow| ShownSession {
        id: row.id,
        created_at: row.created_at,
        last_seen_at: desk.last_seen(row.id).map_or(row.last_seen_at, |seen| seen.max(row.last_seen_at)),
        expires_at: row.expires_at,
        user_agent: row.client.user_agent,
        ip: row.client.address.map(|address| address.to_string()),
        current: current == Some(row.id),
    };
    Ok(rows.into_iter().map(show).collect())
}

/// Whether the session that asks is by cookie.
///
/// # Errors
/// [`ApiError::Unavailable`].
pub async fn is_by_cookie(desk: &Desk, claims: &Claims) -> Result<bool, ApiError> {
    match session_of(claims) {
        Some(session) => Ok(desk.store().is_by_cookie(session).await?),
        None => Ok(false),
    }
}

fn session_of(claims: &Claims) -> Option<Uuid> {
    claims.sid.as_deref().and_then(|sid| Uuid::try_parse(sid).ok())
}

/// RFC 3339, in UTC, to the second.
fn seconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}
