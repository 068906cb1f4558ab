//! `/health`: for whoever watches the server or sends it traffic.

use actix_web::http::Method;
use actix_web::{HttpResponse, Scope, web};
use serde::Serialize;

use super::{data, endpoint};
use crate::server::Desk;
use crate::server::error::ApiError;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// The scope `/health`.
pub fn scope(desk: &Desk) -> Scope {
    web::scope("/health")
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint("/live", [(Method::GET, web::to(live))]))
        .service(endpoint("/ready", [(Method::GET, web::to(ready))]))
}

/// The process serves requests.
async fn live() -> HttpResponse {
    data(OK)
}

/// The process serves requests, and its database answers.
async fn ready(desk: web::Data<Desk>) -> Result<HttpResponse, ApiError> {
    desk.store().ping().await?;
    Ok(data(OK))
}
