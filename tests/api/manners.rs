//! What all routes have in common: JSON failures, request ids, slashes, HEAD, OPTIONS, 405, body rules.

use actix_web::http::Method;
use actix_web::{App, test};

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::mail::every_route;

/// Every path except the console's, with its methods.
pub const ROUTES: &[(&str, &str)] = &[
    ("/auth/login", "POST, OPTIONS"),
    ("/auth/second-factor", "POST, OPTIONS"),
    ("/auth/passkey", "POST, OPTIONS"),
    ("/auth/passkey/options", "POST, OPTIONS"),
    ("/auth/register", "POST, OPTIONS"),
    ("/auth/password-strength", "POST, OPTIONS"),
    ("/auth/refresh", "POST, OPTIONS"),
    ("/auth/logout", "POST, OPTIONS"),
    ("/auth/logout-all", "POST, OPTIONS"),
    ("/auth/verify", "GET, HEAD"),
    ("/auth/password/forgot", "POST, OPTIONS"),
    ("/auth/password/reset", "POST, OPTIONS"),
    ("/auth/email/verify", "POST, OPTIONS"),
    ("/auth/email/resend", "POST, OPTIONS"),
    ("/auth/email/change", "POST, OPTIONS"),
    ("/auth/email/change/undo", "POST, OPTIONS"),
    ("/auth/link", "POST, OPTIONS"),
    ("/auth/link/redeem", "POST, OPTIONS"),
    ("/user", "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ("/user/export", "GET, HEAD, OPTIONS"),
    ("/user/totp", "POST, DELETE, OPTIONS"),
    ("/user/totp/confirm", "POST, OPTIONS"),
    ("/user/recovery-codes", "POST, OPTIONS"),
    ("/user/passkeys", "GET, HEAD, POST, OPTIONS"),
    ("/user/passkeys/options", "POST, OPTIONS"),
    ("/user/passkeys/{id}", "PATCH, DELETE, OPTIONS"),
    ("/user/password", "POST, OPTIONS"),
    ("/user/email", "POST, OPTIONS"),
    ("/user/sessions", "GET, HEAD, OPTIONS"),
    ("/user/sessions/{id}", "DELETE, OPTIONS"),
    ("/admin/users", "GET, HEAD, POST, OPTIONS"),
    ("/admin/users/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ("/admin/users/{id}/password", "POST, OPTIONS"),
    ("/admin/users/{id}/sessions", "GET, HEAD, DELETE, OPTIONS"),
    ("/admin/users/{id}/second-factors", "DELETE, OPTIONS"),
    ("/admin/sessions", "DELETE, OPTIONS"),
    ("/admin/events", "GET, HEAD, OPTIONS"),
    ("/admin/stats", "GET, HEAD, OPTIONS"),
    ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
    ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
    ("/health/live", "GET, HEAD, OPTIONS"),
    ("/health/ready", "GET, HEAD, OPTIONS"),
    ("/openapi.json", "GET, HEAD, OPTIONS"),
    ("/postman.json", "GET, HEAD, OPTIONS"),
    ("/docs", "GET, HEAD, OPTIONS"),
    ("/docs/{file}", "GET, HEAD, OPTIONS"),
    ("/client/{file}", "GET, HEAD, OPTIONS"),
];

#[actix_rt::test]
async fn an_unknown_path_is_a_json_404() {
    let app = TestApp::new().await;
    for path in ["/nowhere", "/auth", "/auth/nowhere", "/%00", "/auth/login/more", "/users"] {
        app.get(path).send().await.expect_failure(404, "not_found", path);
    }
}

#[actix_rt::test]
async fn a_path_works_with_and_without_its_slash() {
    let app = TestApp::new().await;
    let token = app.token().await;
    for path in ["/user", "/user/"] {
        app.get(path).authorization(&format!("Bearer {token}")).send().await.expect_data(path);
    }
    for path in ["/auth/login", "/auth/login/"] {
        let body = serde_json::json!({"email": EMAIL, "password": PASSWORD});
        app.post(path).json(body).send().await.expect_data(path);
    }
}

#[actix_rt::test]
async fn live_checks_the_process_and_ready_the_database() {
    let app = TestApp::new().await;
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(app.get(path).send().await.expect_data(path)["status"], "ok");
    }
    app.server.store().close().await;
    app.get("/health/live").send().await.expect_data("live without its database");
    let unready = app.get("/health/ready").send().await;
    unready.expect_failure(503, "unavailable", "ready without its database");
    assert!(unready.text().contains("not ready: the database does not answer"), "{}", unready.text());
}

#[actix_rt::test]
async fn the_published_keys_verify_what_the_server_signs_and_a_shared_secret_is_never_among_them() {
    use hallpass::token::{Algorithm, Expected, Keyring, verify};

    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let app = TestApp::with(|settings| settings.token.algorithm = algorithm).await;
        let published = app.get("/.well-known/jwks.json").send().await;
        let ring = Keyring::from_jwks(&published.body).unwrap();
        let expected = Expected::new(app.server.issuer(), app.server.issuer());
        let claims = verify(&app.token().await, &ring, &expected, app.clock.now()).unwrap();
        assert_eq!(claims.sub, app.user_id().await.to_string());
    }
    let app = TestApp::with(|settings| settings.token.algorithm = Algorithm::Hs256).await;
    assert_eq!(app.get("/.well-known/jwks.json").send().await.text(), r#"{"keys":[]}"#);
}

#[actix_rt::test]
async fn an_unsupported_method_is_a_405_with_allow() {
    let app = TestApp::with(every_route).await;
    let token = app.token().await;
    for (path, allow) in ROUTES {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"] {
            if allow.split(", ").any(|taken| taken == method) {
                continue;
            }
            for path in [(*path).to_owned(), format!("{path}/")] {
                let what = format!("{method} {path}");
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let reply = app.ask(method, &path).authorization(&format!("Bearer {token}")).send().await;
                reply.expect_failure(405, "method_not_allowed", &what);
                assert_eq!(reply.header("allow"), Some(*allow), "{what}");
            }
        }
    }
}

