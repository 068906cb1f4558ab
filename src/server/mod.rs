//! The desk: it issues tokens, and is the guard's first user.
//!
//! [`Desk`] is one installation at work: settings, database, keys and what is known in memory. An app
//! registers its scopes ([`routes::auth::scope`], [`routes::user::scope`]) or all of them at once
//! ([`Desk::configure`]); [`bind`] serves them on a socket of its own. Inside, imports point one way:
//! routes, then rules ([`accounts`], [`sign_in`], [`password`]), then [`store`].

pub mod accounts;
pub mod config;
pub mod cookie;
pub mod error;
pub mod events;
pub mod keys;
pub mod openapi;
pub mod password;
pub mod refresh;
pub mod routes;
mod run;
pub mod sessions;
pub mod sign_in;
pub mod standing;
pub mod store;
pub mod throttle;
pub mod vault;

use std::sync::Arc;

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::Condition;
use actix_web::web::ServiceConfig;
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

pub use keys::new_signing_key;
pub use run::{BindError, Running, bind};

use crate::clock::Clock;
use crate::guard::{Guard, GuardError, Refusal, Unavailable};
use crate::http::{Envelope, X_REQUEST_ID};
use crate::token::{Algorithm, Grant, IssueError, Issuer, JwkSet, MAX_SET_KEYS};
use config::Settings;
use error::ApiError;
use keys::{Keys, Plan, Reason};
use password::Hasher;
use refresh::RefreshTokens;
use standing::Standing;
use store::{Keep, Lifetimes, Store, StoreError};
use throttle::Throttle;
use vault::{Vault, VaultError};

/// What a request by cookie must carry, to show that it comes from a page that may set headers.
pub const X_HALLPASS: HeaderName = HeaderName::from_static("x-hallpass");

/// How long a browser may remember what a preflight was answered.
const CORS_MAX_AGE_SECS: usize = 3_600;

/// One installation at work. Clones share it.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    store: Store,
    vault: Arc<Vault>,
    hasher: Hasher,
    throttle: Throttle,
    refresh_tokens: RefreshTokens,
    clock: Clock,
    keys: Arc<Keys>,
    issuer: Issuer,
    standing: Arc<Standing>,
    guard: Guard,
}

/// What keeps a desk from opening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys stay sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A key that was unsealed cannot be used.
    #[error("the signing key {kid} cannot be used: {reason}; restore the database from a backup")]
    Key {
        /// Which.
        kid: String,
        /// Why.
        reason: String,
    },
    /// The newest key is of a later time than it is now.
    #[error(
        "the clock says {now}, but the key {kid} was made at {created_at}: either the clock is behind now, or it was ahead \
         then; set it right, or, if it is right, hallpass key rotate --trust-clock",
        now = shown(now), created_at = shown(created_at)
    )]
    ClockBehindKey {
        /// Which.
        kid: String,
        /// When it was made, as its row says.
        created_at: DateTime<Utc>,
        /// The time by the clock.
        now: DateTime<Utc>,
    },
    /// No more keys can be published.
    #[error(
        "there are {max} signing keys, and no verifier reads more; the oldest are dropped as their last tokens expire, or \
         hallpass key revoke KID",
        max = MAX_SET_KEYS
    )]
    TooManyKeys,
    /// There is no key to sign with.
    #[error("the database holds no signing key; restore it from a backup")]
    NoSigningKey,
    /// The settings contradict each other.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The threads for password hashing cannot be started.
    #[error("the threads for password hashing cannot be started: {0}")]
    Hasher(std::io::Error),
}

