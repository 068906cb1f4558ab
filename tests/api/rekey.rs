//! `hallpass key rekey`: a new installation key, and everything sealed anew under it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::DateTime;
use hallpass::server::keys::KeysError;
use hallpass::server::keys::rekey::{self, Begun, Rekeyed, SEALED};
use hallpass::server::keys::rotation::{self, Reason};
use hallpass::server::keys::vault::{Purpose, Vault};
use hallpass::server::store::Store;
use serde_json::json;
use sqlx::Row;
use uuid::Uuid;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD, TestApp};
use crate::key_commands::founded;
use crate::process::Workplace;
use crate::second_factors::Enrolled;
use crate::session::Pair;
use crate::test_database::TestDatabase;

const SECOND: &str = "$sealed$AQEAAAAC";

impl TestApp {
    /// The vault of a command, unsealed with the passphrase.
    async fn whole_vault(&self) -> Arc<Vault> {
        let vault = self.vault().await;
        let store = self.server.store();
        let earlier = store.read(async |connection| connection.earlier_keys().await).await.unwrap();
        vault.add_earlier(&earlier).unwrap();
        Arc::new(vault)
    }

    async fn begin_rekey(&self, vault: &Arc<Vault>) -> Begun {
        rekey::begin(self.server.store(), vault, &PASSPHRASE.into(), &self.clock).await.unwrap()
    }

    async fn complete_rekey(&self, vault: &Arc<Vault>) -> Rekeyed {
        let store = self.server.store();
        rekey::complete(store, vault, &self.clock, Duration::ZERO, |_| {}).await.unwrap()
    }

    async fn reseals(&self) -> usize {
        self.server.store().read(async |connection| connection.reseals().await).await.unwrap().len()
    }
}

#[actix_rt::test]
async fn running_servers_follow_with_nothing_typed_and_no_token_dies() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |_| {}).await;
        let other = app.another().await;
        let before = Pair::of(&app.login(EMAIL, PASSWORD).await);
        let there = Pair::of(&other.login(EMAIL, PASSWORD).await);
        let vault = app.whole_vault().await;
        let old = app.vault().await;
        assert_eq!(app.begin_rekey(&vault).await, Begun::Replaced(2));
        for server in [&app, &other] {
            server.get_user(&before.access).await.expect_data("before it follows");
            server.login(EMAIL, PASSWORD).await.expect_data("before it follows");
            // It asks for the key.
            server.server.sync_changes().await.unwrap();
        }
        let done = app.complete_rekey(&vault).await;
        assert_eq!((done.signing_keys, done.hashes), (1, 1));
        for server in [&app, &other] {
            server.server.sync_changes().await.unwrap();
        }
        let stored = app.stored_user(app.user_id().await).await.password_hash.unwrap();
        assert!(stored.starts_with(SECOND), "{stored}");
        let key = app.signing_keys().await.remove(0).sealed;
        assert!(old.unseal_key(&key).is_err(), "the earlier installation key opens it no longer");
        for server in [&app, &other] {
            for pair in [&before, &there] {
                server.get_user(&pair.access).await.expect_data("an access token of before");
            }
            server.login(EMAIL, PASSWORD).await.expect_data("by the hash that was sealed anew");
            server.get_user(&server.token().await).await.expect_data("a new token");
        }
        for (pair, server) in [(&before, &other), (&there, &app)] {
            let body = json!({"refresh_token": pair.refresh});
            let reply = server.post("/auth/refresh").json(body.clone()).send().await;
            let next = reply.expect_data("a refresh token of before")["refresh_token"].clone();
            let again = app.post("/auth/refresh").json(body).send().await.expect_data("within the grace");
            assert_eq!(again["refresh_token"], next);
        }
        let restarted = app.another().await;
        restarted.get_user(&before.access).await.expect_data("after a restart");
        restarted.login(EMAIL, PASSWORD).await.expect_data("after a restart");
        assert_eq!(app.reseals().await, 0);
        let rows = app.server.store().read(async |connection| connection.handovers().await).await.unwrap();
        assert_eq!(rows, vec![], "no request is left behind");
        let events = app.recorded_events().await;
        assert_eq!(events.iter().filter(|event| event.event.kind == "installation_key_replaced").count(), 1);
    }
}

