//! Accounts by mail: what is sent, to whom, and what the links in it do. The mails are written to a folder.

mod doctor;
mod link;
mod outages;
mod registration;
mod second_factors;
mod sending;
pub mod sink;
mod strangers;
mod tls;

use std::ops::Deref;

use actix_web::http::Method;
use chrono::Duration;
use hallpass::server::config::{MailUrl, Settings};
use hallpass::testing::{Mail, mails_in};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::passkeys::Authenticator;
use crate::test_database::TestDatabase;

const NEW_PASSWORD: &str = "seventeen blue lanterns";

/// Turns every route on.
pub fn every_route(settings: &mut Settings) {
    settings.mail.url = Some(MailUrl::Folder(std::env::temp_dir()));
    settings.link.on = true;
}

/// An app whose mails are files in a folder of its own.
pub struct MailApp {
    app: TestApp,
    folder: TempDir,
}

impl Deref for MailApp {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl MailApp {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = TestApp::on(TestDatabase::new(), |settings| {
            settings.mail.url = Some(MailUrl::Folder(folder.path().to_owned()));
            settings.mail.link_base = Some("https://app.example/".into());
            change(settings);
        });
        Self { app: app.await, folder }
    }

    /// Sends what is due, and returns every mail since the last call.
    pub async fn mails(&self) -> Vec<Mail> {
        self.server.mailer().unwrap().send_due().await.unwrap();
        let mails = mails_in(self.folder.path()).unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        mails
    }

    /// Returns the one mail since the last call.
    #[track_caller]
    pub fn one_mail(&self, to: &str) -> impl Future<Output = Mail> + use<'_> {
        let (to, caller) = (to.to_owned(), std::panic::Location::caller());
        async move {
            let mut mails = self.mails().await;
            assert_eq!(mails.len(), 1, "{caller}: {mails:?}");
            assert_eq!(mails[0].to(), to, "{caller}");
            mails.remove(0)
        }
    }

    async fn post_json(&self, path: &str, body: Value) -> Reply {
        self.post(path).json(body).send().await
    }

    async fn forgot(&self, email: &str) -> Reply {
        self.post_json("/auth/password/forgot", json!({"email": email})).await
    }

    async fn reset(&self, token: &str, password: &str) -> Reply {
        self.post_json("/auth/password/reset", json!({"token": token, "new_password": password})).await
    }

    async fn with_token(&self, path: &str, token: &str) -> Reply {
        self.post_json(path, json!({"token": token})).await
    }

    async fn ask_for_email(&self, bearer: &str, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password});
        self.post("/user/email").authorization(&format!("Bearer {bearer}")).json(body).send().await
    }

    async fn events_of(&self, kind: &str) -> usize {
        self.recorded_events().await.iter().filter(|event| event.event.kind == kind).count()
    }
}

#[track_caller]
fn expect_status(reply: &Reply, status: u16, what: &str) {
    assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.text());
}

#[actix_rt::test]
async fn without_mail_there_are_no_such_routes() {
    let app = TestApp::new().await;
    let bearer = format!("Bearer {}", app.token().await);
    for path in [
        "/auth/password/forgot",
        "/auth/password/reset",
        "/auth/email/verify",
        "/auth/email/resend",
        "/auth/email/change",
        "/auth/email/change/undo",
        "/auth/link",
        "/auth/link/redeem",
        "/user/email",
    ] {
        let reply = app.post(path).authorization(&bearer).json(json!({"email": EMAIL})).send().await;
        reply.expect_failure(404, "not_found", path);
    }
}

