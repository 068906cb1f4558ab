//! `/user`: what a user sees of themselves. The whole scope is under the guard.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};

use super::{data, endpoint};
use crate::guard::AuthUser;
use crate::server::Desk;

/// The scope `/user`, ready to be registered: `App::new().service(routes::user::scope(&desk))`.
pub fn scope(desk: &Desk) -> impl HttpServiceFactory + use<> {
    web::scope("/user")
        .wrap(desk.guard().protect())
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint("", [(Method::GET, web::to(show))]))
}

async fn show(user: AuthUser) -> HttpResponse {
    data(&*user)
}
