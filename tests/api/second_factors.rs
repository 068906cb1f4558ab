//! Second factors: an authenticator app and recovery codes, the sign-in in two steps, and who must have one.

use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use hallpass::{AuthUser, Require, SecondFactor};
use serde_json::{Value, json};

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::process::Workplace;
use crate::secrets::holds;
use crate::session::Pair;
use crate::test_database::TestDatabase;

/// Computes codes like an authenticator app (RFC 6238), apart from the server's own code.
pub struct Authenticator(Vec<u8>);

impl Authenticator {
    pub fn of(secret: &str) -> Self {
        Self(data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap())
    }

    pub fn code(&self, at: DateTime<Utc>) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &(at.timestamp() / 30).to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    }
}

/// An account with an authenticator app.
pub struct Enrolled {
    pub pair: Pair,
    pub authenticator: Authenticator,
    pub recovery_codes: Vec<String>,
}

impl TestApp {
    /// Adds an authenticator app to [`EMAIL`].
    pub async fn enrol(&self) -> Enrolled {
        let pair = Pair::of(&self.login(EMAIL, PASSWORD).await);
        let (authenticator, recovery_codes) = self.enrol_by(&pair.access).await;
        // The codes of this step and the one before are used up.
        self.pass(Duration::seconds(60)).await;
        Enrolled { pair, authenticator, recovery_codes }
    }

    /// Adds an authenticator app to the user of this token.
    pub async fn enrol_by(&self, token: &str) -> (Authenticator, Vec<String>) {
        let made = self.act(token, "POST", "/user/totp", Some(json!({"password": PASSWORD}))).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let authenticator = Authenticator::of(made.json()["data"]["secret"].as_str().unwrap());
        let code = authenticator.code(self.clock.now());
        let confirmed = self.act(token, "POST", "/user/totp/confirm", Some(json!({"code": code}))).await;
        let codes = confirmed.expect_data("confirmed")["recovery_codes"].take();
        (authenticator, serde_json::from_value(codes).unwrap())
    }

    /// Signs in by the password, and returns the challenge.
    pub async fn challenge(&self) -> String {
        let reply = self.login(EMAIL, PASSWORD).await;
        reply.expect_failure(401, "second_factor_required", "the right password");
        reply.json()["challenge"].as_str().unwrap().to_owned()
    }

