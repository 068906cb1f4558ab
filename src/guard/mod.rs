//! The door: who is asking, told before a handler runs.
//!
//! A [`Guard`] knows where keys, users and answers come from. It is built once, at start, and serves the
//! extractors ([`Claims`], [`AuthUser`], [`MaybeAuthUser`], [`Authed`], [`Require`]) and the middleware
//! ([`Guard::protect`]) alike. Whatever can be told without waiting (credential, signature, times,
//! revocations, users in memory) is told in an extractor's first poll; under the middleware the verdict
//! comes before any extractor is built, and may wait.
//!
//! [`Claims`]: crate::token::Claims

pub(crate) mod answer;
mod builder;
mod credential;
mod extract;
#[cfg(feature = "jwks-url")]
mod jwks_url;
#[cfg(feature = "openapi")]
pub(crate) mod openapi;
mod policy;
mod refusal;
mod scope;
mod source;

use std::any::type_name;
use std::sync::Arc;

use actix_web::http::header::HeaderName;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;

pub use builder::{GuardBuilder, GuardError};
pub use extract::{Admission, AuthUser, Authed, MaybeAuthUser, Refused};
#[cfg(feature = "jwks-url")]
pub use jwks_url::{FetchError, FetchedKeys, JwksUrl, JwksUrlError};
#[cfg(feature = "openapi")]
pub use openapi::SECURITY_SCHEME;
pub use policy::{AllOf, AnyOf, HasRoles, Policy, Require, Role, RoleName, SignedInWithin};
pub use refusal::Refusal;
pub use scope::{Protect, ProtectService};
pub use source::{CachedUser, FromClaims, KeyRefresh, KeySource, Unavailable, User, UserSource};

use crate::clock::Clock;
use crate::token::{Claims, Verifier};
use answer::Challenge;
use credential::Scheme;
use source::DynUsers;

type CheckClaims = dyn Fn(&Claims) -> Result<(), Refusal> + Send + Sync;
type VerifyToken =
    dyn Fn(Arc<Claims>, HttpRequest) -> LocalBoxFuture<'static, Result<(), Refusal>> + Send + Sync;
type OnUnauthorized =
    dyn Fn(Refusal, actix_web::http::StatusCode, &HttpRequest) -> HttpResponse + Send + Sync;

/// The doorkeeper: judges the credential of a request and says who is asking.
///
/// `U` is the app's user. An app with several kinds of users has a guard for each, told apart by this
/// type. Clones share one guard.
///
/// # Example: one guard, one protected handler
/// ```
/// use actix_web::{App, HttpResponse, test, web};
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
/// let stranger = test::TestRequest::get().uri("/").to_request();
/// assert_eq!(test::call_service(&app, stranger).await.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Guard<U = User> {
    door: Arc<Door>,
    users: Arc<dyn DynUsers<U>>,
}

/// All of a guard that does not depend on what a user is.
pub(crate) struct Door {
    keys: Arc<dyn KeySource>,
    verifier: Verifier,
    header: HeaderName,
    scheme: Scheme,
    challenge: Challenge,
    check_claims: Option<Box<CheckClaims>>,
    verify_token: Option<Box<VerifyToken>>,
    on_unauthorized: Option<Box<OnUnauthorized>>,
    clock: Clock,
}

/// Who is asking, as the guard found out; in the request's extensions from then on, for middleware
/// and the access log.
///
/// # Example: the subject in an access log
/// ```
/// use actix_web::{HttpMessage, dev::ServiceResponse};
/// use hallpass::Caller;
///
/// fn subject(response: &ServiceResponse) -> String {
///     match response.request().extensions().get::<Caller>() {
///         Some(caller) => caller.claims().sub.clone(),
///         None => "-".to_owned(),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Caller {
    claims: Arc<Claims>,
    user: Option<Arc<dyn std::any::Any + Send + Sync>>,
    door: Arc<Door>,
}

impl Guard<User> {
    /// Starts a guard whose users come from the token's claims, until
    /// [`users`](GuardBuilder::users) says otherwise.
    ///
    /// # Example
    /// ```
    /// let builder = hallpass::Guard::builder().issuer("https://id.example").audience("https://api.example");
    /// # let _ = builder;
    /// ```
    pub fn builder() -> GuardBuilder<User> {
        GuardBuilder::new(Arc::new(FromClaims))
    }
}

