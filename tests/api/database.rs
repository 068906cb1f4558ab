//! A server and its database: asked for nothing on a known token's way, locked, shared by two processes.

use std::fs::File;

use serde_json::json;
use sqlx::{ConnectOptions, Executor};

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::cli::{Server, Workplace};

/// How many statements the log tells of, but for the question that each server asks twice a second.
fn statements(place: &Workplace) -> usize {
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    let told = |line: &&str| {
        line.contains("db.statement") && !line.contains("select seq, kind, subject from changes")
    };
    log.lines().filter(told).count()
}

#[test]
fn a_thousand_requests_by_known_tokens_run_no_statement_and_go_on_while_the_database_is_locked() {
    let place = Workplace::new().variable("RUST_LOG", "sqlx=debug");
    place.add_user();
    place
        .run(&["user", "add", "bob@example.com", "--password-stdin"], format!("{PASSWORD}\n"))
        .expect(0, "bob");
    let mut command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    command.stderr(File::create(place.path("log")).unwrap());
    let server = Server::start(command, format!("{PASSPHRASE}\n"));
    let token = server.token();
    let body = json!({"email": "bob@example.com", "password": PASSWORD});
    let (_, bobs) = server.ask("POST /auth/login", None, Some(&body));
    let bobs = bobs["data"]["token"].as_str().unwrap();
    assert_eq!(server.get_user(&token).0, 200, "known from here on");

    let options: sqlx::sqlite::SqliteConnectOptions =
        format!("sqlite://{}", place.path("hallpass.db").display()).parse().unwrap();
    actix_rt::System::new().block_on(async {
        let mut lock = options.connect().await.unwrap();
        lock.execute("begin exclusive").await.unwrap();
        let before = statements(&place);
        assert!(before > 0, "the log tells of statements");
        for _ in 0..1_000 {
            assert_eq!(server.get_user(&token).0, 200);
        }
        assert_eq!(statements(&place), before);
        assert_eq!(server.get_user(bobs).0, 200);
        assert_eq!(statements(&place), before + 1, "the control: Bob is read");

        let (status, body) = server.login();
        assert_eq!(
            (status, &body["error"]),
            (503, &json!("unavailable")),
            "never a wrong password, never a lock"
        );
        lock.execute("rollback").await.unwrap();
    });
    assert_eq!(server.login().0, 200, "and all is well again");
}

#[test]
fn what_is_ended_at_one_server_is_dead_at_another_on_the_same_database() {
    let place = Workplace::new();
    place.add_user();
    let (one, other) = (place.serve(), place.serve());
    let bearer = |token: &str| format!("Bearer {token}");
    let tokens = || {
        let (_, body) = one.login();
        let text = |name: &str| body["data"][name].as_str().unwrap().to_owned();
        (text("token"), text("refresh_token"))
    };
    let (first, refresh) = tokens();
    let (second, _) = tokens();
    for token in [&first, &second] {
        assert_eq!(other.get_user(token).0, 200);
    }
    let (status, body) = other.ask("POST /auth/refresh", None, Some(&json!({"refresh_token": refresh})));
    assert_eq!((status, &body["data"]["user"]["email"]), (200, &json!(EMAIL)), "refreshed at the other");
    let refreshed = body["data"]["token"].as_str().unwrap().to_owned();
    assert_eq!(one.ask("POST /auth/logout", Some(&bearer(&first)), None).0, 204);
    assert_eq!(one.get_user(&first).0, 401, "at once where it was told");
    for token in [&first, &refreshed] {
        assert_eq!(other.get_user_until(token, 401)["error"], "token_revoked");
    }
    assert_eq!(other.get_user(&second).0, 200);
    assert_eq!(other.ask("POST /auth/logout-all", Some(&bearer(&second)), None).0, 204);
    assert_eq!(one.get_user_until(&second, 401)["error"], "token_revoked");
}
