//! Commands for operators: `doctor`, `config --json`, and the columns of tables.

use std::os::unix::fs::PermissionsExt;

use chrono::{Datelike, Duration};
use hallpass::clock::Clock;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::app::{EMAIL, PASSWORD};
use crate::process::Workplace;

#[test]
fn the_doctor_finds_nothing_wrong_with_a_server_that_runs() {
    let place = Workplace::new().variable("HALLPASS_PASSWORD__BCRYPT_COST", "10");
    let add = ["user", "add", EMAIL, "--role", "admin", "--password-stdin"];
    place.run(&add, format!("{PASSWORD}\n")).expect(0, "user add");
    let server = place.serve();
    let place = place.variable("HALLPASS_SERVER__BIND", &server.address);
    let finished = place.run(&["doctor"], "");
    finished.expect(0, "doctor");
    for subject in ["settings", "permissions", "database", "keys", "clock", "mail", "users", "server"] {
        let line = finished.out.lines().find(|line| line.split_whitespace().nth(1) == Some(subject));
        assert!(line.is_some_and(|line| line.starts_with("good")), "{subject}: {}", finished.out);
    }
}

#[test]
fn the_doctor_makes_no_database_and_says_what_does() {
    let place = Workplace::new().variable("HALLPASS_SERVER__BIND", "127.0.0.1:1");
    let finished = place.run(&["doctor"], "");
    finished.expect(0, "doctor");
    assert!(
        finished.out.contains("hallpass.db does not exist yet; hallpass serve makes it"),
        "{}",
        finished.out
    );
    assert!(finished.out.contains("hallpass serve starts one"), "{}", finished.out);
    assert!(!place.path("hallpass.db").exists());
}

#[test]
fn the_doctor_names_a_database_that_others_can_read_and_ends_with_what_to_do() {
    let place = Workplace::new();
    place.add_user();
    std::fs::set_permissions(place.path("hallpass.db"), PermissionsExt::from_mode(0o644)).unwrap();
    let finished = place.run(&["doctor"], "");
    finished.expect_error(1, "one problem; the last line says what to do");
    let last = finished.out.lines().last().unwrap();
    assert!(last.starts_with("problem  permissions") && last.ends_with("chmod 600 it"), "{}", finished.out);
}

#[test]
fn the_doctor_says_where_passkeys_do_not_work() {
    let doctor = |variables: &[(&str, &str)]| {
        let place =
            variables.iter().fold(Workplace::new(), |place, (name, value)| place.variable(name, value));
        place.run(&["doctor"], "").out
    };
    let out = doctor(&[("HALLPASS_SERVER__PUBLIC_URL", "http://id.example")]);
    assert!(out.contains("http://id.example, where browsers offer no passkeys"), "{out}");
    let out = doctor(&[("HALLPASS_PASSKEY__ORIGINS", "http://127.0.0.1:8080")]);
    assert!(out.lines().last().unwrap().starts_with("problem  passkeys  passkey.origins has"), "{out}");
}

#[test]
fn the_doctor_says_when_the_certificate_expires_before_browsers_do() {
    let place = Workplace::new()
        .variable("HALLPASS_SERVER__BIND", "127.0.0.1:1")
        .variable("HALLPASS_SERVER__TLS_CERT", "cert.pem")
        .variable("HALLPASS_SERVER__TLS_KEY", "key.pem");
    let key = KeyPair::generate().unwrap();
    std::fs::write(place.path("key.pem"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(place.path("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    for (days, status, verdict, text) in [
        (60, 0, "good", "the certificate is valid until "),
        (7, 0, "advice", "the certificate expires at "),
        (-1, 1, "problem", "the certificate expired at "),
    ] {
        let end = Clock::system().now() + Duration::days(days);
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let (month, day) = (u8::try_from(end.month()).unwrap(), u8::try_from(end.day()).unwrap());
        params.not_after = rcgen::date_time_ymd(end.year(), month, day);
        std::fs::write(place.path("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let finished = place.run(&["doctor"], "");
        assert_eq!(finished.status.code(), Some(status), "{days}: {}", finished.out);
        let line = finished.out.lines().find(|line| line.split_whitespace().nth(1) == Some("tls")).unwrap();
        assert!(
            line.starts_with(verdict)
                && line.contains(&format!("{text}{}", end.format("%Y-%m-%dT00:00:00Z"))),
            "{days}: {line}"
        );
    }

    let other = KeyPair::generate().unwrap();
    std::fs::write(place.path("key.pem"), other.serialize_pem()).unwrap();
    let finished = place.run(&["doctor"], "");
    finished.expect_error(1, "one problem");
    assert!(
        finished.out.contains("server.tls_cert and server.tls_key cannot be used together"),
        "{}",
        finished.out
    );
    std::fs::remove_file(place.path("cert.pem")).unwrap();
    let finished = place.run(&["doctor"], "");
    assert!(finished.out.lines().last().unwrap().contains("cert.pem"), "{}", finished.out);
}

#[test]
fn the_doctor_notices_that_all_clients_have_the_address_of_a_proxy() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    for _ in 0..20 {
        server.login();
    }
    let finished = place.run(&["doctor"], "");
    assert!(
        finished.out.contains("events came from 127.0.0.1: if that is a reverse proxy"),
        "{}",
        finished.out
    );
    let place = place.variable("HALLPASS_SERVER__TRUSTED_PROXIES", "127.0.0.1");
    let finished = place.run(&["doctor"], "");
    assert!(!finished.out.contains("if that is a reverse proxy"), "{}", finished.out);
}

#[test]
fn config_prints_json_for_programs() {
    let place = Workplace::new().variable("HALLPASS_TOKEN__LIFETIME_S", "900");
    let finished = place.run(&["config", "--json"], "");
    finished.expect(0, "config --json");
    let settings: Vec<Value> = serde_json::from_str(&finished.out).unwrap();
    let of = |name: &str| settings.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(of("token.lifetime_s")["value"], "900");
    assert_eq!(of("token.lifetime_s")["default"], "3600");
    assert_eq!(of("token.lifetime_s")["origin"], "HALLPASS_TOKEN__LIFETIME_S in the environment");
    assert_eq!(of("token.issuer")["value"], Value::Null);
}

#[test]
fn the_columns_of_a_list_are_as_wide_as_their_texts() {
    let place = Workplace::new();
    for (email, name) in
        [("a@example.com", "Ada"), ("a.very.long.address.of.somebody@museum.example", "Grace Hopper")]
    {
        let add = ["user", "add", email, "--name", name, "--password-stdin"];
        place.run(&add, format!("{PASSWORD}\n")).expect(0, "user add");
    }
    let listed = place.run(&["user", "list"], "").out;
    let places: Vec<_> = listed.lines().map(|line| line.find("enabled").unwrap()).collect();
    assert!(places.len() == 2 && places[0] == places[1], "{listed}");
}

#[test]
fn a_log_line_of_a_request_has_its_traceparent() {
    let place = Workplace::new().variable("HALLPASS_LOG__FORMAT", "json");
    place.add_user();
    let server = place.serve();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let head = format!("POST /auth/login HTTP/1.1\r\ntraceparent: {trace}");
    let status = traced(&server.address, &head, &serde_json::json!({"email": EMAIL, "password": PASSWORD}));
    assert_eq!(status, 200);
    let log = server.stop("TERM").err;
    let line = log.lines().find(|line| line.contains("signed_in")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["traceparent"], trace);
}

/// Sends a request that begins with `head`, and returns the status.
fn traced(address: &str, head: &str, body: &Value) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "{head}\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
