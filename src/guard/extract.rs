//! The extractors. Each is a thin wrapper: the decision is `Door::verdict` and, where a user is asked
//! for, the guard's source of users. None of them touches the body.

use std::cell::RefCell;
use std::fmt;
use std::future::{Ready, ready};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use futures_util::future::LocalBoxFuture;

use super::answer::{self, Challenge};
use super::{CachedUser, Caller, Door, Guard, Refusal, Unavailable, User};
use crate::http::payload::SharedPayload;
use crate::token::{Claims, TokenError};

/// How long the middleware waits for a key that a token names and the ring does not have.
const PATIENCE: Duration = Duration::from_secs(2);

/// A verdict: told at once, or waited for.
///
/// What is told at once is told in the first poll; actix then looks at no later parameter of the handler.
#[must_use = "a verdict does nothing until it is awaited"]
pub struct Admission<T>(Inner<T>);

enum Inner<T> {
    Told(Ready<Result<T, Refused>>),
    Waiting(LocalBoxFuture<'static, Result<T, Refused>>),
}

impl<T: 'static> Admission<T> {
    pub(super) fn told(result: Result<T, Refused>) -> Self {
        Self(Inner::Told(ready(result)))
    }

    pub(super) fn waiting(future: impl Future<Output = Result<T, Refused>> + 'static) -> Self {
        Self(Inner::Waiting(Box::pin(future)))
    }

    /// The refusal of a handler that no guard answers for.
    pub(super) fn unguarded(refusal: Refusal) -> Self {
        Self::told(Err(Refused { refusal, response: RefCell::new(None) }))
    }

    /// What is told at once stays so, if `f` does not wait either.
    pub(super) fn then<V: 'static>(
        self,
        f: impl FnOnce(Result<T, Refused>) -> Admission<V> + 'static,
    ) -> Admission<V> {
        match self.0 {
            Inner::Told(result) => f(result.into_inner()),
            Inner::Waiting(future) => Admission::waiting(async move { f(future.await).await }),
        }
    }
}

impl<T> fmt::Debug for Admission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Told(_) => "Admission(told)",
            Inner::Waiting(_) => "Admission(waiting)",
        })
    }
}

impl<T> Future for Admission<T> {
    type Output = Result<T, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Told(result) => Pin::new(result).poll(cx),
            Inner::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

/// A request that was refused: the reason, and the answer that the caller gets.
///
/// # Example: a handler that looks at the reason
/// ```
/// use hallpass::{AuthUser, Refusal, Refused};
///
/// async fn hello(user: Result<AuthUser, Refused>) -> String {
///     match user {
///         Ok(user) => format!("Hello, {}!", user.email),
///         Err(refused) if refused.reason() == Refusal::TokenExpired => "Welcome back! Please sign in again.".into(),
///         Err(_) => "Hello, stranger!".into(),
///     }
/// }
/// ```
pub struct Refused {
    refusal: Refusal,
    /// Taken by the one answer that is sent; a second is made from the reason.
    response: RefCell<Option<Box<HttpResponse>>>,
}

impl Refused {
    pub(super) fn new(refusal: Refusal, response: HttpResponse) -> Self {
        Self { refusal, response: RefCell::new(Some(Box::new(response))) }
    }

    /// Why.
    pub fn reason(&self) -> Refusal {
        self.refusal
    }

    pub(super) fn into_response(self) -> HttpResponse {
        self.error_response()
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.refusal).finish()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        answer::status(self.refusal)
    }

    fn error_response(&self) -> HttpResponse {
        match self.response.take() {
            Some(response) => *response,
            None => {
                let challenge =
                    Challenge::new("Bearer", "Authentication Required").expect("both can stand in a header");
                answer::failure(self.refusal, &challenge).response()
            }
        }
    }
}

