//! The middleware that counts requests for `GET /metrics`. It allocates nothing for a request that reaches a route.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready as ready_or_return};
use std::time::Instant;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpRequest};
use pin_project_lite::pin_project;

use crate::server::metrics::{Requests, RouteCounts};

/// The route of requests that match none.
const UNMATCHED: &str = "unmatched";

/// The table of a resource in this worker, made by its first request. [`endpoint`](super::endpoint) gives every
/// resource one.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    counts: OnceCell<Arc<RouteCounts>>,
    /// The route, if its requests do not pass the router.
    pattern: Option<&'static str>,
}

impl RouteTable {
    /// Returns the table of a route whose requests do not pass the router.
    pub(super) fn of(pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..Self::default() }
    }
}

/// Middleware for a whole app. Wrap it around everything.
#[derive(Debug, Clone)]
pub(in crate::server) struct Measure(pub(in crate::server) Arc<Requests>);

impl<S, B> Transform<S, ServiceRequest> for Measure
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = MeasureService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let tables = Tables { requests: Arc::clone(&self.0), by_pattern: RefCell::default() };
        ready(Ok(MeasureService { service, tables: Rc::new(tables) }))
    }
}

/// The service of [`Measure`].
pub(in crate::server) struct MeasureService<S> {
    service: S,
    tables: Rc<Tables>,
}

/// The tables of this worker.
struct Tables {
    requests: Arc<Requests>,
    /// Of requests that were answered before they reached their resource, such as those that the guard refused. There
    /// are no more than routes.
    by_pattern: RefCell<HashMap<String, Arc<RouteCounts>>>,
}

impl Tables {
    fn count(&self, request: Option<&HttpRequest>, method: &Method, status: StatusCode, began: Instant) {
        let resource = request.and_then(|request| Some((request, request.app_data::<RouteTable>()?)));
        let (method, status) = (method.as_str(), status.as_u16());
        match resource {
            Some((request, table)) => {
                let pattern = || table.pattern.map_or_else(|| pattern(Some(request)), str::to_owned);
                let table = table.counts.get_or_init(|| self.requests.table(&pattern()));
                table.count(method, status, began.elapsed());
            }
            None => {
                let pattern = pattern(request);
                let mut tables = self.by_pattern.borrow_mut();
                let table = tables.entry(pattern).or_insert_with_key(|pattern| self.requests.table(pattern));
                table.count(method, status, began.elapsed());
            }
        }
    }
}

/// Returns the pattern of the route that a request matches, without a slash at its end.
fn pattern(request: Option<&HttpRequest>) -> String {
    match request.and_then(HttpRequest::match_pattern) {
        Some(pattern) if pattern.len() > 1 => pattern.trim_end_matches('/').to_owned(),
        Some(pattern) => pattern,
        None => UNMATCHED.to_owned(),
    }
}

impl<S, B> Service<ServiceRequest> for MeasureService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Measured<S::Future>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (method, began) = (request.method().clone(), Instant::now());
        Measured { inner: self.service.call(request), tables: Rc::clone(&self.tables), method, began }
    }
}

pin_project! {
    /// A request that is being answered.
    pub(in crate::server) struct Measured<F> {
        #[pin]
        inner: F,
        tables: Rc<Tables>,
        method: Method,
        began: Instant,
    }
}

impl<F, B> Future for Measured<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready_or_return!(this.inner.poll(cx));
        let (request, status) = match &answer {
            Ok(response) => (Some(response.request()), response.status()),
            Err(error) => (None, error.as_response_error().status_code()),
        };
        this.tables.count(request, this.method, status, *this.began);
        Poll::Ready(answer)
    }
}
