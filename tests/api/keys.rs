//! Signing keys: rotated, retired, revoked, sealed; and the commands for it.

use std::collections::HashSet;

use chrono::Duration;
use hallpass::server::events::EventKind;
use hallpass::server::keys::{self, Reason, Rotated, State, states};
use hallpass::server::store::Store;
use hallpass::server::vault::Vault;
use hallpass::server::{Desk, DeskError};
use hallpass::token::Algorithm;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};

use crate::app::{PASSPHRASE, PASSWORD, TestApp};
use crate::cli::Workplace;

const ASKED: Reason = Reason::Asked { trust_clock: false };

const NEW_PASSPHRASE: &str = "nine copper kettles in the rain";

impl TestApp {
    async fn vault(&self) -> Vault {
        let installation = self.desk.store().installation().await.unwrap().unwrap();
        Vault::open(&installation, &PASSPHRASE.into()).unwrap()
    }

    async fn rotate(&self) -> Rotated {
        self.try_rotate(false).await.unwrap()
    }

    async fn try_rotate(&self, trust_clock: bool) -> Result<Rotated, DeskError> {
        let vault = self.vault().await;
        keys::rotate(
            self.desk.store(),
            &vault,
            self.desk.settings(),
            &self.clock,
            Reason::Asked { trust_clock },
        )
        .await
    }

    /// As `hallpass key revoke` in another process: this server has not heard of it.
    async fn revoke(&self, kid: &str) {
        let event = self.event(EventKind::KeyRevoked);
        assert!(self.desk.store().remove_key(kid, &event).await.unwrap(), "{kid} is there, and not alone");
    }

    async fn database(&self) -> sqlx::SqliteConnection {
        let path = format!("sqlite://{}", self.folder.path().join("test.db").display());
        path.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().connect().await.unwrap()
    }

    async fn kids(&self) -> Vec<String> {
        self.desk.store().signing_keys().await.unwrap().into_iter().map(|row| row.sealed.kid).collect()
    }

    async fn published(&self) -> Vec<String> {
        let set = self.get("/.well-known/jwks.json").send().await.json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }
}

fn header(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

#[actix_rt::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_verifies_until_its_last_token_has_expired() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let before = app.token().await;
    let Rotated::Made(made) = app.rotate().await else { panic!("nobody else rotates") };
    for server in [&app, &other] {
        server.desk.catch_up().await.unwrap();
        assert_eq!(server.published().await.len(), 2, "published at once");
        let set = server.get("/.well-known/jwks.json").send().await;
        assert_eq!(set.header("cache-control"), Some("public, max-age=2"), "of the 5 s, 2 are the servers'");
    }
    let meanwhile = app.token().await;
    assert_eq!(kid(&meanwhile), kid(&before), "not yet used");
    app.pass(Duration::seconds(5)).await;
    let after = app.token().await;
    assert_eq!(kid(&after), made.kid, "used from its time on");
    for server in [&app, &other] {
        for token in [&before, &meanwhile, &after] {
            server.get_user(token).await.expect_data("good at every server");
        }
    }
    // The old key's last token was signed just before the new one began.
    app.pass(Duration::minutes(60)).await;
    app.desk.tidy().await.unwrap();
    assert_eq!(app.kids().await.len(), 2, "kept a minute longer than its last token");
    app.pass(Duration::minutes(2)).await;
    app.desk.tidy().await.unwrap();
    app.desk.catch_up().await.unwrap();
    assert_eq!((app.kids().await, app.published().await), (vec![made.kid.clone()], vec![made.kid]));
}

#[actix_rt::test]
async fn a_retired_key_outlives_the_longest_tokens_that_it_signed_whatever_the_setting_says_now() {
    let app =
        TestApp::with(|settings| settings.token.lifetime = std::time::Duration::from_secs(86_400)).await;
    let long = app.token().await;
    // The next start has a shorter lifetime.
    let mut settings = app.desk.settings().clone();
    settings.token.lifetime = std::time::Duration::from_secs(600);
    let store = Store::open(&app.folder.path().join("test.db")).await.unwrap();
    let vault = app.vault().await;
    let restarted = Desk::open(settings, store, vault, app.clock.clone()).await.unwrap();
    let restarted =
        TestApp { desk: restarted, clock: app.clock.clone(), folder: tempfile::tempdir().unwrap() };
    restarted.rotate().await;
    restarted.pass(Duration::hours(23)).await;
    restarted.desk.tidy().await.unwrap();
    restarted.desk.catch_up().await.unwrap();
    restarted.get_user(&long).await.expect_data("its key is still there");
    restarted.pass(Duration::hours(2)).await;
    restarted.desk.tidy().await.unwrap();
    assert_eq!(restarted.kids().await.len(), 1);
}

#[actix_rt::test]
async fn two_rotations_at_once_make_one_key() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let (one, two) = futures_util::future::join(app.rotate(), other.rotate()).await;
    let made = [&one, &two].iter().filter(|rotated| matches!(rotated, Rotated::Made(_))).count();
    assert_eq!((made, app.kids().await.len()), (1, 2));
}

#[actix_rt::test]
async fn a_rotation_by_age_is_made_once_by_whichever_server_comes_first() {
    let app = TestApp::with(|settings| settings.key.rotate_every_days = 30).await;
    let other = app.another().await;
    app.pass(Duration::days(29)).await;
    app.desk.rotate_by_age().await.unwrap();
    assert_eq!(app.kids().await.len(), 1, "too early");
    app.pass(Duration::days(1)).await;
    let (one, two) = futures_util::future::join(app.desk.rotate_by_age(), other.desk.rotate_by_age()).await;
    one.and(two).unwrap();
    assert_eq!(app.kids().await.len(), 2);
    app.desk.rotate_by_age().await.unwrap();
    assert_eq!(app.kids().await.len(), 2, "and not again");
    let off = TestApp::new().await;
    off.pass(Duration::days(3_650)).await;
    off.desk.rotate_by_age().await.unwrap();
    assert_eq!(off.kids().await.len(), 1, "off unless set");
}

