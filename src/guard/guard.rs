//! The guard, which an app configures once and installs. It holds the data for decisions; `authenticate.rs` decides.

use std::any::{Any, type_name};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;

use super::answer::Challenge;
use super::credential::Scheme;
use super::refusal::Refusal;
use super::source::{DynUsers, KeySource, User};
use crate::clock::Clock;
use crate::token::{Claims, VerifiedTokens};

/// The app's check of verified claims that does not wait.
pub(super) type CheckClaims = dyn Fn(&Claims) -> Result<(), Refusal> + Send + Sync;
/// The app's check of verified claims that may wait.
pub(super) type VerifyToken =
    dyn Fn(Arc<Claims>, HttpRequest) -> LocalBoxFuture<'static, Result<(), Refusal>> + Send + Sync;
/// The app's version of everything that a decision depends on; `None` where there is none now.
pub(super) type Version = dyn Fn() -> Option<u64> + Send + Sync;
/// A user of whatever type.
pub(super) type AnyUser = Arc<dyn Any + Send + Sync>;
/// The app's own response to a refusal.
pub(super) type OnVerdict = dyn Fn(Result<(), Refusal>) + Send + Sync;
pub(super) type OnUnauthorized = dyn Fn(Refusal, StatusCode, &HttpRequest) -> HttpResponse + Send + Sync;

/// Authenticates requests by their access token.
///
/// `U` is the app's user type. An app with several kinds of users has one guard for each, told apart by `U`.
/// Clones share one guard.
///
/// # Example: one guard, one protected handler
/// ```
/// use actix_web::{App, test, web};
/// use hallpass::{AuthUser, Guard};
///
/// async fn hello(user: AuthUser) -> String {
///     format!("Hello, {}!", user.email)
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let guard = Guard::builder()
///     .shared_secret(b"thirty-two bytes, or rather more of them")
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
///
/// let app = test::init_service(
///     App::new().app_data(guard.clone()).route("/", web::get().to(hello)),
/// )
/// .await;
///
/// let without_token = test::TestRequest::get().uri("/").to_request();
/// assert_eq!(test::call_service(&app, without_token).await.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Guard<U = User> {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) users: Arc<dyn DynUsers<U>>,
}

/// The part of a decision that the guard caches with a token.
pub(super) enum Remember {
    /// Nothing: its checks and its users may change at any time.
    Nothing,
    /// The user, who is made from the token alone.
    User,
    /// The whole decision, while the app's version of everything that it depends on stays the same.
    While(Box<Version>),
}

/// An accepted token and its user.
pub(super) struct Accepted {
    pub version: u64,
    pub user: AnyUser,
}

/// The part of a guard that does not depend on the user type.
pub(super) struct Authenticator {
    pub key_source: Arc<dyn KeySource>,
    pub verifier: VerifiedTokens<Accepted>,
    pub remember: Remember,
    pub header: HeaderName,
    pub scheme: Scheme,
    pub challenge: Challenge,
    pub check_claims: Option<Box<CheckClaims>>,
    pub verify_token: Option<Box<VerifyToken>>,
    pub on_unauthorized: Option<Box<OnUnauthorized>>,
    pub on_verdict: Option<Box<OnVerdict>>,
    pub clock: Clock,
}

impl<U: Send + Sync + 'static> Guard<U> {
    /// Registers the guard with an app or a scope, for all extractors in it:
    /// `App::new().configure(guard.install())`.
    ///
    /// `.app_data(guard.clone())` does the same, with one exception: [`Claims`] then finds a `Guard<User>` only, and
    /// no guard with another user type.
    ///
    /// # Example
    /// ```
    /// use actix_web::App;
    ///
    /// let guard = hallpass::testing::Mint::new().guard();
    /// let app = App::new().configure(guard.install());
    /// # let _ = app;
    /// ```
    pub fn install(&self) -> impl FnOnce(&mut ServiceConfig) + use<U> {
        let guard = self.clone();
        move |config| {
            config.app_data(Arc::clone(&guard.authenticator)).app_data(guard);
        }
    }

    /// Returns the `WWW-Authenticate` value of a 401 that names no error, for a route that checks credentials itself.
    ///
    /// # Example
    /// ```
    /// let guard = hallpass::testing::Mint::new().guard();
    /// assert_eq!(guard.challenge(), r#"Bearer realm="Authentication Required""#);
    /// ```
    pub fn challenge(&self) -> HeaderValue {
        self.authenticator.challenge.plain()
    }

    /// Returns the `WWW-Authenticate` value of the guard's response to `refusal`, or `None` if that response has none.
    ///
    /// # Example
    /// ```
    /// use hallpass::Refusal;
    ///
    /// let guard = hallpass::testing::Mint::new().guard();
    /// let challenge = guard.challenge_of(Refusal::TokenExpired).unwrap();
    /// assert!(challenge.to_str().unwrap().contains(r#"error="invalid_token""#));
    /// assert!(guard.challenge_of(Refusal::Unavailable).is_none());
    /// ```
    pub fn challenge_of(&self, refusal: Refusal) -> Option<HeaderValue> {
        self.authenticator.challenge.of(refusal)
    }

    /// Returns how many tokens were in the cache of verified tokens, and how many not.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "for the server's metrics"))]
    pub(crate) fn cache_hits_and_misses(&self) -> (u64, u64) {
        self.authenticator.verifier.hits_and_misses()
    }
}

impl<U> Clone for Guard<U> {
    fn clone(&self) -> Self {
        Self { authenticator: Arc::clone(&self.authenticator), users: Arc::clone(&self.users) }
    }
}

impl<U: 'static> std::fmt::Debug for Guard<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("user", &type_name::<U>())
            .field("authenticator", &self.authenticator)
            .finish()
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator")
            .field("expected", self.verifier.expected())
            .field("header", &self.header)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
