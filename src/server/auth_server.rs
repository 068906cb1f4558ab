//! `AuthServer`: a server of one installation. It assembles the parts, and gives each rule only the parts that it
//! needs.

mod upkeep;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::Condition;
use actix_web::web::ServiceConfig;

use super::abuse::RateLimiter;
use super::accounts::{Accounts, Directory, SecondFactorRules, UserAdmin};
use super::config::{Settings, Verification, seconds};
use super::credentials::{Hasher, PasskeyError, PasswordRules, RelyingParty};
use super::events::{EventLog, Statistics};
use super::guard_parts::GuardParts;
use super::http::routes::console::Look;
use super::http::routes::metrics::{self, VERDICTS};
use super::http::{self, Context, Edge, Measure, Readiness, Shortcut, Watched, X_HALLPASS};
use super::keys::vault::Vault;
use super::keys::{KeysError, PasswordHashes, SigningKeys, rotation};
use super::mail::{MailError, MailTokens, Mailer};
use super::metrics::{Connections, Counter, Counters, Requests};
use super::model::Lifetimes;
use super::run::Tasks;
use super::sessions::{
    AccessTokens, Challenges, Parts, Passwords, RefreshTokens, SessionCounts, Sessions, WebauthnChallenges,
};
use super::state::{ServerKeys, State};
use super::store::{Store, StoreError};
use crate::clock::Clock;
use crate::guard::{Guard, GuardBuilder, GuardError, User};
use crate::http::{Envelope, X_REQUEST_ID};
use crate::token::{Algorithm, JwkSet};

/// The age of a signing key from which its rotation is advised, if nothing rotates it.
const ROTATION_ADVISED: chrono::Duration = chrono::Duration::days(365);

/// How long a browser may cache the answer to a preflight.
const CORS_MAX_AGE_SECS: usize = 3_600;

/// A server of one installation. Clones share it.
#[derive(Clone)]
pub struct AuthServer {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    store: Store,
    vault: Arc<Vault>,
    clock: Clock,
    state: Arc<State>,
    keys: Arc<SigningKeys>,
    server_keys: Arc<ServerKeys>,
    hasher: Hasher,
    hashes: PasswordHashes,
    limiter: RateLimiter,
    sessions: Sessions,
    accounts: Accounts,
    mailer: Option<Mailer>,
    statistics: Statistics,
    lifetimes: Lifetimes,
    issuer: String,
    audience: String,
    guard: Guard,
    readiness: Arc<Readiness>,
    is_draining: Arc<AtomicBool>,
    requests: Arc<Requests>,
    connections: Arc<Connections>,
    verdicts: Arc<Counters>,
    clock_steps: Arc<Counter>,
    look: Arc<Look>,
    /// The tasks of a server that serves.
    tasks: Mutex<Option<Tasks>>,
}

/// An [`AuthServer`] that is not kept from being dropped.
#[derive(Clone)]
pub(super) struct WeakServer(Weak<Inner>);

impl WeakServer {
    /// Returns the server; `None` if it was dropped.
    pub(super) fn upgrade(&self) -> Option<AuthServer> {
        self.0.upgrade().map(|inner| AuthServer { inner })
    }
}

/// An error that keeps a server from opening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The settings contradict each other.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The settings or the texts of mails cannot be used.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The logo of the console cannot be used.
    #[error("console.logo: {0}")]
    Console(String),
    /// Browsers would not accept the settings of passkeys.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// The threads for password hashing cannot be started.
    #[error("the threads for password hashing cannot be started: {0}")]
    Hasher(std::io::Error),
}

