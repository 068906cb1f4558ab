//! The tests of the server once more, on PostgreSQL: this binary runs itself with another database.

use std::process::Command;

use sqlx::Row;
use uuid::Uuid;

use crate::test_database::{PREFIX_VARIABLE, SCHEMA_PREFIX, connect_postgres, is_postgres, postgres_answers};

/// The modules whose tests use no database, start processes on a SQLite file, or choose their databases themselves.
const OTHERS: &[&str] = &[
    "change_feed::",
    "cli::",
    "concurrency::",
    "crash::",
    "database::",
    "database_move::",
    "examples::",
    "extractors::",
    "import::",
    "jwks_url::",
    "key_commands::",
    "lost_connections::",
    "postgres::",
    "previous_schema::",
    "prompt::",
    "rekey::the_command",
    "round_trips::",
    "sealed_hashes::an_export",
    "sealed_hashes::a_sealed_hash_of",
    "sealed_hashes::neither",
    "secrets::",
    "settings::",
    "store::",
    "store_admin::",
    "store_sealed::",
    "token_commands::",
];

/// The minimum number of tests that must remain.
const FEWEST: usize = 150;

/// Returns the names of the tests that `filters` leave.
fn list(filters: &[&str]) -> Vec<String> {
    let listed = Command::new(std::env::current_exe().unwrap()).arg("--list").args(filters).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn skips() -> Vec<&'static str> {
    OTHERS.iter().flat_map(|module| ["--skip", module]).collect()
}

#[test]
fn every_test_of_the_server_passes_on_postgresql_too_and_leaves_nothing_behind() {
    if is_postgres() || !postgres_answers() {
        return;
    }
    let prefix = format!("{SCHEMA_PREFIX}{:08x}_", Uuid::new_v4().as_fields().0);
    let run = Command::new(std::env::current_exe().unwrap())
        .args(skips())
        .env("HALLPASS_TEST_DATABASE", "postgres")
        .env("HALLPASS_TEST_REQUIRE_POSTGRES", "1")
        .env(PREFIX_VARIABLE, &prefix)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "on PostgreSQL:\n{out}\n{err}");
    let passed = out.lines().find_map(|line| {
        line.strip_prefix("test result: ok. ")?.split_once(" passed; 0 failed; 0 ignored;")?.0.parse().ok()
    });
    let passed: usize = passed.unwrap_or_else(|| panic!("no result: {out}\n{err}"));
    assert!(passed >= FEWEST, "only {passed} tests ran: {out}");
    let left = actix_rt::System::new().block_on(async {
        let mut connection = connect_postgres("public").await.unwrap();
        let schemas = sqlx::query("select nspname::text from pg_namespace where starts_with(nspname, $1)");
        schemas.bind(&prefix).fetch_all(&mut connection).await.unwrap()
    });
    let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
    assert!(left.is_empty(), "schemas are left behind: {left:?}");
}

#[test]
fn each_module_that_is_left_out_exists() {
    let all = list(&[]);
    for module in OTHERS {
        assert!(all.iter().any(|test| test.starts_with(module)), "no test begins with {module}");
    }
}
