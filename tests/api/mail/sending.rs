//! The worker and a mail server: nothing is lost, whatever the server, the database or the clock does.

use chrono::Duration;
use hallpass::server::config::{MailUrl, Settings};
use hallpass::server::model::WaitingMail;
use hallpass::testing::{Mail, mails_in};
use serde_json::json;
use uuid::Uuid;

use super::sink::{Behaviour, Sink, Stage};
use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::process::Workplace;
use crate::test_database::TestDatabase;

pub(super) async fn app_with(sink: &Sink) -> TestApp {
    app_on(TestDatabase::new(), &sink.url()).await
}

pub(super) async fn app_on(database: TestDatabase, url: &str) -> TestApp {
    let url: MailUrl = url.parse().unwrap();
    TestApp::on(database, |settings: &mut Settings| {
        settings.mail.url = Some(url);
        settings.mail.link_base = Some("https://app.example/".into());
        settings.throttle.on = false;
    })
    .await
}

async fn app_with_a_short_timeout(sink: &Sink) -> TestApp {
    let url: MailUrl = sink.url().parse().unwrap();
    TestApp::with(|settings| {
        settings.mail.url = Some(url);
        settings.mail.timeout = std::time::Duration::from_secs(1);
    })
    .await
}

impl TestApp {
    pub(super) async fn waiting_mails(&self) -> Vec<WaitingMail> {
        let read =
            self.server.store().read(async |connection| connection.waiting_mails(Uuid::nil(), 1_000).await);
        read.await.unwrap()
    }

    pub(super) async fn ask_for_reset(&self, email: &str) {
        let reply = self.post("/auth/password/forgot").json(json!({"email": email})).send().await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }

    /// Sends what is due and returns how many mails were tried.
    pub(super) async fn send_mails(&self) -> usize {
        self.server.mailer().unwrap().send_due().await.unwrap()
    }

    /// The kinds of the events about mails.
    pub(super) async fn mail_events(&self) -> Vec<String> {
        let events = self.recorded_events().await;
        let kinds = events.into_iter().map(|event| event.event.kind);
        kinds.filter(|kind| kind.starts_with("mail_")).collect()
    }
}

#[actix_rt::test]
async fn a_mail_reaches_the_mail_server_once_and_is_an_event() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    app.ask_for_reset(EMAIL).await;
    assert_eq!(sink.mails().len(), 0, "the request does not wait for the mail server");
    assert_eq!((app.send_mails().await, app.send_mails().await), (1, 0));
    let mails = sink.mails();
    let mail = Mail::parse(&mails[0]);
    assert_eq!((mails.len(), mail.to()), (1, EMAIL));
    assert!(mail.token().is_some_and(|token| token.len() == 43));
    assert_eq!(app.waiting_mails().await, []);
    assert_eq!(app.mail_events().await, ["mail_sent"]);
    assert!(app.recorded_events().await.iter().all(|event| !format!("{:?}", event.event).contains(EMAIL)));
}

#[actix_rt::test]
async fn a_mail_that_is_put_off_is_tried_again_after_growing_pauses() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    sink.next(&[
        Behaviour::Answer(Stage::Recipient, "450 4.2.0 greylisted, come back"),
        Behaviour::Answer(Stage::Recipient, "421 busy"),
    ]);
    app.ask_for_reset(EMAIL).await;
    assert_eq!(app.send_mails().await, 1);
    let waiting = app.waiting_mails().await;
    assert_eq!(waiting[0].tries, 1);
    assert!(waiting[0].last_error.as_ref().unwrap().contains("greylisted, come back"), "{waiting:?}");
    app.pass(Duration::seconds(59)).await;
    assert_eq!(app.send_mails().await, 0, "too early");
    app.pass(Duration::seconds(1)).await;
    assert_eq!(app.send_mails().await, 1);
    app.pass(Duration::seconds(119)).await;
    assert_eq!(app.send_mails().await, 0, "the second pause is longer");
    app.pass(Duration::seconds(1)).await;
    assert_eq!((app.send_mails().await, sink.mails().len()), (1, 1));
    assert_eq!(app.mail_events().await, ["mail_delayed", "mail_sent"]);
    let outcomes = app.server.mailer().unwrap().outcomes();
    assert_eq!((outcomes.sent, outcomes.delayed, outcomes.failed), (1, 2, 0));
}