#[actix_rt::test]
async fn a_forgotten_password_is_replaced_by_the_link_in_the_mail_once() {
    let app = MailApp::new().await;
    let token = app.token().await;
    expect_status(&app.forgot(" Ada@Example.com ").await, 202, "forgot");
    let mail = app.one_mail(EMAIL).await;
    let link = mail.link().unwrap().to_owned();
    assert!(link.starts_with("https://app.example/#/reset?token="), "{link}");
    assert!(mail.html.contains("https:&#x2f;&#x2f;app.example"), "{}", mail.html);
    let secret = mail.token().unwrap();

    for weak in ["short", "password1", EMAIL] {
        let reply = app.reset(secret, weak).await;
        reply.expect_failure(422, "validation_failed", weak);
        assert!(reply.json()["fields"]["new_password"].is_array());
    }
    expect_status(
        &app.reset(secret, NEW_PASSWORD).await,
        204,
        "a password that is not accepted leaves the link",
    );
    app.get_user(&token).await.expect_refused("token_revoked", "every session has ended");
    app.login(EMAIL, PASSWORD).await.expect_refused("credentials_invalid", "the old password");
    let stored = app.stored_user(app.user_id().await).await.password_hash.unwrap();
    assert!(stored.starts_with("$sealed$"), "{stored}");
    app.login(EMAIL, NEW_PASSWORD).await.expect_data("the new password");
    app.reset(secret, NEW_PASSWORD).await.expect_failure(400, "link_invalid", "used");
    let told = app.one_mail(EMAIL).await;
    assert_eq!(told.subject(), "Your password at app.example was changed");
    assert_eq!(told.token(), None, "a notice holds no secret");
    assert_eq!(app.events_of("password_reset").await, 1);
}

#[actix_rt::test]
async fn a_link_dies_with_a_newer_one_with_a_new_password_with_time_and_with_its_account() {
    let app = MailApp::new().await;
    let fresh = async || {
        app.pass(Duration::hours(2)).await;
        expect_status(&app.forgot(EMAIL).await, 202, "forgot");
        app.one_mail(EMAIL).await.token().unwrap().to_owned()
    };
    let first = fresh().await;
    let second = fresh().await;
    app.reset(&first, NEW_PASSWORD).await.expect_failure(400, "link_invalid", "there is a newer one");

    app.pass(Duration::seconds(3_599)).await;
    app.reset(&second, "short").await.expect_failure(422, "validation_failed", "in its last second");
    app.pass(Duration::seconds(1)).await;
    app.reset(&second, NEW_PASSWORD).await.expect_failure(400, "link_invalid", "expired");

    let third = fresh().await;
    let bearer = format!("Bearer {}", app.token().await);
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let changed = app.post("/user/password").authorization(&bearer).json(body).send().await;
    changed.expect_data("a new password");
    app.reset(&third, PASSWORD).await.expect_failure(400, "link_invalid", "there is a new password");
    app.mails().await;

    let fourth = fresh().await;
    app.users().disable(app.user_id().await).await.unwrap();
    app.reset(&fourth, PASSWORD).await.expect_failure(400, "link_invalid", "the user is disabled");
    app.users().enable(app.user_id().await).await.unwrap();
    app.users().delete(app.user_id().await, false).await.unwrap();
    app.reset(&fourth, PASSWORD).await.expect_failure(400, "link_invalid", "the user is gone");
    for nonsense in ["", "x", &"x".repeat(43), &"ä".repeat(20_000)] {
        app.reset(nonsense, PASSWORD).await.expect_failure(400, "link_invalid", "no token of ours");
    }
}

#[actix_rt::test]
async fn a_token_works_for_its_own_purpose_alone() {
    let app = MailApp::new().await;
    app.forgot(EMAIL).await;
    let reset = app.one_mail(EMAIL).await.token().unwrap().to_owned();
    for path in ["/auth/email/verify", "/auth/email/change", "/auth/email/change/undo"] {
        app.with_token(path, &reset).await.expect_failure(400, "link_invalid", path);
    }
    let bearer = app.token().await;
    app.ask_for_email(&bearer, "new@example.com", PASSWORD).await;
    let mails = app.mails().await;
    let change = mails.iter().find(|mail| mail.to() == "new@example.com").unwrap().token().unwrap();
    for path in ["/auth/email/verify", "/auth/email/change/undo"] {
        app.with_token(path, change).await.expect_failure(400, "link_invalid", path);
    }
    app.reset(change, NEW_PASSWORD).await.expect_failure(400, "link_invalid", "a change is no reset");
    expect_status(&app.reset(&reset, NEW_PASSWORD).await, 204, "nothing was used up");
    app.with_token("/auth/email/change", change).await.expect_failure(400, "link_invalid", "a new password");
}

