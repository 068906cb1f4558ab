//! The feed of changes in PostgreSQL, where transactions may commit in another order than they write. Each committed
//! change is delivered once. The tests write on their own connections.

use hallpass::clock::Clock;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use hallpass::server::config::seconds;
use hallpass::server::model::{Change, Lifetimes, Retention};
use hallpass::server::store::{Position, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use uuid::Uuid;

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::process::Workplace;
use crate::test_database::{TestDatabase, connect_postgres, postgres_answers};

/// A reader of the feed, and the changes that it has received.
struct Reader {
    database: TestDatabase,
    store: Store,
    position: Position,
    known: BTreeSet<u128>,
}

impl Reader {
    async fn new() -> Self {
        let database = TestDatabase::postgres();
        let store = Store::open(&database.settings).await.unwrap();
        let position = store.read(async |connection| connection.position().await).await.unwrap();
        Self { database, store, position, known: BTreeSet::new() }
    }

    async fn writer(&self) -> Writer {
        Writer(connect_postgres(&self.database.settings.schema).await.unwrap())
    }

    /// Returns the new changes; `None` if everything must be reloaded.
    async fn read(&mut self) -> Option<BTreeSet<u128>> {
        let from = &self.position;
        let new = self.store.read(async |connection| connection.changes_since(from).await).await.unwrap();
        self.position = new.position;
        let changes = new.changes?;
        let mut delivered = BTreeSet::new();
        for change in changes {
            let Change::User(id) = change else { panic!("{change:?} was not written") };
            assert!(delivered.insert(id.as_u128()), "{id} twice at once");
            assert!(self.known.insert(id.as_u128()), "{id} was delivered before");
        }
        Some(delivered)
    }

    /// Deletes every committed change.
    async fn tidy(&self) {
        let hour = seconds(std::time::Duration::from_secs(3_600));
        let sessions = Lifetimes { idle: hour, absolute: hour, grace: hour };
        let retention = Retention { sessions, leeway: hour, events: hour };
        self.store.delete_expired(Clock::system().now(), &retention).await.unwrap();
    }
}

/// A connection that writes changes by hand.
struct Writer(PgConnection);

impl Writer {
    async fn run(&mut self, sql: &'static str) {
        self.0.execute(sql).await.unwrap();
    }

    /// Writes an old change.
    async fn change(&mut self, number: u128) {
        let insert = sqlx::query("insert into changes (kind, subject, at) values ('user', $1, 0)");
        insert.bind(Uuid::from_u128(number)).execute(&mut self.0).await.unwrap();
    }
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what the feed returns")]
fn delivered(numbers: &[u128]) -> Option<BTreeSet<u128>> {
    Some(numbers.iter().copied().collect())
}

#[actix_rt::test]
async fn a_change_that_is_committed_out_of_order_is_delivered_exactly_once() {
    if !postgres_answers() {
        return;
    }
    let mut reader = Reader::new().await;
    let (mut a, mut b, mut c) = (reader.writer().await, reader.writer().await, reader.writer().await);
    a.run("begin").await;
    a.change(1).await;
    b.change(2).await;
    c.run("begin").await;
    c.change(3).await;
    assert_eq!(reader.read().await, delivered(&[2]));
    assert_eq!(reader.read().await, delivered(&[]));
    c.run("rollback").await;
    assert_eq!(reader.read().await, delivered(&[]), "what is rolled back is none");
    b.change(4).await;
    a.change(5).await;
    a.run("commit").await;
    assert_eq!(reader.read().await, delivered(&[1, 4, 5]));
    assert_eq!(reader.read().await, delivered(&[]));
}

#[actix_rt::test]
async fn a_long_transaction_delays_no_other_change_and_causes_no_reload() {
    if !postgres_answers() {
        return;
    }
    let mut reader = Reader::new().await;
    let (mut open, mut writer) = (reader.writer().await, reader.writer().await);
    open.run("begin; select pg_current_xact_id()").await;
    for round in 0..3 {
        writer.change(round).await;
        assert_eq!(reader.read().await, delivered(&[round]));
    }
    // The deletion is newer than all that the reader saw, as its snapshot cannot tell whether it missed something.
    reader.tidy().await;
    assert_eq!(reader.read().await, None);
    // But once only, though the open transaction is older than the deleted changes.
    assert_eq!(reader.read().await, delivered(&[]));
    writer.change(9).await;
    assert_eq!(reader.read().await, delivered(&[9]));
    open.run("rollback").await;
    assert_eq!(reader.read().await, delivered(&[]));
}

#[actix_rt::test]
async fn only_a_reader_that_missed_deleted_changes_reloads_everything() {
    if !postgres_answers() {
        return;
    }
    let mut late = Reader::new().await;
    let mut writer = late.writer().await;
    writer.change(1).await;
    let mut punctual = Reader { position: late.position.clone(), ..Reader::new().await };
    punctual.store = late.store.clone();
    assert_eq!(punctual.read().await, delivered(&[1]));
    // Whatever else runs on the database server may be older than the change; then this is read anew once.
    late.tidy().await;
    punctual.read().await;
    writer.change(2).await;
    assert_eq!(punctual.read().await, delivered(&[2]));
    assert_eq!(late.read().await, None);
    writer.change(3).await;
    assert_eq!(late.read().await, delivered(&[3]));
}

#[actix_rt::test]
async fn after_a_crash_of_the_database_everything_is_reloaded() {
    if !postgres_answers() {
        return;
    }
    let mut reader = Reader::new().await;
    let mut writer = reader.writer().await;
    writer.change(1).await;
    assert_eq!(reader.read().await, delivered(&[1]));
    // PostgreSQL does so when it recovers from a crash and when a replica is promoted.
    writer.run("truncate xid_sequence").await;
    let other = reader.store.clone();
    let (read, begun) = join(reader.read(), other.read(async |connection| connection.position().await)).await;
    assert_eq!(read, None);
    assert!(begun.is_ok());
    writer.change(2).await;
    assert_eq!(reader.read().await, delivered(&[2]));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Begins a transaction if none is open.
    Change(usize),
    /// Writes a change in a subtransaction, which is released or rolled back.
    Nested(usize, bool),
    Commit(usize),
    RollBack(usize),
    Read,
    Tidy,
}

const WRITERS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..WRITERS).prop_map(Step::Change),
        2 => (0..WRITERS, any::<bool>()).prop_map(|(writer, is_kept)| Step::Nested(writer, is_kept)),
        4 => (0..WRITERS).prop_map(Step::Commit),
        1 => (0..WRITERS).prop_map(Step::RollBack),
        4 => Just(Step::Read),
        1 => Just(Step::Tidy),
    ];
    prop::collection::vec(step, 1..40)
}

