//! Guarded requests beside bare actix-web that sends the same bytes: requests per second, time on the processor, latency,
//! memory, start. `cargo bench --bench http`, on Linux with two cores or more; it needs nothing else, and takes about
//! three minutes. `-- --seconds=5` measures each row for longer; `-- --seconds=0.1` only shows that all works.
//!
//! Each server has one worker, on the first core; the client has the second. The servers take turns, round by round, so
//! that whatever else the machine is doing falls on all alike: compare the ratios, of medians.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

#[path = "support/load.rs"]
mod load;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, web};
use chrono::Utc;
use hallpass::clock::Clock;
use hallpass::server::keys::vault::Vault;
use hallpass::server::model::KdfParams;
use hallpass::testing::Mint;
use hallpass::{AuthUser, Envelope};
use load::{Load, Target, load, pin};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use support::{Connection, PASSWORD, Server, hallpass, import, serve_app};
use tempfile::TempDir;

const USERS: usize = 10_000;
/// The tokens of a row, where not all users have one.
const SOME: usize = 1_000;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
/// The rate at which latencies are compared: one that each server can do with a part of its core.
const RATE: f64 = 15_000.0;
/// The cost of stretching a passphrase (`keys/passphrase.rs`).
const STRETCHING: KdfParams = KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 };
/// The cost of passwords whose hashing is not measured.
const CHEAP: u32 = 4;
/// The cost of those that are measured.
const COST: u32 = 10;