    pub async fn answer(&self, challenge: &str, method: &str, answer: &str) -> Reply {
        self.post("/auth/second-factor").json(json!({"challenge": challenge, method: answer})).send().await
    }
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[actix_rt::test]
async fn a_code_is_asked_for_once_the_app_has_shown_that_it_works() {
    let app = TestApp::new().await;
    let pair = Pair::of(&app.login(EMAIL, PASSWORD).await);
    let enrol =
        async || app.act(&pair.access, "POST", "/user/totp", Some(json!({"password": PASSWORD}))).await;
    let first = enrol().await.json()["data"]["secret"].take();
    let made = enrol().await.json()["data"].take();
    assert_ne!(made["secret"], first, "one that was not confirmed is replaced");
    let (uri, qr) = (made["uri"].as_str().unwrap(), made["qr"].as_str().unwrap());
    assert!(uri.starts_with("otpauth://totp/Hallpass:ada%40example.com?secret="), "{uri}");
    assert!(qr.contains("<svg"), "{qr}");
    app.login(EMAIL, PASSWORD).await.expect_data("nothing is asked for yet");

    let confirm = async |code: &str| {
        app.act(&pair.access, "POST", "/user/totp/confirm", Some(json!({"code": code}))).await
    };
    confirm("000000").await.expect_failure(401, "second_factor_invalid", "a wrong code");
    let old = Authenticator::of(first.as_str().unwrap());
    confirm(&old.code(app.clock.now())).await.expect_failure(
        401,
        "second_factor_invalid",
        "a replaced secret",
    );
    let authenticator = Authenticator::of(made["secret"].as_str().unwrap());
    let code = authenticator.code(app.clock.now());
    let codes = confirm(&code).await.expect_data("confirmed");
    assert_eq!(codes["recovery_codes"].as_array().unwrap().len(), 10);
    confirm(&code).await.expect_failure(401, "sign_in_stale", "the token is of a sign-in by password");
    assert_eq!(app.get_user(&pair.access).await.expect_data("user")["second_factors"], json!(["totp"]));

    let reply = app.login(EMAIL, PASSWORD).await;
    reply.expect_refused("second_factor_required", "the right password");
    assert_eq!(reply.json()["methods"], json!(["totp", "recovery_code"]));
    let challenge = reply.json()["challenge"].as_str().unwrap().to_owned();
    let used = app.answer(&challenge, "code", &code).await;
    used.expect_refused("second_factor_invalid", "the code that confirmed it");
    app.pass(Duration::seconds(30)).await;
    let reply = app.answer(&challenge, "code", &authenticator.code(app.clock.now())).await;
    let data = reply.expect_data("signed in");
    assert_eq!(data["message"], "Login successfully");
    let claims = claims(data["token"].as_str().unwrap());
    assert_eq!(claims["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(claims["auth_time"], json!(app.clock.now().timestamp()));
    let gone =
        app.answer(&challenge, "code", &authenticator.code(app.clock.now() + Duration::seconds(30))).await;
    gone.expect_refused("second_factor_invalid", "a challenge begins one session");
}

#[actix_rt::test]
async fn a_code_is_good_once_and_one_step_either_side() {
    let app = TestApp::new().await;
    let Enrolled { authenticator, .. } = app.enrol().await;
    for (offset, is_good) in
        [(-60, false), (60, false), (-30, true), (-30, false), (0, true), (30, true), (0, false)]
    {
        let code = authenticator.code(app.clock.now() + Duration::seconds(offset));
        let reply = app.answer(&app.challenge().await, "code", &code).await;
        if is_good {
            reply.expect_data(&format!("{offset}"));
        } else {
            reply.expect_refused("second_factor_invalid", &format!("{offset}"));
        }
    }
}

#[actix_rt::test]
async fn of_twenty_requests_at_two_servers_with_one_code_one_succeeds() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |settings| settings.throttle.on = false).await;
        let other = app.another().await;
        let Enrolled { authenticator, recovery_codes, .. } = app.enrol().await;
        other.server.sync_changes().await.unwrap();
        for (method, answer) in
            [("code", authenticator.code(app.clock.now())), ("recovery_code", recovery_codes[0].clone())]
        {
            let mut challenges = vec![];
            for _ in 0..4 {
                challenges.push(app.challenge().await);
            }
            let ask = |number: usize| {
                let server = if number.is_multiple_of(2) { &app } else { &other };
                server.answer(&challenges[number % 4], method, &answer)
            };
            let replies = join_all((0..20).map(ask)).await;
            let good = replies.iter().filter(|reply| reply.status.as_u16() == 200).count();
            assert_eq!(good, 1, "{method}");
            for reply in replies.iter().filter(|reply| reply.status.as_u16() != 200) {
                reply.expect_refused("second_factor_invalid", method);
            }
        }
    }
}

#[actix_rt::test]
async fn a_challenge_is_good_for_300_seconds_and_five_answers_and_dies_with_the_sessions() {
    let app = TestApp::with(|settings| settings.throttle.on = false).await;
    let Enrolled { authenticator, .. } = app.enrol().await;
    let good = || authenticator.code(app.clock.now());

    let challenge = app.challenge().await;
    app.pass(Duration::seconds(300)).await;
    app.answer(&challenge, "code", &good()).await.expect_refused("second_factor_invalid", "after 300 s");

    let challenge = app.challenge().await;
    for _ in 0..5 {
        app.answer(&challenge, "code", "000000").await.expect_refused("second_factor_invalid", "wrong");
    }
    app.answer(&challenge, "code", &good()).await.expect_refused("second_factor_invalid", "the sixth answer");

    let challenge = app.challenge().await;
    app.users().end_sessions(app.user_id().await).await.unwrap();
    app.answer(&challenge, "code", &good())
        .await
        .expect_refused("second_factor_invalid", "sessions were ended");

    let challenge = app.challenge().await;
    app.pass(Duration::seconds(1)).await;
    for _ in 0..10 {
        app.challenge().await;
    }
    app.answer(&challenge, "code", &good()).await.expect_refused("second_factor_invalid", "ten newer ones");

    for unknown in ["", "hpc_", "nonsense", &format!("{}A", app.challenge().await)] {
        app.answer(unknown, "code", &good()).await.expect_refused("second_factor_invalid", unknown);
    }
    let other = TestApp::with(|settings| settings.throttle.on = false).await;
    let theirs = other.enrol().await;
    let reply =
        app.answer(&other.challenge().await, "code", &theirs.authenticator.code(app.clock.now())).await;
    reply.expect_refused("second_factor_invalid", "another installation's");
    app.answer(&app.challenge().await, "code", &good()).await.expect_data("a new one");
}