#[actix_rt::test]
async fn a_server_that_missed_the_command_is_handed_the_key_by_another_server() {
    let app = TestApp::new().await;
    let late = app.another().await;
    let vault = app.whole_vault().await;
    app.begin_rekey(&vault).await;
    app.server.sync_changes().await.unwrap();
    app.complete_rekey(&vault).await;
    app.server.sync_changes().await.unwrap();
    drop(vault);

    // It has not looked until now, and no command runs any more.
    late.server.sync_changes().await.unwrap();
    late.login(EMAIL, PASSWORD).await.expect_failure(503, "unavailable", "it has asked");
    app.server.sync_changes().await.unwrap();
    late.login(EMAIL, PASSWORD).await.expect_data("the other server has answered");
    late.get_user(&app.token().await).await.expect_data("and its tokens are good");
}

#[actix_rt::test]
async fn a_server_that_asks_after_ten_minutes_gets_the_key_from_the_next_run_alone() {
    let app = TestApp::new().await;
    let late = app.another().await;
    let vault = app.whole_vault().await;
    app.begin_rekey(&vault).await;
    app.server.sync_changes().await.unwrap();
    app.complete_rekey(&vault).await;
    app.server.sync_changes().await.unwrap();
    app.clock.advance(chrono::Duration::minutes(11));
    for _ in 0..2 {
        late.server.sync_changes().await.unwrap();
        app.server.sync_changes().await.unwrap();
    }
    late.login(EMAIL, PASSWORD).await.expect_failure(503, "unavailable", "nobody has answered");

    let vault = app.whole_vault().await;
    assert_eq!(app.begin_rekey(&vault).await, Begun::Replaced(3));
    for server in [&app, &late] {
        server.server.sync_changes().await.unwrap();
    }
    app.complete_rekey(&vault).await;
    for server in [&app, &late] {
        server.server.sync_changes().await.unwrap();
        server.login(EMAIL, PASSWORD).await.expect_data("by the newest of three keys");
    }
}

#[actix_rt::test]
async fn a_hash_that_is_sealed_while_it_is_used_is_the_same_password() {
    let app = TestApp::new().await;
    let vault = app.whole_vault().await;
    app.begin_rekey(&vault).await;
    app.server.sync_changes().await.unwrap();
    app.complete_rekey(&vault).await;
    // Not followed yet: the answer is there, and the request that needs it takes it.
    app.login(EMAIL, PASSWORD).await.expect_data("the first request after it");
    let bearer = format!("Bearer {}", app.token().await);
    let body = json!({"current_password": PASSWORD, "new_password": "nine copper kettles"});
    app.post("/user/password").authorization(&bearer).json(body).send().await.expect_data("a change");
    let stored = app.stored_user(app.user_id().await).await.password_hash.unwrap();
    assert!(stored.starts_with(SECOND), "{stored}");
}

#[actix_rt::test]
async fn a_run_that_is_interrupted_anywhere_goes_on_where_it_was() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |_| {}).await;
        let hash = app.password_hash(app.user_id().await).await;
        let row = |number: u128| {
            let id = Uuid::from_u128(number << 64 | 1);
            let stored = app.server.hashes().seal(id, &hash).unwrap();
            format!("({}, 'user{number}@example.com', '', '{stored}', 0)", app.database.uuid(id))
        };
        let rows: Vec<_> = (0..1_200).map(row).collect();
        let insert = "insert into users (id, email, roles, password_hash, created_at) values";
        app.database.execute(&format!("{insert} {}", rows.join(", "))).await;
        let token = app.token().await;
        let (mut polls, mut runs, mut replaced) = (1, 0, 0);
        loop {
            let vault = app.whole_vault().await;
            // Each run is given up a little later than the one before.
            let (store, passphrase) = (app.server.store(), PASSPHRASE.into());
            let mut run = Box::pin(async {
                rekey::begin(store, &vault, &passphrase, &app.clock).await.unwrap();
                rekey::complete(store, &vault, &app.clock, Duration::ZERO, |_| {}).await.unwrap();
            });
            let mut left = polls;
            let ended = std::future::poll_fn(|context| match run.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(())),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await;
            drop(run);
            runs += 1;
            replaced = replaced.max(app.installation().await.generation);
            for _ in 0..2 {
                app.server.sync_changes().await.unwrap();
            }
            app.get_user(&token).await.expect_data("after each interruption");
            // Given up after its last commit, a run has ended too; a further one would replace the key again.
            if ended.is_some() || (replaced == 2 && app.reseals().await == 0) {
                break;
            }
            polls += 1 + polls / 4;
        }
        assert!(runs > 4, "it was interrupted {runs} times");
        assert_eq!((app.reseals().await, replaced), (0, 2), "one key, sealed anew to the end");
        for _ in 0..2 {
            app.server.sync_changes().await.unwrap();
        }
        let users = app.server.store();
        let users = users.read(async |connection| connection.users_after("", 5_000).await).await.unwrap();
        assert_eq!(users.len(), 1_201);
        for user in users {
            let stored = user.password_hash.unwrap();
            assert!(stored.starts_with(SECOND), "{}: {stored}", user.email);
            assert_eq!(*app.server.hashes().open(user.id, &stored).unwrap(), hash);
        }
        app.login("user800@example.com", PASSWORD).await.expect_data("one of them");
    }
}

