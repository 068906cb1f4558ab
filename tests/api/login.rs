//! `POST /auth/login`.

use chrono::Duration;
use serde_json::json;

use crate::app::{EMAIL, PASSWORD, TestApp};

#[actix_rt::test]
async fn a_login_returns_a_token_its_lifetime_and_the_user() {
    let app = TestApp::new().await;
    let data = app.login(EMAIL, PASSWORD).await.expect_data("login");
    assert_eq!(data["message"], "Login successfully");
    assert_eq!(data["token_type"], "Bearer");
    assert_eq!(data["expires_in"], 3600);
    assert_eq!(data["token"].as_str().unwrap().split('.').count(), 3);
    let user = &data["user"];
    assert_eq!(user["id"], app.user_id().await.to_string());
    assert_eq!(user["email"], EMAIL);
    assert_eq!(user["email_verified"], true, "the operator added this user");
    assert_eq!(user["name"], "Ada");
    assert_eq!(user["roles"], json!(["editor"]));
    for time in ["created_at", "last_login_at"] {
        let text = user[time].as_str().unwrap();
        assert!(text.ends_with('Z') && text.len() == "2026-01-31T09:30:00Z".len(), "{time}: {text}");
    }
    assert!(!data.to_string().contains("$2b$"), "the hash never leaves the server");
}

#[actix_rt::test]
async fn the_address_is_trimmed_and_compared_without_case() {
    let app = TestApp::new().await;
    for email in [" ada@example.com ", "Ada@Example.COM"] {
        app.login(email, PASSWORD).await.expect_data(email);
    }
}

#[actix_rt::test]
async fn every_failed_sign_in_gets_the_same_bytes() {
    let app = TestApp::new().await;
    app.add_user("gone@example.com", PASSWORD).await;
    let gone = app.users().find("gone@example.com").await.unwrap().unwrap();
    app.users().disable(gone.id).await.unwrap();
    let passwordless =
        hallpass::server::accounts::NewUser { email: "sso@example.com".into(), ..Default::default() };
    app.users().add(passwordless).await.unwrap();

    let mut seen = Vec::new();
    for (email, password, what) in [
        ("nobody@example.com", PASSWORD, "an unknown address"),
        (EMAIL, "wrong horse battery", "a wrong password"),
        ("gone@example.com", PASSWORD, "a disabled user"),
        ("sso@example.com", PASSWORD, "a user without a password"),
    ] {
        let reply = app
            .post("/auth/login")
            .header("x-request-id", "same")
            .json(json!({"email": email, "password": password}))
            .send()
            .await;
        reply.expect_refused("credentials_invalid", what);
        let mut headers: Vec<_> = reply
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        seen.push((reply.body, headers));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[actix_rt::test]
async fn each_missing_or_bad_field_is_named() {
    let app = TestApp::new().await;
    let long = "x".repeat(257);
    for (body, fields) in [
        (json!({}), vec!["email", "password"]),
        (json!({"email": EMAIL}), vec!["password"]),
        (json!({"email": EMAIL, "password": ""}), vec!["password"]),
        (json!({"email": EMAIL, "password": long}), vec!["password"]),
        (json!({"password": PASSWORD}), vec!["email"]),
        (json!({"email": "  ", "password": PASSWORD}), vec!["email"]),
        (json!({"email": "ada", "password": PASSWORD}), vec!["email"]),
    ] {
        let what = body.to_string();
        let reply = app.post("/auth/login").json(body).send().await;
        reply.expect_failure(422, "validation_failed", &what);
        let body = reply.json();
        let named: Vec<_> = body["fields"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(named, fields, "{what}");
        assert!(!reply.text().contains(PASSWORD));
    }
}

#[actix_rt::test]
async fn null_has_the_wrong_type_for_every_field() {
    let app = TestApp::new().await;
    for body in [
        json!({"email": EMAIL, "password": PASSWORD, "cookie": null}),
        json!({"email": EMAIL, "password": null}),
        json!({"email": null, "password": PASSWORD}),
    ] {
        let what = body.to_string();
        let reply = app.post("/auth/login").json(body).send().await;
        reply.expect_failure(400, "json_malformed", &what);
    }
}

#[actix_rt::test]
async fn unknown_fields_are_ignored() {
    let app = TestApp::new().await;
    let body = json!({"email": EMAIL, "password": PASSWORD, "remember_me": true});
    app.post("/auth/login").json(body).send().await.expect_data("an extra field");
}

#[actix_rt::test]
async fn a_login_replaces_a_hash_of_a_lower_cost_and_the_password_still_works() {
    let app = TestApp::with(|settings| settings.password.bcrypt_cost = 5).await;
    let cheap = hallpass::server::credentials::Hasher::start(1, 1, 4).unwrap();
    let hash = cheap.hash(&PASSWORD.into(), hallpass::server::credentials::Origin::LOCAL).await.unwrap();
    let id = app.user_id().await;
    app.users().set_password(id, &hash).await.unwrap();

    let token = app.token().await;
    let stored = app.password_hash(id).await;
    assert!(stored.contains("$2b$05$"), "{stored}");
    app.get_user(&token).await.expect_data("the session that renewed the hash");
    app.login(EMAIL, PASSWORD).await.expect_data("a login with the renewed hash");
}

#[actix_rt::test]
async fn the_next_request_shows_the_last_login() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let before = app.get_user(&token).await.expect_data("before")["last_login_at"].clone();
    app.clock.advance(Duration::seconds(90));
    app.token().await;
    let after = app.get_user(&token).await.expect_data("after")["last_login_at"].clone();
    assert_ne!(before, after);
}

#[actix_rt::test]
async fn a_full_hashing_queue_is_a_503_with_retry_after() {
    let app = TestApp::with(|settings| settings.password.queue = 0).await;
    let reply = app.login(EMAIL, PASSWORD).await;
    reply.expect_failure(503, "overloaded", "no place in the queue");
    assert!(reply.header("retry-after").is_some_and(|secs| secs.parse::<u64>().is_ok()));
    // What judges a new password may take as long as a hash, and waits in the same queue.
    for path in ["/auth/password-strength", "/auth/register"] {
        let body = json!({"email": "bob@example.com", "password": PASSWORD});
        app.post(path).json(body).send().await.expect_failure(503, "overloaded", path);
    }
}

#[actix_rt::test]
async fn a_database_that_does_not_answer_is_a_503_and_never_a_wrong_password() {
    let app = TestApp::new().await;
    app.server.store().close().await;
    app.login(EMAIL, PASSWORD).await.expect_failure(503, "unavailable", "a closed database");
}
