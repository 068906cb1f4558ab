//! A mail server that is down for long, a clock that jumps, several servers, restarts and stops: each mail is sent once.

use std::io::BufRead;

use chrono::Duration;
use futures_util::future::join_all;
use hallpass::server::config::MailUrl;
use hallpass::testing::Mail;
use serde_json::json;

use super::sending::{app_on, app_with};
use super::sink::{Behaviour, Sink, Stage};
use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::process::Workplace;
use crate::test_database::TestDatabase;

const NEW_PASSWORD: &str = "seventeen blue lanterns";

#[actix_rt::test]
async fn while_the_mail_server_is_down_for_a_day_everything_else_works() {
    // Nobody listens on the port of a server that has gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let app = app_on(TestDatabase::new(), &format!("smtp://127.0.0.1:{port}")).await;
    app.ask_for_reset(EMAIL).await;
    let mut tries = 0;
    for _ in 0..(24 * 60) {
        tries += app.send_mails().await;
        app.pass(Duration::minutes(1)).await;
    }
    assert!((25..35).contains(&tries), "{tries}");
    assert_eq!(app.waiting_mails().await.len(), 1, "nothing is given up before a day");
    app.server.mailer().unwrap().count_waiting().await.unwrap();
    let outcomes = app.server.mailer().unwrap().outcomes();
    assert_eq!((outcomes.waiting, outcomes.oldest_secs), (1, 86_400));

    app.get("/health/ready").send().await.expect_data("ready");
    let tokens = app.login(EMAIL, PASSWORD).await.expect_data("a sign-in");
    let body = json!({"refresh_token": tokens["refresh_token"]});
    let tokens = app.post("/auth/refresh").json(body).send().await.expect_data("a refresh");
    let bearer = format!("Bearer {}", tokens["token"].as_str().unwrap());
    let body = json!({"email": "grace@example.com", "password": PASSWORD});
    assert_eq!(app.post("/auth/register").json(body).send().await.status, 201);
    app.login("grace@example.com", PASSWORD).await.expect_data("the new account");
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let changed = app.post("/user/password").authorization(&bearer).json(body).send().await;
    changed.expect_data("a change of the password");
    app.ask_for_reset("grace@example.com").await;
    let kinds = async || app.waiting_mails().await.into_iter().map(|mail| mail.kind).collect::<Vec<_>>();
    assert_eq!(
        kinds().await,
        ["verify", "password_changed", "reset"],
        "the first died with the new password"
    );

    app.ask_for_reset(EMAIL).await;
    for _ in 0..25 {
        app.pass(Duration::hours(1)).await;
        app.send_mails().await;
    }
    assert_eq!(kinds().await, Vec::<String>::new(), "given up");
    let events = app.mail_events().await;
    let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
    assert_eq!((count("mail_delayed"), count("mail_failed"), events.len()), (5, 4, 9), "{events:?}");
}

#[actix_rt::test]
async fn what_waited_while_the_mail_server_was_down_is_sent_when_it_is_back() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    sink.set_down(true);
    let emails = [EMAIL, "grace@example.com", "joan@example.com"];
    for email in &emails[1..] {
        app.add_user(email, PASSWORD).await;
    }
    for email in emails {
        app.ask_for_reset(email).await;
    }
    for _ in 0..(23 * 60) {
        app.send_mails().await;
        app.pass(Duration::minutes(1)).await;
    }
    sink.set_down(false);
    app.pass(Duration::hours(1)).await;
    assert_eq!((app.send_mails().await, sink.mails().len()), (3, 3));
    for mail in sink.mails().iter().map(|mail| Mail::parse(mail)) {
        let body = json!({"token": mail.token(), "new_password": NEW_PASSWORD});
        assert_eq!(app.post("/auth/password/reset").json(body).send().await.status, 204, "{}", mail.to());
    }
    let mut events = app.mail_events().await;
    events.sort();
    assert_eq!(events, [["mail_delayed"; 3], ["mail_sent"; 3]].concat());
}

#[actix_rt::test]
async fn a_clock_that_jumps_loses_no_mail_and_sends_none_twice() {
    let (hour, month) = (Duration::hours(1), Duration::days(30));
    for jumps in [[month, -month], [-month, month], [hour, -hour], [-hour, hour], [-month, -month]] {
        let sink = Sink::start();
        let app = app_with(&sink).await;
        sink.set_down(true);
        app.ask_for_reset(EMAIL).await;
        app.send_mails().await;
        for jump in jumps {
            app.clock.advance(jump);
            app.server.sync_changes().await.unwrap();
            app.send_mails().await;
        }
        assert_eq!(app.waiting_mails().await.len(), 1, "{jumps:?}");
        sink.set_down(false);
        let mut minutes = 0..(2 * 60);
        while sink.mails().is_empty() && minutes.next().is_some() {
            app.pass(Duration::minutes(1)).await;
            app.send_mails().await;
        }
        let mail = Mail::parse(&sink.mails()[0]);
        let body = json!({"token": mail.token(), "new_password": NEW_PASSWORD});
        assert_eq!(app.post("/auth/password/reset").json(body).send().await.status, 204, "{jumps:?}");
        let waiting: Vec<_> = app.waiting_mails().await.into_iter().map(|mail| mail.kind).collect();
        assert_eq!(waiting, ["password_changed"], "{jumps:?}");
    }
}