/// Takes the steps. After each read, compares what the reader has received with what is committed.
async fn take(reader: &mut Reader, writers: &mut [Writer], numbers: &mut u128, steps: &[Step]) {
    let mut open: Vec<Option<Vec<u128>>> = vec![None; WRITERS];
    let mut committed = reader.known.clone();
    let mut was_tidied = false;
    let end = (0..WRITERS).map(Step::Commit).chain([Step::Read]);
    for step in steps.iter().copied().chain(end) {
        match step {
            Step::Change(at) | Step::Nested(at, _) => {
                *numbers += 1;
                let (number, writer) = (*numbers, &mut writers[at]);
                if open[at].is_none() {
                    writer.run("begin").await;
                }
                let pending = open[at].get_or_insert_default();
                match step {
                    Step::Nested(_, is_kept) => {
                        writer.run("savepoint inner_one").await;
                        writer.change(number).await;
                        writer.run(if is_kept { "release inner_one" } else { "rollback to inner_one" }).await;
                        pending.extend(is_kept.then_some(number));
                    }
                    _ => {
                        writer.change(number).await;
                        pending.push(number);
                    }
                }
            }
            Step::Commit(at) => {
                if let Some(pending) = open[at].take() {
                    writers[at].run("commit").await;
                    committed.extend(pending);
                }
            }
            Step::RollBack(at) => {
                if open[at].take().is_some() {
                    writers[at].run("rollback").await;
                }
            }
            Step::Read => {
                if reader.read().await.is_none() {
                    assert!(was_tidied, "nothing was deleted");
                    reader.known = committed.clone();
                }
                was_tidied = false;
                assert_eq!(reader.known, committed, "{steps:?}");
            }
            Step::Tidy => {
                reader.tidy().await;
                was_tidied = true;
            }
        }
    }
}