#[actix_rt::test]
async fn no_signing_key_is_made_before_a_rekey_has_ended_so_that_every_server_can_use_it() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |settings| settings.key.rotate_every_days = 1).await;
        let vault = app.whole_vault().await;
        app.begin_rekey(&vault).await;
        let (store, settings) = (app.server.store(), app.server.settings());
        let reason = Reason::Requested { trust_clock: false };
        let requested = rotation::rotate(store, &vault, settings, &app.clock, reason).await;
        assert!(matches!(requested, Err(KeysError::RekeyUnfinished)), "{requested:?}");
        app.clock.advance(chrono::Duration::days(2));
        rotation::rotate_by_age(store, &vault, settings, &app.clock).await.expect("a server waits");
        assert_eq!(app.signing_keys().await.len(), 1);

        app.complete_rekey(&vault).await;
        rotation::rotate_by_age(store, &vault, settings, &app.clock).await.unwrap();
        assert_eq!(app.signing_keys().await.len(), 2);
    }
}

#[actix_rt::test]
async fn of_two_runs_at_once_one_replaces_the_key() {
    let app = TestApp::new().await;
    let (one, two) = (app.whole_vault().await, app.whole_vault().await);
    assert_eq!(app.begin_rekey(&one).await, Begun::Replaced(2));
    let passphrase = PASSPHRASE.into();
    let second = rekey::begin(app.server.store(), &two, &passphrase, &app.clock).await;
    assert!(second.is_err(), "it was unsealed before the other replaced the key: {second:?}");
    let third = app.whole_vault().await;
    assert_eq!(app.begin_rekey(&third).await, Begun::Continued(2), "the first has not ended");
    app.complete_rekey(&third).await;
    assert_eq!(app.begin_rekey(&app.whole_vault().await).await, Begun::Replaced(3));
    app.complete_rekey(&app.whole_vault().await).await;
    let restarted = app.another().await;
    restarted.login(EMAIL, PASSWORD).await.expect_data("two replacements later");
}

#[actix_rt::test]
async fn every_other_sealed_value_is_sealed_anew_and_a_damaged_one_stops_nothing() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |_| {}).await;
        let (vault, database) = (app.whole_vault().await, &app.database);
        let (good, damaged) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (kind, recipient) = (b"verify", EMAIL.as_bytes());
        for id in [good, damaged] {
            let about = [&id.as_bytes()[..], kind, recipient];
            let mut sealed = vault.seal(Purpose::MailToken, &about, b"the token").unwrap();
            if id == damaged {
                sealed[20] ^= 1;
            }
            let (id, sealed) = (database.uuid(id), database.literal(&sealed));
            database
                .execute(&format!(
                    "insert into mail_outbox (id, kind, recipient, details, sealed, created_at, next_try_at) \
                     values ({id}, 'verify', '{EMAIL}', '{{}}', {sealed}, 0, 0)"
                ))
                .await;
        }
        app.begin_rekey(&vault).await;
        let done = app.complete_rekey(&vault).await;
        assert_eq!(done, Rekeyed { signing_keys: 1, hashes: 1, others: 1 });
        let store = app.server.store();
        let (_, column) = SEALED.iter().find(|(_, column)| column.table == "mail_outbox").unwrap();
        let rows = store.write(async |tx| tx.lock_sealed(column, Uuid::nil(), 10).await).await.unwrap();
        let row = rows.iter().find(|row| row.key == good).unwrap();
        assert!(vault.is_current(&row.sealed));
        let about: Vec<&[u8]> = row.about.iter().map(Vec::as_slice).collect();
        assert_eq!(about, [&good.as_bytes()[..], kind, recipient]);
        assert_eq!(vault.open(Purpose::MailToken, &about, &row.sealed).unwrap().as_slice(), b"the token");
    }
}

