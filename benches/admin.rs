//! The admin's lists and statistics with many users and events: the time of each request over HTTP, on SQLite and PostgreSQL.
//!
//! `cargo bench --bench admin [-- --users N --events N --only sqlite|postgres]`, by default 1,000,000 users, 10,000,000 events
//! and both databases.
//!
//! SQLite in a temporary folder, and the PostgreSQL of `HALLPASS_TEST_POSTGRES_URL`, by default
//! `postgres://postgres@127.0.0.1:5432/postgres`, in a schema of its own that is dropped. The users are imported by the
//! command; the events are inserted by SQL, spread over a year.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

mod support;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use hallpass::server::config::{self, DatabaseUrl, Settings};
use hallpass::server::store::Store;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};
use support::{Connection, LOCAL_POSTGRES, PASSWORD, Server, block_on, drop_schema, hallpass};
use uuid::Uuid;

const SCHEMA: &str = "hallpass_bench_admin";
const ADMIN: &str = "root@example.com";

/// How often each request is sent.
const TIMES: usize = 200;

/// The events of a year; one in a thousand is of the user in the middle.
const YEAR: i64 = 365 * 86_400_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let text = arguments.iter().skip_while(|argument| *argument != name).nth(1);
        text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let (users, events) = (number("--users", 1_000_000), number("--events", 10_000_000));
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1).map(String::as_str);
    assert!(matches!(only, None | Some("sqlite" | "postgres")), "--only takes sqlite or postgres");
    let mut columns = Vec::new();
    if only != Some("postgres") {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("hallpass.db"));
        columns.push(("SQLite", measure(folder.path(), url, users, events)));
    }
    if only != Some("sqlite") {
        let url = std::env::var("HALLPASS_TEST_POSTGRES_URL").unwrap_or_else(|_| LOCAL_POSTGRES.to_owned());
        drop_schema(&url, SCHEMA);
        let folder = tempfile::tempdir().unwrap();
        columns.push(("PostgreSQL", measure(folder.path(), url.parse().unwrap(), users, events)));
        drop_schema(&url, SCHEMA);
    }
    println!("\n{users} users, {events} events; {TIMES} requests each, ms\n");
    let heads: Vec<_> = columns.iter().map(|(name, _)| format!("{name} p50 | p99 |")).collect();
    println!("| request | {}\n|---|{}", heads.join(" "), "---|---|".repeat(heads.len()));
    for (place, (request, _)) in columns[0].1.iter().enumerate() {
        let times = columns.iter().map(|(_, rows)| &rows[place].1);
        let cells: Vec<_> =
            times.map(|times| format!("{:.2} | {:.2} |", at(times, 0.5), at(times, 0.99))).collect();
        println!("| {request} | {}", cells.join(" "));
    }
}

fn at(times: &[Duration], part: f64) -> f64 {
    times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
}

fn measure(folder: &Path, url: DatabaseUrl, users: u64, events: u64) -> Vec<(&'static str, Vec<Duration>)> {
    let file = format!(
        "[database]\nurl = \"{url}\"\nschema = \"{SCHEMA}\"\n[password]\nbcrypt_cost = 4\n[events]\nkeep_days = 400\n"
    );
    std::fs::create_dir(folder.join("config")).unwrap();
    std::fs::write(folder.join("config/default.toml"), file).unwrap();
    let mut settings = Settings::default().database;
    settings.url = url.clone();
    settings.schema = SCHEMA.into();
    import(folder, users);
    let (middle, oldest) = block_on(fill(&url, users, events));

    let server = Server::hallpass(folder);
    let began = Instant::now();
    block_on(wait_until_indexed(&settings));
    let name = if matches!(url, DatabaseUrl::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    println!("{name}: the words of {users} users were written in {:.0} s", began.elapsed().as_secs_f64());

    let mut connection = Connection::open(&server.address);
    assert_eq!(connection.login(ADMIN, PASSWORD), 200, "{}", connection.1);
    let (_, rest) = connection.1.split_once(r#""token":""#).unwrap();
    let token = rest.split('"').next().unwrap().to_owned();
    let half = events / 2;
    let requests = [
        ("users: the first page", "/admin/users".to_owned()),
        ("the page in the middle", format!("/admin/users?cursor={middle}")),
        ("the last page", format!("/admin/users?cursor={oldest}")),
        ("`q`, 11 matches", "/admin/users?q=user77777".to_owned()),
        ("`q`, every user matches", "/admin/users?q=user".to_owned()),
        ("`q`, nobody matches", "/admin/users?q=nobody".to_owned()),
        ("`role`, one in a thousand", "/admin/users?role=rare".to_owned()),
        ("`q` and `role`", "/admin/users?q=user7&role=rare".to_owned()),
        ("`email`", "/admin/users?email=user777@example.com".to_owned()),
        ("events: the first page", "/admin/events".to_owned()),
        ("the page in the middle", format!("/admin/events?cursor={half}")),
        ("the last page", "/admin/events?cursor=50".to_owned()),
        ("of a kind", format!("/admin/events?kind=signed_out&cursor={half}")),
        ("of a user", format!("/admin/events?user={middle}")),
        ("of one day", "/admin/events?since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z".to_owned()),
        (
            "statistics: 24 hours",
            "/admin/stats?step=hour&since=2026-06-01T00:00:00Z&until=2026-06-02T00:00:00Z".to_owned(),
        ),
        ("a year", "/admin/stats?step=day&since=2026-01-01T00:00:00Z&until=2026-12-31T00:00:00Z".to_owned()),
    ];
    // Whoever asks first pays for the totals; they are counted once a minute.
    assert_eq!(connection.get("/admin/stats", &token), 200, "{}", connection.1);
    let timed = requests.into_iter().map(|(name, path)| {
        let mut times: Vec<_> = (0..TIMES)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(connection.get(&path, &token), 200, "{path}: {}", connection.1);
                began.elapsed()
            })
            .collect();
        times.sort();
        (name, times)
    });
    timed.collect()
}