#[actix_rt::test]
async fn a_revoked_key_takes_every_token_that_it_signed_with_it_at_once() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let (old, refresh) = {
        let data = app.login(crate::app::EMAIL, PASSWORD).await.expect_data("login");
        (data["token"].as_str().unwrap().to_owned(), data["refresh_token"].clone())
    };
    other.get_user(&old).await.expect_data("known there too");
    app.rotate().await;
    app.revoke(&kid(&old)).await;
    for server in [&app, &other] {
        server.desk.catch_up().await.unwrap();
        server.get_user(&old).await.expect_refused("token_invalid", "revoked");
    }
    // Nothing else signs yet, so the next key begins before its time; and the session itself lives on.
    let reply = app.post("/auth/refresh").json(json!({"refresh_token": refresh})).send().await;
    let fresh = reply.expect_data("refreshed")["token"].as_str().unwrap().to_owned();
    other.get_user(&fresh).await.expect_data("by the new key");
    let only = app.kids().await;
    let event = app.event(EventKind::KeyRevoked);
    assert!(!app.desk.store().remove_key(&only[0], &event).await.unwrap(), "the only key stays");
}

#[actix_rt::test]
async fn each_algorithm_signs_after_a_rotation_and_earlier_tokens_stay_good() {
    let app = TestApp::new().await;
    let mut tokens = vec![app.token().await];
    for algorithm in [Algorithm::Es256, Algorithm::Hs256, Algorithm::EdDsa] {
        let mut settings = app.desk.settings().clone();
        settings.token.algorithm = algorithm;
        let vault = app.vault().await;
        keys::rotate(app.desk.store(), &vault, &settings, &app.clock, ASKED).await.unwrap();
        app.pass(Duration::seconds(5)).await;
        let token = app.token().await;
        assert_eq!(header(&token)["alg"], algorithm.to_string());
        tokens.push(token);
    }
    for token in &tokens {
        app.get_user(token).await.expect_data("each pinned to its own key");
    }
    assert_eq!(app.published().await.len(), 3, "the symmetric one is not published");
}

#[actix_rt::test]
async fn under_hs256_nothing_is_published_and_no_symmetric_key_ever_is() {
    let app = TestApp::with(|settings| settings.token.algorithm = Algorithm::Hs256).await;
    assert_eq!(app.get("/.well-known/jwks.json").send().await.json(), json!({"keys": []}));
    app.get_user(&app.token().await).await.expect_data("and yet it signs");
    app.rotate().await;
    app.desk.catch_up().await.unwrap();
    assert_eq!(app.get("/.well-known/jwks.json").send().await.json(), json!({"keys": []}));
}

#[actix_rt::test]
async fn traffic_at_two_servers_goes_on_over_three_rotations_and_a_restart_without_one_401() {
    let mut one = TestApp::new().await;
    let other = one.another().await;
    let mut tokens = Vec::new();
    for round in 0..14 {
        for server in [&one, &other] {
            tokens.push(server.token().await);
        }
        for server in [&one, &other] {
            // Not only found when it is looked for.
            let known = server.published().await;
            assert!(tokens.iter().all(|token| known.contains(&kid(token))), "known before it is met");
        }
        if round % 4 == 1 {
            one.rotate().await;
        }
        if round == 6 {
            one.restart().await;
        }
        // Servers hear of a new key at different times, and later than it was made.
        one.clock.advance(Duration::seconds(2));
        if round % 2 == 0 {
            one.desk.catch_up().await.unwrap();
        } else {
            other.desk.catch_up().await.unwrap();
        }
        for token in &tokens {
            for server in [&one, &other] {
                server.get_user(token).await.expect_data("crossing");
            }
        }
    }
    let kids: HashSet<_> = tokens.iter().map(|token| kid(token)).collect();
    assert!(kids.len() > 3, "three rotations were seen: {kids:?}");
}

#[actix_rt::test]
async fn the_states_of_keys_follow_from_their_times() {
    let app = TestApp::new().await;
    let now = app.clock.now();
    app.rotate().await;
    app.clock.advance(Duration::seconds(10));
    app.rotate().await;
    let rows = app.desk.store().signing_keys().await.unwrap();
    let none = Duration::zero();
    let at = |seconds: i64| now + Duration::seconds(seconds);
    // Made at 0 and at 10, each 5 s before it signs.
    assert_eq!(states(&rows, at(4), none), [State::Signs, State::Next(at(5)), State::Next(at(15))]);
    let dropped = |from: i64| State::Retired(at(from + 3_600 + 60));
    assert_eq!(states(&rows, at(5), none), [dropped(5), State::Signs, State::Next(at(15))]);
    assert_eq!(states(&rows, at(60), none), [dropped(5), dropped(15), State::Signs]);
}

#[actix_rt::test]
async fn a_rotation_while_the_last_one_is_not_yet_in_force_makes_no_key() {
    let app = TestApp::new().await;
    assert!(matches!(app.rotate().await, Rotated::Made(_)));
    app.clock.advance(Duration::milliseconds(4_999));
    assert!(matches!(app.rotate().await, Rotated::Waiting(_)));
    app.clock.advance(Duration::milliseconds(1));
    assert!(matches!(app.rotate().await, Rotated::Made(_)));
}

#[actix_rt::test]
async fn a_key_made_under_a_shorter_lifetime_is_kept_for_the_longest_that_a_server_signs_for() {
    let app =
        TestApp::with(|settings| settings.token.lifetime = std::time::Duration::from_secs(86_400)).await;
    let shell = {
        let mut settings = app.desk.settings().clone();
        settings.token.lifetime = std::time::Duration::from_secs(3_600);
        settings
    };
    let vault = app.vault().await;
    let rotate = async || {
        keys::rotate(app.desk.store(), &vault, &shell, &app.clock, ASKED).await.unwrap();
        app.desk.catch_up().await.unwrap();
        app.pass(Duration::seconds(5)).await;
    };
    rotate().await;
    let token = app.token().await;
    rotate().await;
    app.pass(Duration::hours(2)).await;
    app.desk.tidy().await.unwrap();
    app.desk.catch_up().await.unwrap();
    app.get_user(&token).await.expect_data("it lives for a day");
}

#[actix_rt::test]
async fn a_row_that_does_not_unseal_keeps_no_revoked_key_alive_and_refuses_nobody() {
    for damage in ["sealed = x'00'", "created_at = 9223372036854775807", "signs_from = -9223372036854775808"]
    {
        a_damaged_row_keeps_no_revoked_key_alive(damage).await;
    }
}

