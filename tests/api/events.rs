//! The record of what happened, in the database, at the command line and in the log.

use actix_web::http::Method;
use chrono::Duration;
use serde_json::{Value, json};

use crate::app::{EMAIL, PASSPHRASE, PASSWORD, TestApp};
use crate::process::Workplace;

impl TestApp {}

#[actix_rt::test]
async fn each_thing_that_happens_to_an_account_is_recorded_with_who_when_and_from_where() {
    let app = TestApp::new().await;
    let user = app.user_id().await;
    let ask = |method, path| app.ask(method, path).peer("203.0.113.9").header("x-request-id", "request-7");
    let login =
        |password| ask(Method::POST, "/auth/login").json(json!({"email": EMAIL, "password": password}));
    login("wrong horse battery").send().await.expect_refused("credentials_invalid", "wrong");
    app.pass(Duration::seconds(1)).await;
    let data = login(PASSWORD).send().await.expect_data("login");
    let bearer = format!("Bearer {}", data["token"].as_str().unwrap());
    let refresh = json!({"refresh_token": data["refresh_token"]});
    ask(Method::POST, "/auth/refresh").json(refresh.clone()).send().await.expect_data("refresh");
    ask(Method::POST, "/auth/refresh").json(refresh.clone()).send().await.expect_data("within the grace");
    let rename = ask(Method::PATCH, "/user/").authorization(&bearer).json(json!({"name": "Countess"}));
    rename.send().await.expect_data("rename");
    app.pass(Duration::seconds(10)).await;
    ask(Method::POST, "/auth/refresh").json(refresh).send().await;
    let data = login(PASSWORD).send().await.expect_data("login");
    let bearer = format!("Bearer {}", data["token"].as_str().unwrap());
    ask(Method::POST, "/auth/logout-all").authorization(&bearer).send().await;
    let body = json!({"email": "bob@example.com", "password": "another horse battery"});
    ask(Method::POST, "/auth/register").json(body).send().await;

    let events = app.recorded_events().await;
    let kinds: Vec<_> = events.iter().map(|recorded| recorded.event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "user_added",
            "sign_in_failed",
            "signed_in",
            "refreshed",
            "user_renamed",
            "refresh_reused",
            "signed_in",
            "signed_out_everywhere",
            "user_added",
        ]
    );
    for recorded in &events[1..8] {
        let event = &recorded.event;
        assert_eq!(event.user, Some(user), "{event:?}");
        assert_eq!(event.address, Some("203.0.113.9".parse().unwrap()), "{event:?}");
        assert_eq!(event.request.as_deref(), Some("request-7"), "{event:?}");
        assert_eq!(recorded.email.as_deref(), Some(EMAIL));
    }
    let session = events[2].event.session;
    assert!(session.is_some());
    for same in [3, 5] {
        assert_eq!(events[same].event.session, session, "{:?}", events[same]);
    }
    assert_eq!(events[2].event.at - events[1].event.at, Duration::seconds(1));
}

#[actix_rt::test]
async fn a_user_who_changes_the_name_again_and_again_leaves_one_event_an_hour_with_their_number() {
    let lifetime = std::time::Duration::from_secs(7_200);
    let app = TestApp::with(|settings| settings.token.lifetime = lifetime).await;
    let token = app.token().await;
    let rename = async |name: &str, peer: &str| {
        let ask = app.ask(Method::PATCH, "/user/").peer(peer).authorization(&format!("Bearer {token}"));
        ask.json(json!({"name": name})).send().await.expect_data(name);
    };
    let counts = async || {
        let events = app.recorded_events().await.into_iter();
        let renames = events.filter(|recorded| recorded.event.kind == "user_renamed");
        renames.map(|recorded| recorded.event.details.get("count").cloned()).collect::<Vec<_>>()
    };
    for number in 0..5 {
        rename(&format!("Ada {number}"), "192.0.2.1").await;
    }
    assert_eq!(counts().await, [Some(json!(5))]);
    rename("Ada", "192.0.2.2").await;
    assert_eq!(counts().await, [Some(json!(5)), None], "from another address");
    app.pass(Duration::hours(1)).await;
    rename("Countess", "192.0.2.2").await;
    assert_eq!(counts().await, [Some(json!(5)), None, None], "an hour later");
}

