//! The middleware around a whole app. It makes every failure JSON, the framework's own included; adds `X-Request-Id`
//! and `X-Content-Type-Options` to every response, and a `Content-Security-Policy` to JSON; and reads the body of a
//! refused request to its end, so that the client sees the response and its connection stays usable.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError, UrlencodedError};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::future::LocalBoxFuture;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;

use super::failure::Failure;
use super::payload::SharedPayload;
use super::request_id::{RequestId, X_REQUEST_ID};

/// The challenge of a 401 until another scheme or realm is configured.
pub(crate) const DEFAULT_CHALLENGE: &str = r#"Bearer realm="Authentication Required""#;

/// The Content-Security-Policy of JSON, if a browser shows it as a page: it loads nothing and stands in no frame.
const JSON_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The time in which the body of a refused request must arrive, before the connection is closed.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Middleware for a whole app: JSON failures, request ids, `X-Content-Type-Options: nosniff`.
///
/// Wrap it around everything, CORS included: in actix-web, the last `wrap` is the outermost. A failure that is JSON
/// already is sent unchanged; a 401 without a challenge gets [`challenge`](Self::challenge). JSON without a
/// `Content-Security-Policy` gets one that allows nothing, for the case that a browser shows it as a page.
///
/// # Example: an app whose 404 is JSON
/// ```
/// use actix_web::{App, test};
/// use hallpass::Envelope;
///
/// # actix_rt::System::new().block_on(async {
/// let app = test::init_service(App::new().wrap(Envelope::default())).await;
/// let request = test::TestRequest::get().uri("/nowhere").to_request();
/// let response = test::call_service(&app, request).await;
/// assert!(response.headers().contains_key("x-request-id"));
/// let body: serde_json::Value = test::read_body_json(response).await;
/// assert_eq!(body["error"], "not_found");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Envelope {
    max_body_bytes: usize,
    challenge: HeaderValue,
}

impl Default for Envelope {
    fn default() -> Self {
        Self { max_body_bytes: 65_536, challenge: HeaderValue::from_static(DEFAULT_CHALLENGE) }
    }
}

impl Envelope {
    /// Sets how much of a refused request's body is read, in bytes. Defaults to 65,536.
    ///
    /// # Example
    /// ```
    /// let envelope = hallpass::Envelope::default().max_body_bytes(1 << 20);
    /// # let _ = envelope;
    /// ```
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets the challenge for a 401 that has none, for example to [`Guard::challenge`](crate::Guard::challenge).
    /// Defaults to `Bearer realm="Authentication Required"`.
    ///
    /// # Example
    /// ```
    /// let guard = hallpass::testing::Mint::new().builder().realm("The Library").build()?;
    /// let envelope = hallpass::Envelope::default().challenge(guard.challenge());
    /// # let _ = envelope;
    /// # Ok::<(), hallpass::GuardError>(())
    /// ```
    #[must_use]
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = challenge;
        self
    }
}

impl<S, B> Transform<S, ServiceRequest> for Envelope
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = EnvelopeService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(EnvelopeService { service, envelope: Rc::new(self.clone()) }))
    }
}

/// The service of [`Envelope`].
#[derive(Debug)]
pub struct EnvelopeService<S> {
    service: S,
    envelope: Rc<Envelope>,
}

impl<S, B> Service<ServiceRequest> for EnvelopeService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Enveloped<S::Future>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        let body = self.share_body(&mut request);
        let envelope = Rc::clone(&self.envelope);
        // The id is set before the inner service is called, so that what it logs before its first await has it too.
        let inner = id.enter(|| self.service.call(request));
        Enveloped { inner: id.scope(inner), body, envelope, draining: None }
    }
}

impl<S> EnvelopeService<S> {
    /// Keeps a handle on the body, if it would be read to its end after a refusal.
    fn share_body(&self, request: &mut ServiceRequest) -> Option<SharedPayload> {
        let body = SharedPayload::share(request.parts_mut().1)?;
        let declared = request.headers().get(CONTENT_LENGTH);
        let length = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        Some(body).filter(|_| length.is_none_or(|length| length <= self.envelope.max_body_bytes))
    }
}

pin_project! {
    /// The future of [`EnvelopeService`].
    pub struct Enveloped<F> {
        #[pin]
        inner: TaskLocalFuture<RequestId, F>,
        body: Option<SharedPayload>,
        envelope: Rc<Envelope>,
        // The rest of a refused request's body is read before the response is sent.
        draining: Option<LocalBoxFuture<'static, ServiceResponse<BoxBody>>>,
    }
}

