//! Several servers on one PostgreSQL: guarded requests, refreshes and sign-ins a second, and what each costs the
//! servers and the database. `cargo bench --bench scale`
//!
//! The database is that of `HALLPASS_TEST_POSTGRES_URL`, by default `postgres://postgres@127.0.0.1:5432/postgres`; a
//! schema of its own is made there and dropped. Where servers, database and clients share a few cores, the requests a
//! second do not grow with the servers: the CPU time of one operation is the figure to go by. bcrypt's cost is 4, so
//! that a sign-in shows its database work and not its hash.
//!
//! With `-- --pin`, as root, the servers run on the first core alone, PostgreSQL and the clients on the others.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use support::{Connection, LOCAL_POSTGRES, PASSWORD, Server, cpu_time, drop_schema};

const PHASE: Duration = Duration::from_secs(8);
const CONNECTIONS: usize = 16;
/// Who signs in on one connection, in turn: one user would soon have all the sessions that a user can have.
const USERS_EACH: usize = 100;
const SCHEMA: &str = "hallpass_bench_scale";

/// The measurements of one phase.
struct Figures {
    per_second: f64,
    /// CPU microseconds an operation, of all servers and of PostgreSQL.
    servers: f64,
    database: f64,
}

fn main() {
    let url = std::env::var("HALLPASS_TEST_POSTGRES_URL").unwrap_or_else(|_| LOCAL_POSTGRES.to_owned());
    let pin = std::env::args().any(|argument| argument == "--pin");
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if pin {
        assert!(cores > 1, "there is one core only");
        pin_to(&format!("1-{}", cores - 1));
    }
    println!(
        "| database | servers | guarded/s | CPU µs | refreshes/s | CPU µs | database µs | sign-ins/s | CPU µs | database µs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    measure("SQLite", 1, "sqlite://hallpass.db", pin);
    for servers in 1..=3 {
        drop_schema(&url, SCHEMA);
        measure("PostgreSQL", servers, &url, pin);
    }
    drop_schema(&url, SCHEMA);
    if pin {
        pin_to(&format!("0-{}", cores - 1));
    }
}

/// Keeps this process and PostgreSQL to these cores.
fn pin_to(cores: &str) {
    for pid in postgres_pids().chain([std::process::id()]) {
        taskset(&["-a", "-c", "-p", cores], pid);
    }
}

fn taskset(arguments: &[&str], pid: u32) {
    // A backend may have ended meanwhile.
    let _ =
        Command::new("taskset").args(arguments).arg(pid.to_string()).output().expect("taskset is installed");
}

fn measure(database: &str, count: usize, url: &str, pin: bool) {
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let users = (0..CONNECTIONS * USERS_EACH).map(|number| (email(number), hash.clone()));
    let settings =
        format!("[database]\nurl = \"{url}\"\nschema = \"{SCHEMA}\"\n[password]\nbcrypt_cost = 4\n");
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::write(folder.path().join("config/default.toml"), settings).unwrap();
    support::import(folder.path(), users);
    let servers: Vec<_> = (0..count).map(|_| Server::hallpass(folder.path())).collect();
    if pin {
        servers.iter().for_each(|server| taskset(&["-a", "-c", "-p", "0"], server.pid()));
    }
    // The first sign-in of each replaces the imported hash: that work is no part of what is measured.
    scope(|threads| {
        for number in 0..CONNECTIONS {
            let server = &servers[number % count];
            threads.spawn(move || {
                (0..USERS_EACH).for_each(|turn| drop(sign_in(server, turn * CONNECTIONS + number)));
            });
        }
    });
    let tokens: Vec<_> = (0..CONNECTIONS).map(|number| sign_in(&servers[number % count], number)).collect();

    let guarded = phase(&servers, |connection, number| {
        assert_eq!(connection.get_user(&tokens[number].0), 200, "{}", connection.1);
    });
    let refresh_tokens: Vec<_> = tokens.iter().map(|(_, refresh)| Mutex::new(refresh.clone())).collect();
    let refreshes = phase(&servers, |connection, number| {
        let mut token = refresh_tokens[number].lock().unwrap();
        assert_eq!(connection.refresh(&token), 200, "{}", connection.1);
        *token = field(&connection.1, "refresh_token");
    });
    let turns: Vec<_> = tokens.iter().map(|_| AtomicUsize::new(0)).collect();
    let sign_ins = phase(&servers, |connection, number| {
        let turn = turns[number].fetch_add(1, Ordering::Relaxed) % USERS_EACH;
        assert_eq!(connection.login(&email(turn * CONNECTIONS + number), PASSWORD), 200, "{}", connection.1);
    });
    println!(
        "| {database} | {count} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
        guarded.per_second,
        guarded.servers,
        refreshes.per_second,
        refreshes.servers,
        refreshes.database,
        sign_ins.per_second,
        sign_ins.servers,
        sign_ins.database
    );
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

fn field(body: &str, name: &str) -> String {
    let (_, rest) = body.split_once(&format!(r#""{name}":""#)).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn sign_in(server: &Server, number: usize) -> (String, String) {
    let mut connection = Connection::open(&server.address);
    assert_eq!(connection.login(&email(number), PASSWORD), 200);
    (field(&connection.1, "token"), field(&connection.1, "refresh_token"))
}

/// Runs `operation` on every connection as often as it goes, the connections spread over the servers.
fn phase(servers: &[Server], operation: impl Fn(&mut Connection, usize) + Sync) -> Figures {
    let done = AtomicUsize::new(0);
    let pids: Vec<_> = servers.iter().map(Server::pid).collect();
    let cpu = |pids: &[u32]| pids.iter().map(|pid| cpu_time(*pid)).sum::<Duration>();
    let (before, database_before) = (cpu(&pids), postgres_cpu_time());
    let began = Instant::now();
    scope(|threads| {
        for number in 0..CONNECTIONS {
            let (done, operation) = (&done, &operation);
            let server = &servers[number % servers.len()];
            threads.spawn(move || {
                let mut connection = Connection::open(&server.address);
                while began.elapsed() < PHASE {
                    operation(&mut connection, number);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    let count = done.into_inner() as f64;
    let each = |cost: Duration| cost.as_secs_f64() * 1e6 / count;
    Figures {
        per_second: count / took,
        servers: each(cpu(&pids).saturating_sub(before)),
        database: each(postgres_cpu_time().saturating_sub(database_before)),
    }
}

/// The CPU time of all PostgreSQL processes of this machine, those that have ended included where their parent counts
/// them.
fn postgres_cpu_time() -> Duration {
    postgres_pids().map(cpu_time).sum()
}

fn postgres_pids() -> impl Iterator<Item = u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let name = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
        name.is_ok_and(|name| name.trim_end() == "postgres")
    })
}
