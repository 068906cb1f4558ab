//! The middleware: authenticates every request to a scope or an app before any extractor is built.

use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::Method;
use actix_web::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::future::LocalBoxFuture;

use super::authenticate::UnknownKey;
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
            public: Rc::clone(&self.public),
            answers_options: self.answers_options,
        }))
    }
}

/// The service of [`Protect`].
pub struct ProtectService<S, U = User> {
    service: Rc<S>,
    guard: Guard<U>,
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
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let guard = self.guard.clone();
        guard.enter(request.request());
        let service = Rc::clone(&self.service);
        if self.answers_options && request.method() == Method::OPTIONS && !is_preflight(&request) {
            request.extensions_mut().insert(OptionsAnswered);
            let response = request.into_response(HttpResponse::NoContent()).map_into_right_body();
            return Box::pin(ready(Ok(response)));
        }
        if self.is_public(&request) {
            return Box::pin(async move { Ok(service.call(request).await?.map_into_left_body()) });
        }
        Box::pin(async move {
            match guard.authenticate(request.request(), UnknownKey::Await).await {
                Ok(_) => Ok(service.call(request).await?.map_into_left_body()),
                Err(refused) => Ok(request.into_response(refused.into_response()).map_into_right_body()),
            }
        })
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