#[actix_rt::test]
async fn exactly_one_answer_is_accepted() {
    let app = TestApp::new().await;
    for body in [json!({"challenge": "x"}), json!({"challenge": "x", "code": "1", "recovery_code": "2"})] {
        let reply = app.post("/auth/second-factor").json(body.clone()).send().await;
        reply.expect_failure(422, "validation_failed", &body.to_string());
        assert!(reply.json()["fields"]["code"].is_array());
    }
    let reply = app.post("/auth/second-factor").json(json!({"code": "1"})).send().await;
    assert!(reply.json()["fields"]["challenge"].is_array(), "{}", reply.text());
}

#[actix_rt::test]
async fn a_recovery_code_is_good_once_and_new_ones_replace_the_old() {
    let app = TestApp::new().await;
    let Enrolled { authenticator, recovery_codes, .. } = app.enrol().await;
    let typed = recovery_codes[0].to_uppercase().replace('-', " ");
    let reply = app.answer(&app.challenge().await, "recovery_code", &typed).await;
    let token = reply.expect_data("a recovery code")["token"].take();
    assert_eq!(claims(token.as_str().unwrap())["amr"], json!(["pwd", "otp", "mfa"]));
    let again = app.answer(&app.challenge().await, "recovery_code", &recovery_codes[0]).await;
    again.expect_refused("second_factor_invalid", "used");

    let body = Some(json!({"password": PASSWORD}));
    let renewed = app.act(token.as_str().unwrap(), "POST", "/user/recovery-codes", body).await;
    let renewed: Vec<String> =
        serde_json::from_value(renewed.expect_data("new ones")["recovery_codes"].take()).unwrap();
    assert_eq!(renewed.len(), 10);
    let old = app.answer(&app.challenge().await, "recovery_code", &recovery_codes[1]).await;
    old.expect_refused("second_factor_invalid", "replaced");
    app.answer(&app.challenge().await, "recovery_code", &renewed[9]).await.expect_data("a new one");
    drop(authenticator);
    let events = app.recorded_events().await;
    let used = events.iter().rev().find(|recorded| recorded.event.kind == "recovery_code_used").unwrap();
    assert_eq!(used.event.details["left"], json!(9));
}

#[actix_rt::test]
async fn neither_a_secret_nor_a_recovery_code_is_stored_as_it_is() {
    let app = TestApp::on(TestDatabase::sqlite(), |_| {}).await;
    let Enrolled { authenticator, recovery_codes, .. } = app.enrol().await;
    let challenge = app.challenge().await;
    let files = app.database.files().concat();
    assert!(holds(&files, b"ada@example.com"), "the search finds what is there");
    assert!(!holds(&files, &authenticator.0), "the secret");
    assert!(
        !holds(&files, data_encoding::BASE32_NOPAD.encode(&authenticator.0).as_bytes()),
        "the secret in base32"
    );
    assert!(!holds(&files, challenge.as_bytes()), "a challenge");
    for code in recovery_codes {
        assert!(!holds(&files, code.as_bytes()), "a recovery code");
        let bytes =
            data_encoding::BASE32_NOPAD.decode(code.replace('-', "").to_uppercase().as_bytes()).unwrap();
        assert!(!holds(&files, &bytes), "the bytes of a recovery code");
    }
}

#[actix_rt::test]
async fn a_secret_that_was_moved_to_another_user_is_no_use() {
    let app = TestApp::on(TestDatabase::sqlite(), |_| {}).await;
    let Enrolled { .. } = app.enrol().await;
    app.add_user("mallory@example.com", PASSWORD).await;
    let mallory = app.users().find("mallory@example.com").await.unwrap().unwrap().id;
    let token = Pair::of(&app.login("mallory@example.com", PASSWORD).await).access;
    let (authenticator, _) = app.enrol_by(&token).await;
    app.pass(Duration::seconds(60)).await;
    let (ada, mallory) = (app.database.uuid(app.user_id().await), app.database.uuid(mallory));
    let copy = format!(
        "update totp set sealed = (select sealed from totp where user_id = {mallory}) where user_id = {ada}"
    );
    app.database.execute(&copy).await;
    let code = authenticator.code(app.clock.now());
    app.answer(&app.challenge().await, "code", &code).await.expect_failure(500, "internal", "an altered row");
}

