//! `GET /metrics`: Prometheus text, on a socket of its own. `docs/operations.md` lists the metrics.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, Resource, web};

use crate::clock::Clock;
use crate::guard::Guard;
use crate::server::abuse::RateLimiter;
use crate::server::credentials::Hasher;
use crate::server::http::endpoint::endpoint;
use crate::server::keys::SigningKeys;
use crate::server::mail::Mailer;
use crate::server::metrics::{Connections, Counter, Counters, Metric, Page, Process, Requests, labels};
use crate::server::sessions::Sessions;
use crate::server::state::State;
use crate::server::store::Store;

/// The parts of the server that count.
#[derive(Debug, Clone)]
pub(in crate::server) struct Sources {
    pub requests: Arc<Requests>,
    pub connections: Arc<Connections>,
    pub verdicts: Arc<Counters>,
    pub guard: Guard,
    pub sessions: Sessions,
    pub limiter: RateLimiter,
    pub hasher: Hasher,
    pub mailer: Option<Mailer>,
    pub keys: Arc<SigningKeys>,
    pub state: Arc<State>,
    pub store: Store,
    pub clock: Clock,
    /// How often the system's time was set.
    pub clock_steps: Arc<Counter>,
}

/// The names of the guard's verdicts: a token was accepted, or why a request was refused.
pub(in crate::server) const VERDICTS: &[&str] = &[
    "accepted",
    "token_missing",
    "token_invalid",
    "token_expired",
    "token_revoked",
    "role_missing",
    "sign_in_stale",
    "second_factor_unenrolled",
    "unavailable",
    "other",
];

/// Returns the resource, for a server that only monitoring can reach.
pub(in crate::server) fn resource(sources: &Sources) -> Resource {
    let sources = sources.clone();
    let page = Arc::new(Page::new(move || sources.read()));
    let show = move || {
        let text = page.text();
        async { HttpResponse::Ok().insert_header((CONTENT_TYPE, Page::CONTENT_TYPE)).body(text) }
    };
    endpoint("/metrics", [(Method::GET, web::to(show))])
}

type Metrics = Vec<(&'static str, &'static str, Metric)>;

impl Sources {
    fn read(&self) -> Metrics {
        let mut metrics = self.requests();
        metrics.extend(self.authentication());
        metrics.extend(self.hashing());
        metrics.extend(self.database());
        metrics.extend(self.mails());
        metrics.extend(process(self.clock.now().timestamp() as f64));
        metrics
    }

    fn requests(&self) -> Metrics {
        let (mut counts, mut durations) = (Vec::new(), Vec::new());
        for (route, counted) in self.requests.routes() {
            for ((method, status), count) in counted.requests {
                let status = if status == 0 { "other".to_owned() } else { status.to_string() };
                counts.push((labels([("route", &route), ("method", method), ("status", &status)]), count));
            }
            durations.push((labels([("route", &route)]), counted.durations));
        }
        vec![
            (
                "hallpass_http_requests",
                "Requests by the pattern of their route, by method and status.",
                Metric::Counters(counts),
            ),
            (
                "hallpass_http_request_duration_seconds",
                "Time from a request's head to its answer.",
                Metric::Histograms(durations),
            ),
            (
                "hallpass_connections",
                "Open connections of clients.",
                Metric::gauge(self.connections.open() as f64),
            ),
            (
                "hallpass_connections_refused",
                "Connections that were turned away, by the limit or because TLS failed.",
                Metric::by("reason", self.connections.refused.values()),
            ),
            (
                "hallpass_guard_verdicts",
                "Tokens accepted, and requests refused by reason.",
                Metric::by("verdict", self.verdicts.values()),
            ),
        ]
    }

    fn authentication(&self) -> Metrics {
        let counts = self.sessions.counts();
        let (token_hits, token_misses) = self.guard.cache_hits_and_misses();
        let (user_hits, user_misses) = self.state.users().hits_and_misses();
        let now = self.clock.now();
        let (keys, newest) = self.keys.count_and_newest(now);
        let age = newest.map_or(f64::NAN, |newest| (now - newest).as_seconds_f64());
        let caches = |tokens, users| Metric::by("cache", [("tokens", tokens), ("users", users)].into_iter());
        vec![
            ("hallpass_sign_ins", "Sign-ins, by outcome.", Metric::by("outcome", counts.sign_ins.values())),
            (
                "hallpass_refreshes",
                "Refreshes, by outcome; refresh_reused ended a session.",
                Metric::by("outcome", counts.refreshes.values()),
            ),
            (
                "hallpass_throttled",
                "Requests that a rate limit delayed, by the limit.",
                Metric::by("reason", self.limiter.delayed().values()),
            ),
            (
                "hallpass_events",
                "Recorded events of this server, by kind.",
                Metric::by("kind", self.store.counts().events.values()),
            ),
            (
                "hallpass_cache_hits",
                "Verified tokens and users that were in memory.",
                caches(token_hits, user_hits),
            ),
            (
                "hallpass_cache_misses",
                "Tokens and users that were not in memory.",
                caches(token_misses, user_misses),
            ),
            ("hallpass_signing_keys", "Keys whose tokens are accepted.", Metric::gauge(keys as f64)),
            (
                "hallpass_signing_key_age_seconds",
                "Time since the newest key began to sign.",
                Metric::gauge(age),
            ),
            (
                "hallpass_clock_steps",
                "Times that the system's clock was set by more than a second.",
                Metric::counter(self.clock_steps.value()),
            ),
        ]
    }