async fn a_damaged_row_keeps_no_revoked_key_alive(damage: &str) {
    let app = TestApp::new().await;
    let revoked = app.token().await;
    app.rotate().await;
    app.desk.catch_up().await.unwrap();
    app.pass(Duration::seconds(5)).await;
    let good = app.token().await;
    app.rotate().await;
    let damaged = app.kids().await.pop().unwrap();
    alter(&app, &damaged, damage).await;
    app.revoke(&kid(&revoked)).await;

    app.desk.catch_up().await.unwrap();
    app.get_user(&revoked).await.expect_refused("token_invalid", "revoked");
    app.get_user(&good).await.expect_data("of a key that is still there");
    assert_eq!(kid(&app.token().await), kid(&good), "and people sign in");
}

/// Alters a key's row.
async fn alter(app: &TestApp, kid: &str, damage: &str) {
    let statement = sqlx::AssertSqlSafe(format!("update signing_keys set {damage} where kid = $1"));
    sqlx::query(statement).bind(kid).execute(&mut app.database().await).await.unwrap();
}

/// Makes a key's row one that does not unseal.
async fn damage(app: &TestApp, kid: &str) {
    alter(app, kid, "sealed = x'00'").await;
}

#[actix_rt::test]
async fn while_a_key_does_not_unseal_none_is_dropped_that_may_be_signed_with() {
    let app = TestApp::new().await;
    app.rotate().await;
    damage(&app, &app.kids().await[1]).await;
    app.desk.catch_up().await.unwrap();
    app.pass(Duration::hours(2)).await;
    let token = app.token().await;
    assert!(app.desk.tidy().await.is_err(), "it is told");
    app.desk.catch_up().await.unwrap();
    app.get_user(&token).await.expect_data("by the key that is left to sign with");
    assert_eq!(app.kids().await.len(), 2);
}

#[actix_rt::test]
async fn a_look_that_was_given_up_counts_for_nobody() {
    let app = TestApp::new().await;
    let stranger = TestApp::new().await.token().await;
    loop {
        let other = app.another().await;
        app.rotate().await;
        app.revoke(&app.kids().await[0]).await;
        app.desk.catch_up().await.unwrap();
        let token = app.token().await;
        let (mut first, mut second) = (Box::pin(other.get_user(&stranger)), Box::pin(other.get_user(&token)));
        // The first asks the database, unless that was quick; the second waits for it.
        let both = std::future::poll_fn(|context| {
            let is_asking = first.as_mut().poll(context).is_pending();
            std::task::Poll::Ready(is_asking && second.as_mut().poll(context).is_pending())
        });
        if both.await {
            drop(first);
            second.await.expect_data("looked for again");
            break;
        }
    }
}

#[actix_rt::test]
async fn a_key_that_cannot_be_looked_for_is_no_reason_to_call_a_token_invalid() {
    let app = TestApp::new().await;
    let other = app.another().await;
    app.rotate().await;
    app.revoke(&app.kids().await[0]).await;
    app.desk.catch_up().await.unwrap();
    let token = app.token().await;
    other.desk.store().close().await;
    other.get_user(&token).await.expect_failure(503, "unavailable", "not known, and not to be known now");
}

#[actix_rt::test]
async fn a_rotation_by_age_asks_for_the_age_again_when_it_is_its_turn() {
    let app = TestApp::new().await;
    let (vault, age) = (app.vault().await, Reason::Age(Duration::days(30)));
    app.clock.advance(Duration::days(30));
    let rotate = || keys::rotate(app.desk.store(), &vault, app.desk.settings(), &app.clock, age);
    assert!(matches!(rotate().await, Ok(Rotated::Made(_))));
    // Another server's clock, which is ahead by more than a key is published for.
    app.clock.advance(Duration::seconds(10));
    assert!(matches!(rotate().await, Ok(Rotated::Waiting(_))));
}

#[actix_rt::test]
async fn no_more_keys_are_made_than_a_verifier_reads() {
    let app = TestApp::new().await;
    let row = app.desk.store().signing_keys().await.unwrap().remove(0);
    let plan = |count| keys::plan(&vec![row.clone(); count], app.desk.settings(), app.clock.now(), ASKED);
    assert!(plan(99).is_ok());
    assert!(matches!(plan(100), Err(DeskError::TooManyKeys)));
}

#[actix_rt::test]
async fn when_all_that_is_left_does_not_unseal_the_revoked_key_is_dead_all_the_same_and_nothing_is_signed() {
    let app = TestApp::new().await;
    let revoked = app.token().await;
    app.rotate().await;
    damage(&app, &app.kids().await[1]).await;
    app.revoke(&kid(&revoked)).await;
    app.desk.catch_up().await.unwrap();
    app.get_user(&revoked).await.expect_failure(503, "unavailable", "a token");
    app.login(crate::app::EMAIL, PASSWORD).await.expect_failure(503, "unavailable", "sign-in");
    app.get("/health/ready").send().await.expect_failure(503, "unavailable", "ready");
    assert_eq!(app.published().await, Vec::<String>::new());
}

#[actix_rt::test]
async fn a_key_that_signs_before_its_time_is_known_to_a_server_that_has_not_heard_of_it() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let old = app.token().await;
    app.rotate().await;
    app.revoke(&kid(&old)).await;
    let new = app.token().await;
    assert_ne!(kid(&new), kid(&old));
    other.get_user(&new).await.expect_data("looked for");
    let third = app.another().await;
    let last = {
        app.rotate().await;
        app.pass(Duration::seconds(5)).await;
        app.token().await
    };
    let bearer = format!("Bearer {last}");
    assert_eq!(third.get("/auth/verify").authorization(&bearer).send().await.status, 204);
    let fourth = app.another().await;
    app.rotate().await;
    app.pass(Duration::seconds(5)).await;
    let bearer = format!("Bearer {}", app.token().await);
    assert_eq!(fourth.post("/auth/logout").authorization(&bearer).send().await.status, 204);
    other.get_user(&old).await.expect_refused("token_invalid", "the look found no revoked key");
}

#[actix_rt::test]
async fn what_is_handed_out_is_signed_by_no_key_that_was_revoked_meanwhile() {
    let app = TestApp::new().await;
    let data = app.login(crate::app::EMAIL, PASSWORD).await.expect_data("login");
    let mut refresh = data["refresh_token"].clone();
    let mut old = kid(data["token"].as_str().unwrap());
    // Each time the server has heard of the new key, and not of the old one's end.
    for way in ["/auth/login", "/auth/refresh", "/user/password"] {
        app.rotate().await;
        app.pass(Duration::seconds(6)).await;
        let signer = app.token().await;
        app.rotate().await;
        app.desk.catch_up().await.unwrap();
        app.revoke(&old).await;
        app.revoke(&kid(&signer)).await;
        let other = app.another().await;
        let reply = match way {
            "/auth/login" => app.login(crate::app::EMAIL, PASSWORD).await,
            "/auth/refresh" => app.post(way).json(json!({"refresh_token": refresh})).send().await,
            _ => {
                // Who asks must be known by a key that is still there.
                let bearer = format!("Bearer {}", other.token().await);
                let change =
                    json!({"current_password": PASSWORD, "new_password": "six violet umbrellas at dusk"});
                app.post(way).authorization(&bearer).json(change).send().await
            }
        };
        let data = reply.expect_data(way);
        let token = data["token"].as_str().unwrap();
        other.get_user(token).await.expect_data(way);
        (refresh, old) = (data["refresh_token"].clone(), kid(token));
    }
}

