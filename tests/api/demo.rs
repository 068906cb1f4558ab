//! `hallpass demo`: its options, and which settings of the environment count.

use std::io::{BufRead, BufReader};
use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Server, Workplace, finish_or_kill};

/// Starts a demo and returns it with the line of JSON that it prints.
fn demo(place: &Workplace, args: &[&str], variables: &[(&str, &str)]) -> (Server, Value) {
    let mut command = place.command(["demo", "--json"]);
    command.args(args).envs(variables.iter().copied());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    assert_ne!(out.read_line(&mut line).unwrap(), 0, "the demo ended before it listened");
    let printed: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let address = printed["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    (Server { child, address, out }, printed)
}

#[test]
fn the_demo_takes_its_user_its_roles_its_address_and_its_origins_and_prints_one_line_of_json() {
    let place = Workplace::new();
    let args =
        ["--bind", "127.0.0.1:0", "--user", "Grace@Example.com", "--role", "admin", "--role", "editor"];
    let (server, printed) = demo(&place, &[&args[..], &["--cors", "http://localhost:5173"]].concat(), &[]);
    assert_eq!(
        (&printed["email"], &printed["roles"]),
        (&json!("grace@example.com"), &json!(["admin", "editor"]))
    );
    let body = json!({"email": printed["email"], "password": printed["password"]});
    let (status, answer) = server.ask("POST /auth/login", None, Some(&body));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"]["user"]["roles"], json!(["admin", "editor"]));
    let preflight = format!(
        "curl -si http://{}/auth/login -X OPTIONS -H 'Origin: http://localhost:5173' -H 'Access-Control-Request-Method: POST'",
        server.address
    );
    let seen = Command::new("sh").args(["-c", &preflight]).output().unwrap();
    let seen = String::from_utf8(seen.stdout).unwrap().to_lowercase();
    assert!(seen.contains("access-control-allow-origin: http://localhost:5173"), "{seen}");
    let finished = server.stop("INT");
    assert!(finished.err.contains(printed["database"].as_str().unwrap()), "the log names the database");
    finished.expect(0, "Ctrl-C");
}

#[test]
fn the_demo_takes_settings_from_the_environment_and_neither_a_database_nor_a_file() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("config")).unwrap();
    std::fs::write(place.path("config/default.toml"), "[token]\nlifetime_s = 7\n").unwrap();
    std::fs::write(place.path(".env"), "HALLPASS_TOKEN__LIFETIME_S=8\nDATABASE_URL=sqlite://app.db\n")
        .unwrap();
    let (server, printed) = demo(
        &place,
        &["--bind", "127.0.0.1:0"],
        &[
            ("HALLPASS_TOKEN__LIFETIME_S", "300"),
            ("HALLPASS_DATABASE__URL", "sqlite://own.db"),
            ("DATABASE_URL", "sqlite://app.db"),
            ("HALLPASS_ENV", "production"),
        ],
    );
    let body = json!({"email": printed["email"], "password": printed["password"]});
    assert_eq!(server.ask("POST /auth/login", None, Some(&body)).1["data"]["expires_in"], 300);
    server.stop("INT").expect(0, "Ctrl-C");
    for untouched in ["own.db", "app.db", "hallpass.db"] {
        assert!(!place.path(untouched).exists(), "{untouched} was made");
    }
}

#[test]
fn an_option_of_the_demo_that_is_not_acceptable_is_refused_with_what_is() {
    let place = Workplace::new();
    for (args, expected) in [
        (["--user", "ada"], "the address of --user is not an e-mail address"),
        (["--role", "Admin"], "\"Admin\" is no role"),
        (["--bind", "nowhere"], "server.bind is \"nowhere\" (--bind)"),
        (["--cors", "localhost"], "server.cors_origins is \"localhost\" (--cors)"),
        (["--database-url", "sqlite://x.db"], "hallpass demo would ignore --database-url"),
    ] {
        let mut command = place.command(["demo"]);
        command.args(args);
        finish_or_kill(command).expect_error(2, expected);
    }
}

#[test]
fn the_demo_mails_nothing_and_its_log_shows_a_link_that_works() {
    let place = Workplace::new();
    let (mut server, printed) =
        demo(&place, &["--bind", "127.0.0.1:0"], &[("HALLPASS_MAIL__URL", "smtp://mail.example.com")]);
    let asked = json!({"email": printed["email"]});
    assert_eq!(server.ask("POST /auth/password/forgot", None, Some(&asked)).0, 202);
    // What is off at a server that has not been set up for it.
    assert_eq!(server.ask("POST /auth/link", None, Some(&asked)).0, 202);
    let base = format!("http://{}/#/reset?token=", server.address);
    let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = log.find(|line| line.contains(&base)).expect("the log ends with the demo");
    let token = line.split_once(&base).unwrap().1.trim();
    let reset = json!({"token": token, "new_password": "seventeen blue lanterns"});
    assert_eq!(server.ask("POST /auth/password/reset", None, Some(&reset)).0, 204);
    // What reads the log must not keep the demo from ending.
    let rest = std::thread::spawn(move || log.count());
    server.signal("INT");
    assert!(server.child.wait().unwrap().success());
    rest.join().unwrap();
}
