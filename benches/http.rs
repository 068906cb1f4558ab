//! Guarded requests beside bare actix-web that sends the same bytes: requests per second, time on the processor, latency and
//! memory. `cargo bench --bench http`, on Linux with two cores or more; it needs nothing else.
//!
//! Each server has one worker on the first core; the client has the second. The servers take turns, round by round, so that
//! whatever else the machine is doing falls on all alike: compare the ratios, of medians. `-- QUICK` measures for a tenth
//! of the time.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

#[path = "support/load.rs"]
mod load;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::scope;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use hallpass::testing::Mint;
use hallpass::{AuthUser, clock::Clock};
use load::{Load, load, pin};
use support::{Connection, PASSWORD, Server, hallpass, import};
use tempfile::TempDir;

const USERS: usize = 10_000;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
/// The rate at which latencies are compared: what each server can do with half of its core or less.
const RATE: f64 = 15_000.0;

/// One line of the table.
struct Row {
    name: &'static str,
    /// The index of the server that it is compared with.
    beside: usize,
    server: usize,
    requests: Vec<Vec<u8>>,
    status: u16,
    loads: Vec<Load>,
    paced: Vec<Load>,
}

fn main() {
    let argument =
        |prefix: &str| std::env::args().find_map(|argument| argument.strip_prefix(prefix).map(str::to_owned));
    if let Some(answer) = argument("--bare=") {
        return serve_bare(&std::fs::read_to_string(answer).unwrap());
    }
    if let Some(kind) = argument("--library=") {
        return serve_library(&kind);
    }
    let round = Duration::from_millis(if argument("QUICK").is_some() { 200 } else { 2_000 });
    // The servers' core; they inherit it.
    pin(0);
    let (folder, main_server) = started(&[]);
    let others = [("HS256", 1_000), ("ES256", 1_000)].map(|(algorithm, users)| {
        let (folder, server) = started(&[("HALLPASS_TOKEN__ALGORITHM", algorithm)]);
        let tokens = tokens(&server, users);
        (folder, server, tokens)
    });
    let (_short_folder, short) = started(&[("HALLPASS_TOKEN__LIFETIME_S", "1")]);
    let expired = tokens(&short, 1_000);
    println!("memory after the start: {:.1} MiB", memory(&main_server));
    let tokens = tokens(&main_server, USERS);
    println!("memory after {USERS} sign-ins: {:.1} MiB", memory(&main_server));

    let user = |token: &String| get("/user/", Some(token));
    let answer = ask(&main_server.address, &user(&tokens[0]));
    let file = folder.path().join("answer.txt");
    std::fs::write(&file, &answer).unwrap();
    let bare = own(&format!("--bare={}", file.display()));
    let library = ["bare", "extractor", "middleware", "both"].map(|kind| own(&format!("--library={kind}")));
    let mint = mint();
    let hello = vec![get("/hello", Some(&mint.token_for("ada").to_string()))];

    let forged = |token: &String| {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        user(&format!("{message}.{other}{}", &signature[1..]))
    };
    let servers = [
        &bare,
        &main_server,
        &others[0].1,
        &others[1].1,
        &short,
        &library[0],
        &library[1],
        &library[2],
        &library[3],
    ];
    let row = |name, beside, server, requests, status| Row {
        name,
        beside,
        server,
        requests,
        status,
        loads: vec![],
        paced: vec![],
    };
    pin(1);
    // Each token of another user, for the first time: the users are read too.
    let began = Instant::now();
    let mut cold = Connection::open(&main_server.address);
    tokens.iter().for_each(|token| assert_eq!(cold.get_user(token), 200));
    let cold = began.elapsed();
    println!("memory with {USERS} known tokens and users: {:.1} MiB", memory(&main_server));
    let mut rows = [
        row("bare actix-web, the bytes of `GET /user/`", 0, 0, vec![user(&tokens[0])], 200),
        row("`GET /health/live`, unguarded", 0, 1, vec![get("/health/live", None)], 200),
        row("`GET /user/`, one token (EdDSA)", 0, 1, vec![user(&tokens[0])], 200),
        row("`GET /user/`, 10,000 tokens", 0, 1, tokens.iter().map(user).collect(), 200),
        row("`GET /user/`, 1,000 tokens, EdDSA", 0, 1, tokens[..1_000].iter().map(user).collect(), 200),
        row("`GET /user/`, 1,000 tokens, HS256", 0, 2, others[0].2.iter().map(user).collect(), 200),
        row("`GET /user/`, 1,000 tokens, ES256", 0, 3, others[1].2.iter().map(user).collect(), 200),
        row("refused: garbage", 0, 1, vec![user(&"not.a.token".to_owned())], 401),
        row("refused: 1,000 expired tokens", 0, 4, expired.iter().map(user).collect(), 401),
        row(
            "refused: 1,000 forged signatures, EdDSA",
            0,
            1,
            tokens[..1_000].iter().map(forged).collect(),
            401,
        ),
        row("your own app, bare", 7, 5, hello.clone(), 200),
        row("your own app, `AuthUser`", 7, 6, hello.clone(), 200),
        row("your own app, `guard.protect()`", 7, 7, hello.clone(), 200),
        row("your own app, both, and `Envelope`", 7, 8, hello, 200),
    ];
    // The bare app of the last four.
    rows.iter_mut().filter(|row| row.beside == 7).for_each(|row| row.beside = 10);
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let server = servers[row.server];
            let at = (server.address.as_str(), server.pid());
            row.loads.push(load(at, &row.requests, row.status, CONNECTIONS, round, None));
            row.paced.push(load(at, &row.requests, row.status, CONNECTIONS, round, Some(RATE)));
        }
    }
    println!("memory after the load: {:.1} MiB", memory(&main_server));
    println!(
        "cold start: {:.0} requests/s, one connection, each token for the first time",
        USERS as f64 / cold.as_secs_f64()
    );
    println!();
    println!(
        "| | requests/s | of bare | processor, µs | of bare | p50, ms | p99, ms | p99 at {RATE:.0}/s | of bare |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in &rows {
        let bare = &rows[row.beside];
        let (rate, of_rate) = medians(row, bare, |row| &row.loads, |load| load.per_second);
        let (cpu, of_cpu) = medians(row, bare, |row| &row.loads, |load| load.cpu_micros);
        let (p50, _) = medians(row, bare, |row| &row.loads, |load| load.quantile(0.5));
        let (p99, _) = medians(row, bare, |row| &row.loads, |load| load.quantile(0.99));
        let (paced, of_paced) = medians(row, bare, |row| &row.paced, |load| load.quantile(0.99));
        println!(
            "| {} | {rate:.0} | {of_rate:.2} | {cpu:.1} | {:.2} | {p50:.2} | {p99:.2} | {paced:.2} | {of_paced:.2} |",
            row.name,
            1.0 / of_cpu
        );
    }
}