#[actix_rt::test]
async fn a_mail_that_the_server_refuses_for_good_is_given_up_and_an_event() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    sink.next(&[Behaviour::Answer(Stage::Recipient, "550 5.1.1 no such mailbox")]);
    app.ask_for_reset(EMAIL).await;
    assert_eq!(app.send_mails().await, 1);
    assert_eq!(
        (app.waiting_mails().await, app.mail_events().await),
        (vec![], vec!["mail_failed".to_owned()])
    );
}

#[actix_rt::test]
async fn a_link_that_expired_while_its_mail_waited_is_replaced_by_one_that_works() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    sink.next(&[Behaviour::Answer(Stage::Recipient, "451 later")]);
    app.ask_for_reset(EMAIL).await;
    app.send_mails().await;
    app.pass(Duration::hours(5)).await;
    // Expired tokens are deleted meanwhile, unless their mail still waits.
    app.server.delete_expired().await.unwrap();
    assert_eq!(app.send_mails().await, 1);
    let mail = Mail::parse(&sink.mails()[0]);
    let body = json!({"token": mail.token(), "new_password": "seventeen blue lanterns"});
    let reply = app.post("/auth/password/reset").json(body).send().await;
    assert_eq!(reply.status, 204, "{}", reply.text());
}

#[actix_rt::test]
async fn a_mail_whose_answer_was_lost_is_sent_again_with_the_same_id_and_link() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    sink.next(&[Behaviour::Drop(Stage::Mail)]);
    app.ask_for_reset(EMAIL).await;
    app.send_mails().await;
    assert_eq!(app.waiting_mails().await.len(), 1);
    app.pass(Duration::minutes(1)).await;
    app.send_mails().await;
    let mails: Vec<_> = sink.mails().iter().map(|mail| Mail::parse(mail)).collect();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].header("message-id"), mails[1].header("message-id"));
    assert_eq!(mails[0].token(), mails[1].token());
}

#[actix_rt::test]
async fn a_mail_server_that_hangs_keeps_nothing_but_its_own_mail_waiting() {
    for stage in [Stage::Greeting, Stage::Recipient, Stage::Mail] {
        let sink = Sink::start();
        let app = app_with_a_short_timeout(&sink).await;
        sink.next(&[Behaviour::Hang(stage)]);
        app.add_user("grace@example.com", PASSWORD).await;
        app.ask_for_reset(EMAIL).await;
        app.ask_for_reset("grace@example.com").await;
        assert_eq!(app.send_mails().await, 2);
        let waiting = app.waiting_mails().await;
        assert_eq!(waiting.len(), 1, "{stage:?}");
        assert!(waiting[0].last_error.as_ref().unwrap().contains("mail.timeout_s"), "{waiting:?}");
        app.pass(Duration::minutes(1)).await;
        assert_eq!((app.send_mails().await, app.waiting_mails().await.len()), (1, 0), "{stage:?}");
    }
}

#[actix_rt::test]
async fn a_server_that_answers_no_goodbye_has_taken_the_mail_or_refused_it_all_the_same() {
    let sink = Sink::start();
    let app = app_with_a_short_timeout(&sink).await;
    for behaviour in [Behaviour::Hang(Stage::Quit), Behaviour::Drop(Stage::Quit)] {
        sink.next(&[behaviour]);
        app.ask_for_reset(EMAIL).await;
        assert_eq!((app.send_mails().await, app.waiting_mails().await), (1, vec![]), "{behaviour:?}");
    }
    assert_eq!((sink.mails().len(), app.mail_events().await), (2, vec!["mail_sent".to_owned(); 2]));
}

