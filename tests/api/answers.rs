//! Whole answers, as clients of earlier versions got them: status, each header, each byte of the body.

use std::fmt::Write;

use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use chrono::Duration;
use serde_json::json;
use uuid::Uuid;

use crate::app::{Ask, EMAIL, PASSWORD, Reply, TestApp};

/// What was sent before the answers were made faster. A difference is a breaking change.
const ANSWERS: &str = include_str!("answers.txt");

/// An answer as text, with what differs from run to run by its kind.
fn whole(reply: &Reply, app: &TestApp) -> String {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.to_str().unwrap();
        let is_new =
            name == "x-request-id" && Uuid::parse_str(value).is_ok_and(|id| id.get_version_num() == 7);
        format!("{name}: {}", if is_new { "(a new UUIDv7)".to_owned() } else { masked(value, app) })
    };
    let mut headers: Vec<String> = reply.headers.iter().map(header).collect();
    headers.sort_unstable();
    format!("{}\n{}\n\n{}\n", reply.status.as_u16(), headers.join("\n"), masked(&reply.text(), app))
}

/// The text, with ids and times of now by their kind.
fn masked(text: &str, app: &TestApp) -> String {
    let now = app.clock.now().format("%Y-%m-%dT%H:%M").to_string();
    let (mut masked, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let (shown, length) = if rest.get(..36).is_some_and(|text| Uuid::parse_str(text).is_ok()) {
            ("(an id)", 36)
        } else if rest.starts_with(&now) && rest.as_bytes().get(19) == Some(&b'Z') {
            ("(now)", 20)
        } else {
            masked.push(next);
            ("", next.len_utf8())
        };
        masked += shown;
        rest = &rest[length..];
    }
    masked
}

#[actix_rt::test]
async fn each_answer_has_the_bytes_that_earlier_versions_sent() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let ended = app.token().await;
    let bearer = |token: &str| format!("Bearer {token}");
    let out = app.post("/auth/logout").authorization(&bearer(&ended)).send().await;
    assert_eq!(out.status, 204);
    let mut all = String::new();
    let mut add = |what: &str, reply: &Reply| {
        writeln!(all, "=== {what}\n{}", whole(reply, &app)).unwrap();
    };
    let guarded = |method: Method, path: &'static str| app.ask(method, path).authorization(&bearer(&token));
    let cases: Vec<(&str, Ask<'_>)> = vec![
        ("the user", guarded(Method::GET, "/user/")),
        ("the user again", guarded(Method::GET, "/user/")),
        ("without the slash", guarded(Method::GET, "/user")),
        ("HEAD", guarded(Method::HEAD, "/user/")),
        ("OPTIONS", app.ask(Method::OPTIONS, "/user/")),
        ("a method that is not there", guarded(Method::PUT, "/user/")),
        ("a bare token", app.get("/user/").authorization(&token)),
        ("an id of the client's own", guarded(Method::GET, "/user/").header("x-request-id", "mine-1_2.3")),
        ("an id that is none", guarded(Method::GET, "/user/").header("x-request-id", "a b")),
        ("an origin", guarded(Method::GET, "/user/").header("origin", "https://spa.example")),
        ("a new name", guarded(Method::PATCH, "/user/").json(json!({"name": "Ada \"the\" Countess <ü>"}))),
        ("the new name", guarded(Method::GET, "/user/")),
        ("a proxy's question", guarded(Method::GET, "/auth/verify")),
        ("no token", app.get("/user/")),
        ("another scheme", app.get("/user/").authorization("Basic dXNlcjpwYXNz")),
        ("garbage", app.get("/user/").authorization("Bearer not.a.token")),
        ("two words", app.get("/user/").authorization("Bearer a b")),
        ("two headers", guarded(Method::GET, "/user/").authorization(&bearer(&token))),
        ("an ended session", app.get("/user/").authorization(&bearer(&ended))),
        ("no role", guarded(Method::GET, "/admin/users")),
        ("no such path", app.get("/nowhere")),
        ("no such path in the scope", guarded(Method::GET, "/user/nowhere")),
        ("alive", app.get("/health/live")),
        ("ready", app.get("/health/ready")),
        (
            "a wrong password",
            app.post("/auth/login").json(json!({"email": EMAIL, "password": format!("not {PASSWORD}")})),
        ),
        ("no JSON", app.post("/auth/login").body("application/json", "{")),
        ("another media type", app.post("/auth/login").body("text/plain", "{}")),
    ];
    for (what, ask) in cases {
        add(what, &ask.send().await);
    }
    app.pass(Duration::hours(1)).await;
    add("an expired token", &app.get_user(&token).await);
    if std::env::var_os("HALLPASS_TEST_SHOW_ANSWERS").is_some() {
        std::fs::write("tests/api/answers.txt", &all).unwrap();
    }
    similar(&all, ANSWERS);
}

#[track_caller]
fn similar(now: &str, before: &str) {
    for (now, before) in now.split("=== ").zip(before.split("=== ")) {
        assert_eq!(now, before);
    }
    assert_eq!(now.len(), before.len());
}
