//! `Guard::protect`: public paths, the stored caller, and CORS on either side.

use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, HttpMessage, web};
use hallpass::{AuthUser, Caller, User};
use serde_json::Value;

use super::support::{Member, TestIssuer, greet};

#[actix_rt::test]
async fn public_paths_are_matched_exactly_and_preflights_always_pass() {
    let issuer = TestIssuer::new();
    let app = init_service(
        App::new()
            .route("/open", web::get().to(greet))
            .route("/open/secret", web::get().to(|| async { "in" }))
            .route("/secret", web::to(|| async { "in" }))
            .wrap(issuer.guard().protect().allow("/open")),
    )
    .await;
    let status = async |method: Method, path: &str| {
        call_service(&app, TestRequest::default().method(method).uri(path).to_request())
            .await
            .status()
            .as_u16()
    };
    assert_eq!(status(Method::GET, "/open").await, 200);
    assert_eq!(status(Method::OPTIONS, "/secret").await, 200);
    for path in [
        "/secret",
        "/open/secret",
        "/%6fpen",
        "/Open",
        "/open/../secret",
        "//open",
        "/open%2f",
        "/open;x",
        "/nowhere",
    ] {
        assert_eq!(status(Method::GET, path).await, 401, "{path}");
    }
    let bad = TestRequest::get().uri("/open").insert_header(("authorization", "Bearer no.such.token"));
    assert_eq!(call_service(&app, bad.to_request()).await.status(), 401, "its handler refuses a bad token");
}

#[actix_rt::test]
async fn the_caller_is_known_to_middleware_outside_the_handler() {
    let issuer = TestIssuer::new();
    for with_middleware in [false, true] {
        let app = App::new().app_data(issuer.guard()).route("/", web::get().to(|_: AuthUser| async { "in" }));
        let guard = actix_web::middleware::Condition::new(with_middleware, issuer.guard().protect());
        let app = init_service(app.wrap(guard)).await;
        let request = TestRequest::get().uri("/").insert_header(("authorization", issuer.bearer()));
        let response = call_service(&app, request.to_request()).await;
        let extensions = response.request().extensions();
        let caller = extensions.get::<Caller>().unwrap();
        assert_eq!(caller.claims().sub, "ada");
        assert_eq!(caller.user::<User>().unwrap().email, "ada@example.com");
        assert!(caller.user::<Member>().is_none());
    }
}

#[actix_rt::test]
async fn a_browser_can_read_a_refusal_through_cors_on_either_side_of_the_guard() {
    let issuer = TestIssuer::new();
    let cors = || {
        actix_cors::Cors::default()
            .allowed_origin("https://spa.example")
            .allowed_header("authorization")
            .allow_any_method()
    };
    let origin = ("origin", "https://spa.example");
    macro_rules! check {
        ($app:expr, $name:literal) => {
            let app = init_service($app).await;
            let refused =
                call_service(&app, TestRequest::get().uri("/").insert_header(origin).to_request()).await;
            assert_eq!(refused.status(), 401, $name);
            if $name == "outside" {
                assert_eq!(
                    refused.headers().get("access-control-allow-origin").unwrap(),
                    "https://spa.example"
                );
            }
            let body: Value = read_body_json(refused).await;
            assert_eq!(body["error"], "token_missing", $name);
            let preflight = TestRequest::default()
                .method(Method::OPTIONS)
                .uri("/")
                .insert_header(origin)
                .insert_header(("access-control-request-method", "GET"))
                .insert_header(("access-control-request-headers", "authorization"));
            let preflight = call_service(&app, preflight.to_request()).await;
            assert!(preflight.status().is_success(), $name);
            assert_eq!(
                preflight.headers().get("access-control-allow-origin").unwrap(),
                "https://spa.example",
                $name
            );
        };
    }
    let app = || App::new().route("/", web::get().to(|_: AuthUser| async { "in" }));
    check!(app().wrap(issuer.guard().protect()).wrap(cors()), "outside");
    check!(app().wrap(cors()).wrap(issuer.guard().protect()), "inside");
    check!(app().app_data(issuer.guard()).wrap(cors()), "outside");
}