fn main() {
    let argument =
        |prefix: &str| std::env::args().find_map(|argument| argument.strip_prefix(prefix).map(str::to_owned));
    if let Some(answer) = argument("--bare=") {
        return serve_bare(&std::fs::read_to_string(answer).unwrap());
    }
    if let Some(kind) = argument("--library=") {
        return serve_library(&kind);
    }
    let seconds = argument("--seconds=").map_or(0.8, |seconds| seconds.parse().unwrap());
    let time = Duration::from_secs_f64(seconds);
    // The servers' core: they inherit it.
    pin(0);

    let folder = users(USERS, CHEAP);
    // The first start makes the database.
    drop(start(&folder, &[]));
    let began = Instant::now();
    let default = start(&folder, &[("HALLPASS_SERVER__METRICS_BIND", "127.0.0.1:0")]);
    ask(&default.address, &get("/health/live", None));
    let started = began.elapsed();
    let began = Instant::now();
    Vault::create_with(&PASSWORD.into(), STRETCHING, Utc::now()).unwrap();
    let stretched = began.elapsed();
    let mut memories = vec![("at rest", memory(&default))];
    let tokens = sign_in(&default, USERS);
    memories.push(("after 10,000 sign-ins", memory(&default)));

    let [hs256, es256] = ["HS256", "ES256"].map(|algorithm| {
        let folder = users(SOME, CHEAP);
        let server = start(&folder, &[("HALLPASS_TOKEN__ALGORITHM", algorithm)]);
        let tokens = sign_in(&server, SOME);
        (folder, server, tokens)
    });
    let short_folder = users(SOME, CHEAP);
    let short = start(&short_folder, &[("HALLPASS_TOKEN__LIFETIME_S", "1")]);
    let expired = sign_in(&short, SOME);
    let tls = Tls::start();

    let user = |token: &String| get("/user/", Some(token));
    let forged = |token: &String| {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        user(&format!("{message}.{other}{}", &signature[1..]))
    };
    let file = folder.path().join("answer.txt");
    std::fs::write(&file, ask(&default.address, &user(&tokens[0]))).unwrap();
    let bare = own(&format!("--bare={}", file.display()));
    let [app, extractor, middleware, both] =
        ["bare", "extractor", "middleware", "both"].map(|kind| own(&format!("--library={kind}")));
    let hello = vec![get("/hello", Some(&mint().token_for("ada").to_string()))];
    pin(1);

    // Each token of another user, for the first time: the users are read too.
    let began = Instant::now();
    let mut cold = Connection::open(&default.address);
    tokens.iter().for_each(|token| assert_eq!(cold.get_user(token), 200));
    let cold = USERS as f64 / began.elapsed().as_secs_f64();
    memories.push(("with 10,000 known tokens and users", memory(&default)));

    let some = &tokens[..SOME];
    let one = vec![user(&tokens[0])];
    let both_kinds = some.iter().flat_map(|token| [user(token), forged(token)]).collect();
    let all = |tokens: &[String]| tokens.iter().map(user).collect::<Vec<_>>();
    let mut rows = [
        Row::new("bare actix-web, the bytes of `GET /user/`", 0, &bare, one.clone(), &[200]),
        Row::new("`GET /health/live`, unguarded", 0, &default, vec![get("/health/live", None)], &[200]),
        Row::new("`GET /user/`, one token, EdDSA", 0, &default, one.clone(), &[200]),
        Row::new("`GET /user/`, 10,000 tokens, EdDSA", 0, &default, all(&tokens), &[200]),
        Row::new("`GET /user/`, 1,000 tokens, EdDSA", 0, &default, all(some), &[200]),
        Row::new("`GET /user/`, 1,000 tokens, HS256", 0, &hs256.1, all(&hs256.2), &[200]),
        Row::new("`GET /user/`, 1,000 tokens, ES256", 0, &es256.1, all(&es256.2), &[200]),
        Row::new("`GET /user/` by TLS, one token", 0, &tls.server, vec![user(&tls.token)], &[200]),
        Row::new("refused: garbage", 0, &default, vec![user(&"not.a.token".to_owned())], &[401]),
        Row::new("refused: 1,000 expired tokens", 0, &short, all(&expired), &[401]),
        Row::new(
            "refused: 1,000 forged tokens, EdDSA",
            0,
            &default,
            some.iter().map(forged).collect(),
            &[401],
        ),
        Row::new("known and forged tokens in turn", 0, &default, both_kinds, &[200, 401]),
        Row::new("your own app, without a guard", OWN, &app, hello.clone(), &[200]),
        Row::new("your own app, `AuthUser`", OWN, &extractor, hello.clone(), &[200]),
        Row::new("your own app, `guard.protect()`", OWN, &middleware, hello.clone(), &[200]),
        Row::new("your own app, both, and `Envelope`", OWN, &both, hello, &[200]),
    ];
    rows[TLS].target.tls = Some(&tls.config);
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.measure(time);
        }
    }
    memories.push(("after the load", memory(&default)));
    print(&rows);

    let refreshes = refreshes(&default.address, time * 4);
    println!();
    println!("| measurement | |");
    println!("|---|---|");
    println!("| cold: one connection, each token for the first time | {cold:.0} requests/s |");
    println!(
        "| start to the first answer, beyond stretching the passphrase | {:.0} ms |",
        millis(started) - millis(stretched)
    );
    for (when, (data, program)) in memories {
        println!("| memory {when}: data, program | {data:.1} MiB, {program:.1} MiB |");
    }
    let commits = commits(folder.path(), time * 2);
    println!(
        "| refreshes, 16 clients, of the disk's synchronous writes of 4 KiB one after the other ({commits:.0}/s) | {:.2} |",
        refreshes / commits
    );
    let (logins, hashes) = logins(time * 4);
    println!(
        "| logins at cost {COST}, 8 clients, of the bare `bcrypt` crate's rate ({hashes:.1}/s) | {:.2} |",
        logins / hashes
    );
}

/// The numbers of rows that others name.
const TLS: usize = 7;
const OWN: usize = 12;

/// One line of the table.
struct Row<'a> {
    name: &'static str,
    /// The number of the row that it is compared with.
    beside: usize,
    target: Target<'a>,
    requests: Vec<Vec<u8>>,
    statuses: &'static [u16],
    loads: Vec<Load>,
    paced: Vec<Load>,
}

impl<'a> Row<'a> {
    fn new(
        name: &'static str,
        beside: usize,
        server: &'a Server,
        requests: Vec<Vec<u8>>,
        statuses: &'static [u16],
    ) -> Self {
        let target = Target { address: &server.address, process: server.pid(), tls: None };
        Self { name, beside, target, requests, statuses, loads: vec![], paced: vec![] }
    }

    fn measure(&mut self, time: Duration) {
        let load = |time, rate| load(self.target, &self.requests, self.statuses, CONNECTIONS, time, rate);
        self.loads.push(load(time, None));
        self.paced.push(load(time / 2, Some(RATE)));
    }
}