#[actix_rt::test]
async fn a_change_of_the_account_and_the_end_of_a_session_are_recorded_with_whose_they_were() {
    let app = TestApp::new().await;
    let user = app.user_id().await;
    let sign_in = async || {
        let data = app.login(EMAIL, PASSWORD).await.expect_data("login");
        format!("Bearer {}", data["token"].as_str().unwrap())
    };
    let (one, two, three) = (sign_in().await, sign_in().await, sign_in().await);
    app.post("/auth/logout").authorization(&one).send().await;
    let sessions = app.ask(Method::GET, "/user/sessions").authorization(&two).send().await;
    let sessions = sessions.expect_data("sessions");
    let other = sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/user/sessions/{}", other["id"].as_str().unwrap());
    app.ask(Method::DELETE, &path).authorization(&two).send().await;
    app.get_user(three.strip_prefix("Bearer ").unwrap()).await.expect_refused("token_revoked", "ended");
    let change = json!({"current_password": PASSWORD, "new_password": "seventeen blue lanterns"});
    let changed = app.post("/user/password").authorization(&two).json(change).send().await;
    let token = format!("Bearer {}", changed.expect_data("password")["token"].as_str().unwrap());
    let proof = json!({"password": "seventeen blue lanterns"});
    app.ask(Method::DELETE, "/user/").authorization(&token).json(proof).send().await;

    let events = app.recorded_events().await;
    let told: Vec<_> = events[4..].iter().map(|it| (it.event.kind.as_str(), it.event.user)).collect();
    let of_user = |kind| (kind, Some(user));
    assert_eq!(told, ["signed_out", "session_ended", "password_changed", "user_deleted"].map(of_user));
    assert_eq!(events[4].event.session, events[1].event.session, "the session that was signed out");
    assert_eq!(
        events[5].event.session.map(|id| id.to_string()).as_deref(),
        other["id"].as_str(),
        "the session that was ended"
    );
    assert!(events.iter().all(|recorded| recorded.email.is_none()), "the address went with the user");
    let all = format!("{events:?}");
    for secret in [PASSWORD, "seventeen blue lanterns", &one[7..], &two[7..], &token[7..], "hpr_"] {
        assert!(!all.contains(secret), "{secret} is in the record");
    }
}

#[test]
fn what_the_command_line_does_is_recorded_too() {
    let place = Workplace::new();
    place.add_user();
    place.serve().stop("TERM").expect(0, "the installation is founded");
    std::fs::write(place.path("users.csv"), "email,name,roles,password_hash\nbob@example.com,Bob,,\n")
        .unwrap();
    let passphrase = format!("{PASSPHRASE}\n");
    let changes: &[(&[&str], &str, &str)] = &[
        (&["user", "disable", EMAIL], "", "user_disabled"),
        (&["user", "enable", EMAIL], "", "user_enabled"),
        (&["user", "passwd", EMAIL, "--password-stdin"], "seventeen blue lanterns\n", "password_changed"),
        (&["user", "import", "users.csv"], "", "users_imported"),
        (&["user", "delete", EMAIL, "--yes"], "", "user_deleted"),
        (&["key", "rotate", "--key-stdin"], &passphrase, "key_added"),
        (
            &["key", "passphrase", "--key-stdin"],
            &format!("{PASSPHRASE}\nanother river of nineteen green lanterns\n"),
            "passphrase_changed",
        ),
    ];
    for (command, input, expected) in changes {
        place.run(command, input).expect(0, expected);
        let record = place.run(&["events", "--json"], "");
        let last: Value =
            serde_json::from_str(record.expect(0, "events").out.lines().last().unwrap()).unwrap();
        assert_eq!(last["kind"], *expected, "{command:?}");
    }
}