/// The user who is asking. A handler that takes it is login-protected.
///
/// It dereferences to the user, `U`. Put it first among a handler's parameters, so that its verdict comes
/// before a body is parsed; or guard the scope with [`Guard::protect`], where order does not matter.
///
/// # Not `Option<AuthUser>`
/// actix turns *every* failure of an extractor into `None`: a forged, expired or revoked token would make
/// its bearer an anonymous guest without a word. Where guests are welcome, take [`MaybeAuthUser`], which
/// refuses a bad token. `Result<AuthUser, Refused>` is fine where the handler looks at the reason.
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

impl<U> AuthUser<U> {
    /// The claims of the token that the caller presented.
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

    /// The user, to keep.
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
        match Guard::<U>::of(request) {
            Ok(guard) => guard.admit(request, UnknownKey::Refused),
            Err(refusal) => Admission::unguarded(refusal),
        }
    }
}

/// The verified token alone: no user is read. In the server itself it knows of revocations too.
impl FromRequest for Claims {
    type Error = Refused;
    type Future = Admission<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        match Door::of(request) {
            Ok(door) => door
                .admit(request, UnknownKey::Refused)
                .then(|claims| Admission::told(claims.map(Arc::unwrap_or_clone))),
            Err(refusal) => Admission::unguarded(refusal),
        }
    }
}

/// The user who is asking, or nobody: for pages that greet those they know.
///
/// A request without a credential is anonymous. One with a bad credential is still refused, since its
/// bearer believes to be signed in.
///
/// # Example
/// ```
/// use hallpass::MaybeAuthUser;
///
/// async fn greet(visitor: MaybeAuthUser) -> String {
///     match visitor.user() {
///         Some(user) => format!("Hello, {}!", user.email),
///         None => "Hello, stranger!".to_owned(),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct MaybeAuthUser<U = User>(Option<AuthUser<U>>);

impl<U> MaybeAuthUser<U> {
    /// The user, unless the caller is anonymous.
    pub fn user(&self) -> Option<&AuthUser<U>> {
        self.0.as_ref()
    }

    /// The user, to keep, unless the caller is anonymous.
    pub fn into_user(self) -> Option<AuthUser<U>> {
        self.0
    }
}

impl<U: Send + Sync + 'static> FromRequest for MaybeAuthUser<U> {
    type Error = Refused;
    type Future = Admission<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        AuthUser::from_request(request, payload).then(|verdict| {
            Admission::told(match verdict {
                Ok(user) => Ok(Self(Some(user))),
                Err(refused) if refused.refusal == Refusal::TokenMissing => Ok(Self(None)),
                Err(refused) => Err(refused),
            })
        })
    }
}

/// Another extractor, run only after the verdict: `Authed<Json<T>>` parses nothing for a stranger, wherever
/// it stands among a handler's parameters and even when the user must be waited for.
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
    /// Who is asking.
    pub user: AuthUser<U>,
    /// What the other extractor found.
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
        let verdict = AuthUser::<U>::from_request(request, payload);
        // The body is shared, not taken: an extractor further right may be the one that reads it.
        let body = SharedPayload::share(payload);
        let request = request.clone();
        Box::pin(async move {
            let user = verdict.await?;
            let mut payload = body.map_or(Payload::None, |body| body.handle());
            let inner = T::from_request(&request, &mut payload).await.map_err(Into::into)?;
            Ok(Self { user, inner })
        })
    }
}

/// What becomes of a token whose key the ring does not have, but which may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownKey {
    /// It is refused at once: an extractor tells its verdict in the first poll.
    Refused,
    /// The key is waited for: the middleware comes before all that a wait could let through.
    Awaited,
}

