//! Concurrent requests at two servers on one database: the database decides, not the timing. Concurrent refreshes are
//! in `session`, concurrent rotations in `keys`.

use chrono::Duration;
use futures_util::future::{join, join_all, join3};
use hallpass::clock::Clock;
use hallpass::server::keys::vault::Vault;
use hallpass::server::keys::{installation, new_signing_key};
use hallpass::server::model::KdfParams;
use hallpass::server::store::Store;
use hallpass::token::Algorithm;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD, Reply, TestApp};
use crate::process::{Server, Workplace};
use crate::test_database::{TestDatabase, connect_postgres, postgres_answers};

const NEW_PASSWORD: &str = "another horse battery";

/// Runs a test with two servers on each database.
async fn on_each(test: impl AsyncFn(&TestApp, &TestApp)) {
    for database in TestDatabase::each() {
        // Shown where the test fails.
        eprintln!("on {}", database.settings.url);
        let app = TestApp::on(database, |settings| settings.throttle.on = false).await;
        let other = app.another().await;
        test(&app, &other).await;
    }
}

#[actix_rt::test]
async fn one_of_twenty_concurrent_registrations_of_an_address_succeeds() {
    on_each(async |app, other| {
        let body = json!({"email": "grace@example.com", "password": PASSWORD});
        let register = |number| {
            let server = if number % 2 == 0 { app } else { other };
            server.post("/auth/register").json(body.clone()).send()
        };
        let replies = join_all((0..20).map(register)).await;
        let (registered, refused): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.status.as_u16() == 201);
        assert_eq!((registered.len(), refused.len()), (1, 19));
        refused.iter().for_each(|reply| reply.expect_failure(409, "email_taken", "the others"));
        let id = app.users().find("grace@example.com").await.unwrap().unwrap().id;
        assert_eq!(registered[0].json()["data"]["id"], json!(id));
        let events = app.recorded_events().await;
        let of_her = events.iter().filter(|recorded| recorded.event.user == Some(id));
        assert_eq!(of_her.count(), 1, "nothing is left of the other attempts");
    })
    .await;
}

#[actix_rt::test]
async fn one_of_ten_concurrent_first_starts_creates_the_installation() {
    for database in TestDatabase::each() {
        let (one, other) = join(Store::open(&database.settings), Store::open(&database.settings)).await;
        let stores = [one.unwrap(), other.unwrap()];
        let start = async |number: usize| {
            let now = Clock::system().now();
            let (vault, sealed) =
                Vault::create_with(&PASSPHRASE.into(), KdfParams::for_tests(), now).unwrap();
            let key = new_signing_key(&vault, Algorithm::EdDsa, now, now).unwrap();
            let is_first = installation::insert(&stores[number % 2], &sealed, &key, Duration::hours(1)).await;
            is_first.unwrap().then_some((vault, key.kid))
        };
        let started: Vec<_> = join_all((0..10).map(start)).await.into_iter().flatten().collect();
        let [(vault, kid)] = &started[..] else { panic!("{} made one", started.len()) };
        let read = stores[0].read(async |connection| {
            Ok((connection.installation().await?, connection.signing_keys().await?))
        });
        let (stored, keys) = read.await.unwrap();
        assert_eq!(stored.map(|stored| stored.id), Some(vault.id()));
        assert_eq!(keys.iter().map(|key| &key.sealed.kid).collect::<Vec<_>>(), [kid]);
    }
}

#[test]
fn two_processes_that_start_at_once_on_a_new_postgresql_database_share_one_installation() {
    if !postgres_answers() {
        return;
    }
    let database = TestDatabase::postgres();
    let place = Workplace::new().on(&database);
    let start = || {
        let command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
        std::thread::spawn(move || Server::start(command, format!("{PASSPHRASE}\n")))
    };
    let (one, other) = (start(), start());
    let (one, other) = (one.join().unwrap(), other.join().unwrap());
    place.add_user();
    assert_eq!(other.get_user(&one.token()).0, 200);
    assert_eq!(one.get_user(&other.token()).0, 200);
}

/// A lock on a user's row, so that transactions that need it wait in order.
struct HeldUser {
    connection: PgConnection,
    table: String,
}

impl HeldUser {
    async fn hold(database: &TestDatabase, id: Uuid) -> Self {
        let mut connection = connect_postgres(&database.settings.schema).await.unwrap();
        connection.execute("begin").await.unwrap();
        let lock = sqlx::query("select 1 from users where id = $1 for update").bind(id);
        lock.fetch_one(&mut connection).await.unwrap();
        Self { connection, table: format!("{}.users", database.settings.schema) }
    }

