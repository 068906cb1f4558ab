//! Signing keys: rotated, retired, revoked, sealed.

use std::collections::HashSet;

use chrono::Duration;
use hallpass::server::AuthServer;
use hallpass::server::keys::KeysError;
use hallpass::server::keys::rotation::{self, Reason, Revoked, Rotated, State, states};
use hallpass::server::store::Store;
use hallpass::token::Algorithm;
use serde_json::{Value, json};

use crate::app::{PASSWORD, TestApp};
use crate::test_database::TestDatabase;

mod clocks_that_were_wrong;

pub const REQUESTED: Reason = Reason::Requested { trust_clock: false };

impl TestApp {
    async fn rotate(&self) -> Rotated {
        self.try_rotate(false).await.unwrap()
    }

    async fn try_rotate(&self, trust_clock: bool) -> Result<Rotated, KeysError> {
        let vault = self.vault().await;
        rotation::rotate(
            self.server.store(),
            &vault,
            self.server.settings(),
            &self.clock,
            Reason::Requested { trust_clock },
        )
        .await
    }

    /// Revokes a key like `hallpass key revoke` in another process: this server has not synced yet.
    async fn revoke(&self, kid: &str) {
        let revoked = rotation::revoke(self.server.store(), kid, self.clock.now()).await.unwrap();
        assert_eq!(revoked, Revoked::Removed, "{kid} is there, and not alone");
    }

    async fn kids(&self) -> Vec<String> {
        self.signing_keys().await.into_iter().map(|row| row.sealed.kid).collect()
    }

