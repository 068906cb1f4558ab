//! `POST /auth/register`, and what users change of themselves: `PATCH /user/`, `POST /user/password`,
//! `DELETE /user/`.

use actix_web::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{EMAIL, PASSWORD, TestApp};

const NEW_PASSWORD: &str = "another horse battery";

impl TestApp {
    async fn as_user(&self, method: Method, path: &str, token: &str, body: Value) -> crate::app::Reply {
        self.ask(method, path).authorization(&format!("Bearer {token}")).json(body).send().await
    }
}

#[actix_rt::test]
async fn a_registration_makes_a_user_who_can_sign_in() {
    let app = TestApp::new().await;
    let body =
        json!({"email": " Grace@Example.com ", "password": PASSWORD, "name": "Grace", "roles": ["admin"]});
    let reply = app.post("/auth/register").json(body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.header("location"), Some("/user/"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let user = reply.json()["data"].take();
    assert_eq!(user["email"], "grace@example.com");
    assert_eq!(
        (&user["name"], &user["roles"]),
        (&"Grace".into(), &json!([])),
        "nobody gives themselves a role"
    );
    assert_eq!(user["last_login_at"], Value::Null);
    assert_eq!(user["email_verified"], false, "anybody may type any address");
    assert!(!reply.text().contains("$2b$"));
    app.login("grace@example.com", PASSWORD).await.expect_data("the new user's login");
}

#[actix_rt::test]
async fn a_name_may_be_left_out_of_a_registration() {
    let app = TestApp::new().await;
    let reply =
        app.post("/auth/register").json(json!({"email": "x@example.com", "password": PASSWORD})).send().await;
    assert_eq!((reply.status.as_u16(), &reply.json()["data"]["name"]), (201, &Value::Null));
}

#[actix_rt::test]
async fn an_address_that_is_taken_is_a_conflict_in_whatever_case_it_is_typed() {
    let app = TestApp::new().await;
    for email in [EMAIL, "ADA@EXAMPLE.COM", " ada@example.com"] {
        let reply =
            app.post("/auth/register").json(json!({"email": email, "password": PASSWORD})).send().await;
        reply.expect_failure(409, "email_taken", email);
    }
}

#[actix_rt::test]
async fn of_fifty_registrations_of_one_address_at_once_exactly_one_succeeds() {
    // So that all fifty have a place in the queue at once.
    let app = TestApp::with(|settings| settings.password.queue = 256).await;
    let body = json!({"email": "race@example.com", "password": PASSWORD});
    // From fifty clients: one alone has a quarter of the hashing queue.
    let register = |client: u32| {
        let peer = format!("192.0.2.{client}");
        app.post("/auth/register").peer(&peer).json(body.clone()).send()
    };
    let replies = join_all((0..50).map(register)).await;
    let count = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(201), count(409)), (1, 49));
}

#[actix_rt::test]
async fn a_closed_registration_says_so_whatever_is_sent() {
    let app = TestApp::with(|settings| settings.registration.open = false).await;
    for body in [json!({"email": "x@example.com", "password": PASSWORD}), json!({}), json!({"password": "x"})]
    {
        app.post("/auth/register").json(body).send().await.expect_failure(
            403,
            "registration_closed",
            "closed",
        );
    }
}

#[actix_rt::test]
async fn what_is_wrong_with_a_registration_is_named_field_by_field_in_words() {
    let app = TestApp::new().await;
    let long = "x".repeat(257);
    let name = "ä".repeat(201);
    for (body, field, words) in [
        (json!({"email": "x@example.com"}), "password", "is required"),
        (json!({"email": "x@example.com", "password": "short77"}), "password", "shorter than 8"),
        (json!({"email": "x@example.com", "password": long}), "password", "longer than 256"),
        (json!({"email": "x@example.com", "password": "password1"}), "password", "tried first"),
        (json!({"email": "x@example.com", "password": "x@example.com"}), "password", "is the e-mail address"),
        (json!({"email": "x@example.com", "password": "zrhfcjnrf17"}), "password", "leaked passwords"),
        (
            json!({"email": "x@example.com", "password": "hallpass1"}),
            "password",
            "little more than \"hallpass\"",
        ),
        (
            json!({"email": "ada.lovelace@example.com", "password": "lovelace2026"}),
            "password",
            "little more than \"lovelace\"",
        ),
        (
            json!({"email": "x@example.com", "password": "babbage1822", "name": "Charles Babbage"}),
            "password",
            "little more than \"babbage\"",
        ),
        (json!({"password": PASSWORD}), "email", "is required"),
        (json!({"email": "nobody", "password": PASSWORD}), "email", "like ada@example.com"),
        (json!({"email": "x@example.com", "password": PASSWORD, "name": ""}), "name", "is empty"),
        (json!({"email": "x@example.com", "password": PASSWORD, "name": name}), "name", "200"),
        (json!({"email": "x@example.com", "password": PASSWORD, "name": "a\u{0}b"}), "name", "control"),
    ] {
        let reply = app.post("/auth/register").json(body.clone()).send().await;
        reply.expect_failure(422, "validation_failed", &body.to_string());
        let told = reply.json()["fields"][field][0].as_str().unwrap_or_default().to_owned();
        assert!(told.contains(words), "{body}: {}", reply.text());
    }
    assert!(app.users().find("x@example.com").await.unwrap().is_none());
}

