//! The end of a session and the lifetime of its tokens.

use chrono::Duration;
use serde_json::json;

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::process::Workplace;

#[actix_rt::test]
async fn an_access_token_expires_with_its_session_at_the_latest() {
    let secs = std::time::Duration::from_secs;
    for (idle, absolute) in [(60, 86_400), (86_400, 60)] {
        let app = TestApp::with(|settings| {
            settings.session.idle_lifetime = secs(idle);
            settings.session.refresh_lifetime = secs(absolute);
        })
        .await;
        let reply = app.login(EMAIL, PASSWORD).await.expect_data("login");
        assert_eq!(reply["expires_in"], 60);
        let token = reply["token"].as_str().unwrap();
        app.pass(Duration::seconds(59)).await;
        app.get_user(token).await.expect_data("before the end");
        app.pass(Duration::seconds(1)).await;
        app.get_user(token).await.expect_refused("token_expired", "at the end");
    }
}

#[actix_rt::test]
async fn a_refresh_near_the_absolute_end_returns_a_shorter_token() {
    let app =
        TestApp::with(|settings| settings.session.refresh_lifetime = std::time::Duration::from_secs(100))
            .await;
    let first = app.login(EMAIL, PASSWORD).await.expect_data("login");
    app.pass(Duration::seconds(70)).await;
    let body = json!({"refresh_token": first["refresh_token"]});
    let second = app.post("/auth/refresh").json(body).send().await.expect_data("refresh");
    assert_eq!((&second["expires_in"], &second["refresh_expires_in"]), (&json!(30), &json!(30)));
}

#[test]
fn a_command_ends_everybodys_sessions_at_once() {
    let place = Workplace::new();
    place.add_user();
    let bob = ["user", "add", "bob@example.com", "--password-stdin"];
    place.run(&bob, format!("{PASSWORD}\n")).expect(0, "another user");
    let server = place.serve();
    let ada = server.token();
    let body = json!({"email": "bob@example.com", "password": PASSWORD});
    let (_, bob) = server.ask("POST /auth/login", None, Some(&body));
    let refused = place.run(&["sessions", "end"], "");
    refused.expect_error(2, "--all");
    let done = place.run(&["sessions", "end", "--all"], "");
    done.expect(0, "sessions end --all");
    assert_eq!(done.out, "all sessions of 2 users have ended; everybody must sign in again\n");
    for token in [&ada, bob["data"]["token"].as_str().unwrap()] {
        assert_eq!(server.get_user_until(token, 401)["error"], "token_revoked");
    }
    let refresh = json!({"refresh_token": bob["data"]["refresh_token"]});
    assert_eq!(server.ask("POST /auth/refresh", None, Some(&refresh)).0, 401);
    assert_eq!(server.get_user(&server.token()).0, 200, "a new sign-in");
    let events = place.run(&["events"], "").out;
    assert_eq!(events.matches("all_sessions_ended").count(), 1, "{events}");
}
