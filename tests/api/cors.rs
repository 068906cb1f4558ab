//! CORS: requests from pages of other origins.

use actix_web::http::Method;

use crate::app::TestApp;

const PAGE: &str = "https://app.example";

async fn app() -> TestApp {
    TestApp::with(|settings| settings.server.cors_origins = vec![PAGE.into()]).await
}

#[actix_rt::test]
async fn a_configured_origin_may_send_credentials_and_read_failures() {
    let app = app().await;
    for path in ["/user/", "/nowhere", "/auth/login"] {
        let reply = app.get(path).header("origin", PAGE).send().await;
        assert!(reply.status.is_client_error(), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"), "{path}");
        let exposed = reply.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
        for name in ["x-request-id", "retry-after", "www-authenticate"] {
            assert!(exposed.contains(name), "{path}: {exposed}");
        }
        assert!(reply.header("x-request-id").is_some(), "{path}");
    }
}

#[actix_rt::test]
async fn a_preflight_is_answered_without_a_token() {
    let app = app().await;
    for (path, method) in [("/user/", "DELETE"), ("/auth/refresh", "POST"), ("/user/", "PATCH")] {
        let reply = app
            .ask(Method::OPTIONS, path)
            .header("origin", PAGE)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization,content-type,x-hallpass")
            .send()
            .await;
        assert!(reply.status.is_success(), "{path}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert!(reply.header("x-request-id").is_some(), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[actix_rt::test]
async fn any_other_origin_gets_no_permission() {
    let plain = TestApp::new().await;
    let app = app().await;
    for (app, origin) in
        [(&app, "https://evil.example"), (&app, "https://app.example.evil"), (&app, "null"), (&plain, PAGE)]
    {
        for method in [Method::OPTIONS, Method::GET, Method::POST] {
            let ask = app.ask(method.clone(), "/auth/refresh").header("origin", origin);
            let reply = ask.header("access-control-request-method", "POST").send().await;
            assert_eq!(reply.header("access-control-allow-origin"), None, "{method} {origin}");
        }
    }
}

#[actix_rt::test]
async fn a_star_allows_any_origin_without_credentials() {
    let app = TestApp::with(|settings| settings.server.cors_origins = vec!["*".into()]).await;
    let reply = app.get("/user/").header("origin", "https://any.example").send().await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}
