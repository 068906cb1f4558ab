//! An installation is copied from one database into another: `hallpass database move` and what it stands on.

use std::sync::atomic::{AtomicBool, Ordering};

use hallpass::server::model::{Event, EventKind};
use hallpass::server::store::{CopyError, Store, TableDigest};
use serde_json::json;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD, TestApp};
use crate::process::{Server, Workplace};
use crate::test_database::{TestDatabase, postgres_answers};

/// A name with everything that the text format of `copy` gives a meaning.
const AWKWARD: &str = "a\\N\tb\\\n\\.\r\nc \u{1F984} \\t";

/// Returns a database of an installation with users, sessions, used refresh tokens, events and counters.
async fn used(database: TestDatabase) -> TestDatabase {
    let app = TestApp::on(database.clone(), |_| {}).await;
    let refresh = app.login(EMAIL, PASSWORD).await.json()["data"]["refresh_token"].clone();
    app.post("/auth/refresh").json(json!({ "refresh_token": refresh })).send().await;
    app.login(EMAIL, "wrong password").await;
    app.add_user("bob@example.com", PASSWORD).await;
    let hidden = app.login("bob@example.com", PASSWORD).await;
    let token = hidden.json()["data"]["token"].as_str().unwrap().to_owned();
    app.post("/auth/logout").authorization(&format!("Bearer {token}")).json(json!({})).send().await;
    database.execute(&format!("update users set name = '{AWKWARD}' where email = '{EMAIL}'")).await;
    database
}

async fn open(database: &TestDatabase) -> Store {
    Store::open(&database.settings).await.unwrap()
}

async fn digests(store: &Store) -> Vec<TableDigest> {
    store.digests(|_, _| {}).await.unwrap()
}

fn rows(tables: &[TableDigest], name: &str) -> u64 {
    tables.iter().find(|table| table.table == name).unwrap().rows
}

/// Each kind of database to copy from, with each to copy to.
fn pairs() -> Vec<(TestDatabase, TestDatabase)> {
    let mut pairs = Vec::new();
    for from in [TestDatabase::sqlite, TestDatabase::postgres] {
        for to in [TestDatabase::sqlite, TestDatabase::postgres] {
            if postgres_answers() || (from().is_sqlite() && to().is_sqlite()) {
                pairs.push((from(), to()));
            }
        }
    }
    pairs
}

#[actix_rt::test]
async fn every_row_arrives_in_either_database_and_a_second_run_writes_nothing() {
    for (from, to) in pairs() {
        let from = used(from).await;
        let (source, target) = (open(&from).await, open(&to).await);
        let before = digests(&source).await;
        for table in ["installation", "signing_keys", "users", "sessions", "rotations", "events", "attempts"]
        {
            assert!(rows(&before, table) > 0, "{table} has rows to copy");
        }
        let mut reported = 0;
        let copied = source.copy_to(&target, |_, rows| reported += rows).await.unwrap();
        assert!(!copied.was_there);
        assert_eq!(
            reported,
            before.iter().map(|table| table.rows).sum::<u64>(),
            "every row is reported once"
        );
        assert_eq!(copied.tables, before);
        assert_eq!(digests(&target).await, before);
        let names = target.read(async |connection| connection.user_by_email(EMAIL).await).await.unwrap();
        assert_eq!(names.unwrap().name.as_deref(), Some(AWKWARD));

        assert!(source.copy_to(&target, |_, _| {}).await.unwrap().was_there);
        assert_eq!(digests(&source).await, before, "the source is as it was");
        assert_eq!(target.problems().await.unwrap(), Vec::<String>::new());
    }
}

#[actix_rt::test]
async fn a_server_on_the_copy_numbers_its_events_after_the_copied_ones() {
    for (from, to) in pairs() {
        let from = used(from).await;
        let (source, target) = (open(&from).await, open(&to).await);
        source.copy_to(&target, |_, _| {}).await.unwrap();
        let before = rows(&digests(&target).await, "events");
        let event = Event::new(EventKind::KeyAdded, hallpass::clock::Clock::system().now());
        target.write(async |tx| tx.record(event.clone()).await).await.unwrap();
        assert_eq!(rows(&digests(&target).await, "events"), before + 1);
    }
}

#[actix_rt::test]
async fn a_copy_that_is_given_up_leaves_the_target_empty_and_can_be_begun_again() {
    for (from, to) in pairs() {
        let from = used(from).await;
        let (source, target) = (open(&from).await, open(&to).await);
        let given_up = AtomicBool::new(false);
        let mut copying = Box::pin(source.copy_to(&target, |table, _| {
            // The users have been written by then.
            if table == "sessions" {
                given_up.store(true, Ordering::Relaxed);
            }
        }));
        std::future::poll_fn(|context| {
            if given_up.load(Ordering::Relaxed) {
                return std::task::Poll::Ready(());
            }
            copying.as_mut().poll(context).map(|_| ())
        })
        .await;
        drop(copying);
        assert!(given_up.load(Ordering::Relaxed));
        assert!(digests(&target).await.iter().all(|table| table.rows == 0));
        assert!(!source.copy_to(&target, |_, _| {}).await.unwrap().was_there);
    }
}