#[actix_rt::test]
async fn what_a_mail_server_refuses_waits_unless_it_is_about_the_recipient_or_the_mail() {
    // (what, what the server does, whether the mail is given up)
    let table = [
        ("no connection", Behaviour::Drop(Stage::Greeting), false),
        ("busy", Behaviour::Answer(Stage::Greeting, "421 too many connections"), false),
        ("a list of bad addresses", Behaviour::Answer(Stage::Greeting, "554 5.7.1 go away"), false),
        (
            "the sender, as after a mistake in mail.from",
            Behaviour::Answer(Stage::Sender, "553 5.1.8 who?"),
            false,
        ),
        ("no authentication yet", Behaviour::Answer(Stage::Sender, "530 5.7.0 sign in first"), false),
        ("greylisting", Behaviour::Answer(Stage::Recipient, "451 4.7.1 come back"), false),
        ("a full mailbox", Behaviour::Answer(Stage::Recipient, "452 4.2.2 full"), false),
        ("no mailbox", Behaviour::Answer(Stage::Recipient, "550 5.1.1 nobody"), true),
        ("the connection ends at the recipient", Behaviour::Drop(Stage::Recipient), false),
        ("the connection ends after the mail", Behaviour::Drop(Stage::Mail), false),
        ("put off after the mail", Behaviour::Answer(Stage::Mail, "451 4.3.0 disk"), false),
        ("spam", Behaviour::Answer(Stage::Mail, "554 5.7.1 we do not like it"), true),
        ("nonsense", Behaviour::Answer(Stage::Mail, "hello"), false),
        ("an answer to something else", Behaviour::Answer(Stage::Mail, "354 go on"), false),
    ];
    let sink = Sink::start();
    let app = app_with(&sink).await;
    for (what, behaviour, is_given_up) in table {
        sink.next(&[behaviour]);
        app.ask_for_reset(EMAIL).await;
        assert_eq!(app.send_mails().await, 1, "{what}");
        let waiting = app.waiting_mails().await;
        assert_eq!(waiting.len(), usize::from(!is_given_up), "{what}: {waiting:?}");
        assert!(waiting.iter().all(|mail| mail.last_error.is_some()), "{what}");
        let before = sink.mails().len();
        app.pass(Duration::minutes(1)).await;
        assert_eq!(app.send_mails().await, waiting.len(), "{what}");
        assert_eq!(sink.mails().len(), before + waiting.len(), "{what}: taken at the second try");
        assert_eq!(app.waiting_mails().await, [], "{what}");
    }
}

#[actix_rt::test]
async fn a_password_that_the_mail_server_refuses_may_be_mended_while_mails_wait() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "seventeen\n").unwrap();
    let url: MailUrl = format!("smtp://ada@127.0.0.1:{}", sink.port).parse().unwrap();
    let app = TestApp::with(|settings| {
        settings.mail.url = Some(url);
        settings.mail.password_file = Some(file);
    })
    .await;
    sink.next(&[Behaviour::Answer(Stage::Password, "535 5.7.8 wrong")]);
    app.ask_for_reset(EMAIL).await;
    assert_eq!((app.send_mails().await, app.waiting_mails().await.len()), (1, 1));
    app.pass(Duration::minutes(1)).await;
    assert_eq!((app.send_mails().await, app.waiting_mails().await.len()), (1, 0));
    let said = sink.in_clear();
    assert_eq!(said.iter().filter(|line| *line == "AUTH PLAIN AGFkYQBzZXZlbnRlZW4=").count(), 2, "{said:?}");
}

#[actix_rt::test]
async fn an_altered_row_and_one_of_a_newer_server_keep_no_other_mail_waiting() {
    let sink = Sink::start();
    let app = app_with(&sink).await;
    app.add_user("grace@example.com", PASSWORD).await;
    app.add_user("joan@example.com", PASSWORD).await;
    sink.next(&[Behaviour::Answer(Stage::Recipient, "451 later")]);
    app.ask_for_reset(EMAIL).await;
    app.send_mails().await;
    let sealed = app.database.literal(&[7; 80]);
    app.database.execute(&format!("update mail_outbox set sealed = {sealed}")).await;
    app.ask_for_reset("grace@example.com").await;
    app.database
        .execute("update mail_outbox set kind = 'of_a_newer_server' where recipient = 'grace@example.com'")
        .await;
    app.ask_for_reset("joan@example.com").await;
    app.pass(Duration::minutes(1)).await;
    app.send_mails().await;
    let mails: Vec<_> = sink.mails().iter().map(|mail| Mail::parse(mail).to().to_owned()).collect();
    assert_eq!(mails, ["joan@example.com"]);
    let waiting: Vec<_> = app.waiting_mails().await.into_iter().map(|mail| mail.kind).collect();
    assert_eq!(waiting, ["of_a_newer_server"]);
    assert_eq!(app.mail_events().await.iter().filter(|kind| *kind == "mail_failed").count(), 1);
}

#[actix_rt::test]
async fn a_token_is_stored_sealed_and_as_a_digest_only() {
    let sink = Sink::start();
    let app = app_on(TestDatabase::sqlite(), &sink.url()).await;
    sink.next(&[Behaviour::Drop(Stage::Mail)]);
    app.ask_for_reset(EMAIL).await;
    app.send_mails().await;
    let token = Mail::parse(&sink.mails()[0]).token().unwrap().to_owned();
    assert_eq!(app.waiting_mails().await.len(), 1, "the mail still waits with its token");
    for file in app.database.files() {
        assert!(memchr::memmem::find(&file, token.as_bytes()).is_none());
    }
}