#[actix_rt::test]
async fn at_most_five_mails_an_hour_go_to_an_address_whoever_asks_and_whether_or_not_it_has_an_account() {
    for email in [EMAIL, "nobody@example.com"] {
        let app = MailApp::new().await;
        let ask = async |peer: u8| {
            let ask = app.post("/auth/password/forgot").peer(&format!("192.0.2.{peer}"));
            ask.json(json!({"email": email})).send().await
        };
        let mut sent = Vec::new();
        for minute in 0_i64..240 {
            if ask(minute as u8).await.status == 202 {
                sent.push(minute);
            }
            app.pass(Duration::minutes(1)).await;
        }
        for from in &sent {
            let in_an_hour = sent.iter().filter(|at| (*from..from + 60).contains(at)).count();
            assert!(in_an_hour <= 5, "{email}: {sent:?}");
        }
        assert!(sent.len() >= 15, "{email}: {sent:?}");
        let refused = ask(1).await;
        if refused.status == 429 {
            assert!(refused.header("retry-after").is_some());
        }
    }
}

#[actix_rt::test]
async fn a_client_asks_for_a_limited_number_of_mails() {
    let app = MailApp::with(|settings| settings.throttle.mails_per_hour = 3).await;
    let ask = async |number: u8, peer: &str| {
        let body = json!({"email": format!("{number}@example.com")});
        app.post("/auth/password/forgot").peer(peer).json(body).send().await.status.as_u16()
    };
    for number in 0..3 {
        assert_eq!(ask(number, "192.0.2.1").await, 202);
    }
    assert_eq!(ask(4, "192.0.2.1").await, 429);
    assert_eq!(ask(4, "192.0.2.2").await, 202, "another client's");
}

#[actix_rt::test]
async fn a_reset_lifts_the_delay_that_strangers_have_caused() {
    let app = MailApp::new().await;
    let login = async |password: &str, peer: &str| {
        let body = json!({"email": EMAIL, "password": password});
        app.post("/auth/login").peer(peer).json(body).send().await.status.as_u16()
    };
    while login("wrong horse battery", "192.0.2.66").await != 429 {}
    assert_eq!(login(PASSWORD, "192.0.2.1").await, 429, "the owner at an unknown place waits too");
    app.forgot(EMAIL).await;
    let mail = app.one_mail(EMAIL).await;
    let body = json!({"token": mail.token(), "new_password": NEW_PASSWORD});
    let reset = app.post("/auth/password/reset").peer("192.0.2.1").json(body).send().await;
    expect_status(&reset, 204, "reset");
    assert_eq!(login(NEW_PASSWORD, "192.0.2.1").await, 200, "the owner does not wait");
}

#[actix_rt::test]
async fn a_changed_address_is_confirmed_first_and_can_be_taken_back_by_the_old_one() {
    let app = MailApp::new().await;
    let bearer = app.token().await;
    app.ask_for_email(&bearer, "new@example.com", "wrong").await.expect_failure(
        403,
        "password_wrong",
        "asked",
    );
    app.ask_for_email(&bearer, EMAIL, PASSWORD).await.expect_failure(422, "validation_failed", "the same");
    expect_status(&app.ask_for_email(&bearer, "new@example.com", PASSWORD).await, 202, "asked");
    assert_eq!(app.get_user(&bearer).await.expect_data("not yet")["email"], EMAIL);
    let mails = app.mails().await;
    let to = |address: &str| mails.iter().find(|mail| mail.to() == address).unwrap();
    assert_eq!(mails.len(), 2);
    assert_eq!(to(EMAIL).token(), None, "the notice holds no secret");
    assert!(!to(EMAIL).text.contains("new@example.com"), "no text of whoever asked");
    let change = to("new@example.com").token().unwrap();

    expect_status(&app.with_token("/auth/email/change", change).await, 204, "confirmed");
    let user = app.get_user(&bearer).await.expect_data("the session goes on");
    assert_eq!((&user["email"], &user["email_verified"]), (&"new@example.com".into(), &true.into()));
    app.with_token("/auth/email/change", change).await.expect_failure(400, "link_invalid", "used");
    let undo = app.one_mail(EMAIL).await;
    assert!(undo.link().unwrap().contains("#/undo?token="));

    app.pass(Duration::days(6)).await;
    let signed_in = app.login("new@example.com", PASSWORD).await.expect_data("the new address");
    let bearer = signed_in["token"].as_str().unwrap().to_owned();
    expect_status(&app.with_token("/auth/email/change/undo", undo.token().unwrap()).await, 204, "undone");
    app.get_user(&bearer).await.expect_refused("token_revoked", "every session has ended");
    app.login(EMAIL, PASSWORD).await.expect_refused("credentials_invalid", "the password no longer works");
    app.login("new@example.com", PASSWORD).await.expect_refused("credentials_invalid", "nor the new address");
    let reset = app.one_mail(EMAIL).await;
    expect_status(&app.reset(reset.token().unwrap(), NEW_PASSWORD).await, 204, "a link is on its way");
    app.login(EMAIL, NEW_PASSWORD).await.expect_data("the owner is back");
    let kinds = ["email_change_asked", "email_changed", "email_change_undone"];
    for kind in kinds {
        assert_eq!(app.events_of(kind).await, 1, "{kind}");
    }
}