#[actix_rt::test]
async fn a_target_with_other_content_is_refused_and_left_alone() {
    for (from, to) in pairs() {
        let from = used(from).await;
        let (source, target) = (open(&from).await, open(&to).await);
        source.copy_to(&target, |_, _| {}).await.unwrap();
        to.execute("update users set name = 'Grace'").await;
        let before = digests(&target).await;
        let refused = source.copy_to(&target, |_, _| {}).await.unwrap_err();
        assert!(matches!(&refused, CopyError::NotEmpty(table) if table == "users"), "{refused}");
        assert_eq!(digests(&target).await, before);

        let other = used(TestDatabase::sqlite()).await;
        let other = open(&other).await;
        let refused = other.copy_to(&target, |_, _| {}).await.unwrap_err();
        assert!(matches!(refused, CopyError::OtherInstallation), "{refused}");
        assert_eq!(digests(&target).await, before);
    }
}

#[actix_rt::test]
async fn a_source_that_is_written_to_meanwhile_is_noticed() {
    for (from, to) in pairs() {
        let from = used(from).await;
        let (source, target) = (open(&from).await, open(&to).await);
        let mut is_written = false;
        let copying = source.copy_to(&target, |table, _| {
            if table == "users" && !std::mem::replace(&mut is_written, true) {
                let write = || {
                    let statement = from.execute("update users set name = 'Grace'");
                    actix_rt::System::new().block_on(statement);
                };
                std::thread::scope(|scope| scope.spawn(write).join().unwrap());
            }
        });
        let refused = copying.await.unwrap_err();
        assert!(matches!(&refused, CopyError::Changed(table) if table == "users"), "{refused}");
        assert!(digests(&target).await.iter().all(|table| table.rows == 0));
    }
}

#[actix_rt::test]
async fn without_an_installation_there_is_nothing_to_copy() {
    for (from, to) in pairs() {
        let (source, target) = (open(&from).await, open(&to).await);
        let refused = source.copy_to(&target, |_, _| {}).await.unwrap_err();
        assert!(matches!(refused, CopyError::NoInstallation), "{refused}");
    }
}

#[test]
fn a_token_stays_valid_when_the_installation_moves_to_postgresql_and_back() {
    if !postgres_answers() {
        return;
    }
    let postgres = TestDatabase::postgres();
    let url = postgres.settings.url.to_string();
    let place = Workplace::new().variable("HALLPASS_DATABASE__SCHEMA", &postgres.settings.schema);
    place.add_user();
    let server = place.serve();
    let (_, body) = server.login();
    let token = body["data"]["token"].as_str().unwrap().to_owned();
    let refresh = json!({ "refresh_token": body["data"]["refresh_token"] });
    place.run(&["key", "rekey", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "a second key");
    server.stop("TERM").expect(0, "the first server");

    let moved = place.run(&["database", "move", "--to", &url], "");
    moved.expect(0, "to PostgreSQL");
    assert!(moved.out.contains("are copied and compared"), "{moved:?}");
    let again = place.run(&["database", "move", "--to", &url], "");
    again.expect(0, "once more");
    assert!(again.out.contains("nothing was written"), "{again:?}");

    let serve = |url: &str| {
        let command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin", "--database-url", url]);
        Server::start(command, format!("{PASSPHRASE}\n"))
    };
    let server = serve(&url);
    assert_eq!(server.get_user(&token).0, 200);
    assert_eq!(server.login().0, 200, "by the sealed hash");
    let (status, refreshed) = server.ask("POST /auth/refresh", None, Some(&refresh));
    assert_eq!(status, 200, "{refreshed}");
    server.stop("TERM").expect(0, "the second server");

    let back = "sqlite://back.db";
    place.run(&["database", "move", "--database-url", &url, "--to", back], "").expect(0, "and back");
    let lines =
        |url| place.run(&["database", "check", "--database-url", url], "").expect(0, "check").out.clone();
    assert_eq!(lines(&url), lines(back), "the same rows in both");
    let server = serve(back);
    assert_eq!(server.get_user(&token).0, 200);
    let refreshed = refreshed["data"]["token"].as_str().unwrap();
    assert_eq!(server.get_user(refreshed).0, 200);
    drop(postgres);
}

#[test]
fn mistakes_are_told_and_create_no_database() {
    let place = Workplace::new();
    let moved = place.run(&["database", "move", "--to", "sqlite://there.db"], "");
    moved.expect_error(2, "there is no database sqlite://hallpass.db");
    place.run(&["database", "check"], "").expect_error(2, "there is no database");
    assert!(!place.path("hallpass.db").exists() && !place.path("there.db").exists());
    place.run(&["database", "move", "--to", "mysql://x"], "").expect_error(2, "sqlite://relative.db");
    place
        .run(&["database", "move", "--to", "postgres://ada:secret@host/x"], "")
        .expect_error(2, "a URL without a password");

    place.add_user();
    place.run(&["database", "move", "--to", "sqlite://hallpass.db"], "").expect_error(2, "name another one");
    place
        .run(&["database", "move", "--to", "sqlite://there.db"], "")
        .expect_error(1, "has never started on it");
}

#[test]
fn a_damaged_database_is_told() {
    let place = Workplace::new();
    place.add_user();
    place.run(&["database", "check"], "").expect(0, "undamaged");
    actix_rt::System::new().block_on(async {
        use sqlx::{Connection, Executor};
        let url = format!("sqlite://{}", place.path("hallpass.db").display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        connection.execute("pragma foreign_keys = off").await.unwrap();
        let orphan = "insert into rotations (digest, session_id, salt, at) values (x'01', x'02', x'03', 4)";
        connection.execute(orphan).await.unwrap();
        connection.close().await.unwrap();
    });
    let damaged = place.run(&["database", "check"], "");
    damaged.expect_error(1, "the database is damaged");
    assert!(damaged.out.contains("rotations refers to a row that does not exist"), "{damaged:?}");
}
