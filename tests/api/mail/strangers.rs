//! What strangers learn of an address: nothing, whether or not it has an account, and whatever its state.

use hallpass::server::config::Verification;
use serde_json::{Value, json};

use super::{MailApp, NEW_PASSWORD, expect_status};
use crate::app::{EMAIL, PASSWORD, Reply};

/// An address in every state.
const STATES: [(&str, &str); 6] = [
    ("an account", EMAIL),
    ("no account", "nobody@example.com"),
    ("a disabled account", "disabled@example.com"),
    ("an account that is not verified", "early@example.com"),
    ("an invited account, without a password", "invited@example.com"),
    ("kept for its owner, who can take a change back", "before@example.com"),
];

/// An app with those addresses, and no mail that waits.
async fn app() -> MailApp {
    let app = MailApp::with(|settings| {
        settings.registration.verify = Verification::Required;
        settings.link.on = true;
        settings.throttle.on = false;
    })
    .await;
    for email in ["disabled@example.com", "before@example.com"] {
        app.add_user(email, PASSWORD).await;
    }
    let disabled = app.users().find("disabled@example.com").await.unwrap().unwrap();
    app.users().disable(disabled.id).await.unwrap();
    let body = json!({"email": "early@example.com", "password": PASSWORD});
    expect_status(&app.post_json("/auth/register", body).await, 202, "registered");
    let bearer = format!("Bearer {}", app.admin().await);
    let body = json!({"email": "invited@example.com"});
    let invited = app.post("/admin/users").authorization(&bearer).json(body).send().await;
    expect_status(&invited, 201, "invited");
    let bearer = app.login("before@example.com", PASSWORD).await.expect_data("signed in");
    let bearer = bearer["token"].as_str().unwrap();
    expect_status(&app.ask_for_email(bearer, "after@example.com", PASSWORD).await, 202, "asked");
    let mails = app.mails().await;
    let change = mails.iter().find(|mail| mail.to() == "after@example.com").unwrap().token().unwrap();
    expect_status(&app.with_token("/auth/email/change", change).await, 204, "changed");
    app.mails().await;
    app
}

/// What a client sees of an answer, but for what is random and what tells the time.
fn seen(reply: &Reply) -> (u16, String, Vec<String>) {
    let headers = reply.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            // Of a cookie, all but its value.
            let (before, after) =
                value.split_once('=').filter(|_| name == "set-cookie").unwrap_or((value, ""));
            format!("{name}: {before} {}", after.split_once(';').unwrap_or(("", after)).1)
        })
        .collect();
    headers.sort();
    (reply.status.as_u16(), reply.text(), headers)
}

#[actix_rt::test]
async fn an_answer_has_the_same_bytes_and_the_queue_the_same_length_whatever_the_state_of_an_address() {
    let app = app().await;
    type Body = fn(&str) -> Value;
    // (path, body, status, mails that wait afterwards)
    let requests: [(&str, Body, u16, usize); 5] = [
        ("/auth/password/forgot", |email| json!({"email": email}), 202, 1),
        ("/auth/link", |email| json!({"email": email}), 202, 1),
        ("/auth/link/redeem", |email| json!({"email": email, "code": "000000"}), 400, 0),
        ("/auth/login", |email| json!({"email": email, "password": "a wrong password"}), 401, 0),
        ("/auth/register", |email| json!({"email": email, "password": NEW_PASSWORD}), 202, 1),
    ];
    for (path, body, status, mails) in requests {
        let mut first = None;
        for (state, email) in STATES {
            let reply = app.post(path).header("x-hallpass", "1").json(body(email)).send().await;
            expect_status(&reply, status, &format!("{path}: {state}"));
            assert_eq!(app.waiting_mails().await.len(), mails, "{path}: {state}");
            let seen = seen(&reply);
            assert_eq!(seen, *first.get_or_insert_with(|| seen.clone()), "{path}: {state}");
            app.mails().await;
        }
    }
}

#[actix_rt::test]
async fn where_only_an_address_is_typed_the_same_row_is_written_and_nothing_is_looked_up() {
    let app = app().await;
    for (path, kind) in [("/auth/password/forgot", "reset"), ("/auth/link", "link")] {
        for (state, email) in STATES {
            expect_status(&app.post_json(path, json!({"email": email})).await, 202, state);
            let rows = app.waiting_mails().await;
            let row = rows.first().unwrap();
            assert_eq!((row.user, row.token.is_none(), row.kind.as_str()), (None, true, kind), "{state}");
            let has_mail = [EMAIL, "early@example.com", "invited@example.com"].contains(&email);
            let sent: Vec<_> = app.mails().await.iter().map(|mail| mail.to().to_owned()).collect();
            assert_eq!(sent, if has_mail { vec![email.to_owned()] } else { vec![] }, "{path}: {state}");
            assert_eq!(app.waiting_mails().await, [], "{state}");
        }
    }
}

#[actix_rt::test]
async fn the_owner_alone_is_told_that_somebody_registered_a_taken_address() {
    let app = app().await;
    for (state, email) in STATES {
        let body = json!({"email": email, "password": NEW_PASSWORD});
        expect_status(&app.post_json("/auth/register", body).await, 202, state);
        let subjects: Vec<_> = app.mails().await.iter().map(|mail| mail.subject().to_owned()).collect();
        let expected: &[&str] = match email {
            "nobody@example.com" => &["Verify your address for app.example"],
            // Who is disabled, or has another address now, gets no mail.
            "disabled@example.com" | "before@example.com" => &[],
            _ => &["You already have an account at app.example"],
        };
        assert_eq!(subjects, expected, "{state}");
    }
}