#[actix_rt::test]
async fn a_wait_for_the_database_takes_nothing_of_the_time_for_which_a_key_is_published() {
    let app = TestApp::new().await;
    let mut other = app.database().await;
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    let waited = async {
        app.clock.advance(Duration::seconds(4));
        sqlx::query("commit").execute(&mut other).await.unwrap();
    };
    let vault = app.vault().await;
    let rotation = keys::rotate(app.desk.store(), &vault, app.desk.settings(), &app.clock, ASKED);
    let (rotated, ()) = futures_util::future::join(rotation, waited).await;
    let Ok(Rotated::Made(made)) = rotated else { panic!("nobody else rotates") };
    assert_eq!(made.signs_from, app.clock.now() + Duration::seconds(5));
}

mod clocks_that_were_wrong {
    //! Keys of a later time than the clock tells.

    use super::*;

    const YEAR: Duration = Duration::days(365);

    /// A server that was founded by a clock a year ahead, which is right now.
    async fn founded_ahead() -> TestApp {
        let app = TestApp::new().await;
        let (vault, mut database) = (app.vault().await, app.database().await);
        let ahead = app.clock.now() + YEAR;
        let row = app.desk.store().signing_keys().await.unwrap().remove(0).sealed;
        let material = vault.open_key(&row).unwrap();
        let sealed = vault.seal_key(&row.kid, &row.algorithm, &row.purpose, ahead, ahead, &material).unwrap();
        sqlx::query("update signing_keys set created_at = $1, signs_from = $1, sealed = $2")
            .bind(ahead.timestamp_millis())
            .bind(sealed.sealed)
            .execute(&mut database)
            .await
            .unwrap();
        app.another().await.keeping(app.folder)
    }

    impl TestApp {
        fn keeping(self, folder: tempfile::TempDir) -> Self {
            Self { folder, ..self }
        }
    }

    #[actix_rt::test]
    async fn a_rotation_that_cannot_tell_which_clock_is_wrong_does_nothing_and_names_both_times() {
        let app = founded_ahead().await;
        let before = app.desk.store().signing_keys().await.unwrap();
        let error = app.try_rotate(false).await.unwrap_err().to_string();
        let shown =
            |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        for part in [shown(app.clock.now()), shown(app.clock.now() + YEAR), "--trust-clock".into()] {
            assert!(error.contains(&part), "{error}");
        }
        assert_eq!(app.desk.store().signing_keys().await.unwrap(), before);
    }

    #[actix_rt::test]
    async fn a_key_made_by_a_clock_that_was_ahead_can_be_followed_and_revoked() {
        let app = founded_ahead().await;
        let old = app.token().await;
        let Rotated::Made(made) = app.try_rotate(true).await.unwrap() else { panic!("it is alone") };
        app.desk.catch_up().await.unwrap();
        app.get_user(&old).await.expect_data("no token dies of it");
        assert_eq!(kid(&app.token().await), kid(&old), "the new one is published first");
        app.pass(Duration::seconds(5)).await;
        assert_eq!(kid(&app.token().await), made.kid);
        app.another().await.get_user(&old).await.expect_data("the row unseals");
        app.revoke(&kid(&old)).await;
        app.pass(YEAR + YEAR).await;
        assert_eq!(kid(&app.token().await), made.kid);
    }

    #[actix_rt::test]
    async fn a_rotation_after_one_by_a_clock_that_was_ahead_makes_the_key_that_signs_from_then_on() {
        let app = TestApp::new().await;
        let first = app.token().await;
        app.clock.advance(YEAR);
        let Rotated::Made(ahead) = app.rotate().await else { panic!("nobody else rotates") };
        app.clock.advance(-YEAR);
        app.desk.catch_up().await.unwrap();
        let Rotated::Made(made) = app.try_rotate(true).await.unwrap() else {
            panic!("none waits in earnest")
        };
        assert_eq!(app.kids().await, [kid(&first), ahead.kid, made.kid.clone()]);
        app.desk.catch_up().await.unwrap();
        assert_eq!(kid(&app.token().await), kid(&first));
        app.pass(Duration::seconds(5)).await;
        assert_eq!(kid(&app.token().await), made.kid);
        app.get_user(&first).await.expect_data("until it expires");
        app.pass(Duration::minutes(62)).await;
        app.desk.tidy().await.unwrap();
        assert_eq!(app.kids().await, [made.kid], "the others are dropped");
    }

    #[actix_rt::test]
    async fn a_key_that_is_made_after_one_of_a_later_time_signs_after_one_that_waits_too() {
        let day = std::time::Duration::from_secs(86_400);
        let app = TestApp::with(|settings| settings.key.publish_ahead = day).await;
        let Rotated::Made(waiting) = app.rotate().await else { panic!("nobody else rotates") };
        app.clock.advance(YEAR);
        app.rotate().await;
        app.clock.advance(-YEAR);
        let mut settings = app.desk.settings().clone();
        settings.key.publish_ahead = std::time::Duration::from_secs(5);
        let trusted = Reason::Asked { trust_clock: true };
        let rotated =
            keys::rotate(app.desk.store(), &app.vault().await, &settings, &app.clock, trusted).await;
        let Ok(Rotated::Made(made)) = rotated else { panic!("made") };
        assert!(made.signs_from > waiting.signs_from);
        assert_eq!(app.kids().await.last(), Some(&made.kid));
    }

    #[actix_rt::test]
    async fn by_a_clock_that_is_behind_no_key_is_retired_in_the_past() {
        let app = TestApp::new().await;
        app.clock.advance(-YEAR);
        assert!(matches!(app.try_rotate(false).await, Err(DeskError::ClockBehindKey { .. })));
        app.clock.advance(YEAR);
        assert_eq!(app.kids().await.len(), 1);
    }

