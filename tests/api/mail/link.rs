//! Sign-in with a link or a code by mail.

use chrono::Duration;
use hallpass::server::config::{Settings, Verification};
use hallpass::testing::Mail;
use serde_json::json;

use super::{MailApp, NEW_PASSWORD, expect_status};
use crate::app::{EMAIL, PASSWORD, Reply};
use crate::second_factors::{Enrolled, claims};

const LINK_COOKIE: &str = "__Host-hallpass-link=";

fn with_links(settings: &mut Settings) {
    settings.link.on = true;
}

impl MailApp {
    async fn ask_for_link(&self, email: &str) -> Reply {
        self.post_json("/auth/link", json!({"email": email})).await
    }

    /// Asks for a link from no browser in particular, and returns the mail.
    async fn link_mail(&self) -> Mail {
        expect_status(&self.ask_for_link(EMAIL).await, 202, "asked");
        self.one_mail(EMAIL).await
    }

    async fn redeem(&self, token: &str) -> Reply {
        self.post_json("/auth/link/redeem", json!({"token": token})).await
    }

    async fn redeem_code(&self, email: &str, code: &str) -> Reply {
        self.post_json("/auth/link/redeem", json!({"email": email, "code": code})).await
    }
}

/// Returns six digits that are not `code`.
fn another(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

#[actix_rt::test]
async fn links_are_off_unless_they_are_turned_on() {
    let app = MailApp::new().await;
    app.ask_for_link(EMAIL).await.expect_failure(404, "not_found", "asked");
    app.redeem("x").await.expect_failure(404, "not_found", "redeemed");
}

#[actix_rt::test]
async fn a_link_signs_in_once_and_verifies_the_address() {
    let app = MailApp::with(|settings| {
        with_links(settings);
        settings.registration.verify = Verification::Required;
    })
    .await;
    let body = json!({"email": "grace@example.com", "password": PASSWORD});
    expect_status(&app.post_json("/auth/register", body).await, 202, "registered");
    app.mails().await;
    expect_status(&app.ask_for_link(" Grace@Example.com ").await, 202, "asked");
    let mail = app.one_mail("grace@example.com").await;
    assert!(mail.link().unwrap().starts_with("https://app.example/#/link?token="), "{:?}", mail.link());
    assert!(!mail.text.contains("only in the browser"), "{}", mail.text);
    let tokens = app.redeem(mail.token().unwrap()).await.expect_data("the link");
    assert_eq!(tokens["user"]["email_verified"], true);
    assert_eq!(claims(tokens["token"].as_str().unwrap())["amr"], json!(["email"]));
    let bearer = format!("Bearer {}", tokens["token"].as_str().unwrap());
    app.get("/user/").authorization(&bearer).send().await.expect_data("the token works");
    app.redeem(mail.token().unwrap()).await.expect_failure(400, "link_invalid", "used");
    let code = mail.code().unwrap();
    app.redeem_code("grace@example.com", code).await.expect_failure(400, "link_invalid", "used");
    assert_eq!((app.events_of("email_verified").await, app.events_of("signed_in").await), (1, 1));
}

#[actix_rt::test]
async fn a_code_is_typed_on_another_device_and_five_wrong_ones_end_it_but_not_its_link() {
    let app = MailApp::with(|settings| {
        with_links(settings);
        settings.throttle.on = false;
    })
    .await;
    let mail = app.link_mail().await;
    let code = mail.code().unwrap();
    for _ in 0..4 {
        app.redeem_code(EMAIL, another(code)).await.expect_failure(400, "link_invalid", "wrong");
    }
    app.redeem_code("nobody@example.com", code).await.expect_failure(400, "link_invalid", "another's");
    app.redeem_code(EMAIL, code).await.expect_data("the fifth");

    let mail = app.link_mail().await;
    let code = mail.code().unwrap();
    for _ in 0..5 {
        app.redeem_code(EMAIL, another(code)).await.expect_failure(400, "link_invalid", "wrong");
    }
    app.redeem_code(EMAIL, code).await.expect_failure(400, "link_invalid", "the sixth");
    app.redeem(mail.token().unwrap()).await.expect_data("strangers cannot use up a link");
}

#[actix_rt::test]
async fn wrong_codes_are_counted_like_wrong_passwords_and_a_right_one_clears_them() {
    let app = MailApp::with(with_links).await;
    let code = app.link_mail().await.code().unwrap().to_owned();
    let mut answers = vec![];
    for _ in 0..20 {
        answers.push(app.redeem_code(EMAIL, another(&code)).await.status.as_u16());
    }
    assert_eq!(answers[0], 400);
    assert_eq!(answers[19], 429, "{answers:?}");
    app.login(EMAIL, "wrong").await.expect_failure(429, "too_many_attempts", "one allowance");
}

#[actix_rt::test]
async fn a_link_that_a_browser_asked_for_works_in_that_browser_alone() {
    let app = MailApp::with(with_links).await;
    let asked = app.post("/auth/link").header("X-Hallpass", "1").json(json!({"email": EMAIL})).send().await;
    expect_status(&asked, 202, "asked");
    let set = asked.header("set-cookie").unwrap();
    let attributes = "; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=600";
    let kept = set.strip_prefix(LINK_COOKIE).and_then(|set| set.strip_suffix(attributes));
    let kept = kept.unwrap_or_else(|| panic!("{set}"));
    let mail = app.one_mail(EMAIL).await;
    assert!(mail.text.contains("only in the browser that asked for it"), "{}", mail.text);

    let token = mail.token().unwrap();
    let redeem = async |cookie: &str| {
        let ask = app.post("/auth/link/redeem").header("Cookie", format!("{LINK_COOKIE}{cookie}"));
        ask.json(json!({"token": token, "cookie": true})).send().await
    };
    app.redeem(token).await.expect_failure(400, "link_invalid", "no browser");
    redeem("another").await.expect_failure(400, "link_invalid", "another browser");
    redeem(token).await.expect_failure(400, "link_invalid", "the link is not what the browser keeps");
    let signed_in = redeem(kept).await;
    signed_in.expect_data("the browser that asked");
    let cookies = signed_in.headers.get_all("set-cookie");
    let cookies: Vec<_> = cookies.map(|value| value.to_str().unwrap()).collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("__Host-hallpass=hpr_")), "{cookies:?}");
    assert!(
        cookies.contains(
            &format!("{LINK_COOKIE}; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0").as_str()
        )
    );
}