    /// Returns when so many transactions wait for the row.
    async fn until_waiting(&mut self, count: i64) {
        let since = Instant::now();
        loop {
            let waiting = sqlx::query(
                "select count(distinct pid) from pg_locks where not granted \
                 and pid in (select pid from pg_locks where relation = $1::regclass)",
            );
            let row = waiting.bind(&self.table).fetch_one(&mut self.connection).await.unwrap();
            if row.get::<i64, _>(0) == count {
                return;
            }
            assert!(since.elapsed().as_secs() < 4, "{count} do not come to wait for the row");
            tokio::task::yield_now().await;
        }
    }

    async fn release(mut self) {
        self.connection.execute("rollback").await.unwrap();
        self.connection.close().await.unwrap();
    }
}

/// Runs two concurrent requests that need the user's row. In PostgreSQL the first request gets it first, and both have
/// read the user before.
async fn race<A, B>(
    app: &TestApp,
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> (A, B) {
    if app.database.is_sqlite() {
        return join(first, second).await;
    }
    let mut held = HeldUser::hold(&app.database, app.user_id().await).await;
    let (begin_second, may_begin) = oneshot::channel();
    let in_order = async {
        held.until_waiting(1).await;
        begin_second.send(()).unwrap();
        held.until_waiting(2).await;
        held.release().await;
    };
    let second = async {
        may_begin.await.unwrap();
        second.await
    };
    let (first, second, ()) = join3(first, second, in_order).await;
    (first, second)
}

/// Checks that no session that began with the old password, or before the user was disabled, can be used.
async fn expect_dead(servers: [&TestApp; 2], sign_in: &Reply, what: &str) {
    for server in servers {
        server.server.sync_changes().await.unwrap();
    }
    match sign_in.status.as_u16() {
        200 => {
            let data = sign_in.expect_data(what);
            for server in servers {
                let token = data["token"].as_str().unwrap();
                server.get_user(token).await.expect_refused("token_revoked", what);
                let refreshed = server.refresh(data["refresh_token"].as_str().unwrap()).await;
                refreshed.expect_failure(401, "refresh_invalid", what);
            }
        }
        _ => sign_in.expect_refused("credentials_invalid", what),
    }
}

#[actix_rt::test]
async fn a_sign_in_during_a_password_change_leaves_no_session_of_the_old_password() {
    on_each(async |app, other| {
        let (mut old, mut new) = (PASSWORD, NEW_PASSWORD);
        for round in 0..6 {
            let token = app.login(EMAIL, old).await.expect_data("before")["token"].clone();
            let body = json!({"current_password": old, "new_password": new});
            let change = app
                .post("/user/password")
                .authorization(&format!("Bearer {}", token.as_str().unwrap()))
                .json(body)
                .send();
            let sign_in = other.login(EMAIL, old);
            let what = format!("round {round}");
            let (changed, signed_in) = if round % 2 == 0 {
                race(app, change, sign_in).await
            } else {
                let (signed_in, changed) = race(app, sign_in, change).await;
                (changed, signed_in)
            };
            let fresh: Value = changed.expect_data(&what);
            if !app.database.is_sqlite() {
                assert_eq!(signed_in.status.is_success(), round % 2 == 1, "{what}: in the order of the lock");
            }
            expect_dead([app, other], &signed_in, &what).await;
            let sessions = app.sessions_of(app.user_id().await).await;
            assert_eq!(sessions.len(), 1, "{what}: the one that the change began");
            for server in [app, other] {
                server.get_user(fresh["token"].as_str().unwrap()).await.expect_data(&what);
            }
            std::mem::swap(&mut old, &mut new);
        }
    })
    .await;
}

#[actix_rt::test]
async fn a_sign_in_while_its_user_is_disabled_leaves_no_session() {
    on_each(async |app, other| {
        let id = app.user_id().await;
        let users = app.users();
        for round in 0..6 {
            let (disable, sign_in) = (users.disable(id), other.login(EMAIL, PASSWORD));
            let what = format!("round {round}");
            let (disabled, signed_in) = if round % 2 == 0 {
                race(app, disable, sign_in).await
            } else {
                let (signed_in, disabled) = race(app, sign_in, disable).await;
                (disabled, signed_in)
            };
            disabled.unwrap();
            if !app.database.is_sqlite() {
                assert_eq!(signed_in.status.is_success(), round % 2 == 1, "{what}: in the order of the lock");
            }
            expect_dead([app, other], &signed_in, &what).await;
            assert_eq!(app.sessions_of(id).await, [], "{what}");
            users.enable(id).await.unwrap();
            expect_dead([app, other], &signed_in, &format!("{what}, enabled again")).await;
        }
    })
    .await;
}