    #[actix_rt::test]
    async fn clocks_that_differ_by_seconds_are_no_reason_to_refuse() {
        let app = TestApp::new().await;
        app.clock.advance(-Duration::seconds(50));
        assert!(matches!(app.try_rotate(false).await, Ok(Rotated::Made(_))));
    }

    #[actix_rt::test]
    async fn a_rotation_by_age_that_cannot_be_made_fails_and_does_not_wait_for_a_wrong_time() {
        let app = TestApp::with(|settings| settings.key.rotate_every_days = 30).await;
        app.clock.advance(-YEAR);
        let error = app.desk.rotate_by_age().await.unwrap_err();
        assert!(matches!(error, DeskError::ClockBehindKey { .. }), "{error}");
    }

    #[actix_rt::test]
    async fn the_last_key_that_is_left_can_be_followed_though_its_time_has_not_come() {
        let app =
            TestApp::with(|settings| settings.key.publish_ahead = std::time::Duration::from_secs(86_400))
                .await;
        let first = app.kids().await.remove(0);
        let Rotated::Made(second) = app.rotate().await else { panic!("nobody else rotates") };
        app.revoke(&first).await;
        // Made with a shorter notice, and yet after it.
        let mut settings = app.desk.settings().clone();
        settings.key.publish_ahead = std::time::Duration::from_secs(5);
        let rotated =
            keys::rotate(app.desk.store(), &app.vault().await, &settings, &app.clock, ASKED).await.unwrap();
        let Rotated::Made(third) = rotated else { panic!("it signs already") };
        assert_eq!(app.kids().await, [second.kid.clone(), third.kid.clone()]);
        app.revoke(&second.kid).await;
        app.desk.catch_up().await.unwrap();
        assert_eq!(kid(&app.token().await), third.kid);
    }
}

#[test]
fn what_a_token_names_as_its_key_stays_on_its_line() {
    use base64::Engine;
    let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let header = r#"{"alg":"EdDSA","kid":"\u001b[31mx\nkey: forged, which is ours"}"#;
    let token = format!("{}.{}.{}", part(header), part("{}"), part("s"));
    let shown = founded().run(&["token", "inspect", "-"], format!("{token}\n"));
    let out = &shown.expect(0, "inspect").out;
    assert!(!out.contains('\u{1b}') && !out.contains("\nkey: forged"), "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("key: ")).count(), 1, "{out}");
}

#[test]
fn a_key_may_be_named_that_begins_with_a_hyphen() {
    let place = founded();
    place.run(&["key", "revoke", "-abcdef"], "").expect_error(1, "there is no key \"-abcdef\"");
}

#[test]
fn a_dry_run_while_a_key_waits_says_that_none_would_be_made() {
    let place = founded().variable("HALLPASS_KEY__PUBLISH_AHEAD_S", "3600");
    place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "rotate");
    let told = place.run(&["key", "rotate", "--dry-run"], "");
    assert!(told.expect(0, "dry run").out.starts_with("would make none: "), "{told:?}");
}

/// A place whose database a server has founded.
fn founded() -> Workplace {
    let place = Workplace::new();
    place.add_user();
    place.serve().stop("TERM").expect(0, "the first start");
    place
}

fn listed(place: &Workplace) -> Vec<Value> {
    serde_json::from_str(&place.run(&["key", "list", "--json"], "").expect(0, "list").out).unwrap()
}

#[test]
fn hallpass_key_rotates_and_revokes_beside_a_running_server() {
    let place = founded();
    let server = place.serve();
    let old = server.token();
    let keys = listed(&place);
    assert_eq!((keys.len(), &keys[0]["state"], &keys[0]["kid"]), (1, &json!("signs"), &json!(kid(&old))));

    let foretold = place.run(&["key", "rotate", "--dry-run"], "");
    assert!(foretold.expect(0, "dry run").out.contains("nothing was done"), "{foretold:?}");
    assert_eq!(listed(&place).len(), 1);

    let rotated = place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n"));
    assert!(rotated.expect(0, "rotate").out.contains("(EdDSA) is published; it signs from "), "{rotated:?}");
    let keys = listed(&place);
    assert_eq!((&keys[0]["state"], &keys[1]["state"]), (&json!("signs"), &json!("next")));
    assert_eq!(server.get_user(&old).0, 200);

    place.run(&["key", "revoke", &kid(&old)], "").expect(0, "revoke");
    assert_eq!(server.get_user_until(&old, 401)["error"], "token_invalid");
    let new = server.token();
    assert_eq!(kid(&new), keys[1]["kid"].as_str().unwrap());
    assert_eq!(server.get_user(&new).0, 200);

    place.run(&["key", "revoke", &kid(&new)], "").expect_error(1, "is the only key");
    place.run(&["key", "revoke", "nobody"], "").expect_error(1, "there is no key \"nobody\"");
    let events = place.run(&["events"], "").out;
    for kind in ["key_added", "key_revoked"] {
        assert!(events.contains(kind), "{events}");
    }
}

#[test]
fn a_dry_run_foretells_what_the_rotation_then_does() {
    let place = founded();
    let foretold = place.run(&["key", "rotate", "--dry-run"], "").expect(0, "dry run").out.clone();
    let times = |text: &str| -> Vec<chrono::DateTime<chrono::Utc>> {
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "rotate");
    let keys = listed(&place);
    let then: chrono::DateTime<chrono::Utc> = keys[1]["signs_from"].as_str().unwrap().parse().unwrap();
    let [signs_from, dropped_at] = times(&foretold)[..] else { panic!("two times: {foretold}") };
    assert_eq!(
        dropped_at - signs_from,
        Duration::minutes(61),
        "the last token's hour, and a minute for the clocks"
    );
    // Between the two commands some time went by.
    let between = then - signs_from;
    assert!(between >= Duration::zero() && between < Duration::minutes(5), "{foretold}: {then}");
}