#[actix_rt::test]
async fn the_answer_is_the_same_whether_or_not_there_is_an_account() {
    let app = MailApp::with(with_links).await;
    let (known, unknown) = (app.ask_for_link(EMAIL).await, app.ask_for_link("nobody@example.com").await);
    assert_eq!((known.status, known.text()), (unknown.status, unknown.text()));
    assert_eq!(app.waiting_mails().await.len(), 2, "the queue does not show it either");
    app.one_mail(EMAIL).await;
}

#[actix_rt::test]
async fn a_link_dies_with_a_newer_one_with_a_new_password_with_time_and_with_its_account() {
    let app = MailApp::with(with_links).await;
    let first = app.link_mail().await;
    let second = app.link_mail().await;
    app.redeem(first.token().unwrap()).await.expect_failure(400, "link_invalid", "there is a newer one");
    app.redeem_code(EMAIL, first.code().unwrap()).await.expect_failure(400, "link_invalid", "a newer one");
    app.pass(Duration::seconds(600)).await;
    app.redeem(second.token().unwrap()).await.expect_failure(400, "link_invalid", "expired");
    app.redeem_code(EMAIL, second.code().unwrap()).await.expect_failure(400, "link_invalid", "expired");

    let third = app.link_mail().await;
    let bearer = format!("Bearer {}", app.token().await);
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    app.post("/user/password").authorization(&bearer).json(body).send().await.expect_data("changed");
    app.redeem(third.token().unwrap()).await.expect_failure(400, "link_invalid", "a new password");
    app.mails().await;

    let fourth = app.link_mail().await;
    app.users().disable(app.user_id().await).await.unwrap();
    app.redeem(fourth.token().unwrap()).await.expect_failure(400, "link_invalid", "disabled");
}

#[actix_rt::test]
async fn a_second_factor_is_asked_for_after_a_link_and_after_a_code() {
    let app = MailApp::with(with_links).await;
    let Enrolled { authenticator, .. } = app.enrol().await;
    app.mails().await;
    for by_code in [false, true] {
        let mail = app.link_mail().await;
        let reply = if by_code {
            app.redeem_code(EMAIL, mail.code().unwrap()).await
        } else {
            app.redeem(mail.token().unwrap()).await
        };
        reply.expect_refused("second_factor_required", "the first factor");
        assert_eq!(reply.json()["methods"], json!(["totp", "recovery_code"]));
        app.redeem(mail.token().unwrap()).await.expect_failure(400, "link_invalid", "used");
        let challenge = reply.json()["challenge"].as_str().unwrap().to_owned();
        let tokens = app.answer(&challenge, "code", &authenticator.code(app.clock.now())).await;
        let tokens = tokens.expect_data("the second factor");
        assert_eq!(claims(tokens["token"].as_str().unwrap())["amr"], json!(["email", "otp", "mfa"]));
        app.pass(Duration::seconds(60)).await;
    }
}

#[actix_rt::test]
async fn a_change_of_address_needs_the_second_factor_of_a_user_who_has_one() {
    let app = MailApp::new().await;
    let Enrolled { pair, authenticator, .. } = app.enrol().await;
    app.mails().await;
    let stolen = app.ask_for_email(&pair.access, "eve@example.com", PASSWORD).await;
    stolen.expect_failure(401, "sign_in_stale", "a session of before, and the password");
    assert!(app.mails().await.is_empty());
    let challenge = app.challenge().await;
    let tokens = app.answer(&challenge, "code", &authenticator.code(app.clock.now())).await;
    let fresh = tokens.expect_data("signed in")["token"].as_str().unwrap().to_owned();
    expect_status(&app.ask_for_email(&fresh, "ada@example.org", PASSWORD).await, 202, "by both factors");
    assert_eq!(app.mails().await.len(), 2, "the link and the notice");
    app.pass(Duration::seconds(601)).await;
    let late = app.ask_for_email(&fresh, "ada@example.org", PASSWORD).await;
    late.expect_failure(401, "sign_in_stale", "601 s after the sign-in");
}

#[actix_rt::test]
async fn a_link_or_a_code_is_required_and_only_one_of_them() {
    let app = MailApp::with(with_links).await;
    for (body, field) in [
        (json!({}), "token"),
        (json!({"email": EMAIL}), "code"),
        (json!({"code": "123456"}), "email"),
        (json!({"token": "x", "code": "123456"}), "token"),
        (json!({"token": "x", "email": EMAIL, "code": "123456"}), "token"),
    ] {
        let reply = app.post_json("/auth/link/redeem", body.clone()).await;
        reply.expect_failure(422, "validation_failed", &body.to_string());
        assert!(reply.json()["fields"][field].is_array(), "{}", reply.text());
    }
    for unknown in ["", "none of ours", &"x".repeat(43)] {
        app.redeem(unknown).await.expect_failure(400, "link_invalid", unknown);
    }
}