impl<F, B> Future for Enveloped<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody + 'static,
{
    type Output = Result<ServiceResponse<BoxBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(draining) = this.draining {
            return draining.as_mut().poll(cx).map(Ok);
        }
        let result = ready!(this.inner.as_mut().poll(cx));
        let id = this.inner.take_value().expect("the id is there until the request is answered");
        let response = match result {
            Ok(response) => response.map_into_boxed_body(),
            Err(mut error) => {
                let envelope = Rc::clone(this.envelope);
                error.add_response_mapper(move |response| envelope.finish(response, id.clone()));
                return Poll::Ready(Err(error));
            }
        };
        let body = this.body.take().filter(|_| is_refusal(response.status()));
        let (request, response) = response.into_parts();
        let response = ServiceResponse::new(request, this.envelope.finish(response, id));
        let Some(body) = body else {
            return Poll::Ready(Ok(response));
        };
        let limit = this.envelope.max_body_bytes;
        let draining = this.draining.insert(Box::pin(async move {
            body.drain(limit, DRAIN_TIME).await;
            response
        }));
        draining.as_mut().poll(cx).map(Ok)
    }
}

impl Envelope {
    /// Makes a failure JSON if it is not, and adds the headers of every response.
    fn finish(&self, mut response: HttpResponse, id: RequestId) -> HttpResponse {
        if is_refusal(response.status()) && !is_json(response.headers()) {
            response = self.reshape(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED && !response.headers().contains_key(WWW_AUTHENTICATE)
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, self.challenge.clone());
        }
        if is_json(response.headers()) && !response.headers().contains_key(CONTENT_SECURITY_POLICY) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(JSON_POLICY));
        }
        response.headers_mut().insert(X_REQUEST_ID, id.into_header());
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn reshape(&self, response: HttpResponse) -> HttpResponse {
        let failure = response
            .error()
            .and_then(framework_failure)
            .unwrap_or_else(|| Failure::of_status(response.status()));
        let mut reshaped = failure.response();
        for (name, value) in response.headers() {
            if name != CONTENT_TYPE && name != CONTENT_LENGTH {
                reshaped.headers_mut().append(name.clone(), value.clone());
            }
        }
        reshaped
    }
}

fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        value == JSON || essence.trim_ascii().eq_ignore_ascii_case(JSON)
    })
}

/// The failure for an error of actix's own extractors; `None` for any other error.
fn framework_failure(error: &Error) -> Option<Failure> {
    if let Some(error) = error.as_error::<JsonPayloadError>() {
        return Some(match error {
            JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
                Failure::of_status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            JsonPayloadError::ContentType => Failure::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            JsonPayloadError::Payload(error) => payload_failure(error),
            JsonPayloadError::Serialize(_) => Failure::of_status(StatusCode::INTERNAL_SERVER_ERROR),
            _ => Failure::new(
                StatusCode::BAD_REQUEST,
                "json_malformed",
                "the body is not the JSON object that this route expects",
            ),
        });
    }
    if let Some(error) = error.as_error::<PayloadError>() {
        return Some(payload_failure(error));
    }
    if let Some(error) = error.as_error::<UrlencodedError>() {
        return Some(match error {
            UrlencodedError::Overflow { .. } => Failure::of_status(StatusCode::PAYLOAD_TOO_LARGE),
            UrlencodedError::ContentType => Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be sent as Content-Type: application/x-www-form-urlencoded",
            ),
            _ => Failure::of_status(StatusCode::BAD_REQUEST),
        });
    }
    if error.as_error::<QueryPayloadError>().is_some() {
        return Some(Failure::new(
            StatusCode::BAD_REQUEST,
            "request_invalid",
            "a query parameter is invalid",
        ));
    }
    // An id in a path that does not parse is the id of nothing.
    error.as_error::<PathError>().map(|_| Failure::of_status(StatusCode::NOT_FOUND))
}

fn payload_failure(error: &PayloadError) -> Failure {
    match error {
        PayloadError::Overflow => Failure::of_status(StatusCode::PAYLOAD_TOO_LARGE),
        _ => Failure::new(StatusCode::BAD_REQUEST, "request_invalid", "the body is incomplete"),
    }
}
