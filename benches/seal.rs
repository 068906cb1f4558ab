//! Sealing the password hashes of users that were imported: how long it takes, what sign-ins and guarded requests notice of
//! it, what the looks for more cost afterwards, and how long a single hash that a command has written waits.
//!
//! `cargo bench --bench seal [-- --users N]`, by default 1,000,000 users.
//!
//! SQLite in a temporary folder, and the PostgreSQL of `HALLPASS_TEST_POSTGRES_URL`, by default
//! `postgres://postgres@127.0.0.1:5432/postgres`, in a schema of its own that is dropped. bcrypt's cost is 4, so that a sign-in
//! shows the database and not its hash.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use hallpass::server::config::{self, DatabaseUrl, Settings};
use hallpass::server::store::Store;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use support::{Connection, LOCAL_POSTGRES, PASSWORD, Server, block_on, cpu_time, drop_schema};
use uuid::Uuid;

/// Who signs in all the time, and who has a token: a user's oldest sessions end beyond `session.per_user`.
const SIGNS_IN: &str = "ada@example.com";
const HAS_TOKEN: &str = "bob@example.com";
const SCHEMA: &str = "hallpass_bench_seal";

/// How long the latencies are measured once everything is sealed.
const IDLE: Duration = Duration::from_secs(10);

/// The hashes that are stored one at a time.
const SINGLE: u32 = 20;

/// A hash such as bcrypt writes.
const HASH: &str = "$2b$12$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let users = arguments.iter().skip_while(|argument| *argument != "--users").nth(1);
    let users: u32 = users.map_or(1_000_000, |text| text.parse().expect("--users takes a number"));
    let url = std::env::var("HALLPASS_TEST_POSTGRES_URL").unwrap_or_else(|_| LOCAL_POSTGRES.to_owned());
    println!(
        "| database | users | sealed in, s | users/s | requests | sign-in p50, ms | p99 | max | guarded p50, ms | p99 | max | server CPU, % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let folder = tempfile::tempdir().unwrap();
    let sqlite = folder.path().join("hallpass.db");
    measure("SQLite", users, folder.path(), DatabaseUrl::Sqlite(sqlite));
    drop_schema(&url, SCHEMA);
    let folder = tempfile::tempdir().unwrap();
    measure("PostgreSQL", users, folder.path(), url.parse().unwrap());
    drop_schema(&url, SCHEMA);
}

fn measure(name: &str, users: u32, folder: &Path, url: DatabaseUrl) {
    let mut settings = Settings::default().database;
    settings.url = url;
    settings.schema = SCHEMA.into();
    let file = format!(
        "[database]\nurl = \"{}\"\nschema = \"{SCHEMA}\"\n[password]\nbcrypt_cost = 4\n",
        settings.url
    );
    std::fs::create_dir(folder.join("config")).unwrap();
    std::fs::write(folder.join("config/default.toml"), file).unwrap();
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    support::import(folder, [SIGNS_IN, HAS_TOKEN].map(|email| (email.to_owned(), hash.clone())));
    block_on(fill(&settings, users));

    let server = Server::hallpass(folder);
    let began = Instant::now();
    let cpu = cpu_time(server.pid());
    let is_sealed = AtomicBool::new(false);
    let (during, took) = scope(|threads| {
        let watcher = threads.spawn(|| {
            block_on(wait_until_sealed(&settings));
            is_sealed.store(true, Ordering::Relaxed);
            began.elapsed()
        });
        let during = latencies(&server, || is_sealed.load(Ordering::Relaxed));
        (during, watcher.join().unwrap())
    });
    let busy = cpu_time(server.pid()).saturating_sub(cpu).as_secs_f64() / took.as_secs_f64();
    let seconds = took.as_secs_f64();
    print!("| {name} | {users} | {seconds:.1} | {:.0} |", f64::from(users) / seconds);
    print_row("while sealing", &during, busy);

    // Nothing but the looks.
    let cpu = cpu_time(server.pid());
    std::thread::sleep(IDLE);
    let looks = cpu_time(server.pid()).saturating_sub(cpu).as_secs_f64() / IDLE.as_secs_f64();
    let began = Instant::now();
    let idle = latencies(&server, || began.elapsed() > IDLE);
    print!("| {name} | {users} | | |");
    print_row("after", &idle, looks);
    let mut waits = block_on(waits(&settings, &hash));
    waits.sort();
    let (median, longest) = (waits[waits.len() / 2].as_secs_f64(), waits[waits.len() - 1].as_secs_f64());
    println!(
        "one hash of a command, {name}: sealed in {median:.2} s, the longest of {} {longest:.2} s",
        waits.len()
    );
}