#[test]
fn a_key_of_a_later_time_than_the_clock_tells_is_named_with_the_way_out() {
    let place = founded();
    actix_rt::System::new().block_on(async {
        let store = Store::open(&place.path("hallpass.db")).await.unwrap();
        let vault = Vault::open(&store.installation().await.unwrap().unwrap(), &PASSPHRASE.into()).unwrap();
        let settings = hallpass::server::config::Settings::default();
        let ahead = hallpass::clock::Clock::manual(chrono::Utc::now() + Duration::days(400));
        keys::rotate(&store, &vault, &settings, &ahead, ASKED).await.unwrap();
        store.close().await;
    });
    let server = place.serve();
    let rotate = |more: &[&str]| {
        place.run(&[&["key", "rotate", "--key-stdin"], more].concat(), format!("{PASSPHRASE}\n"))
    };
    rotate(&[]).expect_error(1, "if it is right, hallpass key rotate --trust-clock");
    place.run(&["key", "rotate", "--dry-run"], "").expect_error(1, "--trust-clock");
    let foretold = place.run(&["key", "rotate", "--dry-run", "--trust-clock"], "");
    assert!(foretold.expect(0, "dry run").out.contains("would be dated back"), "{foretold:?}");
    assert_eq!(listed(&place).len(), 2);
    rotate(&["--trust-clock"]).expect(0, "rotate");
    assert_eq!(listed(&place).len(), 3);
    assert!(server.stop("TERM").err.contains("--trust-clock"), "told at the start too");
}

#[test]
fn hallpass_key_passphrase_changes_what_is_typed_and_no_token_dies_of_it() {
    let place = founded();
    let server = place.serve();
    let token = server.token();
    let both = |current: &str, new: &str| format!("{current}\n{new}\n");
    let change = |input: String| place.run(&["key", "passphrase", "--key-stdin"], input);
    change(both("another river of lanterns", NEW_PASSPHRASE)).expect_error(3, "wrong passphrase");
    change(both(PASSPHRASE, "password123")).expect_error(2, "too weak");
    change(format!("{PASSPHRASE}\n")).expect_error(2, "empty first line");
    place
        .run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"))
        .expect(0, "nothing was changed so far");

    change(both(PASSPHRASE, NEW_PASSPHRASE)).expect(0, "passphrase");
    place
        .run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"))
        .expect_error(3, "wrong passphrase");
    place.run(&["key", "check", "--key-stdin"], format!("{NEW_PASSPHRASE}\n")).expect(0, "the new one");
    assert_eq!(server.get_user(&token).0, 200, "the running server goes on");
    place.run(&["key", "rotate", "--key-stdin"], format!("{NEW_PASSPHRASE}\n")).expect(0, "rotate");
    assert_eq!(server.get_user(&token).0, 200);
    server.stop("TERM").expect(0, "stop");
    place.run(&["serve", "--key-stdin"], format!("{PASSPHRASE}\n")).expect_error(3, "wrong passphrase");
}

#[test]
fn key_commands_say_what_is_missing() {
    let place = Workplace::new();
    place.run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n")).expect_error(1, "has no keys yet");
    place.run(&["key", "rotate", "--dry-run"], "").expect_error(1, "has no keys yet");
    assert!(place.run(&["key", "list"], "").expect(0, "list").out.contains("no keys yet"));
    let place = founded();
    place.run_detached(&["key", "check"], "").expect_error(2, "--key-stdin");
    place
        .run(&["key", "check", "--key-stdin"], "wrong and wrong again\n")
        .expect_error(3, "wrong passphrase");
}

#[test]
fn a_server_whose_algorithm_differs_warns_and_follows_the_database() {
    let place = founded().variable("HALLPASS_TOKEN__ALGORITHM", "ES256");
    let server = place.serve();
    assert_eq!(header(&server.token())["alg"], "EdDSA");
    let log = server.stop("TERM").err;
    assert!(log.contains("token.algorithm is ES256, but this database signs with EdDSA"), "{log}");
}

#[test]
fn a_server_whose_keys_do_not_unseal_never_listens() {
    let table = [
        ("a seal", "update signing_keys set sealed = zeroblob(length(sealed))"),
        ("the kid", "update signing_keys set kid = 'another'"),
        ("the algorithm", "update signing_keys set algorithm = 'HS256'"),
        ("the purpose", "update signing_keys set purpose = 'another'"),
        ("when it was made", "update signing_keys set created_at = created_at - 1000"),
        ("when it signs", "update signing_keys set signs_from = signs_from - 1000"),
    ];
    for (what, statement) in table {
        let place = founded();
        let options: sqlx::sqlite::SqliteConnectOptions =
            format!("sqlite://{}", place.path("hallpass.db").display()).parse().unwrap();
        actix_rt::System::new().block_on(async {
            options.connect().await.unwrap().execute(statement).await.unwrap();
        });
        let refused =
            place.run(&["serve", "--bind", "127.0.0.1:0", "--key-stdin"], format!("{PASSPHRASE}\n"));
        refused.expect_error(1, "restore the database from a backup");
        assert_eq!(refused.out, "", "{what}: it never listens");
        place
            .run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"))
            .expect_error(1, "restore the database from a backup");
    }
}