impl AuthServer {
    /// Opens the server of the installation in `store`, whose keys `vault` unseals.
    ///
    /// # Errors
    /// [`OpenError`], for example if a key does not unseal.
    #[doc(hidden)]
    pub async fn open(
        settings: Settings,
        store: Store,
        vault: impl Into<Arc<Vault>>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let leeway = seconds(settings.token.leeway);
        let token_lifetime = seconds(settings.token.lifetime);
        let vault: Arc<Vault> = vault.into();
        let (earlier, installation) = store
            .read(async |connection| Ok((connection.earlier_keys().await?, connection.installation().await?)))
            .await?;
        // A vault from a process that was taken over may be one key behind; it then asks for it.
        if let Some(installation) = installation.filter(|now| now.generation == vault.generation()) {
            vault.add_earlier(&earlier).map_err(KeysError::from)?;
            vault.set_rekeyed_at(installation.rekeyed_at);
        }
        // The position is read first: a change made meanwhile is then applied twice instead of being missed.
        let position = store.read(async |connection| connection.position().await).await?;
        let stored_keys = store.read(async |connection| connection.signing_keys().await).await?;
        if stored_keys.iter().any(|key| key.token_lifetime < token_lifetime) {
            store.write(async |tx| tx.raise_token_lifetime(token_lifetime).await).await?;
        }
        let keys = Arc::new(SigningKeys::unseal(Arc::clone(&vault), &stored_keys)?);
        if !store.read(async |connection| connection.reseals().await).await?.is_empty() {
            log::warn!(
                "an earlier hallpass key rekey was interrupted, so some secrets are still encrypted under the earlier \
                 installation key; run it again to finish"
            );
        }
        let reason = rotation::Reason::Requested { trust_clock: false };
        if let Err(error) = rotation::plan(&stored_keys, &settings, clock.now(), reason) {
            log::warn!("{error}");
        }
        let age = stored_keys.last().map(|key| clock.now() - key.sealed.created_at);
        if settings.key.rotate_every_days == 0
            && let Some(age) = age.filter(|age| *age > ROTATION_ADVISED)
        {
            log::warn!(
                "the newest signing key is {} days old and key.rotate_every_days is 0; hallpass key rotate makes a new one \
                 and invalidates no token",
                age.num_days()
            );
        }
        let state = Arc::new(
            State::load(
                store.clone(),
                clock.clone(),
                position,
                Arc::clone(&keys),
                seconds(settings.database.stale_after),
                leeway,
            )
            .await?,
        );
        let server_keys = Arc::new(ServerKeys::new(Arc::clone(&state), Arc::clone(&keys)));

        let issuer = settings.token.issuer.clone().unwrap_or_else(|| format!("urn:uuid:{}", vault.id()));
        let audience = settings.token.audience.clone().unwrap_or_else(|| issuer.clone());
        let verdicts = Arc::new(Counters::new(VERDICTS));
        let parts = GuardParts {
            settings: &settings,
            clock: &clock,
            state: &state,
            keys: &server_keys,
            verdicts: &verdicts,
        };
        let guard = parts.builder(&issuer, &audience).users(Arc::clone(state.users())).build()?;

        let mail_tokens = MailTokens::new(Arc::clone(&vault), &settings);
        let mailer = Mailer::open(&settings, store.clone(), mail_tokens.clone(), clock.clone())?;
        let verification = mailer.is_some().then_some(settings.registration.verify);
        let look = Arc::new(Look::read(&settings).map_err(OpenError::Console)?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hasher = Hasher::start(cores, settings.password.queue, settings.password.bcrypt_cost)
            .map_err(OpenError::Hasher)?
            .nfc(settings.password.nfc);
        let limiter = RateLimiter::new(store.clone(), settings.throttle.clone(), hasher.clone(), &vault);
        let lifetimes = Lifetimes {
            idle: seconds(settings.session.idle_lifetime),
            absolute: seconds(settings.session.refresh_lifetime),
            grace: seconds(settings.session.reuse_grace),
        };
        let hashes = PasswordHashes::new(Arc::clone(&vault));
        let passwords =
            Passwords { hasher: hasher.clone(), hashes: hashes.clone(), state: Arc::clone(&state) };
        let webauthn = Arc::new(WebauthnChallenges::new(&vault));
        let relying_party = Arc::new(RelyingParty::new(&settings)?);
        let sessions = Sessions::new(Parts {
            store: store.clone(),
            clock: clock.clone(),
            state: Arc::clone(&state),
            access_tokens: AccessTokens::new(
                issuer.clone(),
                audience.clone(),
                token_lifetime,
                Arc::clone(&keys),
            ),
            refresh_tokens: RefreshTokens::new(Arc::clone(&vault)),
            challenges: Challenges::new(&vault),
            vault: Arc::clone(&vault),
            webauthn: Arc::clone(&webauthn),
            relying_party: Arc::clone(&relying_party),
            totp_skew: settings.second_factor.totp_skew,
            lifetimes,
            per_user: settings.session.per_user,
            limiter: limiter.clone(),
            passwords: passwords.clone(),
            counts: SessionCounts::default(),
            has_mail: mailer.is_some(),
            mail_tokens: mail_tokens.clone(),
            link_lifetime: (mailer.is_some() && settings.link.on).then(|| seconds(settings.link.lifetime)),
            needs_verified: verification == Some(Verification::Required),
        });
        let accounts = Accounts {
            store: store.clone(),
            clock: clock.clone(),
            state: Arc::clone(&state),
            limiter: limiter.clone(),
            passwords,
            sessions: sessions.clone(),
            registration_is_open: settings.registration.open,
            password_rules: PasswordRules::new(&settings),
            second_factors: SecondFactorRules {
                fresh: seconds(settings.second_factor.fresh),
                totp_skew: settings.second_factor.totp_skew,
                issuer: settings.second_factor.issuer.clone(),
            },
            webauthn,
            relying_party,
            vault: Arc::clone(&vault),
            verification,
            mail_tokens,
        };
        let readiness = Arc::new(Readiness::new(store.clone(), Arc::clone(&keys), clock.clone()));
        let statistics = Statistics::new(store.clone(), clock.clone(), lifetimes);
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                store,
                vault,
                clock,
                state,
                keys,
                server_keys,
                hasher,
                hashes,
                limiter,
                sessions,
                accounts,
                mailer,
                statistics,
                lifetimes,
                issuer,
                audience,
                guard,
                readiness,
                is_draining: Arc::default(),
                requests: Arc::default(),
                connections: Arc::default(),
                verdicts,
                clock_steps: Arc::default(),
                look,
                tasks: Mutex::new(None),
            }),
        })
    }

    /// Keeps the background tasks until [`stop`](Self::stop), or until the last clone of the server is dropped.
    pub(super) fn keep(&self, tasks: Tasks) {
        *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks);
    }

    pub(super) fn downgrade(&self) -> WeakServer {
        WeakServer(Arc::downgrade(&self.inner))
    }

    /// Registers every route except the console's: `/auth`, `/user`, `/admin`, `/.well-known`, `/health`, `/client`,
    /// and `/docs` unless `server.docs` is off. Installs the guard too, so that the app's own handlers may take an
    /// [`AuthUser`](crate::AuthUser).
    ///
    /// Wrap [`cors`](Self::cors) and [`envelope`](Self::envelope) around the app. The paths begin at the app's root.
    ///
    /// # Example
    /// ```no_run
    /// use actix_web::{App, HttpServer, web};
    /// use hallpass::AuthUser;
    /// use hallpass::server::AuthServer;
    ///
    /// async fn notes(user: AuthUser) -> String {
    ///     format!("the notes of {}", user.email)
    /// }
    ///
    /// # async fn serve(auth: AuthServer) -> std::io::Result<()> {
    /// let auth_of_app = auth.clone();
    /// let app = move || {
    ///     App::new()
    ///         .wrap(auth_of_app.cors())
    ///         .wrap(auth_of_app.envelope())
    ///         .configure(auth_of_app.configure())
    ///         .route("/notes", web::get().to(notes))
    /// };
    /// HttpServer::new(app).bind("127.0.0.1:8080")?.run().await?;
    /// auth.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let context = Context {
            guard: self.inner.guard.clone(),
            accounts: self.inner.accounts.clone(),
            users: self.users(),
            directory: self.directory(),
            events: self.events(),
            statistics: self.inner.statistics.clone(),
            watched: Watched {
                hasher: self.inner.hasher.clone(),
                limiter: self.inner.limiter.clone(),
                keys: Arc::clone(&self.inner.keys),
            },
            state: Arc::clone(&self.inner.state),
            sessions: self.inner.sessions.clone(),
            keys: Arc::clone(&self.inner.keys),
            server_keys: Arc::clone(&self.inner.server_keys),
            clock: self.inner.clock.clone(),
            readiness: Arc::clone(&self.inner.readiness),
            issuer: self.inner.issuer.clone(),
            settings: self.inner.settings.server.clone(),
        };
        let install = self.inner.guard.install();
        move |config| {
            config.configure(install);
            http::configure(config, &context);
        }
    }

    /// Registers the console at `/`, unless `server.console` is off.
    pub fn console(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let look = self.inner.settings.server.console.then(|| Arc::clone(&self.inner.look));
        move |config| {
            if let Some(look) = look {
                http::routes::console::configure(config, look);
            }
        }
    }

    /// Returns the middleware that makes every failure of the app JSON.
    pub fn envelope(&self) -> Envelope {
        Envelope::default()
            .max_body_bytes(self.inner.settings.server.max_body_bytes)
            .challenge(self.inner.guard.challenge())
    }

    /// Returns the middleware that counts requests for `GET /metrics`. Wrap it around everything.
    pub(super) fn measure(&self) -> Measure {
        Measure(Arc::clone(&self.inner.requests))
    }

    /// Returns the middleware that answers `GET /user/` without the router. Wrap all others around it.
    pub(super) fn shortcut(&self) -> Shortcut {
        Shortcut::new(self.inner.guard.clone())
    }

    /// Returns the middleware that bounds the heads of requests. Wrap [`envelope`](Self::envelope) around it.
    pub(super) fn edge(&self) -> Edge {
        Edge::new(&self.inner.settings.server, Arc::clone(&self.inner.is_draining))
    }

    /// Returns the counts of connections.
    pub(super) fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.inner.connections)
    }

    /// Returns the parts that count.
    pub(super) fn metrics(&self) -> metrics::Sources {
        let inner = &*self.inner;
        metrics::Sources {
            requests: Arc::clone(&inner.requests),
            connections: Arc::clone(&inner.connections),
            verdicts: Arc::clone(&inner.verdicts),
            guard: inner.guard.clone(),
            sessions: inner.sessions.clone(),
            limiter: inner.limiter.clone(),
            hasher: inner.hasher.clone(),
            mailer: inner.mailer.clone(),
            keys: Arc::clone(&inner.keys),
            state: Arc::clone(&inner.state),
            store: inner.store.clone(),
            clock: inner.clock.clone(),
            clock_steps: Arc::clone(&inner.clock_steps),
        }
    }

    /// Returns the vault, unsealed.
    pub(super) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.inner.vault)
    }

    /// Makes every answer the last of its connection, and waits until no connection is left, for at most
    /// `server.shutdown_s`. Clients go to whoever listens now, and lose no request: a connection that waits for its next
    /// one is not closed before `server.idle_s`.
    pub(super) async fn drain(&self) {
        self.inner.is_draining.store(true, Ordering::SeqCst);
        let ended = async {
            // A connection that was just accepted is counted a moment later.
            actix_rt::time::sleep(Duration::from_millis(200)).await;
            while self.inner.connections.open() > 0 {
                actix_rt::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // What is still open then is closed.
        let _ = actix_rt::time::timeout(self.inner.settings.server.shutdown_time, ended).await;
    }

    /// Counts that the system's clock was set.
    pub(super) fn count_clock_step(&self) {
        self.inner.clock_steps.count();
    }

    /// Returns the middleware for CORS, by `server.cors_origins`. Wrap [`envelope`](Self::envelope) around it.
    pub fn cors(&self) -> Condition<Cors> {
        let origins = &self.inner.settings.server.cors_origins;
        let mut cors = Cors::default()
            .allowed_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allowed_headers([AUTHORIZATION, CONTENT_TYPE, X_REQUEST_ID, X_HALLPASS])
            .expose_headers([X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, DATE, LINK])
            .max_age(CORS_MAX_AGE_SECS);
        // Either any origin or cookies, never both.
        if origins == &["*"] {
            cors = cors.allow_any_origin().send_wildcard();
        } else {
            cors =
                origins.iter().fold(cors.supports_credentials(), |cors, origin| cors.allowed_origin(origin));
        }
        Condition::new(!origins.is_empty(), cors)
    }

    /// Returns the guard that accepts this server's tokens, for an app's own handlers.
    pub fn guard(&self) -> &Guard {
        &self.inner.guard
    }

    /// Starts to build another guard that accepts this server's tokens: one with the app's own users, say.
    ///
    /// It asks the same state as [`guard`](Self::guard), so logouts and disabled users are known at once.
    ///
    /// # Example: handlers that get the app's own user
    /// ```no_run
    /// use std::sync::Arc;
    /// use hallpass::server::AuthServer;
    /// use hallpass::{Claims, Guard, GuardError, Unavailable, UserSource};
    ///
    /// struct Member { nickname: String }
    /// struct Members; // with a connection pool, for example
    ///
    /// impl UserSource for Members {
    ///     type User = Member;
    ///
    ///     async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
    ///         Ok(Some(Arc::new(Member { nickname: format!("member {}", claims.sub) })))
    ///     }
    /// }
    ///
    /// fn guard(auth: &AuthServer) -> Result<Guard<Member>, GuardError> {
    ///     auth.guard_builder().users(Members).build()
    /// }
    /// ```
    pub fn guard_builder(&self) -> GuardBuilder<User> {
        let Inner { settings, clock, state, server_keys, verdicts, issuer, audience, .. } = &*self.inner;
        let parts = GuardParts { settings, clock, state, keys: server_keys, verdicts };
        parts.builder(issuer, audience)
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Returns the database.
    #[doc(hidden)]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Returns the operator's view of the accounts.
    #[doc(hidden)]
    pub fn users(&self) -> UserAdmin {
        let users = UserAdmin::new(self.inner.store.clone(), self.inner.clock.clone());
        users.sealing(self.inner.hashes.clone()).telling(self.inner.mailer.is_some())
    }

    /// Returns the list of users, to be searched.
    #[doc(hidden)]
    pub fn directory(&self) -> Directory {
        Directory::new(self.inner.store.clone())
    }

    /// Returns the recorded events.
    #[doc(hidden)]
    pub fn events(&self) -> EventLog {
        EventLog::new(self.inner.store.clone())
    }

    /// Returns the password-hashing service.
    #[doc(hidden)]
    pub fn hasher(&self) -> &Hasher {
        &self.inner.hasher
    }

    /// Returns the seals of the stored password hashes.
    #[doc(hidden)]
    pub fn hashes(&self) -> &PasswordHashes {
        &self.inner.hashes
    }

    /// Returns the rate limiter.
    #[doc(hidden)]
    pub fn limiter(&self) -> &RateLimiter {
        &self.inner.limiter
    }

    /// Returns the worker that sends mails; `None` without `mail.url`.
    pub fn mailer(&self) -> Option<&Mailer> {
        self.inner.mailer.as_ref()
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Returns the public keys that verify the tokens of this server (RFC 7517); none under HS256.
    pub fn jwks(&self) -> JwkSet {
        self.inner.keys.jwks()
    }

    /// Returns the `iss` of the tokens of this server.
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Returns the algorithm of the key that signs now.
    pub(crate) fn signing_algorithm(&self) -> Option<Algorithm> {
        self.inner.keys.signer(self.inner.clock.now()).map(|key| key.algorithm())
    }
}

impl std::fmt::Debug for AuthServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthServer").field("vault", &self.inner.vault.id()).finish_non_exhaustive()
    }
}
