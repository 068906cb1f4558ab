//! `/openapi.json` and `/docs`: the OpenAPI document, for programs and for people.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use utoipa::openapi::ContentBuilder;
use utoipa_swagger_ui::SwaggerFile;

use crate::server::error::Error;
use crate::server::http::ApiError;
use crate::server::http::endpoint::endpoint;
use crate::server::http::openapi::Operation;
use crate::server::http::pages::File;

/// The Content-Security-Policy of `/docs`: it loads from this server only. Swagger UI shows icons as `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Registers the document and the page that shows it. `json` returns the document, which describes all routes,
/// including these.
pub(in crate::server::http) fn configure(config: &mut ServiceConfig, json: fn() -> &'static str) {
    config
        .service(endpoint("/openapi.json", [(Method::GET, web::to(move || document(json())))]))
        .service(endpoint("/docs", [(Method::GET, web::to(page))]))
        .service(endpoint("/docs/{file}", [(Method::GET, web::to(file))]));
}

/// Returns the operations of these routes. The files of the page are not part of the API.
pub(crate) fn operations() -> Vec<Operation> {
    let get = |path, id, summary| Operation::new("Service", Method::GET, path, id, summary);
    vec![
        get("/openapi.json", "openapi", "This document").gives_content(
            200,
            "The OpenAPI 3.1 document",
            "application/json",
            ContentBuilder::new().example(Some(json!({"openapi": "3.1.0"}))).build(),
        ),
        get("/docs", "docs", "This document as a page").gives_content(
            200,
            "An HTML page that loads nothing from other servers",
            "text/html; charset=utf-8",
            ContentBuilder::new().build(),
        ),
    ]
}

async fn document(json: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        // The document changes only with the server's version, so a cache revalidates it.
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .body(json)
}

async fn page(request: HttpRequest) -> HttpResponse {
    File::own("index.html", include_str!("../../../../web/docs/index.html")).answer(&request, POLICY)
}

/// Answers with a file that the page loads. The files of Swagger UI come compressed from its package.
async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let file = match name.as_str() {
        "docs.js" => File::own(&name, include_str!("../../../../web/docs/docs.js")),
        "docs.css" => File::own(&name, include_str!("../../../../web/docs/docs.css")),
        "swagger-ui-bundle.js" | "swagger-ui.css" => packaged(&name)?,
        _ => return Err(Error::NotFound.into()),
    };
    Ok(file.answer(&request, POLICY))
}

/// Returns a file of Swagger UI's package.
fn packaged(name: &str) -> Result<File, Error> {
    let found = utoipa_swagger_ui::serve(name, Arc::default());
    let SwaggerFile { bytes, gzpipped, .. } =
        found.ok().flatten().ok_or_else(|| Error::Internal(format!("Swagger UI's {name} is missing")))?;
    Ok(File::packaged(name, bytes, gzpipped))
}