impl Desk {
    /// Opens the desk of the installation in `store`, whose keys `vault` unseals.
    ///
    /// # Errors
    /// [`DeskError`]: a desk whose keys cannot all be unsealed does not open.
    pub async fn open(
        settings: Settings,
        store: Store,
        vault: Vault,
        clock: Clock,
    ) -> Result<Self, DeskError> {
        let leeway = seconds(settings.token.leeway);
        let stale_after = seconds(settings.database.stale_after);
        let standing = Arc::new(Standing::learn(store.clone(), clock.clone(), stale_after, leeway).await?);
        store.note_token_lifetime(seconds(settings.token.lifetime)).await?;
        let vault = Arc::new(vault);
        let keys =
            Keys::open(store.clone(), Arc::clone(&vault), Arc::clone(&standing), &settings, &clock).await?;
        let keys = Arc::new(keys);

        let own_name = format!("urn:uuid:{}", vault.id());
        let issuer = settings.token.issuer.clone().unwrap_or(own_name);
        let audience = settings.token.audience.clone().unwrap_or_else(|| issuer.clone());
        let good = Arc::clone(&standing);
        let guard = Guard::builder()
            .keys(Arc::new(Arc::clone(&keys)))
            .issuer(&issuer)
            .audience(&audience)
            .leeway(leeway)
            .realm(&settings.token.realm)
            .accept_bare(settings.token.accept_bare)
            .check_claims(move |claims| good.still_good(claims))
            .clock(clock.clone())
            .users(Arc::clone(&standing))
            .build()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hasher = Hasher::start(cores, settings.password.queue, settings.password.bcrypt_cost)
            .map_err(DeskError::Hasher)?;
        let throttle = Throttle::new(settings.throttle.clone(), settings.password.queue, &vault);
        let refresh_tokens = RefreshTokens::new(&vault);
        let issuer = Issuer::new(issuer, audience, seconds(settings.token.lifetime));
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                store,
                vault,
                hasher,
                throttle,
                refresh_tokens,
                clock,
                keys,
                issuer,
                standing,
                guard,
            }),
        })
    }

    /// Registers every route but the console's, for `App::new().wrap(desk.cors()).wrap(desk.envelope()).configure(desk.configure())`.
    pub fn configure(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let desk = self.clone();
        move |config| {
            config
                .service(routes::auth::scope(&desk))
                .service(routes::user::scope(&desk))
                .service(routes::well_known::scope(&desk))
                .service(routes::health::scope(&desk))
                .configure(routes::docs::configure)
                .configure(routes::console::configure_client);
        }
    }

    /// Registers the console at `/`, unless `server.console` is off.
    pub fn console(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let is_on = self.inner.settings.server.console;
        move |config| {
            if is_on {
                routes::console::configure(config);
            }
        }
    }

    /// The wrap that gives every failure of the app the contract's shape.
    pub fn envelope(&self) -> Envelope {
        Envelope::default()
            .max_body_bytes(self.inner.settings.server.max_body_bytes)
            .challenge(self.inner.guard.challenge())
    }

    /// The wrap that answers browsers of other origins, those of `server.cors_origins` alone. It goes inside
    /// [`envelope`](Self::envelope): `App::new().wrap(desk.cors()).wrap(desk.envelope())`.
    pub fn cors(&self) -> Condition<Cors> {
        let origins = &self.inner.settings.server.cors_origins;
        let mut cors = Cors::default()
            .allowed_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allowed_headers([AUTHORIZATION, CONTENT_TYPE, X_REQUEST_ID, X_HALLPASS])
            .expose_headers([X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, DATE])
            .max_age(CORS_MAX_AGE_SECS);
        // Any origin, or cookies; never both.
        if origins == &["*"] {
            cors = cors.allow_any_origin().send_wildcard();
        } else {
            cors =
                origins.iter().fold(cors.supports_credentials(), |cors, origin| cors.allowed_origin(origin));
        }
        Condition::new(!origins.is_empty(), cors)
    }

    /// The guard that knows this desk's tokens, for an app's own handlers.
    pub fn guard(&self) -> &Guard {
        &self.inner.guard
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The password-hashing service.
    pub fn hasher(&self) -> &Hasher {
        &self.inner.hasher
    }

    /// Who must wait before the next try.
    pub fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    /// The clock it goes by.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// How long an access token lives.
    pub fn lifetime(&self) -> Duration {
        seconds(self.inner.settings.token.lifetime)
    }

    /// How long a session may go on.
    pub fn lifetimes(&self) -> Lifetimes {
        let session = &self.inner.settings.session;
        Lifetimes {
            idle: seconds(session.idle_lifetime),
            absolute: seconds(session.refresh_lifetime),
            grace: seconds(session.reuse_grace),
        }
    }

    /// What issues refresh tokens and knows them again.
    pub(crate) fn refresh_tokens(&self) -> &RefreshTokens {
        &self.inner.refresh_tokens
    }

    /// When the session was last seen in use, as far as memory reaches.
    pub(crate) fn last_seen(&self, session: Uuid) -> Option<DateTime<Utc>> {
        self.inner.standing.last_seen(session)
    }

    /// Hears of everything that was committed before the call, and acts on it.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        self.inner.keys.catch_up().await
    }

    /// Looks whether the database has keys that are not known here: for a token that names one.
    pub(crate) async fn look_for_keys(&self) -> Result<(), ApiError> {
        let looked = self.inner.keys.look().await;
        looked.map_err(|Unavailable| ApiError::Unavailable("a token's key cannot be looked for".into()))
    }

    /// Clears away what has expired, here and in the database, and tells the database which sessions were
    /// in use.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn tidy(&self) -> Result<(), DeskError> {
        self.inner.standing.forget_expired();
        self.write_uses().await?;
        let settings = &self.inner.settings;
        let keep = Keep {
            sessions: self.lifetimes(),
            leeway: seconds(settings.token.leeway),
            events: seconds(settings.events.keep),
        };
        let now = self.inner.clock.now();
        self.inner.store.reap(now, &keep).await?;
        keys::drop_spent(&self.inner.store, &self.inner.vault, now, keep.leeway).await
    }

    /// Tells the database which sessions were in use.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        self.inner.standing.write_uses().await
    }

    /// Makes a new signing key when the newest is as old as `key.rotate_every_days` says. Of several servers, one
    /// does.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn rotate_by_age(&self) -> Result<(), DeskError> {
        let Inner { settings, store, vault, clock, .. } = &*self.inner;
        let reason = match settings.key.rotate_every_days {
            0 => return Ok(()),
            days => Reason::Age(Duration::days(i64::from(days))),
        };
        // Asked first, so that nobody waits once a minute for the right to write.
        let keys = store.signing_keys().await?;
        if let Plan::Make { .. } = keys::plan(&keys, settings, clock.now(), reason)? {
            keys::rotate(store, vault, settings, clock, reason).await?;
        }
        Ok(())
    }

    /// The public keys that verify its tokens (RFC 7517); none under HS256.
    pub fn jwks(&self) -> JwkSet {
        self.inner.keys.jwks()
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.inner.issuer.issuer
    }

    /// What it signs with now.
    pub fn signing_algorithm(&self) -> Option<Algorithm> {
        self.inner.keys.signer(self.inner.clock.now()).map(|key| key.algorithm())
    }

    /// Signs an access token for `grant`.
    pub(crate) fn issue(&self, grant: &Grant, now: DateTime<Utc>) -> Result<String, ApiError> {
        let internal = |reason: IssueError| ApiError::Internal(format!("a token cannot be signed: {reason}"));
        let no_key = || ApiError::Unavailable("a token cannot be signed: there is no key".into());
        let key = self.inner.keys.signer(now).ok_or_else(no_key)?;
        let issued = self.inner.issuer.issue(&key, grant, now);
        issued.map(|issued| issued.token).map_err(internal)
    }

    /// The answer to a user who went while the request was served: the guard's own to a revoked token.
    pub(crate) fn gone(&self) -> ApiError {
        ApiError::Gone(
            self.inner
                .guard
                .challenge_of(Refusal::TokenRevoked)
                .unwrap_or_else(|| self.inner.guard.challenge()),
        )
    }

    /// The answer to every refresh token that is not good; `ended` where its session has ended of it.
    pub(crate) fn refresh_invalid(&self, ended: bool) -> ApiError {
        ApiError::RefreshInvalid { challenge: self.inner.guard.challenge(), ended }
    }

    /// The one answer to every failed sign-in.
    pub(crate) fn credentials_invalid(&self) -> ApiError {
        ApiError::CredentialsInvalid(self.inner.guard.challenge())
    }
}

/// RFC 3339, in UTC, to the second.
fn shown(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Settings count in whole seconds and are bounded, so nothing is lost.
fn seconds(duration: std::time::Duration) -> Duration {
    Duration::from_std(duration).unwrap_or(Duration::MAX)
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("vault", &self.inner.vault.id()).finish_non_exhaustive()
    }
}
