//! A cookie session that exists already, and other cookies.

use serde_json::json;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};

impl TestApp {
    async fn sign_in_by_cookie(&self, cookie: Option<&str>) -> Reply {
        let ask = self.post("/auth/login");
        let ask = cookie.into_iter().fold(ask, |ask, cookie| ask.header("cookie", cookie));
        ask.json(json!({"email": EMAIL, "password": PASSWORD, "cookie": true})).send().await
    }
}

fn cookie_of(reply: &Reply) -> String {
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn access_token_of(reply: &Reply) -> String {
    reply.expect_data("a sign-in")["token"].as_str().unwrap().to_owned()
}

#[actix_rt::test]
async fn a_sign_in_over_a_cookie_session_ends_that_session() {
    let app = TestApp::new().await;
    let first = app.sign_in_by_cookie(None).await;
    let elsewhere = app.sign_in_by_cookie(None).await;
    let second = app.sign_in_by_cookie(Some(&cookie_of(&first))).await;
    app.get_user(&access_token_of(&first)).await.expect_refused("token_revoked", "its cookie was replaced");
    app.get_user(&access_token_of(&second)).await.expect_data("the new session");
    app.get_user(&access_token_of(&elsewhere)).await.expect_data("another browser's session");
}

#[actix_rt::test]
async fn a_failed_sign_in_ends_no_session_and_neither_does_one_without_the_cookie() {
    let app = TestApp::new().await;
    let first = app.sign_in_by_cookie(None).await;
    let wrong = app.post("/auth/login").header("cookie", cookie_of(&first));
    let wrong = wrong.json(json!({"email": EMAIL, "password": "wrong horse battery", "cookie": true}));
    wrong.send().await.expect_refused("credentials_invalid", "a wrong password");
    let in_body = app.post("/auth/login").header("cookie", cookie_of(&first));
    in_body
        .json(json!({"email": EMAIL, "password": PASSWORD}))
        .send()
        .await
        .expect_data("tokens in the body");
    app.get_user(&access_token_of(&first)).await.expect_data("the session of the cookie goes on");
}

#[actix_rt::test]
async fn two_cookies_of_the_name_are_refused_in_whatever_header_they_come() {
    let app = TestApp::new().await;
    let (one, other) =
        (cookie_of(&app.sign_in_by_cookie(None).await), cookie_of(&app.sign_in_by_cookie(None).await));
    for path in ["/auth/refresh", "/auth/logout"] {
        let together = app.post(path).header("cookie", format!("{one}; {other}")).header("x-hallpass", "1");
        together.send().await.expect_failure(400, "request_invalid", path);
        let apart = app.post(path).header("cookie", &one).header("cookie", &other).header("x-hallpass", "1");
        apart.send().await.expect_failure(400, "request_invalid", path);
    }
    let reply = app.sign_in_by_cookie(Some(&format!("{one}; {other}"))).await;
    reply.expect_failure(400, "request_invalid", "a sign-in");
    let alone = app.post("/auth/refresh").header("cookie", &one).header("x-hallpass", "1");
    alone.send().await.expect_data("neither session has ended");
}