#[actix_rt::test]
async fn a_new_name_shows_in_the_answer_and_in_the_next_request() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let reply =
        app.as_user(Method::PATCH, "/user/", &token, json!({"name": "Countess", "email": "x@y.z"})).await;
    let user = reply.expect_data("rename");
    assert_eq!((&user["name"], &user["email"]), (&"Countess".into(), &EMAIL.into()));
    assert_eq!(app.get_user(&token).await.expect_data("next")["name"], "Countess");
    for body in [json!({}), json!({"name": ""})] {
        let reply = app.as_user(Method::PATCH, "/user/", &token, body.clone()).await;
        reply.expect_failure(422, "validation_failed", &body.to_string());
    }
}

#[actix_rt::test]
async fn a_new_password_kills_every_earlier_token_and_is_answered_with_a_fresh_one() {
    let app = TestApp::new().await;
    let (one, other) = (app.token().await, app.token().await);
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let data = app.as_user(Method::POST, "/user/password", &one, body).await.expect_data("password");
    assert_eq!((&data["token_type"], &data["expires_in"]), (&"Bearer".into(), &3600.into()));
    assert_eq!(data["user"]["email"], EMAIL);
    for dead in [&one, &other] {
        app.get_user(dead).await.expect_refused("token_revoked", "an earlier token");
    }
    app.get_user(data["token"].as_str().unwrap()).await.expect_data("the fresh token");
    app.login(EMAIL, PASSWORD).await.expect_refused("credentials_invalid", "the old password");
    app.login(EMAIL, NEW_PASSWORD).await.expect_data("the new password");
}

#[actix_rt::test]
async fn of_two_changes_of_a_password_at_once_one_wins_and_its_token_lives() {
    let app = TestApp::new().await;
    let tokens = [app.token().await, app.token().await];
    let change = |token: String, new: &'static str| {
        let body = json!({"current_password": PASSWORD, "new_password": new});
        let app = &app;
        async move { app.as_user(Method::POST, "/user/password", &token, body).await }
    };
    let replies =
        join_all([change(tokens[0].clone(), NEW_PASSWORD), change(tokens[1].clone(), "a third horse")]).await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    app.get_user(won[0].json()["data"]["token"].as_str().unwrap()).await.expect_data("the winner's token");
    let lost = replies.iter().find(|reply| reply.status != 200).unwrap();
    assert!([401, 403].contains(&lost.status.as_u16()), "{}", lost.text());
}

#[actix_rt::test]
async fn the_current_password_is_asked_for_and_a_wrong_one_is_forbidden_not_unauthorized() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let wrong = json!({"current_password": "wrong horse battery", "new_password": NEW_PASSWORD});
    let reply = app.as_user(Method::POST, "/user/password", &token, wrong).await;
    reply.expect_failure(403, "password_wrong", "change");
    let reply =
        app.as_user(Method::DELETE, "/user/", &token, json!({"password": "wrong horse battery"})).await;
    reply.expect_failure(403, "password_wrong", "delete");
    for (body, field) in [
        (json!({}), "current_password"),
        (json!({"current_password": PASSWORD}), "new_password"),
        (json!({"current_password": PASSWORD, "new_password": "short"}), "new_password"),
        (json!({"current_password": PASSWORD, "new_password": EMAIL}), "new_password"),
    ] {
        let reply = app.as_user(Method::POST, "/user/password", &token, body).await;
        reply.expect_failure(422, "validation_failed", field);
        assert!(reply.json()["fields"][field].is_array(), "{}", reply.text());
    }
    app.get_user(&token).await.expect_data("nothing has changed");
}