impl<U: Send + Sync + 'static> Guard<U> {
    /// Registers the guard with an app or a scope, for every extractor below:
    /// `App::new().configure(guard.install())`.
    ///
    /// `.app_data(guard.clone())` does the same for all extractors but [`Claims`], which without this
    /// line finds only a `Guard<User>`.
    ///
    /// # Example
    /// ```
    /// use actix_web::App;
    ///
    /// let guard = hallpass::testing::Mint::new().guard();
    /// let app = App::new().configure(guard.install());
    /// # let _ = app;
    /// ```
    pub fn install(&self) -> impl FnOnce(&mut actix_web::web::ServiceConfig) + use<U> {
        let guard = self.clone();
        move |config| {
            config.app_data(Arc::clone(&guard.door)).app_data(guard);
        }
    }

    /// The middleware: everything under it is refused to strangers before any extractor is built.
    ///
    /// See [`Protect`] for public paths.
    ///
    /// # Example: a scope that only users see
    /// ```
    /// use actix_web::{App, web};
    ///
    /// let guard = hallpass::testing::Mint::new().guard();
    /// let app = App::new().service(web::scope("/private").wrap(guard.protect()));
    /// # let _ = app;
    /// ```
    pub fn protect(&self) -> Protect<U> {
        Protect::new(self.clone())
    }

    /// The challenge of a 401 that names no error: for a route that checks credentials of its own.
    ///
    /// # Example
    /// ```
    /// let guard = hallpass::testing::Mint::new().guard();
    /// assert_eq!(guard.challenge(), r#"Bearer realm="Authentication Required""#);
    /// ```
    pub fn challenge(&self) -> actix_web::http::header::HeaderValue {
        self.door.challenge.plain()
    }

    /// The challenge that the guard itself would answer `refusal` with, where it has one.
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
    pub fn challenge_of(&self, refusal: Refusal) -> Option<actix_web::http::header::HeaderValue> {
        self.door.challenge.of(refusal)
    }

    /// The guard that answers for `request`: the middleware's, or the nearest installed one.
    fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        if let Some(guard) = request.extensions().get::<Self>() {
            return Ok(guard.clone());
        }
        request.app_data::<Self>().cloned().ok_or_else(|| {
            log::error!(
                "no guard for AuthUser<{user}>: add .app_data(guard.clone()) to the App, where guard is a \
                 Guard<{user}>, or .wrap(guard.protect()) to the scope",
                user = type_name::<U>()
            );
            Refusal::NotConfigured
        })
    }
}

impl Door {
    /// The door that answers for a handler which asks for no particular kind of user.
    fn of(request: &HttpRequest) -> Result<Arc<Self>, Refusal> {
        if let Some(door) = request.extensions().get::<Arc<Self>>() {
            return Ok(Arc::clone(door));
        }
        match request.app_data::<Arc<Self>>() {
            Some(door) => Ok(Arc::clone(door)),
            None => Guard::<User>::of(request).map(|guard| guard.door),
        }
    }

    /// All that can be told of a request's credential without waiting. The one verdict that extractors
    /// and middleware share.
    fn verdict(&self, request: &HttpRequest) -> Result<Arc<Claims>, Refusal> {
        let values = request.headers().get_all(&self.header).map(|value| value.as_bytes());
        let token = credential::token(values, &self.scheme)?;
        let claims = self.verifier.verify(token, &self.keys.keys()?, self.clock.now())?;
        match &self.check_claims {
            Some(check_claims) => check_claims(&claims).map(|()| claims),
            None => Ok(claims),
        }
    }

    /// The answer to a refused `request`, and a line in the log that says why.
    fn refuse(&self, refusal: Refusal, request: &HttpRequest) -> Refused {
        match refusal {
            Refusal::Unavailable | Refusal::NotConfigured => log::error!("request refused: {refusal}"),
            _ => log::debug!("request refused: {}: {refusal}", refusal.code()),
        }
        let status = answer::status(refusal);
        let custom = self.on_unauthorized.as_ref().filter(|_| status.is_client_error());
        let Some(custom) = custom else {
            return Refused::new(refusal, answer::failure(refusal, &self.challenge).response());
        };
        let mut response = custom(refusal, status, request);
        if response.status().is_success() {
            *response.status_mut() = actix_web::http::StatusCode::UNAUTHORIZED;
        }
        let challenged = response.headers().contains_key(actix_web::http::header::WWW_AUTHENTICATE);
        if let Some(challenge) = self.challenge.of(refusal).filter(|_| !challenged) {
            response.headers_mut().insert(actix_web::http::header::WWW_AUTHENTICATE, challenge);
        }
        Refused::new(refusal, response)
    }
}

impl Caller {
    /// The verified token's claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The user, where a guard with users of the type `U` loaded one.
    pub fn user<U: Send + Sync + 'static>(&self) -> Option<Arc<U>> {
        Arc::clone(self.user.as_ref()?).downcast().ok()
    }

    /// Whether it was this door that let the caller in.
    fn came_by(&self, door: &Arc<Door>) -> bool {
        Arc::ptr_eq(&self.door, door)
    }
}

impl<U> Clone for Guard<U> {
    fn clone(&self) -> Self {
        Self { door: Arc::clone(&self.door), users: Arc::clone(&self.users) }
    }
}

impl<U: 'static> std::fmt::Debug for Guard<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("user", &type_name::<U>()).field("door", &self.door).finish()
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("expected", self.verifier.expected())
            .field("header", &self.header)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("claims", &self.claims).finish_non_exhaustive()
    }
}