fn import(folder: &Path, users: u64) {
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("users.csv")).unwrap());
    writeln!(file, "email,name,roles,password_hash\n{ADMIN},,admin,{hash}").unwrap();
    for number in 0..users {
        let role = if number % 1000 == 0 { "rare" } else { "" };
        writeln!(file, "user{number}@example.com,Number {number},{role},").unwrap();
    }
    drop(file.into_inner().unwrap());
    assert!(hallpass(folder, &["user", "import", "users.csv"]).output().unwrap().status.success());
}

/// Inserts the events. Returns the ids of the user in the middle, and of the one before whom a page of 50 is left.
async fn fill(url: &DatabaseUrl, users: u64, events: u64) -> (Uuid, Uuid) {
    let begin = chrono::DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().timestamp_millis();
    let kinds = "case n % 10 when 0 then 'sign_in_failed' when 1 then 'signed_out' when 2 then 'signed_in' else 'refreshed' end";
    let pick = |offset: u64| format!("select id from users order by id limit 1 offset {offset}");
    let offsets = [users / 2, 50.min(users / 2)];
    // The milliseconds between two events.
    let step = YEAR / i64::try_from(events).unwrap();
    let values = |first: Uuid, literal: &str| {
        format!(
            "{begin} + n * {step}, {kinds}, case when n % 1000 = 0 then {} end, '192.0.2.1'",
            literal.replace('?', &first.simple().to_string())
        )
    };
    match url {
        DatabaseUrl::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(path)
                .synchronous(sqlx::sqlite::SqliteSynchronous::Off);
            let mut connection = options.connect().await.unwrap();
            let mut ids = Vec::new();
            for offset in offsets {
                ids.push(
                    sqlx::query(AssertSqlSafe(pick(offset))).fetch_one(&mut connection).await.unwrap().get(0),
                );
            }
            let insert = format!(
                "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {events}) \
                 insert into events (at, kind, user_id, address) select {} from numbers",
                values(ids[0], "x'?'")
            );
            connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
            (ids[0], ids[1])
        }
        other => {
            let options: sqlx::postgres::PgConnectOptions = other.to_string().parse().unwrap();
            let mut connection = options.options([("search_path", SCHEMA)]).connect().await.unwrap();
            let mut ids = Vec::new();
            for offset in offsets {
                ids.push(
                    sqlx::query(AssertSqlSafe(pick(offset))).fetch_one(&mut connection).await.unwrap().get(0),
                );
            }
            let insert = format!(
                "insert into events (at, kind, user_id, address) select {} from generate_series(1::bigint, {events}) n; analyze",
                values(ids[0], "'?'::uuid")
            );
            connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
            (ids[0], ids[1])
        }
    }
}

/// Waits until the server has written the words of all users.
async fn wait_until_indexed(settings: &config::Database) {
    let store = Store::open(settings).await.unwrap();
    while store.read(async |connection| connection.has_users_to_index().await).await.unwrap() {
        actix_rt::time::sleep(Duration::from_millis(100)).await;
    }
    store.close().await;
}
