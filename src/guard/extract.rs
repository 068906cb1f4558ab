//! The extractors. Each is a thin wrapper around `authenticate.rs`, and none of them reads the body.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::LocalBoxFuture;

use super::admission::Admission;
use super::authenticate::{Authenticated, Known, UnknownKey};
use super::caller::Caller;
use super::guard::{Authenticator, Guard};
use super::refusal::Refusal;
use super::refused::Refused;
use super::source::User;
use crate::http::payload::SharedPayload;
use crate::token::Claims;

/// The authenticated user. A handler that takes it is login-protected.
///
/// It dereferences to the user, `U`. Make it the first parameter of a handler: a request without a good token is then
/// refused before a body is parsed. Under [`Guard::protect`] the order does not matter.
///
/// # Not `Option<AuthUser>`
/// actix turns *every* failure of an extractor into `None`: a forged, expired or revoked token would silently become an
/// anonymous guest. For guests, take [`MaybeAuthUser`], which refuses a bad token, or
/// `Result<AuthUser, Refused>`, which tells the handler the reason.
///
/// # Example
/// ```
/// use hallpass::AuthUser;
///
/// async fn greet(user: AuthUser) -> String {
///     format!("Hello, {}!", user.name.as_deref().unwrap_or(&user.email))
/// }
/// ```
pub struct AuthUser<U = User> {
    user: Arc<U>,
    claims: Arc<Claims>,
}

impl<U: Send + Sync + 'static> AuthUser<U> {
    /// Authenticates `request` with its guard.
    pub(super) async fn of(request: &HttpRequest) -> Result<Self, Refused> {
        let guard = Guard::<U>::of(request)?;
        Ok(guard.authenticate(request, UnknownKey::Refuse).await?.into())
    }

    /// Returns the user whom the middleware around the handler has admitted.
    fn admitted(request: &HttpRequest) -> Option<Self> {
        let extensions = request.extensions();
        let caller = extensions.get::<Caller>()?;
        caller.entered()?.nearest::<U>(request)?;
        Some(Self { user: caller.user()?, claims: caller.shared_claims() })
    }
}

/// Authenticates `request` with its guard, in the first poll if that needs no waiting, and makes the extractor of the
/// outcome.
pub(super) fn admission<T: 'static, U: Send + Sync + 'static>(
    request: &HttpRequest,
    make: impl FnOnce(Result<AuthUser<U>, Refused>, &HttpRequest) -> Result<T, Refused> + 'static,
) -> Admission<T> {
    if let Some(user) = AuthUser::admitted(request) {
        return Admission::made(make(Ok(user), request));
    }
    let guard = match Guard::<U>::of(request) {
        Ok(guard) => guard,
        Err(refused) => return Admission::made(make(Err(refused), request)),
    };
    match guard.authenticate_now(request, None) {
        Known::Decided(decision) => Admission::made(make(decision.map(AuthUser::from), request)),
        known => {
            let request = request.clone();
            Admission::new(async move {
                let decision = guard.authenticate_rest(&request, known, UnknownKey::Refuse).await;
                make(decision.map(AuthUser::from), &request)
            })
        }
    }
}

impl<U> From<Authenticated<U>> for AuthUser<U> {
    fn from(Authenticated { user, claims }: Authenticated<U>) -> Self {
        Self { user, claims }
    }
}

impl<U> AuthUser<U> {
    /// Returns the claims of the token.
    ///
    /// # Example
    /// ```
    /// async fn until(user: hallpass::AuthUser) -> String {
    ///     user.claims().expires_at().to_rfc3339()
    /// }
    /// ```
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns a handle on the user that outlives the request.
    ///
    /// # Example
    /// ```
    /// async fn later(user: hallpass::AuthUser) {
    ///     let kept = user.user();
    ///     actix_web::rt::spawn(async move { println!("{} was here", kept.email) });
    /// }
    /// ```
    pub fn user(&self) -> Arc<U> {
        Arc::clone(&self.user)
    }
}

impl<U> Clone for AuthUser<U> {
    fn clone(&self) -> Self {
        Self { user: Arc::clone(&self.user), claims: Arc::clone(&self.claims) }
    }
}

