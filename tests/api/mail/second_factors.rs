//! What the owner of an account is told about their second factors.

use chrono::Duration;
use serde_json::json;

use super::{MailApp, expect_status};
use crate::app::{EMAIL, PASSWORD};
use crate::passkeys::Authenticator;
use crate::second_factors::Enrolled;
use crate::session::Pair;

impl MailApp {
    /// Returns the text of the one mail since the last call.
    async fn told(&self) -> String {
        self.one_mail(EMAIL).await.text
    }
}

#[actix_rt::test]
async fn the_owner_is_told_of_every_change_of_second_factors_and_of_a_used_recovery_code() {
    let app = MailApp::new().await;
    let Enrolled { authenticator, recovery_codes, .. } = app.enrol().await;
    let told = app.told().await;
    assert!(told.contains("A second factor was added to your account at app.example."), "{told}");
    assert!(told.contains("https://app.example/#/forgot"), "{told}");

    let answer = app.answer(&app.challenge().await, "recovery_code", &recovery_codes[0]).await;
    let token = answer.expect_data("signed in")["token"].as_str().unwrap().to_owned();
    let told = app.told().await;
    assert!(told.contains("with a recovery code"), "{told}");
    app.answer(&app.challenge().await, "recovery_code", &recovery_codes[0])
        .await
        .expect_refused("second_factor_invalid", "used");
    assert!(app.mails().await.is_empty(), "nothing has changed");

    let body = || Some(json!({"password": PASSWORD}));
    app.act(&token, "POST", "/user/recovery-codes", body()).await.expect_data("new codes");
    let told = app.told().await;
    assert!(told.contains("New recovery codes were made"), "{told}");

    app.pass(Duration::seconds(30)).await;
    let answer = app.answer(&app.challenge().await, "code", &authenticator.code(app.clock.now())).await;
    let token = answer.expect_data("signed in")["token"].as_str().unwrap().to_owned();
    assert!(app.mails().await.is_empty(), "an ordinary sign-in");
    expect_status(&app.act(&token, "DELETE", "/user/totp", body()).await, 204, "removed");
    let told = app.told().await;
    assert!(told.contains("A second factor of your account at app.example was removed."), "{told}");
}

#[actix_rt::test]
async fn the_owner_is_told_that_an_admin_has_removed_their_second_factors() {
    let app = MailApp::new().await;
    app.enrol().await;
    app.told().await;
    let admin = app.admin().await;
    let path = format!("/admin/users/{}/second-factors", app.user_id().await);
    expect_status(&app.act(&admin, "DELETE", &path, None).await, 204, "reset");
    let told = app.told().await;
    assert!(told.contains("Every second factor of your account at app.example was removed"), "{told}");
    assert!(told.contains("An administrator asked for this"), "{told}");
}

#[actix_rt::test]
async fn the_owner_is_told_of_a_passkey_that_is_added_removed_or_copied_and_not_of_its_sign_ins() {
    let app = MailApp::new().await;
    let mut key = Authenticator::new();
    key.count = 10;
    let token = app.with_passkey(&mut key).await;
    let told = app.told().await;
    assert!(told.contains("A second factor was added to your account at app.example."), "{told}");
    let sign_in = async |key: &mut Authenticator| {
        let options = app.request_options(json!({})).await;
        app.sign_in_by(key.get(&options)).await
    };
    sign_in(&mut key).await.expect_data("11");
    assert!(app.mails().await.is_empty(), "an ordinary sign-in");
    key.count = 10;
    sign_in(&mut key).await.expect_refused("second_factor_invalid", "11 again");
    let told = app.told().await;
    assert!(told.contains("the key may have been copied"), "{told}");

    let list = app.act(&token, "GET", "/user/passkeys", None).await.expect_data("list");
    let path = format!("/user/passkeys/{}", list[0]["id"].as_str().unwrap());
    expect_status(&app.act(&token, "DELETE", &path, None).await, 204, "removed");
    let told = app.told().await;
    assert!(told.contains("A second factor of your account at app.example was removed."), "{told}");
}

#[actix_rt::test]
async fn an_address_is_changed_after_a_sign_in_with_the_second_factor_alone() {
    let app = MailApp::new().await;
    let Enrolled { pair, authenticator, .. } = app.enrol().await;
    app.mails().await;
    let change = async |token: &str| {
        let body = json!({"email": "ada@new.example", "password": PASSWORD});
        app.act(token, "POST", "/user/email", Some(body)).await
    };
    change(&pair.access).await.expect_failure(401, "sign_in_stale", "a sign-in by password");
    assert!(app.mails().await.is_empty(), "nobody is told of a change that was refused");
    let code = authenticator.code(app.clock.now());
    let fresh = Pair::of(&app.answer(&app.challenge().await, "code", &code).await);
    expect_status(&change(&fresh.access).await, 202, "with the second factor");
    app.pass(Duration::seconds(601)).await;
    change(&fresh.access).await.expect_failure(401, "sign_in_stale", "too long ago");
}