#[actix_rt::test]
async fn an_undo_works_for_seven_days() {
    let app = MailApp::new().await;
    let bearer = app.token().await;
    app.ask_for_email(&bearer, "new@example.com", PASSWORD).await;
    let mails = app.mails().await;
    let change = mails.iter().find(|mail| mail.to() == "new@example.com").unwrap().token().unwrap();
    app.with_token("/auth/email/change", change).await;
    let undo = app.one_mail(EMAIL).await;
    app.pass(Duration::days(7)).await;
    let reply = app.with_token("/auth/email/change/undo", undo.token().unwrap()).await;
    reply.expect_failure(400, "link_invalid", "after seven days");
}

#[actix_rt::test]
async fn a_thief_with_a_session_and_the_password_cannot_keep_the_account_from_its_owner() {
    let app = MailApp::with(|settings| settings.throttle.on = false).await;
    let change_to = async |bearer: &str, password: &str, email: &str| {
        expect_status(&app.ask_for_email(bearer, email, password).await, 202, "asked");
        let mails = app.mails().await;
        let change = mails.iter().find(|mail| mail.to() == email).unwrap().token().unwrap().to_owned();
        expect_status(&app.with_token("/auth/email/change", &change).await, 204, "confirmed");
        app.mails().await
    };
    // The thief changes the address twice, then the password, and registers the old address for another account.
    let bearer = app.token().await;
    let owners = change_to(&bearer, PASSWORD, "thief@example.com").await;
    let thiefs = change_to(&bearer, PASSWORD, "thief2@example.com").await;
    let body = json!({"current_password": PASSWORD, "new_password": "a password of the thief"});
    let changed =
        app.post("/user/password").authorization(&format!("Bearer {bearer}")).json(body).send().await;
    changed.expect_data("the thief's password");
    let register = app.post_json("/auth/register", json!({"email": EMAIL, "password": NEW_PASSWORD})).await;
    register.expect_failure(409, "email_taken", "for seven days the address is kept for its owner");
    app.mails().await;

    let undo = owners[0].token().unwrap();
    assert_eq!(owners[0].to(), EMAIL);
    expect_status(&app.with_token("/auth/email/change/undo", undo).await, 204, "undone");
    let reset = app.one_mail(EMAIL).await;
    expect_status(&app.reset(reset.token().unwrap(), NEW_PASSWORD).await, 204, "reset");
    app.login(EMAIL, NEW_PASSWORD).await.expect_data("the owner is back");
    // The thief has an undo too, for the second change.
    let theirs = thiefs[0].token().unwrap();
    assert_eq!(thiefs[0].to(), "thief@example.com");
    let reply = app.with_token("/auth/email/change/undo", theirs).await;
    reply.expect_failure(400, "link_invalid", "which died with the owner's");
}

#[actix_rt::test]
async fn an_undo_removes_the_passkeys_that_were_added_since() {
    let app = MailApp::new().await;
    let mut owners = Authenticator::new();
    let bearer = app.with_passkey(&mut owners).await;
    app.pass(Duration::minutes(1)).await;
    expect_status(&app.ask_for_email(&bearer, "new@example.com", PASSWORD).await, 202, "asked");
    let mails = app.mails().await;
    let change = mails.iter().find(|mail| mail.to() == "new@example.com").unwrap().token().unwrap();
    expect_status(&app.with_token("/auth/email/change", change).await, 204, "confirmed");
    let undo = app.one_mail(EMAIL).await;
    app.pass(Duration::minutes(1)).await;
    let mut thiefs = Authenticator::new();
    expect_status(&app.add_passkey(&bearer, &mut thiefs).await, 201, "added");
    app.mails().await;
    expect_status(&app.with_token("/auth/email/change/undo", undo.token().unwrap()).await, 204, "undone");
    let options = app.request_options(json!({})).await;
    let reply = app.sign_in_by(thiefs.get(&options)).await;
    reply.expect_refused("second_factor_invalid", "a passkey that was added since");
    app.sign_in_by(owners.get(&options)).await.expect_data("one that was there before");
}