    async fn published(&self) -> Vec<String> {
        let set = self.get("/.well-known/jwks.json").send().await.json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn header(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

#[actix_rt::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_verifies_until_its_last_token_has_expired() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let before = app.token().await;
    let Rotated::Made(made) = app.rotate().await else { panic!("no other rotation") };
    for server in [&app, &other] {
        server.server.sync_changes().await.unwrap();
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
    app.server.delete_expired().await.unwrap();
    assert_eq!(app.kids().await.len(), 2, "kept a minute longer than its last token");
    app.pass(Duration::minutes(2)).await;
    app.server.delete_expired().await.unwrap();
    app.server.sync_changes().await.unwrap();
    assert_eq!((app.kids().await, app.published().await), (vec![made.kid.clone()], vec![made.kid]));
}

#[actix_rt::test]
async fn a_retired_key_is_kept_for_the_longest_lifetime_it_has_signed_with() {
    let app =
        TestApp::with(|settings| settings.token.lifetime = std::time::Duration::from_secs(86_400)).await;
    let long = app.token().await;
    // The next start has a shorter lifetime.
    let mut settings = app.server.settings().clone();
    settings.token.lifetime = std::time::Duration::from_secs(600);
    let store = Store::open(&app.database.settings).await.unwrap();
    let vault = app.vault().await;
    let server = AuthServer::open(settings, store, vault, app.clock.clone()).await.unwrap();
    let restarted = TestApp { server, clock: app.clock.clone(), database: app.database.clone() };
    restarted.rotate().await;
    restarted.pass(Duration::hours(23)).await;
    restarted.server.delete_expired().await.unwrap();
    restarted.server.sync_changes().await.unwrap();
    restarted.get_user(&long).await.expect_data("its key is still there");
    restarted.pass(Duration::hours(2)).await;
    restarted.server.delete_expired().await.unwrap();
    assert_eq!(restarted.kids().await.len(), 1);
}

#[actix_rt::test]
async fn two_concurrent_rotations_make_one_key() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let (one, two) = futures_util::future::join(app.rotate(), other.rotate()).await;
    let made = [&one, &two].iter().filter(|rotated| matches!(rotated, Rotated::Made(_))).count();
    assert_eq!((made, app.kids().await.len()), (1, 2));
}

#[actix_rt::test]
async fn a_rotation_by_age_happens_once_for_all_servers() {
    let app = TestApp::with(|settings| settings.key.rotate_every_days = 30).await;
    let other = app.another().await;
    app.pass(Duration::days(29)).await;
    app.server.rotate_by_age().await.unwrap();
    assert_eq!(app.kids().await.len(), 1, "too early");
    app.pass(Duration::days(1)).await;
    let (one, two) =
        futures_util::future::join(app.server.rotate_by_age(), other.server.rotate_by_age()).await;
    one.and(two).unwrap();
    assert_eq!(app.kids().await.len(), 2);
    app.server.rotate_by_age().await.unwrap();
    assert_eq!(app.kids().await.len(), 2, "and not again");
    let off = TestApp::new().await;
    off.pass(Duration::days(3_650)).await;
    off.server.rotate_by_age().await.unwrap();
    assert_eq!(off.kids().await.len(), 1, "off unless set");
}

#[actix_rt::test]
async fn revoking_a_key_revokes_its_tokens_immediately() {
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
        server.server.sync_changes().await.unwrap();
        server.get_user(&old).await.expect_refused("token_invalid", "revoked");
    }
    // Nothing else signs yet, so the next key begins before its time; and the session itself lives on.
    let reply = app.post("/auth/refresh").json(json!({"refresh_token": refresh})).send().await;
    let fresh = reply.expect_data("refreshed")["token"].as_str().unwrap().to_owned();
    other.get_user(&fresh).await.expect_data("by the new key");
    let only = app.kids().await;
    let revoked = rotation::revoke(app.server.store(), &only[0], app.clock.now()).await.unwrap();
    assert_eq!(revoked, Revoked::OnlyKey, "the only key stays");
}

#[actix_rt::test]
async fn each_algorithm_signs_after_a_rotation_and_earlier_tokens_stay_valid() {
    let app = TestApp::new().await;
    let mut tokens = vec![app.token().await];
    for algorithm in [Algorithm::Es256, Algorithm::Hs256, Algorithm::EdDsa] {
        let mut settings = app.server.settings().clone();
        settings.token.algorithm = algorithm;
        let vault = app.vault().await;
        rotation::rotate(app.server.store(), &vault, &settings, &app.clock, REQUESTED).await.unwrap();
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
async fn a_symmetric_key_is_never_published() {
    let app = TestApp::with(|settings| settings.token.algorithm = Algorithm::Hs256).await;
    assert_eq!(app.get("/.well-known/jwks.json").send().await.json(), json!({"keys": []}));
    app.get_user(&app.token().await).await.expect_data("and yet it signs");
    app.rotate().await;
    app.server.sync_changes().await.unwrap();
    assert_eq!(app.get("/.well-known/jwks.json").send().await.json(), json!({"keys": []}));
}

#[actix_rt::test]
async fn three_rotations_and_a_restart_cause_no_401_at_two_servers() {
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
        // Servers learn of a new key at different times, after it was made.
        one.clock.advance(Duration::seconds(2));
        if round % 2 == 0 {
            one.server.sync_changes().await.unwrap();
        } else {
            other.server.sync_changes().await.unwrap();
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
async fn the_state_of_a_key_depends_on_its_times() {
    let app = TestApp::new().await;
    let now = app.clock.now();
    app.rotate().await;
    app.clock.advance(Duration::seconds(10));
    app.rotate().await;
    let rows = app.signing_keys().await;
    let none = Duration::zero();
    let at = |seconds: i64| now + Duration::seconds(seconds);
    // Made at 0 and at 10, each 5 s before it signs.
    assert_eq!(states(&rows, at(4), none), [State::Signs, State::Next(at(5)), State::Next(at(15))]);
    let dropped = |from: i64| State::Retired(at(from + 3_600 + 60));
    assert_eq!(states(&rows, at(5), none), [dropped(5), State::Signs, State::Next(at(15))]);
    assert_eq!(states(&rows, at(60), none), [dropped(5), dropped(15), State::Signs]);
}

#[actix_rt::test]
async fn a_rotation_makes_no_key_while_a_new_key_is_waiting() {
    let app = TestApp::new().await;
    assert!(matches!(app.rotate().await, Rotated::Made(_)));
    app.clock.advance(Duration::milliseconds(4_999));
    assert!(matches!(app.rotate().await, Rotated::Waiting(_)));
    app.clock.advance(Duration::milliseconds(1));
    assert!(matches!(app.rotate().await, Rotated::Made(_)));
}

#[actix_rt::test]
async fn a_key_is_kept_for_the_longest_token_lifetime_of_all_servers() {
    let app =
        TestApp::with(|settings| settings.token.lifetime = std::time::Duration::from_secs(86_400)).await;
    let by_cli = {
        let mut settings = app.server.settings().clone();
        settings.token.lifetime = std::time::Duration::from_secs(3_600);
        settings
    };
    let vault = app.vault().await;
    let rotate = async || {
        rotation::rotate(app.server.store(), &vault, &by_cli, &app.clock, REQUESTED).await.unwrap();
        app.server.sync_changes().await.unwrap();
        app.pass(Duration::seconds(5)).await;
    };
    rotate().await;
    let token = app.token().await;
    rotate().await;
    app.pass(Duration::hours(2)).await;
    app.server.delete_expired().await.unwrap();
    app.server.sync_changes().await.unwrap();
    app.get_user(&token).await.expect_data("it is valid for a day");
}

#[actix_rt::test]
async fn a_damaged_row_keeps_no_revoked_key_valid_and_refuses_no_other_token() {
    for damage in ["sealed", "created_at = 9223372036854775807", "signs_from = -9223372036854775808"] {
        a_damaged_row_keeps_no_revoked_key_alive(damage).await;
    }
}

async fn a_damaged_row_keeps_no_revoked_key_alive(damage: &str) {
    let app = TestApp::new().await;
    let revoked = app.token().await;
    app.rotate().await;
    app.server.sync_changes().await.unwrap();
    app.pass(Duration::seconds(5)).await;
    let good = app.token().await;
    app.rotate().await;
    let damaged = app.kids().await.pop().unwrap();
    if damage == "sealed" {
        self::damage(&app, &damaged).await;
    } else {
        alter(&app, &damaged, damage).await;
    }
    app.revoke(&kid(&revoked)).await;

    app.server.sync_changes().await.unwrap();
    app.get_user(&revoked).await.expect_refused("token_invalid", "revoked");
    app.get_user(&good).await.expect_data("of a key that is still there");
    assert_eq!(kid(&app.token().await), kid(&good), "and people sign in");
}

/// Alters a key's row.
async fn alter(app: &TestApp, kid: &str, damage: &str) {
    app.database.execute(&format!("update signing_keys set {damage} where kid = '{kid}'")).await;
}

/// Alters a key's row so that it does not unseal.
async fn damage(app: &TestApp, kid: &str) {
    alter(app, kid, &format!("sealed = {}", app.database.literal(&[0]))).await;
}

#[actix_rt::test]
async fn no_retired_key_is_removed_while_a_key_does_not_unseal() {
    let app = TestApp::new().await;
    app.rotate().await;
    damage(&app, &app.kids().await[1]).await;
    app.server.sync_changes().await.unwrap();
    app.pass(Duration::hours(2)).await;
    let token = app.token().await;
    assert!(app.server.delete_expired().await.is_err(), "the error is reported");
    app.server.sync_changes().await.unwrap();
    app.get_user(&token).await.expect_data("by the key that is left to sign with");
    assert_eq!(app.kids().await.len(), 2);
}

#[actix_rt::test]
async fn a_cancelled_look_up_does_not_count() {
    let app = TestApp::new().await;
    let foreign = TestApp::new().await.token().await;
    loop {
        let other = app.another().await;
        app.rotate().await;
        app.revoke(&app.kids().await[0]).await;
        app.server.sync_changes().await.unwrap();
        let token = app.token().await;
        let (mut first, mut second) = (Box::pin(other.get_user(&foreign)), Box::pin(other.get_user(&token)));
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
async fn a_token_is_unavailable_and_not_invalid_if_its_key_cannot_be_looked_up() {
    let app = TestApp::new().await;
    let other = app.another().await;
    app.rotate().await;
    app.revoke(&app.kids().await[0]).await;
    app.server.sync_changes().await.unwrap();
    let token = app.token().await;
    other.server.store().close().await;
    other.get_user(&token).await.expect_failure(503, "unavailable", "not known, and not to be known now");
}

#[actix_rt::test]
async fn a_rotation_by_age_checks_the_age_again_under_the_lock() {
    let app = TestApp::new().await;
    let (vault, age) = (app.vault().await, Reason::MaxAge(Duration::days(30)));
    app.clock.advance(Duration::days(30));
    let rotate = || rotation::rotate(app.server.store(), &vault, app.server.settings(), &app.clock, age);
    assert!(matches!(rotate().await, Ok(Rotated::Made(_))));
    // Another server's clock, which is ahead by more than a key is published for.
    app.clock.advance(Duration::seconds(10));
    assert!(matches!(rotate().await, Ok(Rotated::Waiting(_))));
}

#[actix_rt::test]
async fn no_more_keys_are_made_than_a_verifier_accepts() {
    let app = TestApp::new().await;
    let row = app.signing_keys().await.remove(0);
    let plan =
        |count| rotation::plan(&vec![row.clone(); count], app.server.settings(), app.clock.now(), REQUESTED);
    assert!(plan(99).is_ok());
    assert!(matches!(plan(100), Err(KeysError::TooManyKeys)));
}

#[actix_rt::test]
async fn a_revoked_key_stays_revoked_even_if_no_other_key_unseals() {
    let app = TestApp::new().await;
    let revoked = app.token().await;
    app.rotate().await;
    damage(&app, &app.kids().await[1]).await;
    app.revoke(&kid(&revoked)).await;
    app.server.sync_changes().await.unwrap();
    app.get_user(&revoked).await.expect_failure(503, "unavailable", "a token");
    app.login(crate::app::EMAIL, PASSWORD).await.expect_failure(503, "unavailable", "sign-in");
    let unready = app.get("/health/ready").send().await;
    unready.expect_failure(503, "unavailable", "ready");
    assert!(unready.text().contains("there is no key to sign with"), "{}", unready.text());
    assert_eq!(app.published().await, Vec::<String>::new());
}

#[actix_rt::test]
async fn a_key_that_signs_early_is_looked_up_by_a_server_that_does_not_know_it() {
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
    other.get_user(&old).await.expect_refused("token_invalid", "the look-up found no revoked key");
}

#[actix_rt::test]
async fn no_token_is_signed_by_a_key_that_was_revoked_meanwhile() {
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
        app.server.sync_changes().await.unwrap();
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
async fn waiting_for_the_database_does_not_shorten_the_publication_of_a_key() {
    let app = TestApp::on(TestDatabase::sqlite(), |_| {}).await;
    let mut other = app.database.sqlite_connection().await;
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    let waited = async {
        app.clock.advance(Duration::seconds(4));
        sqlx::query("commit").execute(&mut other).await.unwrap();
    };
    let vault = app.vault().await;
    let rotation = rotation::rotate(app.server.store(), &vault, app.server.settings(), &app.clock, REQUESTED);
    let (rotated, ()) = futures_util::future::join(rotation, waited).await;
    let Ok(Rotated::Made(made)) = rotated else { panic!("no other rotation") };
    assert_eq!(made.signs_from, app.clock.now() + Duration::seconds(5));
}

#[actix_rt::test]
async fn a_verifier_finds_the_keys_by_the_issuer_alone() {
    let metadata = async |app: &TestApp| {
        let request =
            app.get("/.well-known/oauth-authorization-server").header("host", "id.example.com:8080");
        request.send().await.json()
    };
    let app = TestApp::with(|settings| settings.token.issuer = Some("https://id.example.com/".into())).await;
    let found = metadata(&app).await;
    // RFC 8414 §3.3: the same as in the tokens.
    assert_eq!(found["issuer"], "https://id.example.com/");
    assert_eq!(found["jwks_uri"], "https://id.example.com/.well-known/jwks.json");
    assert_eq!(found["access_token_signing_alg_values_supported"], json!(["EdDSA"]));
    assert_eq!(found["grant_types_supported"], json!([]));

    let app = TestApp::new().await;
    let found = metadata(&app).await;
    assert_eq!(found["issuer"], *app.server.issuer());
    assert_eq!(found["jwks_uri"], "http://id.example.com:8080/.well-known/jwks.json");
}
