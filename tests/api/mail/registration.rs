//! Registration with `registration.verify`: off, optional, required.

use chrono::Duration;
use hallpass::server::config::Verification;
use serde_json::json;

use super::{MailApp, NEW_PASSWORD, expect_status};
use crate::app::{EMAIL, PASSWORD};

#[actix_rt::test]
async fn an_account_is_verified_by_the_link_in_its_mail_and_nothing_waits_for_it() {
    let app = MailApp::new().await;
    let body = json!({"email": "grace@example.com", "password": PASSWORD});
    expect_status(&app.post_json("/auth/register", body).await, 201, "registered");
    let signed_in = app.login("grace@example.com", PASSWORD).await.expect_data("nothing waits");
    assert_eq!(signed_in["user"]["email_verified"], false);
    let bearer = format!("Bearer {}", signed_in["token"].as_str().unwrap());
    let first = app.one_mail("grace@example.com").await;
    assert!(first.link().unwrap().contains("#/verify?token="));

    let reply = app.post("/auth/email/resend").authorization(&bearer).send().await;
    expect_status(&reply, 202, "resent");
    let second = app.one_mail("grace@example.com").await;
    let verify = async |token| app.with_token("/auth/email/verify", token).await;
    verify(first.token().unwrap()).await.expect_failure(400, "link_invalid", "there is a newer one");
    expect_status(&verify(second.token().unwrap()).await, 204, "verified");
    verify(second.token().unwrap()).await.expect_failure(400, "link_invalid", "used");
    let user = app.get("/user/").authorization(&bearer).send().await.expect_data("the user");
    assert_eq!(user["email_verified"], true, "at once");
    let reply = app.post("/auth/email/resend").authorization(&bearer).send().await;
    expect_status(&reply, 202, "the same answer");
    assert!(app.mails().await.is_empty(), "who is verified gets none");
    assert_eq!(app.events_of("email_verified").await, 1);
    app.post("/auth/email/resend").send().await.expect_refused("token_missing", "a stranger");
}

#[actix_rt::test]
async fn without_verification_no_mail_is_sent() {
    let app = MailApp::with(|settings| settings.registration.verify = Verification::Off).await;
    let body = json!({"email": "grace@example.com", "password": PASSWORD});
    expect_status(&app.post_json("/auth/register", body).await, 201, "registered");
    assert!(app.mails().await.is_empty());
}

#[actix_rt::test]
async fn where_verification_is_required_a_registration_says_nothing_and_nobody_signs_in_before_it() {
    let app = MailApp::with(|settings| settings.registration.verify = Verification::Required).await;
    let register = async |email: &str| {
        app.post_json("/auth/register", json!({"email": email, "password": NEW_PASSWORD})).await
    };
    let free = register("grace@example.com").await;
    let taken = register(EMAIL).await;
    expect_status(&free, 202, "free");
    assert_eq!((free.status, free.text()), (taken.status, taken.text()), "the same bytes");
    assert_eq!(free.header("location"), None);

    let mails = app.mails().await;
    let to = |address: &str| mails.iter().find(|mail| mail.to() == address).unwrap();
    assert_eq!(to(EMAIL).subject(), "You already have an account at app.example");
    app.login(EMAIL, PASSWORD).await.expect_data("the taken account is as it was");
    app.login(EMAIL, NEW_PASSWORD).await.expect_refused("credentials_invalid", "whatever was typed");

    let wrong = app.login("grace@example.com", PASSWORD).await;
    wrong.expect_refused("credentials_invalid", "a wrong password learns nothing");
    let early = app.login("grace@example.com", NEW_PASSWORD).await;
    early.expect_failure(403, "email_unverified", "too early");
    let again = app.one_mail("grace@example.com").await;
    let first = to("grace@example.com").token().unwrap();
    let reply = app.with_token("/auth/email/verify", first).await;
    reply.expect_failure(400, "link_invalid", "the sign-in has sent a newer one");
    expect_status(&app.with_token("/auth/email/verify", again.token().unwrap()).await, 204, "verified");
    app.login("grace@example.com", NEW_PASSWORD).await.expect_data("signed in");
}