#[actix_rt::test]
async fn options_needs_no_token() {
    let app = TestApp::with(every_route).await;
    for (path, allow) in ROUTES {
        let reply = app.ask(Method::OPTIONS, path).send().await;
        // A proxy that asks with its client's method would take a 204 for a yes.
        if *path == "/auth/verify" {
            reply.expect_failure(405, "method_not_allowed", path);
            assert_eq!(reply.header("allow"), Some(*allow), "{path}");
            continue;
        }
        assert_eq!(reply.status, 204, "{path}: {}", reply.text());
        assert_eq!(reply.header("allow"), Some(*allow), "{path}");
        assert!(reply.header("x-request-id").is_some());
    }
}

#[actix_rt::test]
async fn head_works_where_get_does() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let head = |token: String| app.ask(Method::HEAD, "/user/").authorization(&format!("Bearer {token}"));
    assert_eq!(head(token).send().await.status, 200);
    assert_eq!(head("no.such.token".into()).send().await.status, 401);
}

#[actix_rt::test]
async fn a_valid_request_id_is_returned_and_any_other_is_replaced() {
    let app = TestApp::new().await;
    let longest = "x".repeat(128);
    for id in ["a", "trace-1_2.3", &longest] {
        let reply = app.get("/user/").header("x-request-id", id).send().await;
        assert_eq!(reply.header("x-request-id"), Some(id));
    }
    let too_long = "x".repeat(129);
    for id in ["", "two words", "semi;colon", "ümlaut", &too_long] {
        let reply = app.get("/user/").header("x-request-id", id).send().await;
        let given = reply.header("x-request-id").unwrap();
        assert_ne!(given, id);
        assert_eq!(given.len(), 36, "a UUID: {given}");
    }
}

#[actix_rt::test]
async fn a_body_that_cannot_be_read_is_refused_with_the_reason() {
    let app = TestApp::new().await;
    let json = "application/json";
    let too_large = format!("{{\"email\": \"{}\"}}", "x".repeat(65_536));
    let cases: &[(&str, &str, &[u8], u16, &str)] = &[
        ("not JSON", json, b"email=ada", 400, "json_malformed"),
        ("cut off", json, b"{\"email\":", 400, "json_malformed"),
        ("an array", json, b"[\"a\", \"b\"]", 400, "json_malformed"),
        ("not UTF-8", json, b"{\"email\": \"\xff\"}", 400, "json_malformed"),
        ("not UTF-8 in an unknown field", json, b"{\"x\": \"\xff\"}", 400, "json_malformed"),
        ("a wrong type", json, b"{\"email\": 5, \"password\": \"x\"}", 400, "json_malformed"),
        ("deeply nested", json, &[b'['; 10_000], 400, "json_malformed"),
        ("empty", json, b"", 400, "json_malformed"),
        ("a form", "application/x-www-form-urlencoded", b"email=ada", 415, "unsupported_media_type"),
        ("plain text", "text/plain", b"{}", 415, "unsupported_media_type"),
        ("too large", json, too_large.as_bytes(), 413, "body_too_large"),
    ];
    for (name, content_type, body, status, error) in cases {
        let reply = app.post("/auth/login").body(content_type, *body).send().await;
        reply.expect_failure(*status, error, name);
    }
    let untyped = app.post("/auth/login").send().await;
    untyped.expect_failure(400, "json_malformed", "no body at all");
}

#[actix_rt::test]
async fn a_request_without_a_token_is_refused_before_its_body_method_or_query_is_checked() {
    let app = TestApp::new().await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD] {
        for path in ["/user", "/user/", "/user/sessions/%ff?x=%", "/user/nowhere?limit=many"] {
            let what = format!("{method} {path}");
            let reply = app.ask(method.clone(), path).body("application/json", "{not json").send().await;
            reply.expect_refused("token_missing", &what);
        }
    }
}

#[actix_rt::test]
async fn json_that_a_browser_shows_as_a_page_loads_nothing() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let user = app.get_user(&token).await;
    for (what, reply) in [("a user", user), ("a failure", app.get("/nowhere").send().await)] {
        let policy = reply.header("content-security-policy");
        assert_eq!(policy, Some("default-src 'none'; frame-ancestors 'none'"), "{what}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{what}");
    }
}

#[actix_rt::test]
async fn the_description_of_the_api_can_be_turned_off() {
    let app = TestApp::with(|settings| settings.server.docs = false).await;
    let service = test::init_service(App::new().configure(app.server.configure())).await;
    for path in ["/docs", "/docs/docs.js", "/openapi.json", "/postman.json"] {
        let reply = test::call_service(&service, test::TestRequest::get().uri(path).to_request()).await;
        assert_eq!(reply.status(), 404, "{path}");
    }
}
