//! A login storm beside guarded requests: what it does to their latency and throughput, and how many logins
//! get through. `cargo bench --bench storm`
//!
//! Everything is measured in one run, on whatever else the machine is doing: the ratios are what counts.
//! The guarded requests of the first two phases are timed from when each was due, so that a server which
//! stalls is not spared the requests that it kept from being sent.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, scope, sleep, spawn};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::Utc;
use hallpass::token::{Algorithm, Grant, Issuer, KeyMaterial, Keyring, SigningKey};
use hallpass::{AuthUser, Guard};
use support::{Connection, PASSWORD, Server};

const COST: u32 = 12;
const LOGINS: usize = 32;
const GUARDED_PER_SECOND: u32 = 200;
const CONNECTIONS: usize = 16;
const PHASE: Duration = Duration::from_secs(10);

fn main() {
    if std::env::args().any(|argument| argument == "--naive") {
        return naive_server();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hash = bcrypt::hash(PASSWORD, COST).unwrap();
    let bare = bare_rate(cores, &hash);
    println!("bare bcrypt, cost {COST}, {cores} cores: {bare:.1}/s");
    println!(
        "| server | one login alone, of a bare hash | logins/s of bare | guarded p99 idle, ms | in the storm, ms | x | throughput kept | logins/s of bare under full load |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let folder = tempfile::tempdir().unwrap();
    measure("hallpass", &ours(&folder, &hash), bare, bare / cores as f64);
    measure("web::block", &naive(&hash), bare, bare / cores as f64);
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

fn ours(folder: &tempfile::TempDir, hash: &str) -> Server {
    support::import(folder.path(), (0..LOGINS).map(|number| (email(number), hash.to_owned())));
    let server = Server::hallpass(folder.path());
    // The first sign-in of each replaces the imported hash: that work is not of the storm.
    for number in 0..LOGINS {
        assert_eq!(Connection::open(&server.address).login(&email(number), PASSWORD), 200);
    }
    server
}

fn naive(hash: &str) -> Server {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--naive"]).env("HASH", hash).stdin(Stdio::piped()).stdout(Stdio::piped());
    Server::start(command, "")
}

fn token(server: &Server) -> String {
    let mut connection = Connection::open(&server.address);
    assert_eq!(connection.login(&email(0), PASSWORD), 200);
    let (_, rest) = connection.1.split_once(r#""token":""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Verifications a second when every core does nothing else.
fn bare_rate(cores: usize, hash: &str) -> f64 {
    let done = AtomicUsize::new(0);
    let began = Instant::now();
    scope(|threads| {
        for _ in 0..cores {
            threads.spawn(|| {
                while began.elapsed() < PHASE / 2 {
                    assert!(bcrypt::verify(PASSWORD, hash).unwrap());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn measure(name: &str, server: &Server, bare: f64, bare_of_a_core: f64) {
    let token = token(server);
    let alone = alone(server) * bare_of_a_core;
    let idle = p99(server, &token);
    let storm = Storm::begin(server);
    let stormy = p99(server, &token);
    let logins = storm.end();
    let full = throughput(server, &token);
    let storm = Storm::begin(server);
    let beside = throughput(server, &token);
    let logins_beside = storm.end();
    println!(
        "| {name} | {alone:.2} | {:.2} | {idle:.1} | {stormy:.1} | {:.1} | {:.2} | {:.2} |",
        logins / bare,
        stormy / idle,
        beside / full,
        logins_beside / bare
    );
}

/// How long a login takes while nothing else happens, in seconds: the median of nine.
fn alone(server: &Server) -> f64 {
    let mut connection = Connection::open(&server.address);
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(connection.login(&email(0), PASSWORD), 200);
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// The 99th percentile of guarded requests that come at their own pace, in milliseconds.
fn p99(server: &Server, token: &str) -> f64 {
    let count = GUARDED_PER_SECOND * PHASE.as_secs() as u32;
    let next = AtomicUsize::new(0);
    let began = Instant::now() + Duration::from_millis(100);
    let mut times: Vec<Duration> = scope(|threads| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                threads.spawn(|| {
                    let mut connection = Connection::open(&server.address);
                    let mut times = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed) as u32;
                        if number >= count {
                            return times;
                        }
                        let due = began + PHASE * number / count;
                        sleep(due.saturating_duration_since(Instant::now()));
                        assert_eq!(connection.get_user(token), 200);
                        times.push(due.elapsed());
                    }
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    times.sort();
    times[times.len() * 99 / 100].as_secs_f64() * 1000.0
}

/// Guarded requests a second, as fast as they go.
fn throughput(server: &Server, token: &str) -> f64 {
    let done = AtomicUsize::new(0);
    let began = Instant::now();
    scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| {
                let mut connection = Connection::open(&server.address);
                while began.elapsed() < PHASE {
                    assert_eq!(connection.get_user(token), 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// Clients that log in, each again as soon as it was answered.
struct Storm {
    began: Instant,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Storm {
    fn begin(server: &Server) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..LOGINS)
            .map(|number| {
                let (over, address) = (Arc::clone(&over), server.address.clone());
                spawn(move || {
                    let mut connection = Connection::open(&address);
                    let mut done = 0;
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(connection.login(&email(number), PASSWORD), 200);
                        done += usize::from(!over.load(Ordering::Relaxed));
                    }
                    done
                })
            })
            .collect();
        Self { began: Instant::now(), over, clients }
    }

    /// Logins a second.
    fn end(self) -> f64 {
        let lasted = self.began.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        let done: usize = self.clients.into_iter().map(|client| client.join().unwrap()).sum();
        done as f64 / lasted
    }
}

/// The usual way: the same guard, and each hash on actix's pool for blocking work.
fn naive_server() {
    let hash: &'static str = std::env::var("HASH").unwrap().leak();
    let material = KeyMaterial::generate(Algorithm::EdDsa).unwrap();
    let key = Arc::new(SigningKey::new(Algorithm::EdDsa, &material).unwrap());
    let issuer = Issuer::new("naive", "naive", chrono::Duration::hours(1));
    let grant = Grant { subject: "user".into(), ..Grant::default() };
    let token: &'static str = issuer.issue(&key, &grant, Utc::now()).unwrap().token.leak();
    let jwks = serde_json::to_string(&Keyring::from(key).jwks()).unwrap();
    let guard = Guard::builder().jwks(&jwks).issuer("naive").audience("naive").build().unwrap();
    actix_rt::System::new()
        .block_on(async move {
            let login = move || async move {
                let is_right = web::block(move || bcrypt::verify(PASSWORD, hash).unwrap()).await.unwrap();
                assert!(is_right);
                HttpResponse::Ok().json(serde_json::json!({"token": token}))
            };
            let user = |user: AuthUser| async move { HttpResponse::Ok().json(&*user) };
            let app = move || {
                App::new()
                    .app_data(guard.clone())
                    .route("/auth/login", web::post().to(login))
                    .route("/user/", web::get().to(user))
            };
            let server = HttpServer::new(app).tcp_nodelay(true).bind("127.0.0.1:0").unwrap();
            println!("listening on http://{}", server.addrs()[0]);
            server.run().await
        })
        .unwrap();
}