#[test]
fn hallpass_mail_test_says_what_the_mail_server_answered() {
    let sink = Sink::start();
    let place = Workplace::new().variable("HALLPASS_MAIL__URL", &sink.url());
    let sent = place.run(&["mail", "test", "ada@example.com"], "");
    assert_eq!(sent.expect(0, "mail test").out, "sent to ada@example.com: 250 taken as 4711\n");
    assert_eq!(Mail::parse(&sink.mails()[0]).subject(), "A test mail");
    sink.next(&[Behaviour::Answer(Stage::Recipient, "550 5.7.1 you may not relay")]);
    place.run(&["mail", "test", "ada@example.com"], "").expect_error(1, "5.7.1 you may not relay");
    place.run(&["mail", "test", "nobody"], "").expect_error(2, "is not an e-mail address");
    Workplace::new().run(&["mail", "test", "ada@example.com"], "").expect_error(1, "mail.url is not set");
}

#[test]
fn hallpass_mail_list_shows_what_waits_and_why_and_an_invitation_is_sent_by_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let place =
        Workplace::new().variable("HALLPASS_MAIL__URL", &format!("file://{}", folder.path().display()));
    place.run(&["mail", "list"], "").expect(0, "an empty list");
    let invited =
        place.run(&["user", "invite", "grace@example.com", "--name", "Grace", "--role", "editor"], "");
    assert!(invited.expect(0, "invite").out.starts_with("invited grace@example.com ("), "{invited:?}");
    place.run(&["user", "invite", "grace@example.com"], "").expect(0, "once more");
    let listed = place.run(&["mail", "list"], "").expect(0, "list").out.clone();
    assert_eq!(listed.matches("invite").count(), 2, "{listed}");
    assert!(listed.contains("not tried yet") && listed.contains("grace@example.com"), "{listed}");
    let json = place.run(&["mail", "list", "--json"], "").expect(0, "list").out.clone();
    let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&line["kind"], &line["tries"]), (&json!("invite"), &json!(0)));

    let server = place.serve();
    let since = std::time::Instant::now();
    while mails_in(folder.path()).unwrap().is_empty() {
        assert!(since.elapsed().as_secs() < 60, "no mail");
        std::thread::yield_now();
    }
    server.stop("TERM").expect(0, "stopped");
    let mail = mails_in(folder.path()).unwrap().remove(0);
    assert!(mail.link().unwrap().contains("#/invite?token="), "{mail:?}");
    place.run(&["user", "add", EMAIL, "--password-stdin"], format!("{PASSWORD}\n")).expect(0, "add");
    place.run(&["user", "invite", EMAIL], "").expect_error(1, "has a password already");
    Workplace::new().run(&["user", "invite", EMAIL], "").expect_error(2, "mail.url is not set");
}

#[test]
fn a_server_does_not_start_with_texts_or_settings_that_cannot_send() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("HALLPASS_MAIL__URL", "smtp://mail.example.com")], "mail.from is not set"),
        (&[("HALLPASS_MAIL__URL", "smtp://ada@127.0.0.1")], "mail.password_file is not set"),
        (
            &[("HALLPASS_MAIL__URL", "smtp://ada@127.0.0.1"), ("HALLPASS_MAIL__PASSWORD_FILE", "none")],
            "mail.password_file none cannot be read",
        ),
        (
            &[("HALLPASS_MAIL__URL", "smtp://127.0.0.1"), ("HALLPASS_SERVER__BIND", "0.0.0.0:0")],
            "mail.link_base is not set",
        ),
        (
            &[("HALLPASS_MAIL__URL", "smtp://127.0.0.1"), ("HALLPASS_MAIL__TEMPLATES", "texts")],
            "texts/en/reset.jinja:2: ",
        ),
    ];
    for (variables, reason) in table {
        let mut place = Workplace::new();
        for (name, value) in *variables {
            place = place.variable(name, value);
        }
        std::fs::create_dir_all(place.path("texts/en")).unwrap();
        std::fs::write(place.path("texts/en/reset.jinja"), "{% extends \"en/base.jinja\" %}\n{% block")
            .unwrap();
        let served = place.run(&["serve", "--key-stdin"], "a river of seventeen blue lanterns\n");
        served.expect_error(2, reason);
    }
    let place = Workplace::new().variable("HALLPASS_MAIL__URL", "smtp://ada:hunter2@mail.example.com");
    let refused = place.run(&["config"], "");
    refused.expect_error(2, "mail.url is not shown");
    assert!(!refused.err.contains("hunter2"));
}
