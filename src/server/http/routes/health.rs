//! `/health`: for monitoring and load balancers.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{HttpResponse, Scope, web};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::server::http::endpoint::{endpoint, spelled};
use crate::server::http::openapi::Operation;
use crate::server::http::readiness::Readiness;
use crate::server::http::responses::data;
use crate::server::http::{ApiError, Context};

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// Returns the scope `/health`.
pub(in crate::server::http) fn scope(context: &Context) -> Scope {
    web::scope("/health")
        .app_data(web::Data::from(Arc::clone(&context.readiness)))
        .service(spelled("/live", [(Method::GET, web::to(live))]))
        .service(spelled("/live/", [(Method::GET, web::to(live))]))
        .service(endpoint("/ready", [(Method::GET, web::to(ready))]))
}

/// Returns the operations of these routes.
pub(crate) fn operations() -> Vec<Operation> {
    let ok = || json!({"status": "ok"});
    vec![
        Operation::new(
            "Service",
            Method::GET,
            "/health/live",
            "live",
            "Check that the process serves requests",
        )
        .gives::<Health>(200, "The process serves requests", ok()),
        Operation::new("Service", Method::GET, "/health/ready", "ready", "Check that the server is ready")
            .text("A 503 says what is missing: the database does not answer within two seconds, or there is no key to sign with.")
            .gives::<Health>(200, "The database answers, and there is a key to sign with", ok())
            .asks_database(),
    ]
}

/// Answers as soon as the process serves requests.
async fn live() -> HttpResponse {
    data(OK)
}

/// Answers 503 with what is missing.
async fn ready(readiness: web::Data<Readiness>) -> Result<HttpResponse, ApiError> {
    readiness.check().await.map_err(ApiError::NotReady)?;
    Ok(data(OK))
}
