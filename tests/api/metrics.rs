//! `GET /metrics`: what is counted, under which names, and that no text of a client becomes a label.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hallpass::server::bind;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::wire::Connection;

/// The address of a server and that of its metrics.
#[derive(Clone, Copy)]
struct Served {
    public: SocketAddr,
    private: SocketAddr,
}

impl Served {
    fn ask(self, request: &str, token: Option<&str>, body: Option<&Value>) -> (u16, Value) {
        let authorization = token.map(|token| format!("Bearer {token}"));
        crate::process::ask(&self.public.to_string(), request, authorization.as_deref(), body).unwrap()
    }

    fn login(self, password: &str) -> Value {
        self.ask("POST /auth/login", None, Some(&json!({"email": EMAIL, "password": password}))).1
    }

    fn metrics(self) -> Metrics {
        let mut connection = Connection::open(self.private);
        connection.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, text) = connection.answer(true);
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        Metrics(text)
    }
}

/// The text of the metrics.
struct Metrics(String);

impl Metrics {
    /// The value of the line that begins with this name and these labels.
    #[track_caller]
    fn value(&self, line: &str) -> f64 {
        let value = self.0.lines().find_map(|own| own.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {line} in {}", self.0)).parse().unwrap()
    }

    /// The names that queries use.
    fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for line in self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            if kind == "histogram" {
                names.extend(["_bucket", "_sum", "_count"].map(|ending| format!("{name}{ending}")));
            } else {
                names.insert(name.to_owned());
            }
        }
        names
    }
}

/// Runs `client` against an app that serves requests and metrics.
async fn serve(client: impl FnOnce(Served) + Send + 'static) {
    // Nobody listens on the port of a mail server that has gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let app = TestApp::with(|settings| {
        settings.mail.url = Some(format!("smtp://127.0.0.1:{port}").parse().unwrap());
        settings.server.bind = "127.0.0.1:0".parse().unwrap();
        settings.server.metrics_bind = Some("127.0.0.1:0".parse().unwrap());
        settings.server.workers = 2;
    })
    .await;
    let running = bind(&app.server).unwrap();
    let served = Served { public: running.address, private: running.metrics_address.unwrap() };
    let (stop, stopped) = oneshot::channel::<()>();
    let server = actix_rt::spawn(running.until(app.server.clone(), async move {
        let _ = stopped.await;
    }));
    actix_rt::task::spawn_blocking(move || client(served)).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[actix_rt::test]
async fn metrics_are_served_only_on_their_own_socket() {
    serve(|served| {
        assert_eq!(served.ask("GET /metrics", None, None).0, 404);
        let private = Served { public: served.private, ..served };
        assert_eq!(private.ask("GET /user/", None, None).0, 404);
        assert_eq!(private.ask("GET /metrics", None, None).0, 200);
    })
    .await;
}

