//! The middleware: authenticates every request to a scope or an app before any extractor is built.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::Method;
use actix_web::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::future::LocalBoxFuture;
use pin_project_lite::pin_project;

use super::authenticate::{Known, UnknownKey};
use super::entered::AnyGuard;
use super::guard::Guard;
use super::source::User;

/// The middleware of a [`Guard`], from [`Guard::protect`].
///
/// It refuses every request without a good token, also where a handler takes no user. Handlers may take
/// [`AuthUser`](super::AuthUser) or [`Claims`](crate::token::Claims) at any place among their parameters.
///
/// OPTIONS needs no token. The middleware answers it itself, with 204, so that no handler runs for a stranger; see
/// [`pass_options`](Self::pass_options). A CORS preflight passes to the CORS middleware inside, if there is one: the
/// Fetch standard sends preflights without credentials.
///
/// Of two guards for one kind of user, the nearer to the handler counts: a guard that is installed inside the scope of
/// this middleware is the one that the extractors there use. The middleware's own must accept the request too.
///
/// # Example: all paths are guarded but one
/// ```
/// use actix_web::{App, test, web};
/// use hallpass::Guard;
///
/// # actix_rt::System::new().block_on(async {
/// # let guard = Guard::builder()
/// #     .shared_secret(b"thirty-two bytes, or rather more of them")
/// #     .issuer("https://id.example")
/// #     .audience("https://api.example")
/// #     .build()
/// #     .unwrap();
/// let app = test::init_service(
///     App::new()
///         .wrap(guard.protect().allow("/about"))
///         .route("/about", web::get().to(|| async { "anybody may read this" }))
///         .route("/secret", web::get().to(|| async { "only users may read this" })),
/// )
/// .await;
///
/// let get = |path| test::TestRequest::get().uri(path).to_request();
/// assert_eq!(test::call_service(&app, get("/about")).await.status(), 200);
/// assert_eq!(test::call_service(&app, get("/secret")).await.status(), 401);
/// # });
/// ```
pub struct Protect<U = User> {
    guard: Guard<U>,
    public: Rc<[String]>,
    answers_options: bool,
}

/// Left in a request whose OPTIONS the middleware has answered, for the audit.
pub(crate) struct OptionsAnswered;

impl<U: Send + Sync + 'static> Guard<U> {
    /// Returns the middleware that refuses every request without a good token, before any extractor is built.
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
        Protect { guard: self.clone(), public: Rc::new([]), answers_options: true }
    }
}

impl<U: Send + Sync + 'static> Protect<U> {
    /// Makes `path` public: the request's whole path, with and without a trailing slash.
    ///
    /// Its handler may take a [`MaybeAuthUser`](super::MaybeAuthUser).
    ///
    /// # Example
    /// ```
    /// # let guard = hallpass::testing::Mint::new().guard();
    /// let middleware = guard.protect().allow("/about").allow("/health");
    /// # let _ = middleware;
    /// ```
    #[must_use]
    pub fn allow(mut self, path: impl Into<String>) -> Self {
        let path = path.into().trim_end_matches('/').to_owned();
        self.public = self.public.iter().cloned().chain([path]).collect();
        self
    }

    /// Passes every OPTIONS to the routes, for an app whose routes answer it themselves, with `Allow` for example. A
    /// handler for OPTIONS, or for any method, then runs for strangers.
    ///
    /// # Example
    /// ```
    /// # let guard = hallpass::testing::Mint::new().guard();
    /// let middleware = guard.protect().pass_options();
    /// # let _ = middleware;
    /// ```
    #[must_use]
    pub fn pass_options(mut self) -> Self {
        self.answers_options = false;
        self
    }
}

impl<S, B, U> Transform<S, ServiceRequest> for Protect<U>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    U: Send + Sync + 'static,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Transform = ProtectService<S, U>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(ProtectService {
            service: Rc::new(service),
            guard: self.guard.clone(),
            any_guard: Arc::new(self.guard.clone()),
            public: Rc::clone(&self.public),
            answers_options: self.answers_options,
        }))
    }
}