impl Door {
    /// The claims of the caller, after every check that concerns the token alone.
    fn admit(self: &Arc<Self>, request: &HttpRequest, unknown_key: UnknownKey) -> Admission<Arc<Claims>> {
        if let Some(caller) = request.extensions().get::<Caller>().filter(|caller| caller.came_by(self)) {
            return Admission::told(Ok(Arc::clone(&caller.claims)));
        }
        let verdict = self.verdict(request);
        if matches!(verdict, Err(Refusal::TokenInvalid(TokenError::KeyUnknown)))
            && let Some(keys) = self.keys.refresh()
            && unknown_key == UnknownKey::Awaited
        {
            let (door, request) = (Arc::clone(self), request.clone());
            return Admission::waiting(async move {
                // Whether the keys came in time shows in the second verdict, which is the last.
                let looked = actix_rt::time::timeout(PATIENCE, keys).await;
                let verdict = match looked {
                    Ok(Err(Unavailable)) => Err(Refusal::Unavailable),
                    _ => door.verdict(&request),
                };
                door.conclude(verdict, &request).await
            });
        }
        self.conclude(verdict, request)
    }

    /// What follows from a verdict: the answer to a refusal, or the app's own check.
    fn conclude(
        self: &Arc<Self>,
        verdict: Result<Arc<Claims>, Refusal>,
        request: &HttpRequest,
    ) -> Admission<Arc<Claims>> {
        let claims = match verdict {
            Ok(claims) => claims,
            Err(refusal) => return Admission::told(Err(self.refuse(refusal, request))),
        };
        let Some(verify_token) = &self.verify_token else {
            self.note(request, &claims);
            return Admission::told(Ok(claims));
        };
        let check = verify_token(Arc::clone(&claims), request.clone());
        let (door, request) = (Arc::clone(self), request.clone());
        Admission::waiting(async move {
            match check.await {
                Ok(()) => {
                    door.note(&request, &claims);
                    Ok(claims)
                }
                Err(refusal) => Err(door.refuse(refusal, &request)),
            }
        })
    }

    /// Leaves word of who is asking in the request's extensions.
    fn note(self: &Arc<Self>, request: &HttpRequest, claims: &Arc<Claims>) {
        request.extensions_mut().insert(Caller {
            claims: Arc::clone(claims),
            user: None,
            door: Arc::clone(self),
        });
    }
}

impl<U: Send + Sync + 'static> Guard<U> {
    /// The whole verdict: token, then user.
    pub(super) fn admit(&self, request: &HttpRequest, unknown_key: UnknownKey) -> Admission<AuthUser<U>> {
        if let Some(known) = self.already_admitted(request) {
            return Admission::told(Ok(known));
        }
        let guard = self.clone();
        let owned = request.clone();
        self.door.admit(request, unknown_key).then(move |claims| match claims {
            Ok(claims) => guard.settle(owned, claims),
            Err(refused) => Admission::told(Err(refused)),
        })
    }

    /// The second half of the verdict: the user behind genuine `claims`.
    fn settle(self, request: HttpRequest, claims: Arc<Claims>) -> Admission<AuthUser<U>> {
        match self.users.cached(&claims) {
            CachedUser::Found(user) => Admission::told(Ok(self.welcome(&request, claims, user))),
            CachedUser::Gone => Admission::told(Err(self.door.refuse(Refusal::TokenRevoked, &request))),
            CachedUser::NotCached => Admission::waiting(async move {
                match self.users.find(&claims).await {
                    Ok(Some(user)) => Ok(self.welcome(&request, claims, user)),
                    Ok(None) => Err(self.door.refuse(Refusal::TokenRevoked, &request)),
                    Err(Unavailable) => Err(self.door.refuse(Refusal::Unavailable, &request)),
                }
            }),
        }
    }

    fn already_admitted(&self, request: &HttpRequest) -> Option<AuthUser<U>> {
        let extensions = request.extensions();
        let caller = extensions.get::<Caller>().filter(|caller| caller.came_by(&self.door))?;
        Some(AuthUser { user: caller.user::<U>()?, claims: Arc::clone(&caller.claims) })
    }

    fn welcome(&self, request: &HttpRequest, claims: Arc<Claims>, user: Arc<U>) -> AuthUser<U> {
        request.extensions_mut().insert(Caller {
            claims: Arc::clone(&claims),
            user: Some(Arc::clone(&user) as Arc<dyn std::any::Any + Send + Sync>),
            door: Arc::clone(&self.door),
        });
        AuthUser { user, claims }
    }
}
