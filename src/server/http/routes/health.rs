//! `/health`: for monitoring and load balancers.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{HttpResponse, Scope, web};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::server::error::Error;
use crate::server::http::endpoint::endpoint;
use crate::server::http::openapi::Operation;
use crate::server::http::responses::data;
use crate::server::http::{ApiError, Context};
use crate::server::keys::SigningKeys;
use crate::server::store::Store;

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// Returns the scope `/health`.
pub(in crate::server::http) fn scope(context: &Context) -> Scope {
    web::scope("/health")
        .app_data(web::Data::new(context.store.clone()))
        .app_data(web::Data::from(Arc::clone(&context.keys)))
        .app_data(web::Data::new(context.clock.clone()))
        .service(endpoint("/live", [(Method::GET, web::to(live))]))
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
            .gives::<Health>(200, "The database answers, and there is a key to sign with", ok())
            .asks_database(),
    ]
}

/// Answers as soon as the process serves requests.
async fn live() -> HttpResponse {
    data(OK)
}

/// Answers 503 if the database does not answer, or if there is no key to sign with.
async fn ready(
    store: web::Data<Store>,
    keys: web::Data<SigningKeys>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse, ApiError> {
    store.ping().await?;
    keys.signer(clock.now()).ok_or_else(|| Error::Unavailable("there is no key to sign with".into()))?;
    Ok(data(OK))
}
