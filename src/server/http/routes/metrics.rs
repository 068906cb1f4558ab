//! `GET /metrics`: Prometheus text, on a socket of its own.

use std::fmt::Write as _;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, Resource, web};

use crate::server::credentials::Hasher;
use crate::server::http::endpoint::endpoint;

/// Returns the resource, for a server that only monitoring can reach.
pub(crate) fn resource(hasher: &Hasher) -> Resource {
    let hasher = hasher.clone();
    let show = move || {
        let text = text(&hasher);
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
