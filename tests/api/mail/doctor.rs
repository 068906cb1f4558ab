//! `hallpass doctor` looks at the mail server, and at the mails that wait for it.

use std::os::unix::fs::PermissionsExt;

use chrono::Duration;
use hallpass::clock::Clock;

use super::sending::app_on;
use super::sink::{Authority, Behaviour, Offered, Sink, Stage};
use crate::app::EMAIL;
use crate::process::{Finished, Workplace};
use crate::test_database::TestDatabase;

/// A folder where no server runs.
fn place() -> Workplace {
    Workplace::new().variable("HALLPASS_SERVER__BIND", "127.0.0.1:1")
}

/// The line about `subject` that begins with `verdict`.
#[track_caller]
fn expect_finding(finished: &Finished, verdict: &str, subject: &str, text: &str) {
    let is_it = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some(verdict) && words.next() == Some(subject) && line.contains(text)
    };
    assert!(finished.out.lines().any(|line| is_it(&line)), "{verdict} {subject} {text}: {}", finished.out);
}

#[test]
fn the_doctor_connects_to_the_mail_server_and_sends_nothing() {
    let sink = Sink::start();
    let place = place().variable("HALLPASS_MAIL__URL", &sink.url());
    let finished = place.run(&["doctor"], "");
    finished.expect(0, "doctor");
    expect_finding(&finished, "good", "mail", &format!("127.0.0.1:{} takes mails from", sink.port));
    assert!(sink.mails().is_empty());
    let commands = sink.in_clear();
    assert!(commands.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{commands:?}");

    sink.next(&[Behaviour::Answer(Stage::Greeting, "554 go away")]);
    let finished = place.run(&["doctor"], "");
    finished.expect_error(1, "one problem");
    expect_finding(&finished, "problem", "mail", &format!("127.0.0.1:{}: ", sink.port));
    expect_finding(&finished, "problem", "mail", "go away");
}

#[test]
fn the_doctor_tries_the_password_for_the_mail_server_and_its_certificate() {
    let (authority, other) = (Authority::new("right"), Authority::new("other"));
    let with = |trusted: &Authority, sink: &Sink| {
        let place = place();
        std::fs::write(place.path("authority.pem"), &trusted.pem).unwrap();
        std::fs::write(place.path("password"), "seventeen\n").unwrap();
        place
            .variable("SSL_CERT_FILE", "authority.pem")
            .variable("HALLPASS_MAIL__FROM", "Example <no-reply@example.com>")
            .variable("HALLPASS_MAIL__PASSWORD_FILE", "password")
            .variable("HALLPASS_MAIL__URL", &format!("smtps://ada@localhost:{}", sink.port))
    };
    let sink = Sink::with(Offered::Implicit(authority.server("localhost")));
    expect_finding(&with(&authority, &sink).run(&["doctor"], ""), "good", "mail", "takes mails from");
    sink.next(&[Behaviour::Answer(Stage::Password, "535 5.7.8 wrong password")]);
    let refused = with(&authority, &sink).run(&["doctor"], "");
    expect_finding(&refused, "problem", "mail", "wrong password");
    assert!(!refused.out.contains("seventeen") && !refused.err.contains("seventeen"), "{}", refused.out);
    expect_finding(&with(&other, &sink).run(&["doctor"], ""), "problem", "mail", "certificate");
}

#[test]
fn the_doctor_names_a_mail_server_that_is_down_and_a_password_file_that_others_can_read() {
    let place = place()
        .variable("HALLPASS_MAIL__URL", "smtps://ada@127.0.0.1:1")
        .variable("HALLPASS_MAIL__FROM", "no-reply@example.com")
        .variable("HALLPASS_MAIL__PASSWORD_FILE", "password");
    std::fs::write(place.path("password"), "seventeen\n").unwrap();
    std::fs::set_permissions(place.path("password"), PermissionsExt::from_mode(0o644)).unwrap();
    let finished = place.run(&["doctor"], "");
    finished.expect_error(1, "2 problems");
    expect_finding(&finished, "problem", "permissions", "mail.password_file: password has mode 0644");
    expect_finding(&finished, "problem", "mail", "127.0.0.1:1: ");
}

#[test]
fn the_doctor_looks_for_the_folder_of_mails_and_leaves_nothing_there() {
    expect_finding(&place().run(&["doctor"], ""), "good", "mail", "off, since mail.url is not set");
    let place = place();
    let folder = place.path("mails");
    let place = place.variable("HALLPASS_MAIL__URL", &format!("file://{}", folder.display()));
    expect_finding(&place.run(&["doctor"], ""), "good", "mail", "the folder");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[actix_rt::test]
async fn the_doctor_notices_mails_that_have_been_waiting_for_an_hour() {
    let (sink, database) = (Sink::start(), TestDatabase::new());
    let app = app_on(database.clone(), &sink.url()).await;
    app.ask_for_reset(EMAIL).await;
    let doctor = || place().on(&database).run(&["doctor"], "");
    let since = async |age: Duration| {
        let created = (Clock::system().now() - age).timestamp_millis();
        database.execute(&format!("update mail_outbox set created_at = {created}")).await;
    };
    since(Duration::minutes(30)).await;
    assert!(!doctor().out.contains("waiting"));
    since(Duration::minutes(150)).await;
    let finished = doctor();
    expect_finding(&finished, "problem", "mail", "mails are waiting: 1, the oldest for 2 hours");
}