impl<U> Deref for AuthUser<U> {
    type Target = U;

    fn deref(&self) -> &U {
        &self.user
    }
}

impl<U: fmt::Debug> fmt::Debug for AuthUser<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthUser").field(&self.user).finish()
    }
}

impl<U: Send + Sync + 'static> FromRequest for AuthUser<U> {
    type Error = Refused;
    type Future = Admission<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        admission(request, |decision, _| decision)
    }
}

/// The claims of the verified token; no user is loaded. In the server itself, revoked tokens are refused too.
impl FromRequest for Claims {
    type Error = Refused;
    type Future = Admission<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Admission::new(async move {
            let authenticator = Authenticator::of(&request)?;
            let claims = authenticator.authenticate(&request, UnknownKey::Refuse).await?;
            Ok(Arc::unwrap_or_clone(claims))
        })
    }
}

/// The authenticated user, or an anonymous caller, for pages that are open to both.
///
/// A request without a credential is anonymous. A request with a bad credential is refused, since its sender believes
/// that they are signed in.
///
/// # Example
/// ```
/// use hallpass::MaybeAuthUser;
///
/// async fn greet(visitor: MaybeAuthUser) -> String {
///     match visitor.user() {
///         Some(user) => format!("Hello, {}!", user.email),
///         None => "Hello, guest!".to_owned(),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct MaybeAuthUser<U = User>(Option<AuthUser<U>>);

impl<U> MaybeAuthUser<U> {
    /// Returns the user, or `None` for an anonymous caller.
    ///
    /// # Example
    /// ```
    /// async fn greet(visitor: hallpass::MaybeAuthUser) -> String {
    ///     visitor.user().map_or("Hello, guest!".to_owned(), |user| format!("Hello, {}!", user.email))
    /// }
    /// ```
    pub fn user(&self) -> Option<&AuthUser<U>> {
        self.0.as_ref()
    }

    /// Returns the user by value, or `None` for an anonymous caller.
    ///
    /// # Example: for a function that takes an optional user
    /// ```
    /// use hallpass::{AuthUser, MaybeAuthUser};
    ///
    /// async fn home(visitor: MaybeAuthUser) -> String {
    ///     page(visitor.into_user())
    /// }
    ///
    /// fn page(user: Option<AuthUser>) -> String {
    ///     user.map_or("Sign in".to_owned(), |user| user.email.clone())
    /// }
    /// ```
    pub fn into_user(self) -> Option<AuthUser<U>> {
        self.0
    }

    fn or_anonymous(decision: Result<AuthUser<U>, Refused>) -> Result<Self, Refused> {
        match decision {
            Ok(user) => Ok(Self(Some(user))),
            Err(refused) if refused.reason() == Refusal::TokenMissing => Ok(Self(None)),
            Err(refused) => Err(refused),
        }
    }
}

impl<U: Send + Sync + 'static> FromRequest for MaybeAuthUser<U> {
    type Error = Refused;
    type Future = Admission<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        admission(request, |decision, _| Self::or_anonymous(decision))
    }
}

/// Another extractor, `T`, that runs only after the caller is authenticated.
///
/// `Authed<Json<T>>` parses no body of a request that is refused. It may stand at any place among the handler's
/// parameters, even where the user has to be waited for.
///
/// # Example
/// ```
/// use actix_web::web::Json;
/// use hallpass::Authed;
///
/// async fn rename(Authed { user, inner: Json(name) }: Authed<Json<String>>) -> String {
///     format!("{} is {name} now", user.email)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Authed<T, U = User> {
    /// The authenticated user.
    pub user: AuthUser<U>,
    /// The value of the other extractor.
    pub inner: T,
}

impl<T, U> FromRequest for Authed<T, U>
where
    T: FromRequest + 'static,
    U: Send + Sync + 'static,
{
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // The body is shared, not taken: a later extractor may be the one that reads it.
        let body = SharedPayload::share(payload);
        let request = request.clone();
        Box::pin(async move {
            let user = AuthUser::of(&request).await?;
            let mut payload = body.map_or(Payload::None, |body| body.handle());
            let inner = T::from_request(&request, &mut payload).await.map_err(Into::into)?;
            Ok(Self { user, inner })
        })
    }
}
