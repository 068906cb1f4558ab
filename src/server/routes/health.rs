//! `/health`: for whoever watches the server or sends it traffic.

use actix_web::http::Method;
use actix_web::{HttpResponse, Scope, web};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{data, endpoint};
use crate::server::Desk;
use crate::server::error::ApiError;
use crate::server::openapi::Operation;

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
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

/// What these routes take and answer.
pub(crate) fn operations() -> Vec<Operation> {
    let ok = || json!({"status": "ok"});
    vec![
        Operation::new("Service", Method::GET, "/health/live", "live", "Is the server there")
            .gives::<Health>(200, "The process serves requests", ok()),
        Operation::new("Service", Method::GET, "/health/ready", "ready", "Does its database answer")
            .gives::<Health>(
                200,
                "The process serves requests, its database answers, and there is a key to sign with",
                ok(),
            )
            .asks_database(),
    ]
}

/// The process serves requests.
async fn live() -> HttpResponse {
    data(OK)
}

/// The process serves requests, its database answers, and there is a key to sign with.
async fn ready(desk: web::Data<Desk>) -> Result<HttpResponse, ApiError> {
    desk.store().ping().await?;
    desk.signing_algorithm().ok_or_else(|| ApiError::Unavailable("there is no key to sign with".into()))?;
    Ok(data(OK))
}
