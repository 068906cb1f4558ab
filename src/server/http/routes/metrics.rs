//! `GET /metrics`: Prometheus text, on a socket of its own.

use std::fmt::Write as _;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, Resource, web};

use crate::server::credentials::Hasher;
use crate::server::http::endpoint::endpoint;
use crate::server::mail::Mailer;

/// Returns the resource, for a server that only monitoring can reach.
pub(crate) fn resource(hasher: &Hasher, mailer: Option<&Mailer>) -> Resource {
    let (hasher, mailer) = (hasher.clone(), mailer.cloned());
    let show = move || {
        let mut text = text(&hasher);
        if let Some(mailer) = &mailer {
            text.push_str(&mails(mailer));
        }
        async {
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
                .body(text)
        }
    };
    endpoint("/metrics", [(Method::GET, web::to(show))])
}

/// Returns the metrics in Prometheus' text format 0.0.4.
fn text(hasher: &Hasher) -> String {
    let load = hasher.load();
    let gauges = [
        (
            "hallpass_password_queue_length",
            "Passwords that wait for their hash to begin.",
            load.waiting.to_string(),
        ),
        (
            "hallpass_password_queue_wait_seconds",
            "How long the first of them has waited.",
            load.longest_wait.as_secs_f64().to_string(),
        ),
    ];
    let mut text = String::new();
    for (name, help, value) in gauges {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}")
            .expect("a String takes all that is written");
    }
    text
}

/// Returns the metrics of mails.
fn mails(mailer: &Mailer) -> String {
    let outcomes = mailer.outcomes();
    format!(
        "# HELP hallpass_mails_total Tries to send a mail, by their outcome.\n\
         # TYPE hallpass_mails_total counter\n\
         hallpass_mails_total{{outcome=\"sent\"}} {}\n\
         hallpass_mails_total{{outcome=\"delayed\"}} {}\n\
         hallpass_mails_total{{outcome=\"failed\"}} {}\n\
         # HELP hallpass_mails_waiting Mails that wait to be sent.\n\
         # TYPE hallpass_mails_waiting gauge\n\
         hallpass_mails_waiting {}\n\
         # HELP hallpass_mails_oldest_seconds How long the oldest of them has waited.\n\
         # TYPE hallpass_mails_oldest_seconds gauge\n\
         hallpass_mails_oldest_seconds {}\n",
        outcomes.sent, outcomes.delayed, outcomes.failed, outcomes.waiting, outcomes.oldest_secs
    )
}