#[test]
fn a_passphrase_comes_from_a_file_a_descriptor_a_pipe_a_credential_or_the_environment() {
    use std::os::unix::fs::PermissionsExt;

    let place = founded();
    let key = place.path("key");
    std::fs::write(&key, format!("{PASSPHRASE}\n")).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let check = |arguments: &str| {
        let script = arguments.replace("HALLPASS key", concat!(env!("CARGO_BIN_EXE_hallpass"), " key"));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(place.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    check("HALLPASS key check --key-file key");
    check("HALLPASS key check --key-fd 3 3< key");
    check("cat key | HALLPASS key check --key-stdin");
    // What systemd's LoadCredential= leaves: a file in a folder that it names, readable by the service's group.
    check(
        "mkdir run && chmod 750 run && cp key run/passphrase && chmod 440 run/passphrase && CREDENTIALS_DIRECTORY=$PWD/run HALLPASS key check --key-file run/passphrase",
    );
    // What Kubernetes mounts: a link to a file that the group can read.
    check(
        "mkdir secret && cp key secret/..data && chmod 440 secret/..data && ln -s ..data secret/passphrase && HALLPASS key check --key-file secret/passphrase --key-file-shared",
    );
    check("HALLPASS_KEY=\"$(cat key)\" HALLPASS key check");
}

#[test]
fn a_descriptor_may_be_a_socket_and_one_that_does_not_wait_and_is_closed_once_it_was_read() {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    let place = founded();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut command = place.shell("exec \"$0\" serve --bind 127.0.0.1:0 --key-fd 7 7<&0 </dev/null");
    command.stdin(OwnedFd::from(theirs));
    let mut child = command.spawn().unwrap();
    // What is parent's of theirs goes with the command.
    drop(command);
    writeln!(ours, "{PASSPHRASE}").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    assert_eq!(
        std::io::Read::read(&mut ours, &mut [0]).unwrap(),
        0,
        "the other end is closed while it serves"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_descriptor_is_read_whatever_may_be_opened_by_now_and_only_one_is() {
    let place = founded();
    std::fs::write(place.path("key"), format!("{PASSPHRASE}\n")).unwrap();
    // root opens whatever it likes; so where the tests run as root, the command does without that.
    let humble = match rustix::process::getuid().is_root() {
        true => {
            "setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search"
        }
        false => "",
    };
    let check = |arguments: &str| {
        let script = format!(
            "exec 7<key; chmod 000 key; {humble} \"$0\" key check {arguments}; end=$?; chmod 600 key; exit $end"
        );
        place.shell(&script).output().unwrap()
    };
    let by_descriptor = check("--key-fd 7");
    assert!(by_descriptor.status.success(), "{by_descriptor:?}");
    assert_eq!(check("--key-file key").status.code(), Some(2), "the control: it may not be opened");
    let two = place.shell("exec \"$0\" --key-fd 3 serve --key-fd 4 3<key 4<key").output().unwrap();
    assert_eq!(two.status.code(), Some(2), "{two:?}");
    assert!(String::from_utf8_lossy(&two.stderr).contains("one descriptor is accepted"), "{two:?}");
}

#[test]
fn a_running_server_has_nothing_open_that_the_passphrase_can_be_read_from() {
    let place = founded();
    std::fs::write(place.path("key"), format!("{PASSPHRASE}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("key"), mode).unwrap();
    let place = place.variable("HALLPASS_DUMPABLE", "1");
    for way in ["--key-stdin <key", "--key-fd 0 <key", "--key-fd 7 7<key", "--key-file key"] {
        let command = place.shell(&format!("exec \"$0\" serve --bind 127.0.0.1:0 {way}"));
        let server = crate::cli::Server::start(command, "");
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
        assert!(open.iter().any(|path| path.ends_with("hallpass.db")), "the control: {open:?}");
        assert!(!open.iter().any(|path| path.ends_with("key")), "{way}: {open:?}");
    }
}

#[test]
fn a_row_whose_numbers_no_server_wrote_is_no_panic() {
    for (damage, status) in [
        ("token_lifetime = 9223372036854775807", 0),
        ("token_lifetime = 9000000000000000", 0),
        ("token_lifetime = -1", 0),
        ("created_at = 9223372036854775807", 1),
        ("signs_from = 253402300799000", 1),
        ("signs_from = -9223372036854775808", 1),
    ] {
        let place = founded();
        place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "rotate");
        let options: sqlx::sqlite::SqliteConnectOptions =
            format!("sqlite://{}", place.path("hallpass.db").display()).parse().unwrap();
        actix_rt::System::new().block_on(async {
            let statement = sqlx::AssertSqlSafe(format!("update signing_keys set {damage}"));
            options.connect().await.unwrap().execute(statement).await.unwrap();
        });
        place.run(&["key", "list"], "").expect(0, damage);
        let checked = place.run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"));
        checked.expect(status, damage);
        let foretold = place.run(&["key", "rotate", "--dry-run"], "");
        assert_ne!(foretold.status.code(), Some(101), "{damage}: {foretold:?}");
        if status == 1 {
            checked.expect_error(1, "restore the database from a backup");
        }
    }
}

#[test]
fn a_descriptor_that_is_not_there_is_told() {
    let place = Workplace::new();
    for (number, reason) in
        [("9", "is it open, as in 9< file?"), ("1", "0 or a number from 3 on"), ("x", "0 or a number")]
    {
        place.run(&["key", "check", "--key-fd", number], "").expect_error(2, reason);
    }
}

mod tokens {
    //! `hallpass token`.

    use super::*;

    #[test]
    fn inspect_shows_the_parts_the_times_in_words_and_whose_key_it_names() {
        let place = founded();
        let server = place.serve();
        let token = server.token();
        let shown = place.run(&["token", "inspect", &token], "").expect(0, "inspect").out.clone();
        for part in [
            "\"alg\": \"EdDSA\"",
            "\"email\": \"ada@example.com\"",
            "(expires in 59 min)",
            "(issued ",
            "which is ours (EdDSA, signs)",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let signature = token.rsplit('.').next().unwrap();
        assert!(!shown.contains(signature), "{shown}");
        assert_eq!(place.run(&["token", "inspect", "-"], format!("Bearer {token}\n")).out.len(), shown.len());
        let elsewhere = Workplace::new();
        let shown = elsewhere.run(&["token", "inspect"], format!("{token}\n"));
        assert!(shown.expect(0, "elsewhere").out.contains("no database here"), "{shown:?}");
        assert!(!elsewhere.path("hallpass.db").exists(), "looking makes no database");
        for (text, reason) in [
            ("", "three parts"),
            ("a.b", "three parts"),
            ("a.b.c", "header part is not base64url"),
            ("e30.!.c", "claims part is not base64url"),
            ("e30.YQ.c", "claims part is not JSON"),
        ] {
            place.run(&["token", "inspect"], text).expect_error(1, reason);
        }
        place.run(&["token", "inspect"], "x".repeat(10_000)).expect_error(1, "longer than 8192 bytes");
    }

    #[test]
    fn verify_says_valid_or_which_check_failed_for_one_token_or_many() {
        let place = founded();
        let server = place.serve();
        let token = server.token();
        let (_, set) = server.ask("GET /.well-known/jwks.json", None, None);
        std::fs::write(place.path("jwks.json"), set.to_string()).unwrap();
        let verify = |more: &[&str], input: &str| {
            place.run(&[&["token", "verify", "--jwks", "jwks.json"], more].concat(), input)
        };
        assert!(verify(&[&token], "").expect(0, "valid").out.starts_with("valid: "));
        verify(&["--issuer", "https://other.example", &token], "").expect_error(1, "another issuer");
        verify(&["--audience", "https://other.example", &token], "").expect_error(1, "another audience");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
        verify(&[&forged], "").expect_error(1, "not valid: ");
        let many =
            verify(&["-"], &format!("{token}\n\nBearer {token}\nnonsense\n{}\n{token}", "x".repeat(20_000)));
        many.expect_error(1, "2 of 5 tokens are not valid");
        let lines: Vec<_> = many.out.lines().collect();
        assert!(lines[0].starts_with("1: valid: ") && lines[1].starts_with("3: valid: "), "{many:?}");
        assert!(lines[2].starts_with("4: not valid: the token is malformed"), "{many:?}");
        assert!(lines[3].starts_with("5: not valid: the token is too long"), "{many:?}");
        assert!(lines[4].starts_with("6: valid: "), "{many:?}");
        verify(&[], "").expect_error(2, "no token on standard input");
        place
            .run(&["token", "verify", "--jwks", "nowhere.json", &token], "")
            .expect_error(2, "cannot be used");
        std::fs::write(place.path("bad.json"), "{}").unwrap();
        place.run(&["token", "verify", "--jwks", "bad.json", &token], "").expect_error(2, "cannot be used");
    }

    #[test]
    fn verify_goes_by_the_leeway_that_is_set() {
        let place = Workplace::new();
        let mint = hallpass::testing::Mint::new();
        std::fs::write(place.path("jwks.json"), mint.jwks()).unwrap();
        let token = mint
            .token_for("ada")
            .claim("exp", (chrono::Utc::now() - Duration::seconds(30)).timestamp())
            .to_string();
        let verify = ["token", "verify", "--jwks", "jwks.json", &token];
        place.run(&verify, "").expect_error(1, "not valid: ");
        place.variable("HALLPASS_TOKEN__LEEWAY_S", "60").run(&verify, "").expect(0, "within the leeway");
    }

    #[test]
    fn each_token_of_many_is_judged_by_the_time_at_which_it_comes() {
        use std::io::{BufRead, Write};

        let place = Workplace::new();
        let mint = hallpass::testing::Mint::new();
        std::fs::write(place.path("jwks.json"), mint.jwks()).unwrap();
        let ending = (chrono::Utc::now() + Duration::seconds(3)).timestamp();
        let token = mint.token_for("ada").claim("exp", ending).to_string();
        let mut child = place.command(["token", "verify", "--jwks", "jwks.json"]).spawn().unwrap();
        let (mut tokens, verdicts) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut verdicts = std::io::BufReader::new(verdicts).lines();
        let since = std::time::Instant::now();
        loop {
            writeln!(tokens, "{token}").unwrap();
            if verdicts.next().unwrap().unwrap().contains("not valid") {
                break;
            }
            assert!(since.elapsed().as_secs() < 60, "it never expires");
            std::thread::yield_now();
        }
        drop(tokens);
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }

    #[test]
    fn inspect_shows_what_the_token_says_where_the_database_cannot_be_asked() {
        let place = Workplace::new();
        std::fs::create_dir(place.path("hallpass.db")).unwrap();
        let token = hallpass::testing::Mint::new().token_for("ada").to_string();
        let shown = place.run(&["token", "inspect"], format!("{token}\n"));
        assert!(shown.expect(0, "inspect").out.contains("nothing to compare with"), "{shown:?}");
    }

    #[test]
    fn by_a_set_without_keys_no_token_is_valid() {
        let place = Workplace::new();
        std::fs::write(place.path("jwks.json"), r#"{"keys": []}"#).unwrap();
        let verify = ["token", "verify", "--jwks", "jwks.json", "e30.e30.e30"];
        place.run(&verify, "").expect_error(1, "not valid: the key set holds no key");
    }

    #[test]
    fn blanks_around_a_token_do_not_count() {
        let place = Workplace::new();
        let mint = hallpass::testing::Mint::new();
        std::fs::write(place.path("jwks.json"), mint.jwks()).unwrap();
        let blanks = " \t".repeat(5_000);
        let input = format!("{blanks}{}{blanks}\n{blanks}\n", mint.token_for("ada"));
        let judged = place.run(&["token", "verify", "--jwks", "jwks.json"], input);
        assert!(judged.expect(0, "verify").out.starts_with("1: valid: "), "{judged:?}");
    }

    #[test]
    fn inspect_shows_nothing_that_moves_a_terminals_cursor_or_turns_its_text_around() {
        use base64::Engine;
        let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let claims = "{\"sub\": \"\u{7f}\u{9b}31m\u{202e}\u{2066}a\u{301}d\u{e9}\u{1F600}\"}";
        let token = format!("{}.{}.{}", part("{\"alg\":\"\u{85}\"}"), part(claims), part("s"));
        let shown = Workplace::new().run(&["token", "inspect"], format!("{token}\n"));
        let out = &shown.expect(0, "inspect").out;
        assert!(
            !out.chars().any(|it| it != '\n' && (it.is_control() || "\u{202e}\u{2066}".contains(it))),
            "{out:?}"
        );
        for part in ["\\u0085", "\\u007f\\u009b31m\\u202e\\u2066a", "dé😀"] {
            assert!(out.contains(part), "{part}: {out}");
        }
    }

    #[test]
    fn public_vectors_pass_the_signatures_check_and_no_other_and_none_panics() {
        let place = Workplace::new();
        // RFC 7515 A.1 (HMAC-SHA-256) and A.3 (P-256), RFC 8037 A.4 (Ed25519): each genuine, and none an access token;
        // what is found wanting is what is looked at after the signature.
        let table = [
            (
                r#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#,
                "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                "the token has no aud",
            ),
            (
                r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
                "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
                "the token has no aud",
            ),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
                "the token is malformed",
            ),
        ];
        for (set, token, reason) in table {
            std::fs::write(place.path("jwks.json"), set).unwrap();
            let verify = |more: &[&str], input: &str| {
                place.run(&[&["token", "verify", "--jwks", "jwks.json"], more].concat(), input)
            };
            verify(&[token], "").expect_error(1, "of another type");
            verify(&["--any-type", token], "").expect_error(1, reason);
            let (message, signature) = token.rsplit_once('.').unwrap();
            let forged =
                format!("{message}.{}{}", &signature[..20], signature[20..].replacen(|_: char| true, "_", 1));
            verify(&["--any-type", &forged], "").expect_error(1, "signature");
            // Every way to cut it short, and each part exchanged for another's.
            let mut many = String::new();
            for end in (0..token.len()).step_by(7) {
                many += &format!("{}\n", &token[..end]);
            }
            for (_, other, _) in table {
                let (ours, theirs): (Vec<_>, Vec<_>) =
                    (token.split('.').collect(), other.split('.').collect());
                many += &format!(
                    "{}.{}.{}\n{}.{}.{}\n",
                    ours[0], theirs[1], ours[2], theirs[0], ours[1], ours[2]
                );
            }
            let judged = verify(&["--any-type"], &many);
            judged.expect_error(1, "tokens are not valid");
            assert!(!judged.out.contains(": valid"), "{judged:?}");
        }
    }
}