#[actix_rt::test]
async fn requests_are_counted_by_the_pattern_of_their_route_and_by_no_text_of_a_client() {
    serve(|served| {
        let token = served.login(PASSWORD)["data"]["token"].as_str().unwrap().to_owned();
        for number in 0..20 {
            let path = format!("/user/sessions/{}", uuid::Uuid::from_u128(number));
            assert_eq!(served.ask(&format!("DELETE {path}"), Some(&token), None).0, 404);
            assert_eq!(served.ask(&format!("DELETE {path}"), None, None).0, 401);
            assert_eq!(served.ask(&format!("GET /secret-{number}"), None, None).0, 404);
            assert_eq!(served.ask(&format!("BREW{number} /health/live"), None, None).0, 405);
        }
        let metrics = served.metrics();
        for (line, count) in [
            (
                r#"hallpass_http_requests_total{route="/user/sessions/{id}",method="DELETE",status="404"}"#,
                20.0,
            ),
            (
                r#"hallpass_http_requests_total{route="/user/sessions/{id}",method="DELETE",status="401"}"#,
                20.0,
            ),
            (r#"hallpass_http_requests_total{route="/health/live",method="other",status="405"}"#, 20.0),
            (r#"hallpass_http_requests_total{route="unmatched",method="GET",status="404"}"#, 20.0),
            (r#"hallpass_http_requests_total{route="/auth/login",method="POST",status="200"}"#, 1.0),
            (r#"hallpass_http_request_duration_seconds_count{route="/user/sessions/{id}"}"#, 40.0),
            (r#"hallpass_http_request_duration_seconds_bucket{route="/auth/login",le="+Inf"}"#, 1.0),
        ] {
            assert_eq!(metrics.value(line), count, "{line}");
        }
        for text in ["secret", "BREW", EMAIL, "127.0.0.1", "00000000-"] {
            assert!(!metrics.0.contains(text), "{text}: {}", metrics.0);
        }
    })
    .await;
}

#[actix_rt::test]
async fn verdicts_sign_ins_refreshes_and_delays_are_counted_by_their_outcome() {
    serve(|served| {
        let session = served.login(PASSWORD)["data"].clone();
        let token = session["token"].as_str().unwrap();
        assert_eq!(served.ask("GET /user/", Some(token), None).0, 200);
        assert_eq!(served.ask("GET /user/", Some(token), None).0, 200);
        assert_eq!(served.ask("GET /user/", Some("no.such.token"), None).0, 401);
        assert_eq!(served.ask("GET /user/", None, None).0, 401);
        assert_eq!(served.ask("GET /admin/users", Some(token), None).0, 403);
        let refresh = json!({"refresh_token": session["refresh_token"]});
        assert_eq!(served.ask("POST /auth/refresh", None, Some(&refresh)).0, 200);
        let other = json!({"refresh_token": "no such token"});
        assert_eq!(served.ask("POST /auth/refresh", None, Some(&other)).0, 401);
        while served.login("wrong")["code"] != 429 {}
        let metrics = served.metrics();
        for (line, count) in [
            (r#"hallpass_guard_verdicts_total{verdict="accepted"}"#, 3.0),
            (r#"hallpass_guard_verdicts_total{verdict="token_invalid"}"#, 1.0),
            (r#"hallpass_guard_verdicts_total{verdict="token_missing"}"#, 1.0),
            (r#"hallpass_guard_verdicts_total{verdict="role_missing"}"#, 1.0),
            (r#"hallpass_sign_ins_total{outcome="ok"}"#, 1.0),
            (r#"hallpass_sign_ins_total{outcome="too_many_attempts"}"#, 1.0),
            (r#"hallpass_refreshes_total{outcome="ok"}"#, 1.0),
            (r#"hallpass_refreshes_total{outcome="refresh_invalid"}"#, 1.0),
            (r#"hallpass_refreshes_total{outcome="refresh_reused"}"#, 0.0),
            (r#"hallpass_throttled_total{reason="known_address"}"#, 1.0),
            (r#"hallpass_throttled_total{reason="address"}"#, 0.0),
            (r#"hallpass_events_total{kind="signed_in"}"#, 1.0),
            (r#"hallpass_events_total{kind="refreshed"}"#, 1.0),
            (r#"hallpass_password_queue_length{class="known"}"#, 0.0),
            ("hallpass_password_queue_wait_seconds", 0.0),
            (r#"hallpass_build_info{version="0.1.0"}"#, 1.0),
            ("hallpass_signing_keys", 1.0),
            ("hallpass_clock_steps_total", 0.0),
        ] {
            assert_eq!(metrics.value(line), count, "{line}");
        }
        let failed = metrics.value(r#"hallpass_sign_ins_total{outcome="credentials_invalid"}"#);
        assert_eq!(failed, metrics.value(r#"hallpass_events_total{kind="sign_in_failed"}"#));
        for line in [
            r#"hallpass_cache_hits_total{cache="tokens"}"#,
            r#"hallpass_cache_hits_total{cache="users"}"#,
            r#"hallpass_password_wait_duration_seconds_count{class="stranger"}"#,
            r#"hallpass_password_hash_duration_seconds_count{class="known"}"#,
            r#"hallpass_database_operation_duration_seconds_count{operation="read"}"#,
            r#"hallpass_database_operation_duration_seconds_count{operation="write"}"#,
            "hallpass_signing_key_age_seconds",
            "hallpass_process_cpu_seconds_total",
            "hallpass_process_resident_memory_bytes",
            "hallpass_process_open_fds",
        ] {
            assert!(metrics.value(line) > 0.0 || line.contains("cpu"), "{line}");
        }
    })
    .await;
}

#[actix_rt::test]
async fn mails_that_wait_for_their_server_are_counted_and_an_event() {
    serve(|served| {
        let counts = |metrics: Metrics| {
            [
                r#"hallpass_mails_total{outcome="delayed"}"#,
                r#"hallpass_mails_total{outcome="sent"}"#,
                r#"hallpass_events_total{kind="mail_delayed"}"#,
                "hallpass_mails_waiting",
            ]
            .map(|line| metrics.value(line))
        };
        let asked = served.ask("POST /auth/password/forgot", None, Some(&json!({"email": EMAIL})));
        assert_eq!(asked.0, 202, "{}", asked.1);
        let since = std::time::Instant::now();
        while counts(served.metrics()) != [1.0, 0.0, 1.0, 1.0] {
            assert!(since.elapsed().as_secs() < 60, "{}", served.metrics().0);
            std::thread::yield_now();
        }
        assert_eq!(served.ask("GET /health/ready", None, None).0, 200);
    })
    .await;
}

/// Finds the names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("hallpass_") && word.len() > 9).map(str::to_owned).collect()
}

#[actix_rt::test]
async fn the_dashboard_the_alerts_and_the_list_name_only_metrics_that_are_exported() {
    serve(|served| {
        // A route is counted from its first request on.
        served.login(PASSWORD);
        let exported = served.metrics().names();
        for (file, text) in [
            ("docs/grafana.json", include_str!("../../docs/grafana.json")),
            ("docs/alerts.yml", include_str!("../../docs/alerts.yml")),
        ] {
            let named = names_in(text);
            assert!(named.len() > 5, "{file} names {named:?}");
            let unknown: Vec<_> = named.difference(&exported).collect();
            assert!(unknown.is_empty(), "{file} names {unknown:?}");
        }
        let listed = names_in(include_str!("../../docs/operations.md"));
        for name in &exported {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
            let is_listed = listed.contains(name) || base.is_some_and(|base| listed.contains(base));
            assert!(is_listed, "docs/operations.md does not list {name}");
        }
        let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
        assert!(dashboard["panels"].as_array().unwrap().len() > 5);
    })
    .await;
}