#[actix_rt::test]
async fn a_mail_is_not_given_up_because_no_server_ran_for_days() {
    let sink = Sink::start();
    let mut app = app_with(&sink).await;
    app.ask_for_reset(EMAIL).await;
    app.pass(Duration::days(3)).await;
    app.restart().await;
    sink.set_down(true);
    app.send_mails().await;
    assert_eq!(app.waiting_mails().await.len(), 1);
    sink.set_down(false);
    app.pass(Duration::minutes(1)).await;
    assert_eq!((app.send_mails().await, sink.mails().len()), (1, 1));
}

#[actix_rt::test]
async fn of_several_servers_one_sends_a_mail() {
    let sink = Sink::start();
    for database in TestDatabase::each() {
        let before = sink.mails().len();
        let app = app_on(database, &sink.url()).await;
        let others = [app.another().await, app.another().await];
        for number in 0..10 {
            app.add_user(&format!("{number}@example.com"), PASSWORD).await;
            app.ask_for_reset(&format!("{number}@example.com")).await;
        }
        let all = [&app, &others[0], &others[1]];
        let tried: usize = join_all(all.map(TestApp::send_mails)).await.into_iter().sum();
        assert_eq!((tried, sink.mails().len() - before), (10, 10));
        assert_eq!(app.waiting_mails().await, []);
    }
}

#[actix_rt::test]
async fn a_mail_that_another_server_claimed_before_it_died_is_sent_after_a_while() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    app.ask_for_reset(EMAIL).await;
    let mail = app.waiting_mails().await.remove(0);
    let until = app.clock.now() + Duration::seconds(70);
    let claim = app.server.store().write(async |tx| tx.claim_mail(mail.id, mail.next_try_at, until).await);
    assert!(claim.await.unwrap());
    assert_eq!(app.send_mails().await, 0, "the other one may be sending it");
    app.pass(Duration::seconds(70)).await;
    assert_eq!((app.send_mails().await, sink.mails().len()), (1, 1));
}

#[actix_rt::test]
async fn a_restart_between_the_outbox_and_the_mail_server_loses_nothing() {
    let sink = Sink::start();
    let mut app = app_with(&sink).await;
    app.ask_for_reset(EMAIL).await;
    app.restart().await;
    assert_eq!((app.send_mails().await, sink.mails().len()), (1, 1));
}

#[test]
fn a_server_that_stops_finishes_the_mails_that_it_sends_and_begins_no_other() {
    let sink = Sink::start();
    let place =
        Workplace::new().variable("HALLPASS_MAIL__URL", &sink.url()).variable("RUST_LOG", "hallpass=debug");
    sink.next(&[Behaviour::Wait(Stage::Recipient); 4]);
    for number in 0..20 {
        place.run(&["user", "invite", &format!("{number}@example.com")], "").expect(0, "invited");
    }
    let mut server = place.serve();
    let since = std::time::Instant::now();
    while sink.connections() < 4 {
        assert!(since.elapsed().as_secs() < 60, "nothing is sent");
        std::thread::yield_now();
    }
    server.signal("TERM");
    let mut log = std::io::BufReader::new(server.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("no further mail is begun")), "it ended and did not say so");
    sink.release();
    log.for_each(drop);
    assert!(server.child.wait().unwrap().success());
    let listed = place.run(&["mail", "list"], "").expect(0, "list").out.clone();
    let (sent, waiting) = (sink.mails().len(), listed.lines().count());
    assert_eq!((sent, waiting), (4, 16), "{listed}");
}

#[actix_rt::test]
async fn a_mail_waits_until_its_folder_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mails");
    let app = TestApp::with(|settings| settings.mail.url = Some(MailUrl::Folder(path.clone()))).await;
    std::fs::remove_dir(&path).unwrap();
    app.ask_for_reset(EMAIL).await;
    assert_eq!(app.send_mails().await, 1);
    let waiting = app.waiting_mails().await;
    assert!(waiting[0].last_error.as_ref().unwrap().contains("cannot be written"), "{waiting:?}");
    std::fs::create_dir(&path).unwrap();
    app.pass(Duration::minutes(1)).await;
    assert_eq!((app.send_mails().await, app.waiting_mails().await), (1, vec![]));
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}