#[actix_rt::test]
async fn wrong_codes_are_counted_like_wrong_passwords() {
    let app = TestApp::new().await;
    let Enrolled { authenticator, .. } = app.enrol().await;
    let from = async |challenge: &str, code: &str| {
        let body = json!({"challenge": challenge, "code": code});
        app.post("/auth/second-factor").peer("203.0.113.9").json(body).send().await
    };
    let login = async || {
        let body = json!({"email": EMAIL, "password": PASSWORD});
        app.post("/auth/login").peer("203.0.113.9").json(body).send().await
    };
    // The right password is no failure, and makes the address no known one: else it would have an allowance of its own.
    for _ in 0..10 {
        login().await.expect_refused("second_factor_required", "the right password");
    }
    let challenge = login().await.json()["challenge"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        from(&challenge, "000000").await.expect_refused("second_factor_invalid", "wrong");
    }
    let delayed = from(&challenge, &authenticator.code(app.clock.now())).await;
    delayed.expect_failure(429, "too_many_attempts", "the sixth");
    assert!(delayed.header("retry-after").is_some());
    login().await.expect_failure(429, "too_many_attempts", "passwords and codes share a counter");
}

#[actix_rt::test]
async fn before_the_right_password_nothing_tells_whether_there_is_a_second_factor() {
    let app = TestApp::new().await;
    app.enrol().await;
    app.add_user("bob@example.com", PASSWORD).await;
    let replies = [
        app.login(EMAIL, "wrong horse battery").await,
        app.login("bob@example.com", "wrong horse battery").await,
        app.login("nobody@example.com", "wrong horse battery").await,
    ];
    for reply in &replies {
        reply.expect_refused("credentials_invalid", "a wrong password");
        assert_eq!(reply.body, replies[0].body);
    }
}

#[actix_rt::test]
async fn by_cookie_nothing_is_set_before_the_end() {
    let app = TestApp::new().await;
    let Enrolled { authenticator, .. } = app.enrol().await;
    let body = json!({"email": EMAIL, "password": PASSWORD, "cookie": true});
    let asked = app.post("/auth/login").json(body).send().await;
    asked.expect_refused("second_factor_required", "the right password");
    assert_eq!(asked.header("set-cookie"), None);
    let id = app.user_id().await;
    assert_eq!(app.sessions_of(id).await.len(), 1, "that of the enrolment");
    let challenge = asked.json()["challenge"].as_str().unwrap().to_owned();
    let reply = app.answer(&challenge, "code", &authenticator.code(app.clock.now())).await;
    assert!(reply.expect_data("signed in").get("refresh_token").is_none());
    assert!(reply.header("set-cookie").unwrap().starts_with("__Host-hallpass=hpr_"));
    assert_eq!(app.sessions_of(id).await.len(), 2);
}

#[actix_rt::test]
async fn second_factors_are_changed_after_a_fresh_sign_in_alone() {
    let app = TestApp::new().await;
    let pair = Pair::of(&app.login(EMAIL, PASSWORD).await);
    let body = || Some(json!({"password": PASSWORD}));
    app.pass(Duration::seconds(601)).await;
    let stale = app.act(&pair.access, "POST", "/user/totp", body()).await;
    stale.expect_failure(401, "sign_in_stale", "601 s after the sign-in");
    let challenge = stale.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.ends_with("max_age=\"600\""), "{challenge}");
    let refreshed = Pair::of(&app.refresh(&pair.refresh).await);
    let stale = app.act(&refreshed.access, "POST", "/user/totp", body()).await;
    stale.expect_failure(401, "sign_in_stale", "a refresh is no sign-in");

    let Enrolled { pair, authenticator, .. } = app.enrol().await;
    let before = claims(&pair.access);
    let missing = app.act(&pair.access, "DELETE", "/user/totp", body()).await;
    missing.expect_failure(401, "sign_in_stale", "a token of a sign-in by password");
    assert!(missing.header("www-authenticate").unwrap().ends_with("acr_values=\"mfa\""));
    // The session that added the app has shown it; its next token says so.
    let shown = Pair::of(&app.refresh(&pair.refresh).await);
    let after = claims(&shown.access);
    assert_eq!((&after["amr"], &after["auth_time"]), (&json!(["pwd", "otp", "mfa"]), &before["auth_time"]));
    let wrong = app.act(&shown.access, "DELETE", "/user/totp", Some(json!({"password": "wrong"}))).await;
    wrong.expect_failure(403, "password_wrong", "wrong");
    let enrolled = app.act(&shown.access, "POST", "/user/totp", body()).await;
    enrolled.expect_failure(409, "already_enrolled", "another");
    assert_eq!(app.act(&shown.access, "DELETE", "/user/totp", body()).await.status, 204);
    app.act(&shown.access, "DELETE", "/user/totp", body()).await.expect_failure(
        404,
        "not_found",
        "none left",
    );
    app.act(&shown.access, "POST", "/user/recovery-codes", body()).await.expect_failure(
        404,
        "not_found",
        "none",
    );
    app.login(EMAIL, PASSWORD).await.expect_data("the password alone");
    assert_eq!(app.get_user(&shown.access).await.expect_data("user")["second_factors"], json!([]));
    drop(authenticator);
}