/// The service of [`Protect`].
pub struct ProtectService<S, U = User> {
    service: Rc<S>,
    guard: Guard<U>,
    /// The same guard, to be left in requests.
    any_guard: Arc<dyn AnyGuard>,
    public: Rc<[String]>,
    answers_options: bool,
}

/// Tells whether a browser asks whether a page of another origin may send a request (Fetch standard, CORS-preflight).
fn is_preflight(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl<S, U> ProtectService<S, U> {
    /// Paths are compared without decoding: another spelling of a public path is not public.
    fn is_public(&self, request: &ServiceRequest) -> bool {
        let path = request.path().trim_end_matches('/');
        request.method() == Method::OPTIONS || self.public.iter().any(|public| public == path)
    }
}

impl<S, B, U> Service<ServiceRequest> for ProtectService<S, U>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    U: Send + Sync + 'static,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Future = Protected<S::Future, B>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        if self.answers_options && request.method() == Method::OPTIONS && !is_preflight(&request) {
            request.extensions_mut().insert(OptionsAnswered);
            return Protected::Answered { response: Some(request.into_response(HttpResponse::NoContent())) };
        }
        if self.is_public(&request) {
            Guard::<U>::enter(&self.any_guard, request.request());
            return Protected::Passed { inner: self.service.call(request) };
        }
        match self.guard.authenticate_now(request.request(), Some(&self.any_guard)) {
            Known::Decided(Ok(_)) => Protected::Passed { inner: self.service.call(request) },
            Known::Decided(Err(refused)) => {
                Protected::Answered { response: Some(request.into_response(refused.into_response())) }
            }
            known => {
                Guard::<U>::enter(&self.any_guard, request.request());
                let (guard, service) = (self.guard.clone(), Rc::clone(&self.service));
                let decision = Box::pin(async move {
                    match guard.authenticate_rest(request.request(), known, UnknownKey::Await).await {
                        Ok(_) => Ok(service.call(request).await?.map_into_left_body()),
                        Err(refused) => {
                            Ok(request.into_response(refused.into_response()).map_into_right_body())
                        }
                    }
                });
                Protected::Awaited { decision }
            }
        }
    }
}

pin_project! {
    /// The future of [`ProtectService`].
    #[project = ProtectedProjection]
    pub enum Protected<F, B> {
        /// The request may pass.
        Passed {
            #[pin]
            inner: F,
        },
        /// The middleware answers itself.
        Answered { response: Option<ServiceResponse<BoxBody>> },
        /// Whether the request may pass has to be waited for.
        Awaited { decision: LocalBoxFuture<'static, Result<ServiceResponse<EitherBody<B, BoxBody>>, Error>> },
    }
}

impl<F, B> Future for Protected<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = Result<ServiceResponse<EitherBody<B, BoxBody>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ProtectedProjection::Passed { inner } => {
                inner.poll(cx).map(|result| result.map(ServiceResponse::map_into_left_body))
            }
            ProtectedProjection::Answered { response } => {
                let response = response.take().expect("a future is not polled after it is ready");
                Poll::Ready(Ok(response.map_into_right_body()))
            }
            ProtectedProjection::Awaited { decision } => decision.as_mut().poll(cx),
        }
    }
}

impl<U> Clone for Protect<U> {
    fn clone(&self) -> Self {
        Self {
            guard: self.guard.clone(),
            public: Rc::clone(&self.public),
            answers_options: self.answers_options,
        }
    }
}

impl<U: 'static> std::fmt::Debug for Protect<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protect").field("guard", &self.guard).field("public", &self.public).finish()
    }
}

impl<S, U: 'static> std::fmt::Debug for ProtectService<S, U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProtectService").field("guard", &self.guard).finish_non_exhaustive()
    }
}
