//! The middleware that bounds the heads of requests, and tells browsers to come back by HTTPS alone.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready as ready_or_return};

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::{HeaderMap, HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{Error, HttpResponse};
use futures_util::future::Either;
use pin_project_lite::pin_project;

use crate::server::config;

/// A year, the least that browsers' preload lists accept (RFC 6797 §6.1).
const A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Middleware for a whole app, inside the envelope.
#[derive(Debug, Clone)]
pub(in crate::server) struct Edge {
    max_head_bytes: usize,
    max_headers: usize,
    is_https: bool,
    /// Every answer is the last of its connection.
    is_draining: Arc<AtomicBool>,
}

impl Edge {
    pub(in crate::server) fn new(settings: &config::Server, is_draining: Arc<AtomicBool>) -> Self {
        Self {
            max_head_bytes: settings.max_head_bytes,
            max_headers: settings.max_headers,
            is_https: settings.tls_cert.is_some(),
            is_draining,
        }
    }

    /// The same for a socket without TLS: a browser ignores the header there (RFC 6797 §8.1).
    pub(in crate::server) fn without_https(self) -> Self {
        Self { is_https: false, ..self }
    }

    fn admits(&self, request: &ServiceRequest) -> bool {
        let headers = request.headers();
        headers.len() <= self.max_headers && length(request, headers) <= self.max_head_bytes
    }
}

/// Returns the length of a head: its target, and its headers with what is between them.
fn length(request: &ServiceRequest, headers: &HeaderMap) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

impl<S, B> Transform<S, ServiceRequest> for Edge
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Transform = EdgeService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(EdgeService { service, edge: self.clone() }))
    }
}

/// The service of [`Edge`].
pub(in crate::server) struct EdgeService<S> {
    service: S,
    edge: Edge,
}

impl<S, B> Service<ServiceRequest> for EdgeService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Future = Either<Answered<S::Future>, Ready<Result<Self::Response, Error>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        if self.edge.admits(&request) {
            let inner = self.service.call(request);
            let is_last = self.edge.is_draining.load(Ordering::Relaxed);
            return Either::Left(Answered { inner, is_https: self.edge.is_https, is_last });
        }
        let refusal = HttpResponse::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        Either::Right(ready(Ok(request.into_response(refusal).map_into_right_body())))
    }
}

pin_project! {
    /// A request that is being answered.
    pub(in crate::server) struct Answered<F> {
        #[pin]
        inner: F,
        is_https: bool,
        is_last: bool,
    }
}

impl<F, B> Future for Answered<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = Result<ServiceResponse<EitherBody<B, BoxBody>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready_or_return!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            if *this.is_https {
                response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, A_YEAR);
            }
            if *this.is_last {
                response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
            }
        }
        Poll::Ready(answer.map(ServiceResponse::map_into_left_body))
    }
}