#[actix_rt::test]
async fn sign_ins_before_the_verification_send_at_most_five_mails_an_hour_and_count_as_no_failure() {
    let app = MailApp::with(|settings| settings.registration.verify = Verification::Required).await;
    let body = json!({"email": "grace@example.com", "password": PASSWORD});
    app.post_json("/auth/register", body).await;
    let mut sent = app.mails().await.len();
    for _ in 0..20 {
        let early = app.login("grace@example.com", PASSWORD).await;
        early.expect_failure(403, "email_unverified", "each time the same");
        sent += app.mails().await.len();
    }
    assert_eq!(sent, 5);
}

#[actix_rt::test]
async fn a_reset_proves_the_address_too() {
    let app = MailApp::with(|settings| settings.registration.verify = Verification::Required).await;
    let body = json!({"email": "grace@example.com", "password": PASSWORD});
    app.post_json("/auth/register", body).await;
    app.mails().await;
    app.pass(Duration::hours(1)).await;
    app.forgot("grace@example.com").await;
    let reset = app.one_mail("grace@example.com").await;
    expect_status(&app.reset(reset.token().unwrap(), NEW_PASSWORD).await, 204, "reset");
    let user = app.login("grace@example.com", NEW_PASSWORD).await.expect_data("signed in");
    assert_eq!(user["user"]["email_verified"], true);
}

#[actix_rt::test]
async fn mails_are_in_the_language_that_the_browser_asks_for() {
    let app = MailApp::new().await;
    let ask = app.post("/auth/password/forgot").header("accept-language", "fr, de-AT;q=0.8");
    let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let ask = ask.header("user-agent", browser).peer("192.0.2.7").json(json!({"email": EMAIL}));
    expect_status(&ask.send().await, 202, "asked");
    let mail = app.one_mail(EMAIL).await;
    assert_eq!(mail.subject(), "Neues Passwort für app.example");
    assert!(mail.text.contains("von 192.0.2.7 (Firefox, Linux)"), "{}", mail.text);
    assert!(mail.html.contains("lang=\"de\""));
    assert_eq!(mail.header("auto-submitted"), Some("auto-generated"));
    assert!(mail.header("message-id").is_some() && mail.header("date").is_some());
}

#[actix_rt::test]
async fn no_text_of_a_client_is_in_a_mail() {
    let app = MailApp::new().await;
    let evil = "http://evil.example/\"><script>";
    let body = json!({"email": "grace@example.com", "password": PASSWORD, "name": format!("{evil}\u{2028}").repeat(5)});
    let ask = app.post("/auth/register").header("user-agent", evil).header("accept-language", "../../x");
    expect_status(&ask.json(body).send().await, 201, "registered");
    let mail = app.one_mail("grace@example.com").await;
    for part in [&mail.text, &mail.html] {
        assert!(!part.contains("evil") && !part.contains("script"), "{part}");
    }
    for address in [
        "ada@example.com\r\nBcc: eve@example.com",
        "Ada <ada@example.com>",
        "ada@example.com, eve@example.com",
        "ada@example.com;eve@example.com",
        "=?utf-8?q?x?=@example.com\u{0}",
    ] {
        app.forgot(address).await.expect_failure(422, "validation_failed", address);
    }
    let long = "x".repeat(65_536 - 200);
    app.forgot(&long).await.expect_failure(422, "validation_failed", "64 KiB");
    let body = json!({"email": "joan@example.com", "password": PASSWORD, "name": long});
    app.post_json("/auth/register", body).await.expect_failure(422, "validation_failed", "a name of 64 KiB");
    assert!(app.mails().await.is_empty());
}