#[actix_rt::test]
async fn however_many_events_are_old_all_are_cleared_away() {
    let app = TestApp::new().await;
    let old = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500) \
               insert into events (at, kind) select 0, 'signed_in' from n";
    app.database.execute(old).await;
    app.server.delete_expired().await.unwrap();
    let events = app.recorded_events().await;
    let kinds: Vec<_> = events.iter().map(|recorded| recorded.event.kind.as_str()).collect();
    assert_eq!(kinds, ["user_added"]);
}

#[actix_rt::test]
async fn what_was_typed_as_an_unknown_address_is_not_recorded_and_a_delayed_try_not_at_all() {
    let app = TestApp::new().await;
    let typed = "my-password-in-the-wrong-field@example.com";
    for _ in 0..5 {
        app.login(typed, PASSWORD).await.expect_refused("credentials_invalid", "unknown");
    }
    app.login(typed, PASSWORD).await.expect_failure(429, "too_many_attempts", "delayed");
    let events = app.recorded_events().await;
    assert_eq!(events.iter().filter(|recorded| recorded.event.kind.as_str() == "sign_in_failed").count(), 5);
    assert!(!format!("{events:?}").contains("wrong-field"));
    assert_eq!(events.last().unwrap().event.user, None);
}

#[actix_rt::test]
async fn events_are_kept_as_long_as_the_setting_says() {
    let app =
        TestApp::with(|settings| settings.events.keep = std::time::Duration::from_secs(2 * 86_400)).await;
    app.pass(Duration::hours(47)).await;
    app.token().await;
    app.pass(Duration::hours(2)).await;
    app.server.delete_expired().await.unwrap();
    let events = app.recorded_events().await;
    let kinds: Vec<_> = events.iter().map(|recorded| recorded.event.kind.as_str()).collect();
    assert_eq!(kinds, ["signed_in"], "that the user was added is forgotten");
}

#[test]
fn hallpass_events_shows_the_record_and_picks_from_it() {
    let place = Workplace::new();
    place.run(&["events"], "").expect(0, "a database that is made first");
    place.add_user();
    place
        .run(&["user", "add", "bob@example.com", "--password-stdin"], format!("{PASSWORD}\n"))
        .expect(0, "bob");
    let server = place.serve();
    assert_eq!(server.login().0, 200);
    let log = server.stop("TERM").err;
    assert!(log.contains("signed_in user="), "the same in the log: {log}");

    let all = place.run(&["events"], "");
    let lines: Vec<_> = all.expect(0, "events").out.lines().collect();
    assert_eq!(lines.len(), 3, "{all:?}");
    assert!(lines[0].contains(" user_added ") && lines[0].contains("user=ada@example.com"), "{all:?}");
    assert!(lines[2].contains(" signed_in ") && lines[2].contains("address=127.0.0.1"), "{all:?}");
    assert!(lines[2].contains(" request_id="), "{all:?}");

    let of_ada = place.run(&["events", "--user", EMAIL, "--json"], "");
    let of_ada: Vec<Value> =
        of_ada.expect(0, "of one user").out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(of_ada.iter().map(|line| &line["kind"]).collect::<Vec<_>>(), ["user_added", "signed_in"]);
    let mut names: Vec<_> = of_ada[1].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["address", "at", "details", "email", "kind", "request_id", "session_id", "user_id"]);
    assert_eq!(of_ada[1]["email"], EMAIL);

    let none = place.run(&["events", "--since", "2999-01-01"], "");
    assert_eq!(none.expect(0, "none yet").out, "");
    assert_eq!(place.run(&["events", "--since", "1h"], "").out.lines().count(), 3);
    place.run(&["events", "--since", "soon"], "").expect_error(2, "--since \"soon\" is not a time");
    place
        .run(&["events", "--user", "eve@example.com"], "")
        .expect_error(1, "there is no user eve@example.com");
}

#[test]
fn hallpass_events_follows_what_happens_until_it_is_stopped() {
    use std::io::{BufRead, BufReader};

    let place = Workplace::new();
    let mut follower = place.command(["events", "--follow", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    place.add_user();
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(line["kind"], "user_added");
    place.run(&["user", "disable", EMAIL], "").expect(0, "disable");
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["kind"], &line["address"]), (&json!("user_disabled"), &Value::Null));
    let pid = follower.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert!(!follower.wait().unwrap().success());
}
