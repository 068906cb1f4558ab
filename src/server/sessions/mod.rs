//! Sessions: they begin with a proof of identity, are refreshed, and end.
//!
//! | file | what it owns |
//! |---|---|
//! | `sign_in` | from a password to a session |
//! | `second_factor` | from a challenge and a second factor to a session |
//! | `challenge` | the format of such a challenge |
//! | `passwords` | users' passwords: hashed and sealed, unsealed and compared |
//! | `link` | from a link or code in a mail to a session |
//! | `passkey` | sign-in by a passkey |
//! | `webauthn_challenge` | the challenges of passkeys |
//! | `begin` | a session begins with a proof of identity |
//! | `refresh` | rotation and reuse of refresh tokens |
//! | `end` | sign-out, of one session or of all |
//! | `refresh_token` | the format of a refresh token |
//! | `access_token` | the access tokens of this server |

mod access_token;
mod begin;
mod challenge;
mod end;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod link;
mod passkey;
mod passwords;
mod refresh;
mod refresh_token;
mod second_factor;
mod sign_in;
mod webauthn_challenge;

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use access_token::{AccessToken, AccessTokens};
pub(crate) use begin::Proof;
pub(crate) use begin::by_password;
pub(crate) use challenge::Challenges;
pub(crate) use end::Ended;
pub(crate) use passwords::Passwords;
pub(crate) use refresh::RefreshCredential;
pub(crate) use refresh_token::{RefreshToken, RefreshTokens};
pub(crate) use second_factor::Answer;
pub(crate) use second_factor::{seal_totp, unseal_totp};
pub(crate) use webauthn_challenge::{Ceremony, LIFETIME as WEBAUTHN_LIFETIME, WebauthnChallenges};

use super::abuse::RateLimiter;
use super::credentials::RelyingParty;
use super::error::{Error, OUTCOMES};
use super::keys::vault::Vault;
use super::mail::MailTokens;
use super::metrics::Counters;
use super::model::{Lifetimes, Session, SessionPlace};
use super::state::{State, session_of};
use super::store::Store;
use crate::clock::{Clock, serialize_rfc3339};
use crate::guard::User;
use crate::token::Claims;

/// The sessions of an installation. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    pub(super) inner: Arc<Parts>,
}

/// The parts that sessions need.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// The memory of this server, which is synced before each answer.
    pub state: Arc<State>,
    /// The access tokens.
    pub access_tokens: AccessTokens,
    /// The refresh tokens.
    pub refresh_tokens: RefreshTokens,
    /// The challenges of sign-ins that wait for a second factor.
    pub challenges: Challenges,
    /// Seals the secrets of authenticator apps.
    pub vault: Arc<Vault>,
    /// The challenges of passkeys.
    pub webauthn: Arc<WebauthnChallenges>,
    /// The party that passkeys are made for.
    pub relying_party: Arc<RelyingParty>,
    /// `second_factor.totp_skew`
    pub totp_skew: u32,
    /// The lifetimes of sessions.
    pub lifetimes: Lifetimes,
    /// The most sessions of a user.
    pub per_user: u32,
    /// The rate limits.
    pub limiter: RateLimiter,
    /// The passwords of users.
    pub passwords: Passwords,
    /// The metrics.
    pub counts: SessionCounts,
    /// Owners are told by mail that a recovery code was used.
    pub has_mail: bool,
    /// The tokens and codes of mails.
    pub mail_tokens: MailTokens,
    /// How long a sign-in link works; `None` where there are none.
    pub link_lifetime: Option<Duration>,
    /// Nobody signs in by password before their address is verified.
    pub needs_verified: bool,
}

/// Metrics of sessions.
#[derive(Debug)]
pub(crate) struct SessionCounts {
    /// Sign-ins, by outcome.
    pub sign_ins: Counters,
    /// Refreshes, by outcome.
    pub refreshes: Counters,
}

impl Default for SessionCounts {
    fn default() -> Self {
        Self { sign_ins: Counters::new(OUTCOMES), refreshes: Counters::new(OUTCOMES) }
    }
}

/// The tokens of a session that has just begun or was refreshed.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The access token.
    pub access_token: AccessToken,
    /// The refresh token.
    pub refresh: Refresh,
    /// The user.
    pub user: User,
}

/// A refresh token for the client.
#[derive(Debug)]
pub(crate) struct Refresh {
    /// The token.
    pub token: RefreshToken,
    /// The lifetime of the token.
    pub expires_in: Duration,
    /// The token is sent in the cookie alone.
    pub by_cookie: bool,
}

/// A session as its user sees it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
pub(crate) struct ListedSession {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: DateTime<Utc>,
    #[schema(required)]
    user_agent: Option<String>,
    #[schema(required)]
    ip: Option<String>,
    /// True for the session of this request.
    current: bool,
}

impl Sessions {
    /// Assembles the parts.
    pub(crate) fn new(parts: Parts) -> Self {
        Self { inner: Arc::new(parts) }
    }

    /// Returns how long a sign-in link works; `None` where there are none.
    pub(crate) fn link_lifetime(&self) -> Option<Duration> {
        self.inner.link_lifetime
    }

    /// Returns what was counted.
    pub(crate) fn counts(&self) -> &SessionCounts {
        &self.inner.counts
    }

    /// Lists up to `limit` of the user's sessions, the latest first, from `after` on. Also returns the place after
    /// which the next page begins; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn list(
        &self,
        user: Uuid,
        claims: &Claims,
        after: Option<SessionPlace>,
        limit: u32,
    ) -> Result<(Vec<ListedSession>, Option<SessionPlace>), Error> {
        let Parts { store, clock, state, lifetimes, .. } = &*self.inner;
        let current = session_of(claims);
        let now = clock.now();
        // One more than asked for tells whether there is a next page.
        let mut sessions = store
            .read(async |connection| connection.sessions_of(user, now, lifetimes, after, limit + 1).await)
            .await?;
        let has_more = sessions.len() > limit as usize;
        sessions.truncate(limit as usize);
        let next = sessions
            .last()
            .filter(|_| has_more)
            .map(|last| SessionPlace { created_at: last.created_at, id: last.id });
        let list = |session: Session| ListedSession {
            id: session.id,
            created_at: session.created_at,
            last_seen_at: state
                .last_seen(session.id)
                .map_or(session.last_seen_at, |seen| seen.max(session.last_seen_at)),
            expires_at: session.expires_at(lifetimes),
            current: current == Some(session.id),
            user_agent: session.client.user_agent,
            ip: session.client.address.map(|address| address.to_string()),
        };
        Ok((sessions.into_iter().map(list).collect(), next))
    }

    /// Tells whether the session that the claims name has its refresh tokens in the cookie.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn is_by_cookie(&self, claims: &Claims) -> Result<bool, Error> {
        let Some(id) = session_of(claims) else { return Ok(false) };
        let session = self.inner.store.read(async |connection| connection.session(id).await).await?;
        Ok(session.is_some_and(|session| session.by_cookie))
    }
}
