//! The access tokens of this server.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::server::error::Error;
use crate::server::keys::SigningKeys;
use crate::server::model::{Authentication, UserRecord};
use crate::token::{Grant, Issuer};

/// A signed access token.
#[derive(Debug)]
pub(crate) struct AccessToken {
    /// The token.
    pub text: String,
    /// Its lifetime.
    pub expires_in: Duration,
}

/// Issues access tokens.
#[derive(Debug)]
pub(crate) struct AccessTokens {
    issuer: Issuer,
    keys: Arc<SigningKeys>,
}

impl AccessTokens {
    /// Returns an issuer of tokens that `keys` sign and that expire after `lifetime`.
    pub(crate) fn new(issuer: String, audience: String, lifetime: Duration, keys: Arc<SigningKeys>) -> Self {
        Self { issuer: Issuer::new(issuer, audience, lifetime), keys }
    }

    /// Returns the longest lifetime of a token.
    pub(crate) fn lifetime(&self) -> Duration {
        self.issuer.lifetime
    }

    /// Signs a token for `user` in `session`, which ends at `session_end` unless it is refreshed. The token expires no
    /// later than that.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where there is no key to sign with.
    pub(crate) fn issue(
        &self,
        user: &UserRecord,
        session: Uuid,
        authentication: Authentication,
        session_end: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<AccessToken, Error> {
        // A token counts in seconds, and lives for one at least.
        let left = Duration::seconds((session_end - now).num_seconds().max(1));
        let expires_in = self.issuer.lifetime.min(left);
        let grant = Grant {
            subject: user.id.to_string(),
            email: Some(user.email.clone()),
            email_verified: Some(user.email_verified_at.is_some()),
            roles: user.roles.clone(),
            session: Some(session.to_string()),
            auth_time: Some(authentication.at),
            amr: authentication.methods,
        };
        let key = self
            .keys
            .signer(now)
            .ok_or_else(|| Error::Unavailable("a token cannot be signed: there is no signing key".into()))?;
        let issuer = Issuer { lifetime: expires_in, ..self.issuer.clone() };
        let issued = issuer
            .issue(&key, &grant, now)
            .map_err(|reason| Error::Internal(format!("a token cannot be signed: {reason}")))?;
        Ok(AccessToken { text: issued.token, expires_in })
    }
}