#[actix_rt::test]
async fn an_account_with_a_second_factor_is_changed_after_a_sign_in_with_it_alone() {
    let app = TestApp::new().await;
    let Enrolled { pair, authenticator, .. } = app.enrol().await;
    let change = json!({"current_password": PASSWORD, "new_password": "seventeen blue lanterns"});
    let password = async |token: &str| app.act(token, "POST", "/user/password", Some(change.clone())).await;
    password(&pair.access).await.expect_failure(401, "sign_in_stale", "a sign-in by password");
    let delete = app.act(&pair.access, "DELETE", "/user/", Some(json!({"password": PASSWORD}))).await;
    delete.expect_failure(401, "sign_in_stale", "the same");
    let code = authenticator.code(app.clock.now());
    let fresh = Pair::of(&app.answer(&app.challenge().await, "code", &code).await);
    let before = claims(&fresh.access);
    app.pass(Duration::seconds(500)).await;
    let changed = password(&fresh.access).await.expect_data("changed");
    let after = claims(changed["token"].as_str().unwrap());
    assert_eq!(
        (&after["amr"], &after["auth_time"]),
        (&before["amr"], &before["auth_time"]),
        "a password proves less"
    );
    assert_ne!(after["sid"], before["sid"]);
}

#[actix_rt::test]
async fn an_admin_and_the_operator_remove_the_second_factors_of_a_user() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let Enrolled { pair, .. } = app.enrol().await;
    let totals = |data: &Value| data["totals"]["second_factors"].clone();
    assert_eq!(totals(&app.act(&admin, "GET", "/admin/stats", None).await.expect_data("stats")), 1);
    let path = format!("/admin/users/{}/second-factors", app.user_id().await);
    app.act(&pair.access, "DELETE", &path, None).await.expect_failure(403, "role_missing", "the user");
    assert_eq!(app.act(&admin, "DELETE", &path, None).await.status, 204);
    app.login(EMAIL, PASSWORD).await.expect_data("the password alone");
    assert_eq!(
        app.get_user(&pair.access).await.expect_data("the session stays")["second_factors"],
        json!([])
    );
    let events = app.recorded_events().await;
    let reset = events.iter().find(|recorded| recorded.event.kind == "second_factors_reset").unwrap();
    assert!(reset.event.details["by"].is_string());
    let unknown = "/admin/users/01a20856-390a-7613-b291-9f86fb9e0787/second-factors";
    app.act(&admin, "DELETE", unknown, None).await.expect_failure(404, "not_found", "nobody");
}

#[test]
fn the_operator_confirms_that_second_factors_are_to_be_removed() {
    let place = Workplace::new();
    place.add_user();
    let done = place.run(&["user", "second-factor", EMAIL, "--reset"], "");
    done.expect(0, "reset");
    assert!(done.out.contains("has no second factor"), "{}", done.out);
    place.run(&["user", "second-factor", EMAIL], "").expect(2, "without --reset");
}

#[actix_rt::test]
async fn a_role_that_needs_a_second_factor_allows_nothing_but_adding_one() {
    let app = TestApp::with(|settings| settings.second_factor.required_roles = vec!["editor".into()]).await;
    let own = init_service(
        App::new()
            .app_data(app.server.guard().clone())
            .route("/notes", web::get().to(|user: AuthUser| async move { user.email.clone() })),
    )
    .await;
    let notes = async |token: &str| {
        let request =
            TestRequest::get().uri("/notes").insert_header(("authorization", format!("Bearer {token}")));
        call_service(&own, request.to_request()).await.status().as_u16()
    };
    let pair = Pair::of(&app.login(EMAIL, PASSWORD).await);
    let token = &pair.access;
    app.get_user(token).await.expect_data("the user");
    for (method, path) in [
        ("PATCH", "/user/"),
        ("GET", "/user/sessions"),
        ("GET", "/user/export"),
        ("GET", "/auth/verify"),
        ("GET", "/admin/users"),
    ] {
        let reply = app.act(token, method, path, None).await;
        reply.expect_failure(403, "second_factor_unenrolled", path);
    }
    assert_eq!(notes(token).await, 403, "an app's own route");
    app.enrol_by(token).await;
    assert_eq!(app.act(token, "GET", "/user/sessions", None).await.status, 200);
    assert_eq!(notes(token).await, 200);

    app.add_user_with_roles("reader@example.com", &["reader"]).await;
    let reader = Pair::of(&app.login("reader@example.com", PASSWORD).await).access;
    assert_eq!(app.act(&reader, "GET", "/user/sessions", None).await.status, 200, "another role");
}