#[actix_rt::test]
async fn an_authenticator_app_works_on_and_a_server_that_lacks_the_key_refuses_no_code_for_it() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |_| {}).await;
        let Enrolled { authenticator, .. } = app.enrol().await;
        let late = app.another().await;
        let challenge = late.challenge().await;
        let (vault, old) = (app.whole_vault().await, app.vault().await);
        app.begin_rekey(&vault).await;
        app.server.sync_changes().await.unwrap();
        let done = app.complete_rekey(&vault).await;
        assert_eq!(done, Rekeyed { signing_keys: 1, hashes: 1, others: 1 });
        app.server.sync_changes().await.unwrap();
        let (_, column) = SEALED.iter().find(|(_, column)| column.table == "totp").unwrap();
        let store = app.server.store();
        let rows = store.write(async |tx| tx.lock_sealed(column, Uuid::nil(), 10).await).await.unwrap();
        let about: Vec<&[u8]> = rows[0].about.iter().map(Vec::as_slice).collect();
        assert!(old.open(Purpose::TotpSecret, &about, &rows[0].sealed).is_err(), "by the earlier key");
        vault.open(Purpose::TotpSecret, &about, &rows[0].sealed).unwrap();

        let code = authenticator.code(app.clock.now());
        let answer = async || late.answer(&challenge, "code", &code).await;
        for _ in 0..6 {
            answer().await.expect_failure(503, "unavailable", "it has not followed: no answer is used up");
        }
        late.server.sync_changes().await.unwrap();
        app.server.sync_changes().await.unwrap();
        late.server.sync_changes().await.unwrap();
        answer().await.expect_data("the same code");
    }
}

#[actix_rt::test]
async fn no_sealed_column_of_the_schema_is_left_out() {
    let database = TestDatabase::sqlite();
    Store::open(&database.settings).await.unwrap().close().await;
    let mut connection = database.sqlite_connection().await;
    let rows = sqlx::query(
        "select t.name from sqlite_schema t join pragma_table_info(t.name) c \
         where t.type = 'table' and c.name like '%sealed%' and lower(c.type) = 'blob'",
    );
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    let found: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    // The installation key itself, its predecessors and the signing keys are replaced by hand.
    let known = ["installation", "earlier_installation_keys", "signing_keys"];
    let known = known.into_iter().chain(SEALED.iter().map(|(_, column)| column.table));
    assert_eq!(found, known.map(str::to_owned).collect(), "add it to SEALED in keys/rekey.rs");
}

fn rekey_command(place: &Workplace) -> std::process::Command {
    place.command(["key", "rekey", "--key-stdin"])
}

/// Signs in. A server that a busy machine kept from following in time answers 503 until another hands it the key.
fn signs_in(server: &crate::process::Server) {
    let since = std::time::Instant::now();
    loop {
        match server.login() {
            (200, _) => return,
            (503, _) if since.elapsed() < Duration::from_secs(30) => std::thread::yield_now(),
            (status, body) => panic!("{status} {body}"),
        }
    }
}

#[test]
fn the_command_replaces_the_key_beside_running_servers_and_can_be_killed() {
    let place = founded();
    let (one, two) = (place.serve(), place.serve());
    let token = one.token();
    // Killed at different moments: while it stretches the passphrase, waits for the servers, and seals.
    for millis in [200, 1_200, 2_500] {
        let mut child = rekey_command(&place).spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("{PASSPHRASE}\n").as_bytes())
            .unwrap();
        let since = std::time::Instant::now();
        while since.elapsed() < Duration::from_millis(millis) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for server in [&one, &two] {
            assert_eq!(server.get_user(&token).0, 200);
            signs_in(server);
        }
    }
    let done = crate::process::finish(rekey_command(&place), format!("{PASSPHRASE}\n"));
    let last = done.expect(0, "rekey").out.lines().last().unwrap().to_owned();
    assert!(last.starts_with("encrypted anew: "), "{last}");
    for server in [&one, &two] {
        assert_eq!(server.get_user(&token).0, 200, "a token of before");
        assert_eq!(server.login().0, 200, "by the hash that was sealed anew");
    }
    place.run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "check");
    let wrong = crate::process::finish(rekey_command(&place), "another river of lanterns\n");
    wrong.expect_error(3, "wrong passphrase");
    actix_rt::System::new().block_on(async {
        let store = Store::open(&place.database()).await.unwrap();
        let (installation, reseals, user) = store
            .read(async |connection| {
                Ok((
                    connection.installation().await?.unwrap(),
                    connection.reseals().await?,
                    connection.user_by_email(EMAIL).await?.unwrap(),
                ))
            })
            .await
            .unwrap();
        assert!(installation.generation > 1 && reseals.is_empty(), "{reseals:?}");
        assert!(installation.rekeyed_at.unwrap() > DateTime::UNIX_EPOCH);
        let prefix = format!("$sealed$AQEAAAA{}", (b'A' + installation.generation as u8) as char);
        assert!(user.password_hash.unwrap().starts_with(&prefix), "{prefix}");
        store.close().await;
    });
    for server in [one, two] {
        server.stop("TERM").expect(0, "stop");
    }
    assert_eq!(place.serve().login().0, 200, "after a restart");
}
