//! `Guard::protect`: public paths, the stored caller, and CORS on either side.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, HttpMessage, web};
use hallpass::{AuthUser, Caller, Claims, Unavailable, User, UserSource};
use serde_json::Value;

use super::support::{Member, TestIssuer, greet};

#[actix_rt::test]
async fn public_paths_are_matched_exactly() {
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

/// A preflight as a browser sends it.
const PREFLIGHT: [(&str, &str); 2] =
    [("origin", "https://spa.example"), ("access-control-request-method", "GET")];

#[actix_rt::test]
async fn no_handler_answers_options_unless_it_is_a_preflight_or_the_app_asks_for_it() {
    let guard = TestIssuer::new().guard();
    let open = || web::to(|| async { "in" });
    let app = init_service(
        App::new()
            .service(web::scope("/closed").wrap(guard.protect()).route("", open()))
            .service(web::scope("/passing").wrap(guard.protect().pass_options()).route("", open())),
    )
    .await;
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let request = TestRequest::default().method(Method::OPTIONS).uri(path);
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        call_service(&app, request.to_request()).await.status().as_u16()
    };
    assert_eq!(status("/closed", &[]).await, 204);
    assert_eq!(status("/closed", &PREFLIGHT[..1]).await, 204, "an origin alone is no preflight");
    assert_eq!(status("/closed", &PREFLIGHT).await, 200, "for the CORS middleware inside");
    assert_eq!(status("/passing", &[]).await, 200);
}

/// A user who says which guard has found it.
struct FoundBy(&'static str);

struct FindsBy(&'static str);

impl UserSource for FindsBy {
    type User = FoundBy;

    async fn find(&self, _: &Claims) -> Result<Option<Arc<FoundBy>>, Unavailable> {
        Ok(Some(Arc::new(FoundBy(self.0))))
    }
}

async fn found_by(user: AuthUser<FoundBy>) -> &'static str {
    user.0
}

#[actix_rt::test]
async fn of_two_guards_for_one_kind_of_user_the_nearer_to_the_handler_counts() {
    let issuer = TestIssuer::new();
    let guard = |name| issuer.builder().users(FindsBy(name)).build().unwrap();
    let (outer, inner) = (guard("outer"), guard("inner"));
    let handler = || web::get().to(found_by);
    macro_rules! check {
        ($name:literal, $app:expr, $expected:literal) => {
            let app = init_service($app).await;
            let request = TestRequest::get().uri("/in/").insert_header(("authorization", issuer.bearer()));
            let response = call_service(&app, request.to_request()).await;
            assert_eq!(response.status(), 200, $name);
            assert_eq!(actix_web::test::read_body(response).await, $expected, $name);
        };
    }
    check!(
        "middleware in middleware",
        App::new()
            .service(web::scope("/in").wrap(inner.protect()).route("/", handler()))
            .wrap(outer.protect()),
        "inner"
    );
    check!(
        "installed in a middleware",
        App::new()
            .service(web::scope("/in").app_data(inner.clone()).route("/", handler()))
            .wrap(outer.protect()),
        "inner"
    );
    check!(
        "installed with its configuration in a middleware",
        App::new()
            .service(web::scope("/in").configure(inner.install()).route("/", handler()))
            .wrap(outer.protect()),
        "inner"
    );
    check!(
        "a middleware in an app that has installed one",
        App::new()
            .app_data(outer.clone())
            .service(web::scope("/in").wrap(inner.protect()).route("/", handler())),
        "inner"
    );
    check!(
        "installed at a resource",
        App::new()
            .service(web::resource("/in/").app_data(inner.clone()).route(handler()))
            .wrap(outer.protect()),
        "inner"
    );
    check!(
        "installed beside a middleware, at the app",
        App::new().app_data(outer.clone()).route("/in/", handler()).wrap(inner.protect()),
        "inner"
    );
}

#[actix_rt::test]
async fn the_claims_come_from_the_nearer_guard_too() {
    let (ours, theirs) = (TestIssuer::new(), TestIssuer::new());
    let claims = || web::get().to(|claims: Claims| async move { claims.sub });
    for is_configured in [true, false] {
        let guard = ours.guard();
        let inner = if is_configured {
            web::scope("/in").configure(guard.install())
        } else {
            web::scope("/in").app_data(guard)
        };
        let outer = theirs.guard().protect().allow("/in");
        let app = init_service(App::new().service(inner.route("", claims())).wrap(outer)).await;
        let status = async |issuer: &TestIssuer| {
            let request = TestRequest::get().uri("/in").insert_header(("authorization", issuer.bearer()));
            call_service(&app, request.to_request()).await.status().as_u16()
        };
        assert_eq!((status(&ours).await, status(&theirs).await), (200, 401), "{is_configured}");
    }
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