#[test]
fn each_committed_change_is_delivered_once_in_any_order_of_commits() {
    if !postgres_answers() {
        return;
    }
    let system = actix_rt::System::new();
    let (mut reader, mut writers) = system.block_on(async {
        let reader = Reader::new().await;
        let writers = join_all((0..WRITERS).map(|_| reader.writer())).await;
        (reader, writers)
    });
    let mut numbers = 0;
    let cell = std::cell::RefCell::new((&mut reader, &mut writers, &mut numbers));
    let config = Config { cases: 48, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            let (reader, writers, numbers) = &mut *cell.borrow_mut();
            system.block_on(take(reader, writers, numbers, &steps));
            Ok(())
        })
        .unwrap();
    // The reader's connections belong to the runtime.
    system.block_on(async move { drop(writers) });
    system.block_on(async move { drop(reader) });
}

#[actix_rt::test]
async fn each_committed_change_is_delivered_once_with_eight_concurrent_writers() {
    if !postgres_answers() {
        return;
    }
    let mut reader = Reader::new().await;
    let mut connections = join_all((0..8).map(|_| reader.writer())).await;
    let write = async |place: usize, writer: &mut Writer| {
        let mut committed = Vec::new();
        for round in 0..30 {
            let number = (place * 100 + round) as u128;
            let commits = round % 5 != place % 5;
            writer.run("begin").await;
            writer.change(number).await;
            // Lets the others in between the write and the commit.
            writer.run("select 1").await;
            writer.run(if commits { "commit" } else { "rollback" }).await;
            committed.extend(commits.then_some(number));
        }
        committed
    };
    let mut writing =
        Box::pin(join_all(connections.iter_mut().enumerate().map(|(place, writer)| write(place, writer))));
    let mut reads = 0;
    let committed = loop {
        assert!(reader.read().await.is_some(), "nothing was deleted");
        reads += 1;
        if let Some(committed) = writing.as_mut().now_or_never() {
            break committed;
        }
        tokio::task::yield_now().await;
    };
    reader.read().await;
    assert!(reads > 10, "the reader read while the others wrote: {reads} times");
    assert_eq!(reader.known, committed.into_iter().flatten().collect());
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(60), future).await.expect("within a minute")
}

#[actix_rt::test]
async fn a_server_is_notified_of_changes_and_of_a_lost_connection() {
    if !postgres_answers() {
        return;
    }
    // In a database of its own, since notifications go to all of a database.
    let app = TestApp::on(TestDatabase::postgres_alone().await, |_| {}).await;
    let other = app.another().await;
    let (token, id) = (app.token().await, app.user_id().await);
    other.get_user(&token).await.expect_data("cached");
    let store = other.server.store();
    let name = async || {
        soon(store.notified()).await;
        other.server.sync_changes().await.unwrap();
        other.get_user(&token).await.expect_data("the user")["name"].clone()
    };
    // It begins to listen; then there may be the notification of the sign-in.
    soon(store.notified()).await;
    while store.notified().now_or_never().is_some() {}
    let mut own = app.database.postgres_connection().await;
    for (round, new_name) in ["Countess", "Lady Lovelace"].into_iter().enumerate() {
        app.users().rename(id, Some(new_name)).await.unwrap();
        while name().await != new_name {}
        // Every connection that listens is lost, with the notifications meanwhile.
        let lost = sqlx::query(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where datname = current_database() and query ilike 'listen %'",
        );
        let lost: i64 = lost.fetch_one(&mut own).await.unwrap().get(0);
        assert!(lost >= 2, "round {round}: {lost} listened");
        soon(store.notified()).await;
    }
}

#[test]
fn a_server_without_notifications_polls() {
    if !postgres_answers() {
        return;
    }
    let system = actix_rt::System::new();
    let database = TestDatabase::postgres();
    let place = Workplace::new().on(&database);
    place.add_user();
    let server = place.serve();
    let token = server.token();
    assert_eq!(server.get_user(&token).1["data"]["name"], "Ada", "cached");
    // As another server does, but for the notification.
    let at: DateTime<Utc> = Clock::system().now();
    system.block_on(database.execute(&format!(
        "begin; update users set disabled_at = {at}; update sessions set ended_at = {at}; \
         insert into changes (kind, subject, at) select 'user', id, {at} from users; \
         insert into changes (kind, subject, at) select 'session', id, {at} from sessions; commit",
        at = at.timestamp_millis()
    )));
    assert_eq!(server.get_user_until(&token, 401)["error"], "token_revoked");
    let body = serde_json::json!({"email": EMAIL, "password": PASSWORD});
    assert_eq!(server.ask("POST /auth/login", None, Some(&body)).0, 401);
    drop(server);
}
