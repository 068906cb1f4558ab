//! The connection to the mail server: nothing is sent but by TLS with a certificate that is trusted.

use hallpass::server::config::MailUrl;
use hallpass::testing::Mail;

use super::sink::{Authority, Behaviour, Offered, Sink, Stage};
use crate::app::{EMAIL, TestApp};
use crate::process::Workplace;

/// A place whose commands trust the authority and sign in at the mail server.
fn place_that_trusts(authority: &Authority) -> Workplace {
    let place = Workplace::new();
    std::fs::write(place.path("authority.pem"), &authority.pem).unwrap();
    std::fs::write(place.path("password"), "seventeen\n").unwrap();
    place
        .variable("SSL_CERT_FILE", "authority.pem")
        .variable("HALLPASS_MAIL__FROM", "Example <no-reply@example.com>")
        .variable("HALLPASS_MAIL__PASSWORD_FILE", "password")
}

fn starttls(sink: &Sink) -> String {
    format!("smtp://ada@localhost:{}?tls=required", sink.port)
}

/// The commands that were read without encryption.
fn commands_in_clear(sink: &Sink) -> Vec<String> {
    sink.in_clear().iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_mail_goes_to_a_server_with_a_trusted_certificate_and_everything_in_it_is_encrypted() {
    let authority = Authority::new("right");
    let config = authority.server("localhost");
    for (offered, clear) in
        [(Offered::StartTls(config.clone()), vec!["EHLO", "STARTTLS"]), (Offered::Implicit(config), vec![])]
    {
        let is_implicit = matches!(offered, Offered::Implicit(_));
        let sink = Sink::with(offered);
        let url = if is_implicit { format!("smtps://ada@localhost:{}", sink.port) } else { starttls(&sink) };
        let place = place_that_trusts(&authority).variable("HALLPASS_MAIL__URL", &url);
        let sent = place.run(&["mail", "test", EMAIL], "");
        assert_eq!(sent.expect(0, &url).out, format!("sent to {EMAIL}: 250 taken as 4711\n"));
        assert_eq!(Mail::parse(&sink.mails()[0]).to(), EMAIL);
        assert_eq!(commands_in_clear(&sink), clear, "{url}");
    }
}

#[test]
fn a_server_without_encryption_or_with_a_certificate_that_is_not_trusted_gets_nothing() {
    let (authority, other) = (Authority::new("right"), Authority::new("other"));
    let trusted = authority.server("localhost");
    let injected = "220 go on\r\n250-sink\r\n250 AUTH PLAIN";
    let start = |config| Offered::StartTls(config);
    let table = [
        ("none is offered", Offered::Nothing, Behaviour::Take, "STARTTLS is not supported"),
        (
            "it is offered and refused",
            start(trusted.clone()),
            Behaviour::Answer(Stage::StartTls, "454 no TLS today"),
            "no TLS today",
        ),
        ("of another authority", start(other.server("localhost")), Behaviour::Take, "UnknownIssuer"),
        (
            "of another host",
            start(authority.server("mail.example.com")),
            Behaviour::Take,
            "not valid for name",
        ),
        ("expired", start(authority.server_until("localhost", 2020)), Behaviour::Take, "expired"),
        (
            "somebody on the way adds answers for the encrypted connection",
            start(trusted),
            Behaviour::Answer(Stage::StartTls, injected),
            "corrupt message",
        ),
    ];
    for (what, offered, behaviour, reason) in table {
        let sink = Sink::with(offered);
        sink.next(&[behaviour]);
        let place = place_that_trusts(&authority).variable("HALLPASS_MAIL__URL", &starttls(&sink));
        place.run(&["mail", "test", EMAIL], "").expect_error(1, reason);
        assert_eq!(sink.mails(), Vec::<String>::new(), "{what}");
        let clear = commands_in_clear(&sink);
        assert!(
            clear.iter().all(|line| ["EHLO", "STARTTLS", "QUIT"].contains(&&**line)),
            "{what}: {clear:?}"
        );
    }

    for (what, offered, reason) in [
        ("no TLS", Offered::Nothing, "corrupt message"),
        ("of another authority", Offered::Implicit(other.server("localhost")), "UnknownIssuer"),
        ("of another host", Offered::Implicit(authority.server("mail.example.com")), "not valid for name"),
    ] {
        let sink = Sink::with(offered);
        let url = format!("smtps://ada@localhost:{}", sink.port);
        let place = place_that_trusts(&authority).variable("HALLPASS_MAIL__URL", &url);
        place.run(&["mail", "test", EMAIL], "").expect_error(1, reason);
        assert_eq!(sink.mails(), Vec::<String>::new(), "{what}");
        assert!(sink.in_clear().iter().all(|line| !line.is_ascii() || !line.starts_with("EHLO")), "{what}");
    }
}

#[actix_rt::test]
async fn a_mail_waits_with_the_reason_until_its_server_offers_encryption() {
    for (offered, reason) in [
        (Offered::Nothing, "STARTTLS is not supported"),
        (Offered::StartTls(Authority::new("right").server("localhost")), "UnknownIssuer"),
    ] {
        let sink = Sink::with(offered);
        let url: MailUrl = format!("smtp://localhost:{}?tls=required", sink.port).parse().unwrap();
        let app = TestApp::with(|settings| {
            settings.mail.url = Some(url);
            settings.mail.from = Some("no-reply@example.com".into());
        })
        .await;
        app.ask_for_reset(EMAIL).await;
        assert_eq!(app.send_mails().await, 1);
        let waiting = app.waiting_mails().await;
        assert_eq!((waiting.len(), waiting[0].tries, sink.mails().len()), (1, 1, 0));
        assert!(waiting[0].last_error.as_ref().unwrap().contains(reason), "{waiting:?}");
        assert_eq!(app.mail_events().await, ["mail_delayed"]);
    }
}
