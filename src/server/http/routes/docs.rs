//! `/openapi.json`, `/postman.json` and `/docs`: the OpenAPI document, for programs, for Postman and for people.

use std::sync::{Arc, LazyLock};

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HOST, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use utoipa::openapi::ContentBuilder;
use utoipa_swagger_ui::SwaggerFile;

use crate::server::error::Error;
use crate::server::http::ApiError;
use crate::server::http::endpoint::endpoint;
use crate::server::http::openapi::Operation;
use crate::server::http::pages::{Compiled, Packaged, web as web_files};

/// The Content-Security-Policy of `/docs`: it loads from this server only. Swagger UI shows icons as `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Registers the document and the page that shows it. `json` returns the document, which describes all routes,
/// including these.
pub(in crate::server::http) fn configure(
    config: &mut ServiceConfig,
    json: fn() -> &'static str,
    public_url: Option<String>,
) {
    config
        .service(endpoint("/openapi.json", [(Method::GET, web::to(move || document(json())))]))
        .service(endpoint(
            "/postman.json",
            [(Method::GET, web::to(move |request| collection(request, public_url.clone())))],
        ))
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
        get("/postman.json", "postman", "This document as a Postman collection")
            .text("Import it by its address: the variable `base_url` is this server's.")
            .gives_content(
                200,
                "A collection (v2.1), which works alone",
                "application/json",
                ContentBuilder::new().example(Some(json!({"info": {"name": "Hallpass"}}))).build(),
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

/// The collection, as `hallpass openapi --postman` prints it; a test compares them.
const COLLECTION: &str = include_str!("../../../../tests/postman/hallpass.postman_collection.json");

/// The address in it that stands for the server.
const BASE_URL: &str = "\"http://127.0.0.1:8080\"";

/// Returns the collection with the server's address: `server.public_url`, or that under which it was asked for.
async fn collection(request: HttpRequest, public_url: Option<String>) -> HttpResponse {
    let is_plain = |text: &&str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
    };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).filter(is_plain);
    let scheme = if request.app_config().secure() { "https" } else { "http" };
    let asked = || host.map(|host| format!("{scheme}://{host}"));
    let text = match public_url.map(|url| url.trim_end_matches('/').to_owned()).or_else(asked) {
        Some(url) => COLLECTION.replacen(BASE_URL, &format!("\"{url}\""), 1),
        None => COLLECTION.to_owned(),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"hallpass.postman_collection.json\""))
        // Its address is the one of this request.
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .body(text)
}

async fn page(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(Compiled::find(&web_files::DOCS, "index.html")?.answer(&request, POLICY))
}

/// Answers with a file that the page loads. The files of Swagger UI come compressed from its package.
async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    static SCRIPT: LazyLock<Option<Packaged>> = LazyLock::new(|| packaged("swagger-ui-bundle.js"));
    static STYLE: LazyLock<Option<Packaged>> = LazyLock::new(|| packaged("swagger-ui.css"));
    let file = match name.as_str() {
        "swagger-ui-bundle.js" => SCRIPT.as_ref(),
        "swagger-ui.css" => STYLE.as_ref(),
        name => return Ok(Compiled::find(&web_files::DOCS, name)?.answer(&request, POLICY)),
    };
    let file = file.ok_or_else(|| Error::Internal(format!("Swagger UI's {name} is missing")))?;
    Ok(file.answer(&request, POLICY))
}

/// Returns a file of Swagger UI's package.
fn packaged(name: &'static str) -> Option<Packaged> {
    let SwaggerFile { bytes, gzpipped, .. } = utoipa_swagger_ui::serve(name, Arc::default()).ok()??;
    Some(Packaged::new(name, bytes, gzpipped))
}