fn print(rows: &[Row<'_>]) {
    println!(
        "| | requests/s | of bare | processor, µs | of bare, by processor | p50, ms | p99, ms | p99 at {RATE:.0}/s, ms | of bare |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let bare = &rows[row.beside];
        let (rate, of_rate) = medians(&row.loads, &bare.loads, |load| load.per_second);
        let (cpu, of_cpu) = medians(&row.loads, &bare.loads, |load| load.cpu_micros);
        let (p50, _) = medians(&row.loads, &bare.loads, |load| load.quantile(0.5));
        let (p99, _) = medians(&row.loads, &bare.loads, |load| load.quantile(0.99));
        let (paced, of_paced) = medians(&row.paced, &bare.paced, |load| load.quantile(0.99));
        println!(
            "| {} | {rate:.0} | {of_rate:.2} | {cpu:.1} | {:.2} | {p50:.2} | {p99:.2} | {paced:.2} | {of_paced:.2} |",
            row.name,
            1.0 / of_cpu
        );
    }
}

/// The median of a figure, and that of its ratios to the same round of the bare server.
fn medians(loads: &[Load], bare: &[Load], figure: impl Fn(&Load) -> f64) -> (f64, f64) {
    let ratios = bare.iter().zip(loads).map(|(bare, load)| figure(load) / figure(bare)).collect();
    (median(loads.iter().map(&figure).collect()), median(ratios))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A folder with a database of so many users, whose passwords have this cost.
fn users(count: usize, cost: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash(PASSWORD, cost).unwrap();
    import(folder.path(), (0..count).map(|number| (email(number), hash.clone())));
    folder
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

/// Starts a server with one worker, and else its defaults.
fn start(folder: &TempDir, settings: &[(&str, &str)]) -> Server {
    let mut command = hallpass(folder.path(), &["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    command.env_remove("RUST_LOG").stderr(std::fs::File::create(folder.path().join("log")).unwrap());
    command.env("HALLPASS_SERVER__WORKERS", "1").env("HALLPASS_PASSWORD__BCRYPT_COST", CHEAP.to_string());
    command.envs(settings.iter().copied());
    Server::with_passphrase(command)
}

/// Signs the first users in, on several connections. Returns their access tokens.
fn sign_in(server: &Server, users: usize) -> Vec<String> {
    let sign_in = |numbers: Range<usize>| {
        let mut connection = Connection::open(&server.address);
        let token = |number| {
            assert_eq!(connection.login(&email(number), PASSWORD), 200, "{}", connection.1);
            text(&connection.1, "token")
        };
        numbers.map(token).collect::<Vec<_>>()
    };
    scope(|threads| {
        let part = users / 8;
        let parts: Vec<_> =
            (0..8).map(|number| threads.spawn(move || sign_in(number * part..(number + 1) * part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// The text that an answer has under a name.
fn text(answer: &str, name: &str) -> String {
    let (_, rest) = answer.split_once(&format!(r#""{name}":""#)).expect(answer);
    rest.split('"').next().unwrap().to_owned()
}

/// Refreshes per second of sixteen clients, each with a session of its own.
fn refreshes(address: &str, time: Duration) -> f64 {
    let (done, began) = (AtomicUsize::new(0), Instant::now());
    scope(|threads| {
        for number in 0..16 {
            let (done, began) = (&done, &began);
            threads.spawn(move || {
                let mut connection = Connection::open(address);
                assert_eq!(connection.login(&email(number), PASSWORD), 200);
                while began.elapsed() < time {
                    let token = text(&connection.1, "refresh_token");
                    assert_eq!(connection.refresh(&token), 200, "{}", connection.1);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// Synchronous writes per second, one after the other, as a database does that commits each alone.
fn commits(folder: &Path, time: Duration) -> f64 {
    let mut file = std::fs::File::create(folder.join("commits")).unwrap();
    let (mut done, began) = (0, Instant::now());
    while began.elapsed() < time {
        file.write_all(&[1; 4_096]).unwrap();
        file.sync_data().unwrap();
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

/// Logins per second, and hashes per second of the bare crate on the same core.
fn logins(time: Duration) -> (f64, f64) {
    pin(0);
    let folder = users(8, COST);
    let server = start(&folder, &[("HALLPASS_PASSWORD__BCRYPT_COST", &COST.to_string())]);
    let hash = bcrypt::hash(PASSWORD, COST).unwrap();
    // The first sign-in of each replaces the imported hash: that work is not measured.
    sign_in(&server, 8);
    let (mut hashes, began) = (0, Instant::now());
    while began.elapsed() < time / 2 {
        assert!(bcrypt::verify(PASSWORD, &hash).unwrap());
        hashes += 1;
    }
    let hashes = f64::from(hashes) / began.elapsed().as_secs_f64();
    pin(1);
    let (done, began) = (AtomicUsize::new(0), Instant::now());
    scope(|threads| {
        for number in 0..8 {
            let (done, began, server) = (&done, &began, &server);
            threads.spawn(move || {
                let mut connection = Connection::open(&server.address);
                while began.elapsed() < time {
                    assert_eq!(connection.login(&email(number), PASSWORD), 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (done.into_inner() as f64 / began.elapsed().as_secs_f64(), hashes)
}

/// A server with TLS.
struct Tls {
    server: Server,
    token: String,
    config: Arc<ClientConfig>,
    _folder: TempDir,
}

impl Tls {
    fn start() -> Self {
        let folder = users(8, CHEAP);
        // Its token is of a start without TLS, which the client of the sign-in does not know.
        let token = sign_in(&start(&folder, &[]), 8).remove(0);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = |name| folder.path().join(name).display().to_string();
        std::fs::write(path("certificate.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let server = start(
            &folder,
            &[
                ("HALLPASS_SERVER__TLS_CERT", &path("certificate.pem")),
                ("HALLPASS_SERVER__TLS_KEY", &path("key.pem")),
            ],
        );
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        Self { server, token, config, _folder: folder }
    }
}

fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n{authorization}\r\n").into_bytes()
}

/// The answer to a request, whole.
fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = vec![0; 4_096];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

/// The memory of a server in MiB: its data, and what it has mapped of its program, which the kernel can drop and read
/// again (proc(5)).
fn memory(server: &Server) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let mebibytes = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
    };
    (mebibytes("RssAnon:"), mebibytes("RssFile:"))
}

/// This program as a server.
fn own(argument: &str) -> Server {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped());
    Server::start(command, "")
}

/// Serves a handler that sends `answer`, as it would be written by whoever needs no guard.
fn serve_bare(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    // The framework adds these two itself.
    let is_own = |line: &&str| !line.starts_with("date:") && !line.starts_with("content-length:");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse().unwrap(), value.parse().unwrap())
    };
    let headers: Vec<(HeaderName, HeaderValue)> = head.lines().skip(1).filter(is_own).map(header).collect();
    let headers: &'static [(HeaderName, HeaderValue)] = headers.leak();
    let body: &'static str = body.to_owned().leak();
    let handler = move || async move {
        let mut response = HttpResponse::Ok();
        for header in headers {
            response.insert_header(header.clone());
        }
        response.body(body)
    };
    serve(move |config| {
        config.route("/user/", web::get().to(handler));
    });
}

/// A mint whose key this program and the servers that it starts have.
fn mint() -> Mint {
    Mint::shared_secret(&[7; 32])
}

/// Serves an app of somebody's own, with the guard in it or without.
fn serve_library(kind: &str) {
    let guard = mint().builder().clock(Clock::system()).build().unwrap();
    let anybody = || async { HttpResponse::Ok().body("ada") };
    let user = |user: AuthUser| async move { HttpResponse::Ok().body(user.id.clone()) };
    match kind {
        "bare" => serve(move |config| {
            config.route("/hello", web::get().to(anybody));
        }),
        "extractor" => serve(move |config| {
            config.app_data(guard.clone()).route("/hello", web::get().to(user));
        }),
        "middleware" => {
            serve_app(move || App::new().wrap(guard.protect()).route("/hello", web::get().to(anybody)));
        }
        _ => serve_app(move || {
            let app = App::new().wrap(guard.protect()).wrap(Envelope::default());
            app.route("/hello", web::get().to(user))
        }),
    }
}

fn serve(configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) {
    serve_app(move || App::new().configure(configure.clone()));
}