#[actix_rt::test]
async fn nobody_learns_from_a_change_whether_an_address_has_an_account_but_its_owner() {
    let app = MailApp::new().await;
    app.add_user("grace@example.com", PASSWORD).await;
    let bearer = app.token().await;
    let free = app.ask_for_email(&bearer, "free@example.com", PASSWORD).await;
    let taken = app.ask_for_email(&bearer, "grace@example.com", PASSWORD).await;
    assert_eq!((free.status, free.text()), (taken.status, taken.text()));
    let mails = app.mails().await;
    let grace = mails.iter().find(|mail| mail.to() == "grace@example.com").unwrap();
    assert_eq!(grace.subject(), "You already have an account at app.example");
    assert_eq!(grace.token(), None);
}

#[actix_rt::test]
async fn a_program_that_follows_every_link_in_every_way_changes_nothing() {
    let app = MailApp::new().await;
    app.forgot(EMAIL).await;
    let mail = app.one_mail(EMAIL).await;
    let secret = mail.token().unwrap();
    for path in ["/", "/console/main.js"] {
        for method in [Method::GET, Method::HEAD] {
            app.ask(method, path).send().await;
        }
    }
    for path in
        ["/auth/password/reset", "/auth/email/verify", "/auth/email/change", "/auth/email/change/undo"]
    {
        for path in [path.to_owned(), format!("{path}?token={secret}")] {
            for method in [Method::GET, Method::HEAD] {
                expect_status(&app.ask(method, &path).send().await, 405, &path);
            }
        }
    }
    expect_status(&app.reset(secret, NEW_PASSWORD).await, 204, "the link still works");
}

#[actix_rt::test]
async fn an_admin_sends_a_reset_or_an_invitation_in_place_of_a_password() {
    let app = MailApp::new().await;
    let user = app.token().await;
    let admin = app.admin().await;
    let bearer = format!("Bearer {admin}");
    let path = format!("/admin/users/{}/password", app.user_id().await);
    let reply = app.post(&path).authorization(&bearer).json(json!({"mail": true})).send().await;
    expect_status(&reply, 202, "a link");
    app.get_user(&user).await.expect_refused("token_revoked", "every session has ended");
    let mail = app.one_mail(EMAIL).await;
    assert!(mail.text.contains("Your administrator asks you"), "{}", mail.text);
    expect_status(&app.reset(mail.token().unwrap(), NEW_PASSWORD).await, 204, "reset");
    app.mails().await;

    let body = json!({"email": "grace@example.com", "name": "Grace", "roles": ["editor"]});
    let reply = app.post("/admin/users").authorization(&bearer).json(body.clone()).send().await;
    expect_status(&reply, 201, "invited");
    assert_eq!(reply.json()["data"]["email_verified"], false);
    let mail = app.one_mail("grace@example.com").await;
    assert!(mail.link().unwrap().contains("#/invite?token="));
    assert!(!mail.text.contains("Grace"), "no text of anybody");
    app.pass(Duration::hours(23)).await;
    expect_status(&app.reset(mail.token().unwrap(), NEW_PASSWORD).await, 204, "a password is chosen");
    let user = app.login("grace@example.com", NEW_PASSWORD).await.expect_data("signed in")["user"].take();
    assert_eq!((&user["email_verified"], &user["roles"]), (&json!(true), &json!(["editor"])));
    let admin = app.login(crate::admin::ADMIN, PASSWORD).await.expect_data("the admin's token has expired");
    let bearer = format!("Bearer {}", admin["token"].as_str().unwrap());
    let again = app.post("/admin/users").authorization(&bearer).json(body).send().await;
    again.expect_failure(409, "email_taken", "who has a password is not invited again");
}