    fn hashing(&self) -> Metrics {
        let waiting = self.hasher.waiting().into_iter();
        let (mut waits, mut hashes) = (Vec::new(), Vec::new());
        for (class, waited, took) in self.hasher.counts().times() {
            waits.push((labels([("class", class)]), waited.read()));
            hashes.push((labels([("class", class)]), took.read()));
        }
        vec![
            (
                "hallpass_password_queue_length",
                "Passwords that wait for their hash to begin.",
                Metric::Gauges(
                    waiting.map(|(class, count)| (labels([("class", class)]), count as f64)).collect(),
                ),
            ),
            (
                "hallpass_password_queue_wait_seconds",
                "How long the first of them has waited.",
                Metric::gauge(self.hasher.load().longest_wait.as_secs_f64()),
            ),
            (
                "hallpass_password_wait_duration_seconds",
                "How long passwords waited for their hash to begin.",
                Metric::Histograms(waits),
            ),
            (
                "hallpass_password_hash_duration_seconds",
                "How long a password's hash took.",
                Metric::Histograms(hashes),
            ),
            (
                "hallpass_password_shed",
                "Passwords that found no place in the queue.",
                Metric::by("class", self.hasher.counts().shed.values()),
            ),
        ]
    }

    fn mails(&self) -> Metrics {
        let Some(mailer) = &self.mailer else { return vec![] };
        let outcomes = mailer.outcomes();
        let counts = [("sent", outcomes.sent), ("delayed", outcomes.delayed), ("failed", outcomes.failed)];
        vec![
            (
                "hallpass_mails",
                "Tries to send a mail, by outcome.",
                Metric::by("outcome", counts.into_iter()),
            ),
            ("hallpass_mails_waiting", "Mails that wait to be sent.", Metric::gauge(outcomes.waiting as f64)),
            (
                "hallpass_mails_oldest_seconds",
                "How long the oldest of them has waited.",
                Metric::gauge(outcomes.oldest_secs as f64),
            ),
        ]
    }

    fn database(&self) -> Metrics {
        let counts = self.store.counts();
        let (open, idle) = self.store.connections();
        let operation = |name| labels([("operation", name)]);
        vec![
            (
                "hallpass_database_operation_duration_seconds",
                "Time of an operation on the database, the wait for a connection and repetitions included.",
                Metric::Histograms(vec![
                    (operation("read"), counts.reads.read()),
                    (operation("write"), counts.writes.read()),
                ]),
            ),
            (
                "hallpass_database_faults",
                "Operations on the database that failed, also those that were repeated.",
                Metric::by("reason", counts.faults.values()),
            ),
            (
                "hallpass_database_connections",
                "Open connections to the database.",
                Metric::Gauges(vec![
                    (labels([("state", "idle")]), idle as f64),
                    (labels([("state", "in_use")]), open.saturating_sub(idle) as f64),
                ]),
            ),
            (
                "hallpass_database_sync_age_seconds",
                "Time since the changes of other servers were last read.",
                Metric::gauge(self.state.age().as_seconds_f64()),
            ),
        ]
    }
}

fn process(now: f64) -> Metrics {
    let build = labels([("version", env!("CARGO_PKG_VERSION"))]);
    let mut metrics = vec![("hallpass_build", "The version of this server.", Metric::Info(build))];
    if let Some(process) = Process::read(now) {
        let most = process.max_descriptors.map_or(f64::INFINITY, |most| most as f64);
        metrics.extend([
            (
                "hallpass_process_cpu_seconds",
                "Time for which the threads of this process have run.",
                Metric::Seconds(process.cpu_seconds),
            ),
            (
                "hallpass_process_resident_memory_bytes",
                "Memory of this process in RAM.",
                Metric::gauge(process.resident_bytes as f64),
            ),
            (
                "hallpass_process_virtual_memory_bytes",
                "Address space of this process.",
                Metric::gauge(process.virtual_bytes as f64),
            ),
            (
                "hallpass_process_open_fds",
                "Open descriptors of this process.",
                Metric::gauge(process.open_descriptors as f64),
            ),
            ("hallpass_process_max_fds", "The most descriptors of this process.", Metric::gauge(most)),
            ("hallpass_process_threads", "Threads of this process.", Metric::gauge(process.threads as f64)),
            (
                "hallpass_process_start_time_seconds",
                "When this process started, as Unix time.",
                Metric::gauge(process.started_at),
            ),
        ]);
    }
    metrics
}
