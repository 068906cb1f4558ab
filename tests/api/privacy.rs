//! What a user can see of what is stored, and what a deleted user leaves behind.

use actix_web::http::Method;
use serde_json::json;

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::process::Workplace;
use crate::session::Pair;

#[actix_rt::test]
async fn a_user_gets_everything_that_is_stored_of_them_and_no_secret() {
    let app = TestApp::new().await;
    app.add_user("bob@example.com", PASSWORD).await;
    app.login("bob@example.com", "wrong horse battery").await;
    let ended = app.token().await;
    app.post("/auth/logout").authorization(&format!("Bearer {ended}")).send().await;
    let pair = Pair::of(&app.login(EMAIL, PASSWORD).await);
    let ask = app.ask(Method::GET, "/user/export").authorization(&format!("Bearer {}", pair.access));
    let reply = ask.send().await;
    let export = reply.expect_data("export");
    assert_eq!((&export["user"]["email"], &export["has_password"]), (&json!(EMAIL), &json!(true)));
    let kinds: Vec<_> = export["events"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["signed_in", "signed_out", "signed_in", "user_added"], "and nothing of others");
    let sessions = export["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert!(sessions[0]["ended_at"].is_null() && sessions[1]["ended_at"].is_string());
    assert_eq!(sessions[0]["methods"], json!(["pwd"]));
    assert_eq!(export["is_cut"], false);
    let id = app.user_id().await;
    let (stored, hash) = (app.stored_user(id).await.password_hash.unwrap(), app.password_hash(id).await);
    for secret in [&stored, &hash, &pair.access, &pair.refresh, "$2b$", "bob"] {
        assert!(!reply.text().contains(secret), "{secret}");
    }
}

#[actix_rt::test]
async fn a_forgotten_users_events_keep_their_kind_and_time_alone() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let id = app.user_id().await;
    let login = app.post("/auth/login").peer("203.0.113.9").header("x-request-id", "request-7");
    login.json(json!({"email": EMAIL, "password": PASSWORD})).send().await;
    let path = format!("/admin/users/{id}");
    app.act(&admin, "PATCH", &path, Some(json!({"name": "Augusta"}))).await.expect_data("renamed");
    let before = app.recorded_events().await;
    let reply = app.act(&admin, "DELETE", &format!("{path}?forget=maybe"), None).await;
    reply.expect_failure(400, "request_invalid", "neither true nor false");
    let reply = app.act(&admin, "DELETE", &format!("{path}?forget=true"), None).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    let after = app.recorded_events().await;
    assert_eq!(after.len(), before.len() + 1, "none is deleted, and the act is recorded");
    for (then, now) in before.iter().zip(&after) {
        assert_eq!(
            (then.number, then.event.at, &then.event.kind),
            (now.number, now.event.at, &now.event.kind)
        );
        if then.event.user == Some(id) {
            let event = &now.event;
            assert_eq!((event.user, event.session, event.address, &event.request), (None, None, None, &None));
            assert!(event.details.is_empty(), "{event:?}");
        } else {
            assert_eq!(then, now, "the events of others stay");
        }
    }
    let all = format!("{after:?}");
    for trace in [&id.to_string(), EMAIL, "203.0.113.9", "request-7", "Augusta"] {
        assert!(!all.contains(trace), "{trace}");
    }
}

#[actix_rt::test]
async fn without_forget_the_events_of_a_deleted_user_stay() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let id = app.user_id().await;
    app.act(&admin, "DELETE", &format!("/admin/users/{id}"), None).await;
    let events = app.recorded_events().await;
    assert_eq!(events.iter().filter(|recorded| recorded.event.user == Some(id)).count(), 2);
}

#[test]
fn the_command_line_filters_users_counts_events_forgets_and_writes_no_character_that_turns_the_line() {
    let place = Workplace::new();
    place.run(&["user", "list", "--q", "x"], "").expect(0, "nobody yet");
    place.add_user();
    let csv = "email,name,roles,password_hash\nrev@example.com,\u{202e}gnp.exe\u{2028}x,owner,\nbob@example.com,Bob,,\n";
    std::fs::write(place.path("users.csv"), csv).unwrap();
    place.run(&["user", "import", "users.csv"], "").expect(0, "import");
    place.run(&["user", "disable", "bob@example.com"], "").expect(0, "disable");
    let list = |arguments: &[&str]| {
        let listed = place.run(&[&["user", "list", "--json"], arguments].concat(), "");
        let users: Vec<serde_json::Value> = serde_json::from_str(&listed.out).unwrap();
        users.iter().map(|user| user["email"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&["--disabled"]), ["bob@example.com"]);
    assert_eq!(list(&["--enabled", "--role", "owner"]), ["rev@example.com"]);
    assert_eq!(list(&["--q", "BO"]), ["bob@example.com"]);
    assert_eq!(list(&["--q", "example.c", "--enabled"]), ["rev@example.com", EMAIL]);
    assert_eq!(place.run(&["user", "list", "--q", "%"], "").out, "no user matches\n");
    place.run(&["user", "list", "--enabled", "--disabled"], "").expect(2, "both");
    place.run(&["user", "list", "--role", "A"], "").expect(2, "no role");

    for arguments in
        [&["user", "list"][..], &["user", "list", "--json"], &["user", "show", "rev@example.com"]]
    {
        let out = place.run(arguments, "").out;
        assert!(!out.contains('\u{202e}') && !out.contains('\u{2028}'), "{arguments:?}: {out}");
        assert!(out.contains("202e") && out.contains("gnp.exe"), "{arguments:?}: {out}");
    }

    let stats = place.run(&["stats"], "");
    assert!(
        stats.out.contains("users added") && stats.out.contains("3 users, 1 of them disabled"),
        "{}",
        stats.out
    );
    let stats: serde_json::Value = serde_json::from_str(&place.run(&["stats", "--json"], "").out).unwrap();
    assert_eq!(
        (&stats["counts"]["24_hours"]["users_added"], &stats["totals"]["users"]),
        (&json!(1), &json!(3))
    );

    place.run(&["user", "delete", EMAIL, "--yes", "--forget"], "").expect(0, "forget");
    let events = place.run(&["events", "--json"], "").out;
    let added = events.lines().find(|line| line.contains("\"user_added\"")).unwrap();
    let added: serde_json::Value = serde_json::from_str(added).unwrap();
    assert_eq!(added["user_id"], serde_json::Value::Null);
}
