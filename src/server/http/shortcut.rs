//! The middleware that answers `GET /user/` from memory, without the router: the request that clients send most. Its
//! answers are those of the route, to which it leaves all that has to wait.

use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::Method;
use actix_web::{Error, HttpResponse};
use futures_util::future::Either;

use super::measure::RouteTable;
use super::responses::{as_data, data_in_json};
use crate::guard::Guard;

/// Middleware for a whole app, next to its routes.
#[derive(Debug, Clone)]
pub(in crate::server) struct Shortcut {
    guard: Guard,
}

impl Shortcut {
    pub(in crate::server) fn new(guard: Guard) -> Self {
        Self { guard }
    }
}

impl<S> Transform<S, ServiceRequest> for Shortcut
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = ShortcutService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let mut route = Extensions::new();
        route.insert(RouteTable::of("/user"));
        ready(Ok(ShortcutService { service, guard: self.guard.clone(), route: Rc::new(route) }))
    }
}

/// The service of [`Shortcut`].
pub(in crate::server) struct ShortcutService<S> {
    service: S,
    guard: Guard,
    /// The table in which the requests of the route are counted.
    route: Rc<Extensions>,
}

impl<S> ShortcutService<S> {
    fn answer(&self, request: &ServiceRequest) -> Option<HttpResponse> {
        let is_for_user = request.method() == Method::GET && matches!(request.path(), "/user/" | "/user");
        if !is_for_user {
            return None;
        }
        Some(match self.guard.decide_at_once(request.request())? {
            Ok(user) => data_in_json(user.shown.get(|| as_data(&user))),
            Err(refused) => refused.into_response(),
        })
    }
}

impl<S> Service<ServiceRequest> for ShortcutService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, Error>>>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        match self.answer(&request) {
            Some(response) => {
                request.add_data_container(Rc::clone(&self.route));
                Either::Right(ready(Ok(request.into_response(response))))
            }
            None => Either::Left(self.service.call(request)),
        }
    }
}
