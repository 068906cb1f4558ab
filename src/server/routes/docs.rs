//! `/openapi.json` and `/docs`: what there is to ask, for programs and for people.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use serde_json::json;
use utoipa::openapi::ContentBuilder;

use super::endpoint;
use crate::server::openapi::{self, Operation};

/// Registers the document.
pub fn configure(config: &mut ServiceConfig) {
    config.service(endpoint("/openapi.json", [(Method::GET, web::to(document))]));
}

/// What these routes take and answer.
pub(crate) fn operations() -> Vec<Operation> {
    vec![Operation::new("Service", Method::GET, "/openapi.json", "openapi", "This document").gives_content(
        200,
        "The OpenAPI 3.1 document",
        "application/json",
        ContentBuilder::new().example(Some(json!({"openapi": "3.1.0"}))).build(),
    )]
}

async fn document() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        // It changes with the server's version alone; a cache asks.
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .body(openapi::json())
}
