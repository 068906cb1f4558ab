//! An installation moved from SQLite to PostgreSQL and back by `hallpass database move`: rows a second, beside
//! PostgreSQL's own `COPY` of the same tables, and the most memory that it takes, which should not grow with the rows.
//!
//! `cargo bench --bench database_move [-- --users N]`, by default 1,000,000 users with a session each. The database is
//! that of `HALLPASS_TEST_POSTGRES_URL`; schemas of its own are made there and dropped.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{LOCAL_POSTGRES, PASSWORD, Server, hallpass, watch};

const SCHEMA: &str = "hallpass_bench_move";
const COPIES: &str = "hallpass_bench_copy";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let users = arguments.iter().skip_while(|argument| *argument != "--users").nth(1);
    let users: u32 = users.map_or(1_000_000, |text| text.parse().expect("--users takes a number"));
    let url = std::env::var("HALLPASS_TEST_POSTGRES_URL").unwrap_or_else(|_| LOCAL_POSTGRES.to_owned());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("config")).unwrap();
    let settings = format!("[database]\nschema = \"{SCHEMA}\"\n");
    std::fs::write(folder.join("config/default.toml"), settings).unwrap();
    drop_schemas(&url);
    // The first start makes the installation.
    drop(Server::hallpass(folder));
    import(folder, users);
    add_sessions(&folder.join("hallpass.db"));

    println!("| | rows | rows/s | of COPY | peak memory, MiB |");
    println!("|---|---|---|---|---|");
    let to_postgres = run(folder, "sqlite://hallpass.db", &url);
    let copy = copy(&url);
    let back = run(folder, &url, &format!("sqlite://{}", folder.join("back.db").display()));
    println!("| `COPY` out and in | {} | {:.0} | 1.00 | |", copy.rows, copy.per_second());
    for (name, run) in [("SQLite to PostgreSQL", to_postgres), ("PostgreSQL to SQLite", back)] {
        println!(
            "| {name} | {} | {:.0} | {:.2} | {:.0} |",
            run.rows,
            run.per_second(),
            run.per_second() / copy.per_second(),
            f64::from(run.peak_kib) / 1024.0
        );
    }
    drop_schemas(&url);
}

struct Run {
    rows: u64,
    took: Duration,
    peak_kib: u32,
}

impl Run {
    fn per_second(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }
}

fn import(folder: &Path, users: u32) {
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("users.csv")).unwrap());
    writeln!(file, "email,name,roles,password_hash").unwrap();
    for number in 0..users {
        writeln!(file, "user{number}@example.com,User {number},editor;reader,{hash}").unwrap();
    }
    drop(file.into_inner().unwrap());
    assert!(hallpass(folder, &["user", "import", "users.csv"]).output().unwrap().status.success());
}

/// Gives each user a session, as a sign-in leaves it.
fn add_sessions(database: &Path) {
    let statement = "insert into sessions (id, user_id, created_at, refreshed_at, last_seen_at, token_until, \
                     refresh_digest, by_cookie, user_agent, address) \
                     select randomblob(16), id, created_at, created_at, created_at, created_at + 3600000, \
                     randomblob(32), 0, 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0', '192.0.2.1' from users";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let url = format!("sqlite://{}", database.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn run(folder: &Path, from: &str, to: &str) -> Run {
    let child = hallpass(folder, &["database", "move", "--database-url", from, "--to", to]).spawn().unwrap();
    let (text, took, peak_kib) = watch(child);
    // One line a table: its name, its rows, its digest.
    let rows = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
    Run { rows, took, peak_kib }
}

/// Copies each table out to a file and in again, into tables with the same indexes.
fn copy(url: &str) -> Run {
    psql(url, &[format!("create schema {COPIES}")]);
    let tables = psql(url, &[format!("select tablename from pg_tables where schemaname = '{SCHEMA}'")]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mut rows, mut took) = (0, Duration::ZERO);
    for table in tables.lines().filter(|name| !name.starts_with('_')) {
        psql(url, &[format!("create table {COPIES}.{table} (like {SCHEMA}.{table} including all)")]);
        let began = Instant::now();
        let path = file.path().display();
        psql(url, &[format!("\\copy {SCHEMA}.{table} to '{path}' (format binary)")]);
        psql(url, &[format!("\\copy {COPIES}.{table} from '{path}' (format binary)")]);
        took += began.elapsed();
        let count = psql(url, &[format!("select count(*) from {COPIES}.{table}")]);
        rows += count.trim().parse::<u64>().unwrap();
    }
    Run { rows, took, peak_kib: 0 }
}

fn drop_schemas(url: &str) {
    for schema in [SCHEMA, COPIES] {
        psql(
            url,
            &["set client_min_messages = error".into(), format!("drop schema if exists {schema} cascade")],
        );
    }
}

fn psql(url: &str, statements: &[String]) -> String {
    let mut command = Command::new("psql");
    command.args([url, "-qAt", "-v", "ON_ERROR_STOP=1"]);
    statements.iter().for_each(|statement| {
        command.args(["-c", statement]);
    });
    let output = command.output().expect("psql is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
