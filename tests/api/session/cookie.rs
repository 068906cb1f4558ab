//! Sessions by cookie: the cookie that stores the refresh token.

use super::*;

impl TestApp {
    async fn browse(&self) -> (String, String) {
        let body = json!({"email": EMAIL, "password": PASSWORD, "cookie": true});
        let reply = self.post("/auth/login").json(body).send().await;
        (token(&reply), carried(&reply))
    }

    async fn refresh_by_cookie(&self, cookie: &str) -> Reply {
        self.post("/auth/refresh").header("cookie", cookie).header("x-hallpass", "1").send().await
    }
}

#[track_caller]
fn token(reply: &Reply) -> String {
    let data = reply.expect_data("tokens");
    assert_eq!(data.get("refresh_token"), None, "the refresh token travels in the cookie alone");
    data["token"].as_str().unwrap().to_owned()
}

/// Checks the attributes of the cookie that an answer sets, and returns its `name=value`.
#[track_caller]
fn carried(reply: &Reply) -> String {
    let cookie = reply.header("set-cookie").expect("a cookie");
    let (pair, flags) = cookie.split_once("; ").unwrap();
    let mut flags: Vec<_> = flags.split("; ").filter(|flag| !flag.starts_with("Max-Age=")).collect();
    flags.sort_unstable();
    assert_eq!(flags, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"], "{cookie}");
    assert!(pair.starts_with("__Host-hallpass=hpr_"), "{cookie}");
    assert!(cookie.contains("; Max-Age=1209600"), "{cookie}");
    pair.to_owned()
}

#[track_caller]
fn expect_cleared(reply: &Reply, what: &str) {
    let cookie = reply.header("set-cookie").unwrap_or_else(|| panic!("{what}: no cookie"));
    assert!(cookie.starts_with("__Host-hallpass=; "), "{what}: {cookie}");
    for flag in ["Max-Age=0", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(flag), "{what}: {cookie}");
    }
}

#[actix_rt::test]
async fn in_a_cookie_session_refresh_tokens_are_never_in_a_body() {
    let app = TestApp::new().await;
    let (access, cookie) = app.browse().await;
    let reply = app.refresh_by_cookie(&cookie).await;
    token(&reply);
    assert_ne!(carried(&reply), cookie);
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let changed = app.post("/user/password").authorization(&format!("Bearer {access}")).json(body);
    let changed = changed.send().await;
    token(&changed);
    token(&app.refresh_by_cookie(&carried(&changed)).await);
}

#[actix_rt::test]
async fn a_request_by_cookie_without_its_header_is_refused() {
    let app = TestApp::new().await;
    let (access, cookie) = app.browse().await;
    for path in ["/auth/refresh", "/auth/logout"] {
        let bare = app.post(path).header("cookie", &cookie);
        bare.send().await.expect_failure(403, "csrf_rejected", path);
        let form = app.post(path).header("cookie", &cookie);
        let form = form.body("application/x-www-form-urlencoded", "a=b").send().await;
        form.expect_failure(415, "unsupported_media_type", "a cross-site form");
        let wrong = app.post(path).header("cookie", &cookie).header("x-hallpass", "yes");
        wrong.send().await.expect_failure(403, "csrf_rejected", path);
    }
    app.get_user(&access).await.expect_data("the session continues");
    token(&app.refresh_by_cookie(&cookie).await);
}

#[actix_rt::test]
async fn a_form_of_another_site_cannot_sign_in() {
    let app = TestApp::new().await;
    let body = format!(r#"{{"email":"{EMAIL}","password":"{PASSWORD}","cookie":true}}"#);
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let reply = app.post("/auth/login").body(media_type, body.clone()).send().await;
        reply.expect_failure(415, "unsupported_media_type", media_type);
        assert_eq!(reply.header("set-cookie"), None);
    }
}

#[actix_rt::test]
async fn a_cookie_and_a_body_token_together_are_refused() {
    let app = TestApp::new().await;
    let (_, cookie) = app.browse().await;
    let other = app.sign_in().await.refresh;
    let reply = app.post("/auth/refresh").header("cookie", &cookie).header("x-hallpass", "1");
    let reply = reply.json(json!({"refresh_token": other})).send().await;
    reply.expect_failure(400, "request_invalid", "both");
}

#[actix_rt::test]
async fn a_token_sent_in_the_wrong_place_is_refused_and_changes_nothing() {
    let app = TestApp::new().await;
    let (_, cookie) = app.browse().await;
    let (_, in_cookie) = cookie.split_once('=').unwrap();
    expect_invalid(&app.refresh(in_cookie).await, "the cookie's in a body");
    let in_body = app.sign_in().await.refresh;
    expect_invalid(
        &app.refresh_by_cookie(&format!("__Host-hallpass={in_body}")).await,
        "a body's in the cookie",
    );
    token(&app.refresh_by_cookie(&cookie).await);
    Pair::of(&app.refresh(&in_body).await);
}

#[actix_rt::test]
async fn what_ends_the_session_clears_the_cookie() {
    for what in ["logout by cookie", "logout by token", "logout-all", "own session", "delete", "theft"] {
        let app = TestApp::new().await;
        let (access, cookie) = app.browse().await;
        let bearer = format!("Bearer {access}");
        let reply = match what {
            "logout by cookie" => {
                app.post("/auth/logout").header("cookie", &cookie).header("x-hallpass", "1").send().await
            }
            "logout by token" => app.post("/auth/logout").authorization(&bearer).send().await,
            "logout-all" => app.post("/auth/logout-all").authorization(&bearer).send().await,
            "own session" => {
                let list = app.bearer(Method::GET, "/user/sessions", &access).await.expect_data(what);
                let path = format!("/user/sessions/{}", list[0]["id"].as_str().unwrap());
                app.bearer(Method::DELETE, &path, &access).await
            }
            "delete" => {
                let ask = app.ask(Method::DELETE, "/user/").authorization(&bearer);
                ask.json(json!({"password": PASSWORD})).send().await
            }
            _ => {
                app.refresh_by_cookie(&cookie).await;
                app.pass(Duration::seconds(10)).await;
                app.refresh_by_cookie(&cookie).await
            }
        };
        assert_eq!(reply.status.as_u16(), if what == "theft" { 401 } else { 204 }, "{what}");
        expect_cleared(&reply, what);
        app.get_user(&access).await.expect_refused("token_revoked", what);
    }
}

#[actix_rt::test]
async fn ending_another_session_does_not_clear_this_ones_cookie() {
    let app = TestApp::new().await;
    let (_, _) = app.browse().await;
    let here = app.sign_in().await;
    let list = app.bearer(Method::GET, "/user/sessions", &here.access).await.expect_data("list");
    let other = list.as_array().unwrap().iter().find(|entry| entry["current"] == false).unwrap();
    let path = format!("/user/sessions/{}", other["id"].as_str().unwrap());
    let reply = app.bearer(Method::DELETE, &path, &here.access).await;
    assert_eq!((reply.status.as_u16(), reply.header("set-cookie")), (204, None));
}
