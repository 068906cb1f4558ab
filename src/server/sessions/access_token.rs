//! The access tokens of this server.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::server::error::Error;
use crate::server::keys::SigningKeys;
use crate::server::model::UserRecord;
use crate::token::{Grant, Issuer};

/// Issues access tokens.
#[derive(Debug)]
pub(crate) struct AccessTokens {
    issuer: Issuer,
    keys: Arc<SigningKeys>,
    lifetime: Duration,
}

impl AccessTokens {
    /// Returns an issuer of tokens that `keys` sign and that expire after `lifetime`.
    pub(crate) fn new(issuer: String, audience: String, lifetime: Duration, keys: Arc<SigningKeys>) -> Self {
        Self { issuer: Issuer::new(issuer, audience, lifetime), keys, lifetime }
    }

    /// Returns the lifetime of a token.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Signs a token for `user` in `session`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where there is no key to sign with.
    pub(crate) fn issue(
        &self,
        user: &UserRecord,
        session: Uuid,
        now: DateTime<Utc>,
    ) -> Result<String, Error> {
        let grant = Grant {
            subject: user.id.to_string(),
            email: Some(user.email.clone()),
            roles: user.roles.clone(),
            session: Some(session.to_string()),
        };
        let key = self
            .keys
            .signer(now)
            .ok_or_else(|| Error::Unavailable("a token cannot be signed: there is no signing key".into()))?;
        let issued = self.issuer.issue(&key, &grant, now);
        issued
            .map(|issued| issued.token)
            .map_err(|reason| Error::Internal(format!("a token cannot be signed: {reason}")))
    }
}