#[actix_rt::test]
async fn a_deleted_account_is_gone_with_every_token_and_its_address_is_free() {
    let app = TestApp::new().await;
    let (one, other) = (app.token().await, app.token().await);
    let reply = app.as_user(Method::DELETE, "/user/", &one, json!({"password": PASSWORD})).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
    for dead in [&one, &other] {
        app.get_user(dead).await.expect_refused("token_revoked", "a deleted user's token");
    }
    app.login(EMAIL, PASSWORD).await.expect_refused("credentials_invalid", "a deleted user");
    let reply =
        app.post("/auth/register").json(json!({"email": EMAIL, "password": NEW_PASSWORD})).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    app.get_user(&one).await.expect_refused("token_revoked", "an old token under a reused address");
}

#[actix_rt::test]
async fn a_stranger_changes_nothing() {
    let app = TestApp::new().await;
    for (method, path) in
        [(Method::PATCH, "/user/"), (Method::DELETE, "/user/"), (Method::POST, "/user/password")]
    {
        let reply = app.ask(method, path).json(json!({"password": PASSWORD})).send().await;
        reply.expect_refused("token_missing", path);
    }
}

#[actix_rt::test]
async fn a_password_of_a_mebibyte_is_refused_before_it_is_counted_or_hashed() {
    let long = "x".repeat(1 << 20);
    let app = TestApp::new().await;
    let body = json!({"email": EMAIL, "password": long});
    let reply = app.post("/auth/login").json(body.clone()).send().await;
    reply.expect_failure(413, "body_too_large", "over the body's limit");
    let app = TestApp::with(|settings| settings.server.max_body_bytes = 1 << 22).await;
    for path in ["/auth/login", "/auth/register"] {
        // More often than failed sign-ins are free.
        for _ in 0..10 {
            let reply = app.post(path).json(body.clone()).send().await;
            reply.expect_failure(422, "validation_failed", path);
            assert_eq!(reply.json()["fields"]["password"], json!(["is longer than 256 characters"]));
        }
    }
    app.login(EMAIL, PASSWORD).await.expect_data("no try was counted");
}

#[actix_rt::test]
async fn the_strength_of_a_password_is_told_while_it_is_typed_by_the_rules_that_will_be_applied() {
    let app = TestApp::new().await;
    let judge = async |password: &str| {
        let body = json!({"email": "grace@example.com", "password": password});
        let strength = app.post("/auth/password-strength").json(body.clone()).send().await;
        let told = strength.expect_data(password).clone();
        let refused = app.post("/auth/register").json(body).send().await;
        let reason = match refused.status.as_u16() {
            422 => refused.json()["fields"]["password"][0].clone(),
            _ => json!(null),
        };
        assert_eq!(told["reason"], reason, "{password}: the same words as a refusal");
        told
    };
    let mut last = 0;
    for (password, score) in [
        ("", 0),
        ("short", 0),
        ("password1", 0),
        ("grace@example.com", 0),
        ("lantern12", 1),
        ("correct horse battery", 4),
    ] {
        let told = judge(password).await;
        assert_eq!(told["score"], score, "{password}: {told}");
        assert!(score >= last);
        last = score;
    }
    assert_ne!(judge("lantern12").await["advice"], json!([]), "what would make it better");
    judge(&"a long one, ".repeat(30)).await;
    let nothing = app.post("/auth/password-strength").json(json!({"email": EMAIL})).send().await;
    nothing.expect_failure(422, "validation_failed", "no password");
    assert_eq!(nothing.json()["fields"], json!({"password": ["is required"]}));
    let reply = app.post("/auth/password-strength").json(json!({"password": 1})).send().await;
    reply.expect_failure(400, "json_malformed", "a number");
}

#[actix_rt::test]
async fn with_normalisation_a_password_is_the_same_in_either_form() {
    let mut app = TestApp::new().await;
    let (composed, decomposed) = ("caf\u{e9} au lait", "cafe\u{301} au lait");
    app.add_user("before@example.com", decomposed).await;
    app = app.another_with(|settings| settings.password.nfc = true).await;
    app.login("before@example.com", decomposed).await.expect_data("as it was typed before");
    app.login("before@example.com", composed).await.expect_data("hashed anew at that sign-in");
    let body = json!({"email": "after@example.com", "password": decomposed});
    assert_eq!(app.post("/auth/register").json(body).send().await.status, 201);
    for password in [composed, decomposed] {
        app.login("after@example.com", password).await.expect_data(password);
    }
    app.login("after@example.com", "cafe au lait").await.expect_refused("credentials_invalid", "another");
}