/// The median of a figure, and that of its ratios to the same round of the bare server.
fn medians(
    row: &Row,
    bare: &Row,
    loads: impl Fn(&Row) -> &Vec<Load>,
    figure: impl Fn(&Load) -> f64,
) -> (f64, f64) {
    let figures: Vec<f64> = loads(row).iter().map(&figure).collect();
    let ratios = loads(bare).iter().map(&figure).zip(&figures).map(|(bare, own)| own / bare).collect();
    (median(figures), median(ratios))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A server with one worker and all users.
fn started(settings: &[(&str, &str)]) -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    import(folder.path(), (0..USERS).map(|number| (email(number), hash.clone())));
    let mut command = hallpass(folder.path(), &["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    command.env("HALLPASS_SERVER__WORKERS", "1").env("HALLPASS_PASSWORD__BCRYPT_COST", "4");
    command.envs(settings.iter().copied());
    (folder, Server::with_passphrase(command))
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

/// Signs so many users in.
fn tokens(server: &Server, users: usize) -> Vec<String> {
    let sign_in = |numbers: std::ops::Range<usize>| {
        let mut connection = Connection::open(&server.address);
        let token = |number| {
            assert_eq!(connection.login(&email(number), PASSWORD), 200, "{}", connection.1);
            let (_, rest) = connection.1.split_once(r#""token":""#).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        numbers.map(token).collect::<Vec<_>>()
    };
    scope(|threads| {
        let part = users / 8;
        let parts = [0, 1, 2, 3, 4, 5, 6, 7]
            .map(|number| threads.spawn(move || sign_in(number * part..(number + 1) * part)));
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
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

/// The resident memory of a server, in MiB.
fn memory(server: &Server) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
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
    let (protect, envelope) = (guard.protect(), hallpass::Envelope::default());
    let hello = |user: AuthUser| async move { HttpResponse::Ok().body(user.id.clone()) };
    match kind {
        "bare" => serve(|config| {
            config.route("/hello", web::get().to(|| async { HttpResponse::Ok().body("ada") }));
        }),
        "extractor" => serve(move |config| {
            config.app_data(guard.clone()).route("/hello", web::get().to(hello));
        }),
        "middleware" => serve(move |config| {
            let handler = web::get().to(|| async { HttpResponse::Ok().body("ada") });
            config.service(web::scope("").wrap(protect.clone()).route("/hello", handler));
        }),
        _ => serve(move |config| {
            let scope = web::scope("").wrap(protect.clone()).wrap(envelope.clone());
            config.service(scope.route("/hello", web::get().to(hello)));
        }),
    }
}

fn serve(configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) {
    actix_rt::System::new()
        .block_on(async move {
            let app = move || App::new().configure(configure.clone());
            let server = HttpServer::new(app).workers(1).tcp_nodelay(true).bind("127.0.0.1:0").unwrap();
            println!("listening on http://{}", server.addrs()[0]);
            server.run().await
        })
        .unwrap();
}
