//! Signing in: one answer and one price for every way to fail. No HTTP, no SQL.

use std::net::IpAddr;

use chrono::Duration;
use uuid::Uuid;

use super::Desk;
use super::error::ApiError;
use super::password::Password;
use super::store::{NewSession, UserRow};
use crate::guard::User;
use crate::token::{Grant, Issued};

/// A session that has just begun.
#[derive(Debug)]
pub struct SignedIn {
    /// The access token.
    pub token: String,
    /// How long it lives.
    pub expires_in: Duration,
    /// Whose it is.
    pub user: User,
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
    address: IpAddr,
) -> Result<SignedIn, ApiError> {
    let admitted = desk.throttle().admit(desk.store(), email, address, desk.clock().now()).await?;
    // A second try is for the rare case that the user's row changed while the hash was computed.
    for _ in 0..2 {
        let row = desk.store().user_by_email(email).await?;
        let stored = row.as_ref().and_then(|row| row.password_hash.clone());
        let is_right = desk.hasher().verify(password, stored.as_deref()).await?;
        match (row, stored) {
            (Some(row), Some(stored)) if is_right && row.disabled_at.is_none() => {
                if let Some(signed_in) = begin(desk, row, &stored).await? {
                    admitted.succeeded(desk.store(), desk.clock().now()).await?;
                    renew_hash(desk, &signed_in.user, password, &stored).await;
                    return Ok(signed_in);
                }
            }
            _ => break,
        }
    }
    log::info!("a sign-in failed");
    Err(desk.credentials_invalid())
}

/// Begins a session for a user whose password, stored as `stored`, was right; `None` when the user was
/// disabled, deleted or given another hash meanwhile.
async fn begin(desk: &Desk, row: UserRow, stored: &str) -> Result<Option<SignedIn>, ApiError> {
    let (issued, session) = prepare(desk, &row, stored)?;
    let begun = desk.store().begin_session(&session).await?;
    if !begun {
        return Ok(None);
    }
    desk.catch_up().await?;
    log::info!("user {} signed in, session {}", row.id, session.id);
    let user = User { last_login_at: Some(session.at), ..User::from(row) };
    Ok(Some(SignedIn { token: issued.token, expires_in: desk.lifetime(), user }))
}

/// A session about to begin, and its first access token; `stored` is the hash that must still stand then.
pub(super) fn prepare(desk: &Desk, row: &UserRow, stored: &str) -> Result<(Issued, NewSession), ApiError> {
    let now = desk.clock().now();
    let id = Uuid::now_v7();
    let grant = Grant {
        subject: row.id.to_string(),
        email: Some(row.email.clone()),
        roles: row.roles.clone(),
        session: Some(id.to_string()),
    };
    let issued = desk.issue(&grant, now)?;
    let token_until = issued.claims.expires_at();
    let session = NewSession { id, user_id: row.id, password_hash: stored.to_owned(), at: now, token_until };
    Ok((issued, session))
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
