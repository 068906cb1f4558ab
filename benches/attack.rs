//! Sign-ins of honest people beside attacks on the sign-in: who gets in, and how long it takes. bcrypt's cost is 12,
//! the limits are on, and the addresses are those that a trusted proxy names.
//!
//! `cargo bench --bench attack -- [--seconds N] [--against BINARY]`: each attack lasts 20 seconds by default; `BINARY`
//! is another build of hallpass, measured beside this one in the same run.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use support::{Connection, PASSWORD, Server};

const PASSPHRASE: &str = "a river of seventeen blue lanterns";
const COST: u32 = 12;
/// Accounts whose owners sign in from an address at which they have signed in before.
const OWNERS: usize = 8;
/// Accounts whose owners sign in from a new address.
const NEWCOMERS: usize = 40;
const GUARDED_PER_SECOND: u32 = 100;
/// How long a newcomer goes on trying.
const PATIENCE: Duration = Duration::from_secs(30);

/// An attack: its connections, and the request of a number on the connection of another.
struct Attack {
    name: &'static str,
    connections: usize,
    path: &'static str,
    request: fn(connection: usize, number: usize) -> (String, String),
}

const ATTACKS: [Attack; 5] = [
    Attack {
        name: "wrong passwords of invented accounts, 96 connections, random addresses",
        connections: 96,
        path: "/auth/login",
        request: |connection, number| {
            let random = hash(connection * 1_000_003 + number);
            (address(random), login(&format!("nobody{random}@example.com"), "wrong horse battery"))
        },
    },
    Attack {
        name: "passwords to rate, 64 connections, 40 addresses",
        connections: 64,
        path: "/auth/password-strength",
        request: |connection, number| {
            let text: String = (0..64)
                .map(|place| ['l', '1', 'i', '!', '|', '0', 'o', '5'][hash(number + place) % 8])
                .collect();
            (address(connection % 40), format!(r#"{{"password":"{text}"}}"#))
        },
    },
    Attack {
        name: "wrong passwords of one account, 64 connections, 8 addresses",
        connections: 64,
        path: "/auth/login",
        request: |connection, _| (address(connection % 8), login(&owner(0), "wrong horse battery")),
    },
    Attack {
        name: "registrations, 100 connections, one address",
        connections: 100,
        path: "/auth/register",
        request: |connection, number| {
            (address(1), login(&format!("r{connection}-{number}@example.com"), PASSWORD))
        },
    },
    Attack {
        name: "wrong passwords of invented accounts, 200 connections, 2,000 addresses in 200 networks",
        connections: 200,
        path: "/auth/login",
        request: |connection, number| {
            let random = hash(connection * 1_000_003 + number);
            let address = format!("198.{}.{}.{}", 18 + random % 2, random / 2 % 100, random / 200 % 10);
            (address, login(&format!("nobody{random}@example.com"), "wrong horse battery"))
        },
    },
];

fn hash(number: usize) -> usize {
    (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 24
}

fn address(number: usize) -> String {
    let [_, one, two, three] = (hash(number) as u32).to_be_bytes();
    format!("100.{}.{two}.{three}", one % 64 + 64)
}

fn owner(number: usize) -> String {
    format!("owner{number}@example.com")
}

fn newcomer(number: usize) -> String {
    format!("new{number}@example.com")
}

fn login(email: &str, password: &str) -> String {
    format!(r#"{{"email":"{email}","password":"{password}"}}"#)
}

fn home(number: usize) -> String {
    format!("203.0.113.{number}")
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let seconds = after("--seconds").map_or(20, |text| text.parse().expect("--seconds takes a number"));
    let mut servers = vec![("this build", PathBuf::from(env!("CARGO_BIN_EXE_hallpass")))];
    servers.extend(after("--against").map(|path| ("the other", PathBuf::from(path))));
    println!(
        "| attack | server | known: succeeded | p95, of idle | new: within 30 s | guarded p99, of idle | attack's answers/s | MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for attack in ATTACKS {
        for (name, binary) in &servers {
            measure(&attack, name, binary, Duration::from_secs(seconds));
        }
    }
}

fn start(binary: &Path, folder: &Path) -> Server {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("HALLPASS_SERVER__TRUSTED_PROXIES", "127.0.0.1").env("RUST_LOG", "error");
        command
    };
    let stored = bcrypt::hash(PASSWORD, COST).unwrap();
    let emails = (0..OWNERS).map(owner).chain((0..NEWCOMERS).map(newcomer));
    let lines: String = emails.map(|email| format!("{email},{stored}\n")).collect();
    std::fs::write(folder.join("users.csv"), format!("email,password_hash\n{lines}")).unwrap();
    assert!(command(&["user", "import", "users.csv"]).output().unwrap().status.success());
    Server::start(command(&["serve", "--bind", "127.0.0.1:0", "--key-stdin"]), PASSPHRASE)
}

fn measure(attack: &Attack, name: &str, binary: &Path, lasts: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let server = start(binary, folder.path());
    let mut connection = Connection::open(&server.address);
    let mut token = String::new();
    // The first sign-in of each replaces the imported hash, and makes its address known. Newcomers replace theirs too.
    for number in 0..OWNERS {
        assert_eq!(connection.post("/auth/login", &home(number), &login(&owner(number), PASSWORD)), 200);
        let (_, rest) = connection.1.split_once(r#""token":""#).unwrap();
        token = rest.split('"').next().unwrap().to_owned();
    }
    let idle = known(&server, Instant::now() + lasts / 4);
    let guarded_idle = guarded(&server, &token, Instant::now() + lasts / 4);
    let (is_over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    scope(|threads| {
        for number in 0..attack.connections {
            let (server, is_over, answers) = (&server, &is_over, &answers);
            threads.spawn(move || {
                let mut connection = Connection::open(&server.address);
                for sent in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let (from, body) = (attack.request)(number, sent);
                    connection.post(attack.path, &from, &body);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The attack is under way before anybody is timed.
        sleep(Duration::from_secs(2));
        let (before, began) = (answers.load(Ordering::Relaxed), Instant::now());
        let end = began + lasts;
        let (server, token) = (&server, &token);
        let known = threads.spawn(move || known(server, end));
        let new = threads.spawn(move || newcomers(server, end));
        let guarded = guarded(server, token, end);
        let (known, new) = (known.join().unwrap(), new.join().unwrap());
        let rate = (answers.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        let memory = memory(server.pid());
        is_over.store(true, Ordering::Relaxed);
        println!(
            "| {} | {name} | {} of {} | {:.1} | {} of {} | {:.1} | {rate:.0} | {memory} |",
            attack.name,
            known.succeeded,
            known.tried,
            known.p95 / idle.p95,
            new.0,
            new.1,
            guarded / guarded_idle,
        );
    });
}

struct Known {
    succeeded: usize,
    tried: usize,
    /// Seconds.
    p95: f64,
}

fn percentile(mut times: Vec<f64>, percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Owners sign in at home, one after the other, until `end`. A refusal is no second try.
fn known(server: &Server, end: Instant) -> Known {
    let (mut times, mut tried) = (Vec::new(), 0);
    while Instant::now() < end || tried == 0 {
        let mut connection = Connection::open(&server.address);
        let began = Instant::now();
        let number = tried % OWNERS;
        if connection.post("/auth/login", &home(number), &login(&owner(number), PASSWORD)) == 200 {
            times.push(began.elapsed().as_secs_f64());
        }
        tried += 1;
        sleep(Duration::from_millis(100));
    }
    Known { succeeded: times.len(), tried, p95: percentile(times, 95) }
}

/// Newcomers sign in from a new address each, at intervals, and obey `Retry-After`. Those who got in within
/// [`PATIENCE`], and all of them.
fn newcomers(server: &Server, end: Instant) -> (usize, usize) {
    let interval = end.saturating_duration_since(Instant::now()) / NEWCOMERS as u32;
    let succeeded = AtomicUsize::new(0);
    scope(|threads| {
        for number in 0..NEWCOMERS {
            let succeeded = &succeeded;
            threads.spawn(move || {
                let began = Instant::now();
                let mut connection = Connection::open(&server.address);
                let from = format!("192.{}.2.7", number + 1);
                while began.elapsed() < PATIENCE {
                    match connection.post("/auth/login", &from, &login(&newcomer(number), PASSWORD)) {
                        200 => {
                            succeeded.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        _ => sleep(Duration::from_secs(connection.2.unwrap_or(1))),
                    }
                }
            });
            sleep(interval);
        }
    });
    (succeeded.into_inner(), NEWCOMERS)
}

/// The 99th percentile of guarded requests, each timed from when it was due, in seconds.
fn guarded(server: &Server, token: &str, end: Instant) -> f64 {
    let mut connection = Connection::open(&server.address);
    let (mut times, mut due) = (Vec::new(), Instant::now());
    while due < end {
        sleep(due.saturating_duration_since(Instant::now()));
        assert_eq!(connection.get_user(token), 200);
        times.push(due.elapsed().as_secs_f64());
        due += Duration::from_secs(1) / GUARDED_PER_SECOND;
    }
    percentile(times, 99)
}

/// The memory of a process, in MiB (proc(5)).
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
