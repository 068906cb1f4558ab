//! Signing in: one answer and one price for every way to fail. No HTTP, no SQL.

use chrono::Duration;
use uuid::Uuid;

use super::Desk;
use super::error::ApiError;
use super::events::{Client, Event, EventKind};
use super::password::Password;
use super::refresh::RefreshToken;
use super::sessions::grant;
use super::store::{NewSession, UserRow};
use crate::guard::User;

/// A session that has just begun, or goes on.
#[derive(Debug)]
pub struct SignedIn {
    /// The access token.
    pub token: String,
    /// How long it lives.
    pub expires_in: Duration,
    /// What gets the next one.
    pub refresh: Refresh,
    /// Whose it is.
    pub user: User,
}

/// What a client refreshes its session with.
#[derive(Debug)]
pub struct Refresh {
    /// The refresh token.
    pub token: RefreshToken,
    /// How long it lives.
    pub expires_in: Duration,
    /// Whether it travels in the cookie alone.
    pub by_cookie: bool,
}

/// Signs in the user with this `email` (trimmed, in lower case).
///
/// # Errors
/// [`ApiError::CredentialsInvalid`] alike for an unknown address, a wrong password, a disabled user and one
/// without a password, each after one bcrypt; [`ApiError::TooManyAttempts`] before it, by what was typed and
/// from where; [`ApiError::Overloaded`], [`ApiError::Unavailable`].
pub async fn with_password(
    desk: &Desk,
    email: &str,
    password: &Password,
    client: &Client,
    by_cookie: bool,
) -> Result<SignedIn, ApiError> {
    let admitted =
        desk.throttle().admit(desk.store(), email, client.counted_address(), desk.clock().now()).await?;
    let mut failed = Event::new(EventKind::SignInFailed, desk.clock().now()).by(client);
    // A second try is for the rare case that the user's row changed while the hash was computed.
    for _ in 0..2 {
        let row = desk.store().user_by_email(email).await?;
        failed.user = row.as_ref().map(|row| row.id);
        let stored = row.as_ref().and_then(|row| row.password_hash.clone());
        let is_right = desk.hasher().verify(password, stored.as_deref()).await?;
        match (row, stored) {
            (Some(row), Some(stored)) if is_right && row.disabled_at.is_none() => {
                if let Some(signed_in) = begin(desk, row, &stored, client, by_cookie).await? {
                    admitted.succeeded(desk.store(), desk.clock().now()).await?;
                    renew_hash(desk, &signed_in.user, password, &stored).await;
                    return Ok(signed_in);
                }
            }
            _ => break,
        }
    }
    desk.store().record(&failed).await?;
    Err(desk.credentials_invalid())
}

/// Begins a session for a user whose password, stored as `stored`, was right; `None` when the user was
/// disabled, deleted or given another hash meanwhile.
async fn begin(
    desk: &Desk,
    mut row: UserRow,
    stored: &str,
    client: &Client,
    by_cookie: bool,
) -> Result<Option<SignedIn>, ApiError> {
    let Prepared { session, refresh } = prepare(desk, &row, stored, client, by_cookie)?;
    let event = Event::new(EventKind::SignedIn, session.at).user(row.id).session(session.id).by(client);
    if !desk.store().begin_session(&session, &event).await? {
        return Ok(None);
    }
    row.last_login_at = Some(session.at);
    signed_in(desk, row, &session, refresh).await.map(Some)
}

/// What a session that has just been stored hands out.
pub(super) async fn signed_in(
    desk: &Desk,
    row: UserRow,
    session: &NewSession,
    refresh: Refresh,
) -> Result<SignedIn, ApiError> {
    // First, so that what signs is no key that was revoked meanwhile.
    desk.catch_up().await?;
    let token = desk.issue(&grant(&row, session.id), session.at)?;
    Ok(SignedIn { token, expires_in: desk.lifetime(), refresh, user: row.into() })
}

/// A session about to begin.
pub(super) struct Prepared {
    pub session: NewSession,
    pub refresh: Refresh,
}

/// Prepares a session; `stored` is the hash that must still stand when it begins.
pub(super) fn prepare(
    desk: &Desk,
    row: &UserRow,
    stored: &str,
    client: &Client,
    by_cookie: bool,
) -> Result<Prepared, ApiError> {
    let now = desk.clock().now();
    let id = Uuid::now_v7();
    let token = desk.refresh_tokens().first(id)?;
    let session = NewSession {
        id,
        user_id: row.id,
        password_hash: stored.to_owned(),
        at: now,
        token_until: now + desk.lifetime(),
        refresh_digest: token.digest(),
        by_cookie,
        client: client.clone(),
    };
    let lifetimes = desk.lifetimes();
    let refresh = Refresh { token, expires_in: lifetimes.idle.min(lifetimes.absolute), by_cookie };
    Ok(Prepared { session, refresh })
}

/// Brings a hash of a lower cost up to the policy's. The sign-in has succeeded; it does not fail of this.
async fn renew_hash(desk: &Desk, user: &User, password: &Password, stored: &str) {
    if !desk.hasher().is_outdated(stored) {
        return;
    }
    let renewed = async {
        let hash = desk.hasher().hash(password).await?;
        let id = Uuid::try_parse(&user.id).expect("the id of a stored user is a UUID");
        Ok::<_, ApiError>(desk.store().refresh_hash(id, stored, &hash).await?)
    };
    if let Err(error) = renewed.await {
        log::warn!("the password hash of user {} keeps its lower cost: {error}", user.id);
    }
}