#[actix_rt::test]
async fn a_user_whose_role_needs_a_second_factor_can_sign_out() {
    let app = TestApp::with(|settings| settings.second_factor.required_roles = vec!["editor".into()]).await;
    for path in ["/auth/logout", "/auth/logout-all"] {
        let token = app.token().await;
        assert_eq!(app.act(&token, "POST", path, None).await.status, 204, "{path}");
        app.get_user(&token).await.expect_refused("token_revoked", path);
    }
}

#[actix_rt::test]
async fn a_handler_that_requires_a_second_factor_takes_no_sign_in_by_password() {
    let app = TestApp::new().await;
    let pay = |_: Require<SecondFactor>| async { "paid" };
    let own =
        init_service(App::new().app_data(app.server.guard().clone()).route("/pay", web::post().to(pay)))
            .await;
    let ask = async |token: &str| {
        let header = ("authorization", format!("Bearer {token}"));
        let request = TestRequest::post().uri("/pay").insert_header(header).to_request();
        let response = call_service(&own, request).await;
        let challenge =
            response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), challenge)
    };
    let Enrolled { pair, authenticator, .. } = app.enrol().await;
    let (status, challenge) = ask(&pair.access).await;
    assert_eq!(status, 401);
    assert!(challenge.unwrap().ends_with("acr_values=\"mfa\""));
    let code = authenticator.code(app.clock.now());
    let signed_in = Pair::of(&app.answer(&app.challenge().await, "code", &code).await);
    assert_eq!(ask(&signed_in.access).await.0, 200);
    let refreshed = Pair::of(&app.refresh(&signed_in.refresh).await);
    assert_eq!(ask(&refreshed.access).await.0, 200, "a refresh keeps it");
}

#[actix_rt::test]
async fn secrets_and_challenges_that_nobody_used_are_deleted() {
    let app = TestApp::new().await;
    app.enrol().await;
    app.challenge().await;
    app.add_user("bob@example.com", PASSWORD).await;
    let token = Pair::of(&app.login("bob@example.com", PASSWORD).await).access;
    app.act(&token, "POST", "/user/totp", Some(json!({"password": PASSWORD}))).await;
    let rows = async || {
        let bob = app.users().find("bob@example.com").await.unwrap().unwrap().id;
        let ada = app.user_id().await;
        let read = app.server.store().read(async |connection| {
            Ok((connection.totp(bob).await?.is_some(), connection.totp(ada).await?.is_some()))
        });
        read.await.unwrap()
    };
    app.server.delete_expired().await.unwrap();
    assert_eq!(rows().await, (true, true));
    app.pass(Duration::hours(25)).await;
    app.server.delete_expired().await.unwrap();
    assert_eq!(rows().await, (false, true));
    assert_eq!(app.ask(Method::GET, "/health/ready").send().await.status, 200);
}

#[actix_rt::test]
async fn each_act_is_an_event() {
    let app = TestApp::new().await;
    let Enrolled { authenticator, .. } = app.enrol().await;
    let challenge = app.challenge().await;
    app.answer(&challenge, "code", "000000").await;
    let code = authenticator.code(app.clock.now());
    let token = Pair::of(&app.answer(&challenge, "code", &code).await).access;
    let body = || Some(json!({"password": PASSWORD}));
    app.act(&token, "POST", "/user/recovery-codes", body()).await.expect_data("new ones");
    assert_eq!(app.act(&token, "DELETE", "/user/totp", body()).await.status, 204);
    let events = app.recorded_events().await;
    let kinds: Vec<_> = events.iter().map(|recorded| recorded.event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "user_added",
            "signed_in",
            "second_factor_added",
            "second_factor_asked",
            "second_factor_failed",
            "signed_in",
            "recovery_codes_made",
            "second_factor_removed",
        ]
    );
    let id = app.user_id().await;
    assert!(events.iter().all(|recorded| recorded.event.user == Some(id)));
}