/// Stores hashes like a command, and returns how long each was there unsealed.
async fn waits(settings: &config::Database, hash: &str) -> Vec<Duration> {
    let store = Store::open(settings).await.unwrap();
    let bob =
        store.read(async |connection| connection.user_by_email(HAS_TOKEN).await).await.unwrap().unwrap();
    let mut waits = Vec::new();
    for _ in 0..SINGLE {
        store.write(async |tx| tx.set_password_hash(bob.id, hash).await).await.unwrap();
        let began = Instant::now();
        while store.read(async |connection| connection.has_hashes_to_seal(Uuid::nil()).await).await.unwrap() {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
        waits.push(began.elapsed());
        // Not in step with the looks.
        actix_rt::time::sleep(Duration::from_millis(170)).await;
    }
    store.close().await;
    waits
}

fn print_row(what: &str, (sign_ins, guarded): &(Vec<Duration>, Vec<Duration>), cpu: f64) {
    let at =
        |times: &[Duration], part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let three = |times: &[Duration]| {
        format!("{:.1} | {:.1} | {:.1}", at(times, 0.5), at(times, 0.99), at(times, 1.0))
    };
    println!(" {what} | {} | {} | {:.1} |", three(sign_ins), three(guarded), cpu * 100.0);
}

/// Signs in and asks with a token, on two connections, until `is_over`. Returns the times of both, sorted.
fn latencies(server: &Server, is_over: impl Fn() -> bool + Sync) -> (Vec<Duration>, Vec<Duration>) {
    let token = {
        let mut connection = Connection::open(&server.address);
        assert_eq!(connection.login(HAS_TOKEN, PASSWORD), 200, "{}", connection.1);
        let (_, rest) = connection.1.split_once(r#""token":""#).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let timed = |request: &(dyn Fn(&mut Connection) -> u16 + Sync)| {
        let mut connection = Connection::open(&server.address);
        let mut times = Vec::new();
        while times.is_empty() || !is_over() {
            let began = Instant::now();
            assert_eq!(request(&mut connection), 200, "{}", connection.1);
            times.push(began.elapsed());
            // Not as fast as it goes: that would measure a server under load.
            std::thread::sleep(Duration::from_millis(5));
        }
        times.sort();
        times
    };
    scope(|threads| {
        let sign_ins = threads.spawn(|| timed(&|connection| connection.login(SIGNS_IN, PASSWORD)));
        let guarded = timed(&|connection| connection.get_user(&token));
        (sign_ins.join().unwrap(), guarded)
    })
}

/// Adds the users as an import does, in one statement.
async fn fill(settings: &config::Database, users: u32) {
    // The words by which users are found are no part of what is measured.
    let rest = "delete from users_to_index";
    match &settings.url {
        DatabaseUrl::Sqlite(path) => {
            let mut connection =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            let insert = format!(
                "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {users}) \
                 insert into users (id, email, roles, password_hash, created_at) \
                 select unhex(printf('%032x', n)), 'user' || n || '@example.com', '', '{HASH}', 0 from numbers; {rest}"
            );
            connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
        }
        other => {
            let options: sqlx::postgres::PgConnectOptions = other.to_string().parse().unwrap();
            let mut connection = options.options([("search_path", SCHEMA)]).connect().await.unwrap();
            let insert = format!(
                "insert into users (id, email, roles, password_hash, created_at) \
                 select lpad(to_hex(n), 32, '0')::uuid, 'user' || n || '@example.com', '', '{HASH}', 0 \
                 from generate_series(1, {users}) n; {rest}"
            );
            connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
        }
    }
}

async fn wait_until_sealed(settings: &config::Database) {
    let store = Store::open(settings).await.unwrap();
    while store.read(async |connection| connection.has_hashes_to_seal(Uuid::nil()).await).await.unwrap() {
        actix_rt::time::sleep(Duration::from_millis(100)).await;
    }
    store.close().await;
}
