//! `Envelope`: the body of every failure, and the headers of every response.

use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::web::{self, Json, Path, Query};
use actix_web::{App, Error, HttpResponse};
use hallpass::{AuthUser, Envelope};
use serde_json::{Value, json};

use super::support::{Numbered, TestIssuer};
use crate::app::TestApp;

#[actix_rt::test]
async fn the_envelope_gives_every_failure_of_an_app_its_format() {
    async fn broken() -> Result<&'static str, Error> {
        Err(actix_web::error::ErrorInternalServerError("select * from users where it hurts"))
    }
    async fn json(_: Json<Numbered>) -> &'static str {
        "in"
    }
    async fn query(_: Query<Numbered>) -> &'static str {
        "in"
    }
    async fn path(_: Path<u32>) -> &'static str {
        "in"
    }
    async fn own() -> HttpResponse {
        HttpResponse::Conflict().json(json!({"mine": true}))
    }
    let app = init_service(
        App::new()
            .wrap(Envelope::default())
            .route("/broken", web::get().to(broken))
            .route("/json", web::post().to(json))
            .route("/query", web::get().to(query))
            .route("/path/{number}", web::get().to(path))
            .route("/own", web::get().to(own)),
    )
    .await;
    let json = |request: TestRequest, body: &'static str| {
        request.insert_header(("content-type", "application/json")).set_payload(body)
    };
    let huge = TestRequest::post()
        .uri("/json")
        .insert_header(("content-type", "application/json"))
        .set_payload(vec![b' '; 3_000_000]);
    let table = [
        ("unknown path", TestRequest::get().uri("/nowhere"), 404, "not_found"),
        ("its own failure", TestRequest::get().uri("/broken"), 500, "internal"),
        ("not JSON", json(TestRequest::post().uri("/json"), "{"), 400, "json_malformed"),
        ("no media type", TestRequest::post().uri("/json").set_payload("{}"), 415, "unsupported_media_type"),
        ("too much", huge, 413, "body_too_large"),
        ("a bad query", TestRequest::get().uri("/query?number=x"), 400, "request_invalid"),
        ("a bad path", TestRequest::get().uri("/path/x"), 404, "not_found"),
    ];
    for (name, request, status, error) in table {
        let response = call_service(&app, request.to_request()).await;
        assert_eq!(response.status().as_u16(), status, "{name}");
        assert!(response.headers().contains_key("x-request-id"), "{name}");
        let body: Value = read_body_json(response).await;
        assert_eq!((&body["error"], &body["code"]), (&error.into(), &status.into()), "{name}");
        assert!(!body.to_string().contains("select"), "{name}");
    }
    let own: Value =
        read_body_json(call_service(&app, TestRequest::get().uri("/own").to_request()).await).await;
    assert_eq!(own, json!({"mine": true}), "an app's own JSON is left alone");
}

#[actix_rt::test]
async fn no_response_of_an_app_may_be_sniffed_for_another_media_type() {
    async fn own() -> HttpResponse {
        HttpResponse::Ok().insert_header(("x-content-type-options", "nosniff")).body("set by the handler")
    }
    let app = init_service(
        App::new()
            .wrap(Envelope::default())
            .app_data(TestIssuer::new().guard())
            .route("/text", web::get().to(|| async { "plain" }))
            .route("/own", web::get().to(own))
            .route("/guarded", web::get().to(|_: AuthUser| async { "in" }))
            .route(
                "/broken",
                web::get().to(|| async { Err::<&str, _>(actix_web::error::ErrorBadGateway("")) }),
            ),
    )
    .await;
    for (path, status) in
        [("/text", 200), ("/own", 200), ("/guarded", 401), ("/broken", 502), ("/nowhere", 404)]
    {
        let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{path}");
        let values: Vec<_> = response.headers().get_all("x-content-type-options").collect();
        assert_eq!(values, ["nosniff"], "{path}");
    }
}

#[actix_rt::test]
async fn no_response_of_the_server_may_be_sniffed_for_another_media_type() {
    let app = TestApp::new().await;
    let bearer = format!("Bearer {}", app.token().await);
    let cases = [
        (Method::GET, "/user/", 200),
        (Method::HEAD, "/user/", 200),
        (Method::OPTIONS, "/user/", 204),
        (Method::PUT, "/user/", 405),
        (Method::POST, "/auth/login", 400),
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/.well-known/jwks.json", 200),
        (Method::GET, "/openapi.json", 200),
        (Method::GET, "/health/live", 200),
        // Pages, which set the header themselves.
        (Method::GET, "/", 200),
        (Method::GET, "/docs", 200),
        (Method::GET, "/client/hallpass.js", 200),
    ];
    for (method, path, status) in cases {
        let what = format!("{method} {path}");
        let reply = app.ask(method, path).authorization(&bearer).send().await;
        assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.text());
        let values: Vec<_> = reply.headers.get_all("x-content-type-options").collect();
        assert_eq!(values, ["nosniff"], "{what}");
    }
    let refused = app.get("/user/").send().await;
    refused.expect_refused("token_missing", "without a token");
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
}
