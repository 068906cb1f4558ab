//! Refresh, logout, and the list of sessions.

use actix_web::http::Method;
use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use hallpass::server::config::seconds;
use hallpass::server::model::{EventKind, Lifetimes, Session};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::secrets::holds;
use crate::test_database::TestDatabase;

mod cookie;

/// The two tokens of an answer.
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl Pair {
    #[track_caller]
    pub fn of(reply: &Reply) -> Self {
        let data = reply.expect_data("tokens");
        let text = |name: &str| data[name].as_str().unwrap_or_else(|| panic!("no {name}: {data}")).to_owned();
        Self { access: text("token"), refresh: text("refresh_token") }
    }
}

impl TestApp {
    pub async fn sign_in(&self) -> Pair {
        Pair::of(&self.login(EMAIL, PASSWORD).await)
    }

    pub async fn refresh(&self, token: &str) -> Reply {
        self.post("/auth/refresh").json(json!({"refresh_token": token})).send().await
    }

    async fn bearer(&self, method: Method, path: &str, token: &str) -> Reply {
        self.ask(method, path).authorization(&format!("Bearer {token}")).send().await
    }

    async fn ended_sessions(&self, now: DateTime<Utc>) -> Vec<(Uuid, DateTime<Utc>)> {
        let read = self.server.store().read(async |connection| connection.ended_sessions(now).await);
        read.await.unwrap()
    }

    pub async fn sessions_of(&self, user: Uuid) -> Vec<Session> {
        let settings = &self.server.settings().session;
        let lifetimes = Lifetimes {
            idle: seconds(settings.idle_lifetime),
            absolute: seconds(settings.refresh_lifetime),
            grace: seconds(settings.reuse_grace),
        };
        let now = self.clock.now();
        let read = self
            .server
            .store()
            .read(async |connection| connection.sessions_of(user, now, &lifetimes, None, 1_000).await);
        read.await.unwrap()
    }

    async fn kinds(&self) -> Vec<&'static str> {
        let events = self.recorded_events().await;
        let name = |kind: &str| EventKind::ALL.iter().map(|known| known.name()).find(|known| *known == kind);
        events.iter().map(|recorded| name(&recorded.event.kind).unwrap()).collect()
    }
}

#[track_caller]
fn expect_invalid(reply: &Reply, what: &str) {
    reply.expect_failure(401, "refresh_invalid", what);
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="Authentication Required""#), "{what}");
}

#[actix_rt::test]
async fn a_refresh_returns_the_next_tokens_of_the_same_session() {
    let app = TestApp::new().await;
    let first = app.sign_in().await;
    app.pass(Duration::minutes(59)).await;
    let reply = app.refresh(&first.refresh).await;
    let data = reply.expect_data("refresh");
    let mut names: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["expires_in", "message", "refresh_expires_in", "refresh_token", "token", "token_type", "user"]
    );
    assert_eq!((&data["token_type"], &data["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(data["refresh_expires_in"], 1_209_600);
    let second = Pair::of(&reply);
    assert_ne!(second.refresh, first.refresh);
    app.pass(Duration::minutes(59)).await;
    app.get_user(&first.access).await.expect_refused("token_expired", "the first access token");
    assert_eq!(app.get_user(&second.access).await.expect_data("the second")["email"], EMAIL);
    let sessions = app.bearer(Method::GET, "/user/sessions", &second.access).await.expect_data("sessions");
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
}

#[actix_rt::test]
async fn twenty_concurrent_refreshes_get_the_same_successor() {
    let app = TestApp::new().await;
    let first = app.sign_in().await;
    let other = app.another().await;
    let asks = (0..20).map(|number| {
        let server = if number % 2 == 0 { &app } else { &other };
        server.refresh(&first.refresh)
    });
    let replies = join_all(asks).await;
    let successors: Vec<_> = replies.iter().map(|reply| Pair::of(reply).refresh).collect();
    assert!(successors.iter().all(|successor| *successor == successors[0]), "{successors:?}");
    assert_eq!(app.kinds().await.iter().filter(|kind| **kind == "refreshed").count(), 1, "one won");
    Pair::of(&app.refresh(&successors[0]).await);
}

/// The expected outcome of a refresh, and whether the session continues.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// The same successor as the first time, byte for byte.
    SameSuccessor,
    /// Refused, and the session continues.
    Refused,
    /// Refused, and the session is revoked.
    Theft,
}

#[actix_rt::test]
async fn a_used_token_gets_the_same_successor_within_the_grace_period_and_is_theft_later() {
    use Fate::*;
    // Which token (0 is the first of the session, used at once; 1 its successor, used where the table says so),
    // the steps of the clock in milliseconds with a repeat of token 0 between them, and what becomes of it.
    let table: &[(&str, bool, &[i64], Fate)] = &[
        ("at once", false, &[0], SameSuccessor),
        ("at once, its successor used already", true, &[0], SameSuccessor),
        ("just before the grace ends", false, &[9_999], SameSuccessor),
        ("just before it ends, its successor used", true, &[9_999], SameSuccessor),
        ("when the grace ends", false, &[10_000], Theft),
        ("when it ends, its successor used", true, &[10_000], Theft),
        ("much later", true, &[86_400_000], Theft),
        ("a repeat does not extend the grace", false, &[6_000, 4_000], Theft),
        ("repeats within the grace", false, &[3_000, 3_000, 3_000], SameSuccessor),
        ("a clock that went back", false, &[-5_000], SameSuccessor),
        ("a clock that went back an hour", false, &[-3_600_000], SameSuccessor),
        ("a clock that went back further than clocks do", false, &[-3_600_001], Theft),
    ];
    for (name, successor_used, steps, expected) in table {
        let app = TestApp::new().await;
        let first = app.sign_in().await;
        let second = Pair::of(&app.refresh(&first.refresh).await);
        let mut newest = second.access.clone();
        if *successor_used {
            newest = Pair::of(&app.refresh(&second.refresh).await).access;
        }
        let mut fate = Refused;
        for step in *steps {
            app.pass(Duration::milliseconds(*step)).await;
            let reply = app.refresh(&first.refresh).await;
            fate = match reply.status.as_u16() {
                200 if Pair::of(&reply).refresh == second.refresh => SameSuccessor,
                200 => panic!("{name}: another successor"),
                _ => {
                    expect_invalid(&reply, name);
                    if app.kinds().await.contains(&"refresh_reused") { Theft } else { Refused }
                }
            };
        }
        assert_eq!(fate, *expected, "{name}");
        let after = app.get_user(&newest).await;
        let passed = steps.iter().sum::<i64>();
        match fate {
            // The access token is then one of times to come.
            _ if passed < -60_000 => after.expect_refused("token_invalid", name),
            Theft if passed < 3_600_000 => after.expect_refused("token_revoked", name),
            Theft => after.expect_refused("token_expired", name),
            _ => drop(after.expect_data(name)),
        }
        if fate == Theft {
            expect_invalid(&app.refresh(&second.refresh).await, "the whole session is revoked");
        }
    }
}

#[actix_rt::test]
async fn any_earlier_token_of_the_session_is_theft_even_after_its_digest_was_deleted() {
    let app = TestApp::new().await;
    let mut tokens = vec![app.sign_in().await];
    for _ in 0..4 {
        app.pass(Duration::hours(2)).await;
        app.server.delete_expired().await.unwrap();
        let newest = tokens.last().unwrap().refresh.clone();
        tokens.push(Pair::of(&app.refresh(&newest).await));
    }
    app.pass(Duration::minutes(1)).await;
    expect_invalid(&app.refresh(&tokens[1].refresh).await, "an old one");
    app.get_user(&tokens[4].access).await.expect_refused("token_revoked", "the session is revoked");
    assert_eq!(app.kinds().await.last(), Some(&"refresh_reused"));
}

#[actix_rt::test]
async fn a_token_that_was_never_issued_changes_nothing() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let app = TestApp::new().await;
    let pair = app.sign_in().await;
    let mut bytes = URL_SAFE_NO_PAD.decode(pair.refresh.strip_prefix("hpr_").unwrap()).unwrap();
    bytes[20] ^= 1;
    let forged = format!("hpr_{}", URL_SAFE_NO_PAD.encode(bytes));
    let other = TestApp::new().await.sign_in().await.refresh;
    for (what, text) in [
        ("another secret for a known session", forged.as_str()),
        ("another installation's", &other),
        ("an access token", &pair.access),
        ("nothing", ""),
        ("nonsense", "hpr_🦀"),
    ] {
        expect_invalid(&app.refresh(text).await, what);
    }
    expect_invalid(&app.post("/auth/refresh").send().await, "no body");
    expect_invalid(&app.post("/auth/refresh").json(json!({})).send().await, "an empty object");
    app.post("/auth/refresh").json(json!({"refresh_token": 5})).send().await.expect_failure(
        400,
        "json_malformed",
        "a number",
    );
    Pair::of(&app.refresh(&pair.refresh).await);
    app.get_user(&pair.access).await.expect_data("the session continues");
}

#[actix_rt::test]
async fn a_session_ends_after_its_idle_and_its_absolute_lifetime() {
    let app = TestApp::with(|settings| {
        settings.session.idle_lifetime = std::time::Duration::from_secs(1_000);
        settings.session.refresh_lifetime = std::time::Duration::from_secs(2_500);
    })
    .await;
    let idle = app.sign_in().await;
    app.pass(Duration::seconds(1_000)).await;
    expect_invalid(&app.refresh(&idle.refresh).await, "idle for its lifetime");

    let mut pair = app.sign_in().await;
    for left in [1_000, 700] {
        app.pass(Duration::seconds(900)).await;
        let reply = app.refresh(&pair.refresh).await;
        assert_eq!(reply.expect_data("in use")["refresh_expires_in"], left);
        pair = Pair::of(&reply);
    }
    app.pass(Duration::seconds(699)).await;
    pair = Pair::of(&app.refresh(&pair.refresh).await);
    app.pass(Duration::seconds(1)).await;
    expect_invalid(&app.refresh(&pair.refresh).await, "its life is over, within the grace too");
    assert!(!app.kinds().await.contains(&"refresh_reused"), "which is no theft");
}

#[actix_rt::test]
async fn a_refresh_works_after_a_restart_and_a_retry_returns_the_lost_tokens() {
    let app = TestApp::new().await;
    let first = app.sign_in().await;
    let second = Pair::of(&app.refresh(&first.refresh).await);
    let restarted = app.another().await;
    assert_eq!(Pair::of(&restarted.refresh(&first.refresh).await).refresh, second.refresh);
    Pair::of(&restarted.refresh(&second.refresh).await);
}

#[actix_rt::test]
async fn a_refresh_returns_the_current_user() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let pair = other.sign_in().await;
    app.users().rename(app.user_id().await, Some("Countess")).await.unwrap();
    let data = other.refresh(&pair.refresh).await.expect_data("refreshed");
    assert_eq!(data["user"]["name"], "Countess");
}

#[actix_rt::test]
async fn logout_revokes_the_tokens_of_this_session_only() {
    let app = TestApp::new().await;
    let (here, elsewhere) = (app.sign_in().await, app.sign_in().await);
    let reply = app.bearer(Method::POST, "/auth/logout", &here.access).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
    assert_eq!(reply.header("set-cookie"), None, "no cookie session, no cookie");
    app.get_user(&here.access).await.expect_refused("token_revoked", "access");
    expect_invalid(&app.refresh(&here.refresh).await, "refresh");
    app.get_user(&elsewhere.access).await.expect_data("the other session");
    app.bearer(Method::POST, "/auth/logout", &here.access).await.expect_refused("token_revoked", "again");
}

#[actix_rt::test]
async fn logout_accepts_a_refresh_token_if_the_access_token_has_expired() {
    let app = TestApp::new().await;
    let pair = app.sign_in().await;
    let newer = Pair::of(&app.refresh(&pair.refresh).await);
    app.pass(Duration::hours(1)).await;
    let logout = |token: String, refresh: String| {
        app.post("/auth/logout")
            .authorization(&format!("Bearer {token}"))
            .json(json!({"refresh_token": refresh}))
            .send()
    };
    let reply = logout(newer.access.clone(), newer.refresh.clone()).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    expect_invalid(&app.refresh(&newer.refresh).await, "dead");
    assert_eq!(logout(newer.access.clone(), newer.refresh).await.status, 204, "once more does no harm");
    expect_invalid(&logout(newer.access, "hpr_x".into()).await, "neither is good");
    app.post("/auth/logout").send().await.expect_refused("token_missing", "nothing at all");
}

#[actix_rt::test]
async fn logout_with_both_tokens_ends_the_sessions_of_both() {
    let app = TestApp::new().await;
    let (one, other) = (app.sign_in().await, app.sign_in().await);
    let reply = app
        .post("/auth/logout")
        .authorization(&format!("Bearer {}", one.access))
        .json(json!({"refresh_token": other.refresh}))
        .send()
        .await;
    assert_eq!(reply.status, 204);
    for pair in [one, other] {
        app.get_user(&pair.access).await.expect_refused("token_revoked", "both");
    }
}

#[actix_rt::test]
async fn logout_all_revokes_every_token_of_the_user_at_every_server() {
    let app = TestApp::new().await;
    app.add_user("bob@example.com", PASSWORD).await;
    let other = app.another().await;
    let (here, there) = (app.sign_in().await, other.sign_in().await);
    let bob = Pair::of(&app.login("bob@example.com", PASSWORD).await);
    for (server, pair) in [(&app, &there), (&other, &here)] {
        server.get_user(&pair.access).await.expect_data("before");
    }
    app.ask(Method::POST, "/auth/logout-all").send().await.expect_refused("token_missing", "without a token");
    assert_eq!(app.bearer(Method::POST, "/auth/logout-all", &here.access).await.status, 204);
    other.server.sync_changes().await.unwrap();
    for server in [&app, &other] {
        for pair in [&here, &there] {
            server.get_user(&pair.access).await.expect_refused("token_revoked", "access");
            expect_invalid(&server.refresh(&pair.refresh).await, "refresh");
        }
        server.get_user(&bob.access).await.expect_data("another user's");
    }
    let restarted = app.another().await;
    restarted.get_user(&here.access).await.expect_refused("token_revoked", "after a restart");
}

#[actix_rt::test]
async fn each_change_that_ends_sessions_ends_their_refresh_tokens_too() {
    for change in ["password", "disable", "delete", "operator's password"] {
        let app = TestApp::new().await;
        let pair = app.sign_in().await;
        let id = app.user_id().await;
        let bearer = format!("Bearer {}", pair.access);
        match change {
            "password" => {
                let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
                let reply = app.post("/user/password").authorization(&bearer).json(body).send().await;
                let fresh = Pair::of(&reply);
                Pair::of(&app.refresh(&fresh.refresh).await);
            }
            "disable" => app.users().disable(id).await.unwrap(),
            "delete" => {
                let reply = app.ask(Method::DELETE, "/user/").authorization(&bearer);
                assert_eq!(reply.json(json!({"password": PASSWORD})).send().await.status, 204);
            }
            _ => app.users().set_password(id, "$hallpass$1$2b$04$x").await.unwrap(),
        }
        expect_invalid(&app.refresh(&pair.refresh).await, change);
    }
}

#[actix_rt::test]
async fn of_a_deleted_users_session_only_the_id_is_kept_until_its_last_token_has_expired() {
    let app = TestApp::new().await;
    let reply = app
        .post("/auth/login")
        .peer("203.0.113.9")
        .header("user-agent", "Firefox of Ada")
        .json(json!({"email": EMAIL, "password": PASSWORD}))
        .send()
        .await;
    let pair = Pair::of(&reply);
    let id = app.user_id().await;
    app.users().delete(id, false).await.unwrap();
    let ended = app.ended_sessions(app.clock.now()).await;
    assert_eq!(ended.len(), 1);
    app.another().await.get_user(&pair.access).await.expect_refused("token_revoked", "after a restart");
    let sessions = app.sessions_of(id).await;
    assert_eq!(sessions, [], "nothing points to the user");
    // An hour longer than its token, in case the clock steps back.
    app.pass(Duration::minutes(119)).await;
    app.server.delete_expired().await.unwrap();
    let long_ago = app.clock.now() - Duration::days(1);
    assert_eq!(app.ended_sessions(long_ago).await.len(), 1);
    app.pass(Duration::minutes(2)).await;
    app.server.delete_expired().await.unwrap();
    let long_ago = app.clock.now() - Duration::days(1);
    assert_eq!(app.ended_sessions(long_ago).await, []);
}

#[actix_rt::test]
async fn a_session_that_can_still_be_refreshed_is_not_deleted() {
    let app = TestApp::new().await;
    let pair = app.sign_in().await;
    app.pass(Duration::days(13)).await;
    app.server.delete_expired().await.unwrap();
    Pair::of(&app.refresh(&pair.refresh).await);
}

#[actix_rt::test]
async fn a_user_lists_sessions_with_device_address_and_times_and_ends_one() {
    let app = TestApp::new().await;
    let sign_in = |peer: &'static str, agent: &'static str| {
        app.post("/auth/login")
            .peer(peer)
            .header("user-agent", agent)
            .json(json!({"email": EMAIL, "password": PASSWORD}))
            .send()
    };
    let phone = Pair::of(&sign_in("2001:db8::7", "Phone/1.0").await);
    app.pass(Duration::minutes(5)).await;
    let laptop = Pair::of(&sign_in("203.0.113.9", "Laptop/2.0").await);
    app.pass(Duration::minutes(5)).await;
    app.get_user(&phone.access).await.expect_data("in use");
    let list = app.bearer(Method::GET, "/user/sessions/", &laptop.access).await.expect_data("list");
    #[expect(clippy::disallowed_methods, reason = "written out, apart from the code that is tested")]
    let rfc = |ago: Duration| (app.clock.now() - ago).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let shown =
        |entry: &Value, names: &[&str]| names.iter().map(|name| entry[*name].clone()).collect::<Vec<_>>();
    let names = ["user_agent", "ip", "current", "created_at", "last_seen_at"];
    assert_eq!(
        shown(&list[0], &names),
        [
            json!("Laptop/2.0"),
            json!("203.0.113.9"),
            json!(true),
            json!(rfc(Duration::minutes(5))),
            json!(rfc(Duration::zero()))
        ]
    );
    assert_eq!(
        shown(&list[1], &names),
        [
            json!("Phone/1.0"),
            json!("2001:db8::7"),
            json!(false),
            json!(rfc(Duration::minutes(10))),
            json!(rfc(Duration::zero()))
        ]
    );
    assert_eq!(list[1]["expires_at"], rfc(Duration::minutes(10) - Duration::days(14)));
    let mut keys: Vec<_> = list[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["created_at", "current", "expires_at", "id", "ip", "last_seen_at", "user_agent"]);

    let path = format!("/user/sessions/{}", list[1]["id"].as_str().unwrap());
    assert_eq!(app.bearer(Method::DELETE, &path, &laptop.access).await.status, 204);
    app.get_user(&phone.access).await.expect_refused("token_revoked", "the phone");
    app.get_user(&laptop.access).await.expect_data("the laptop");
    let again = app.bearer(Method::DELETE, &path, &laptop.access).await;
    again.expect_failure(404, "not_found", "it has ended already");
}

#[actix_rt::test]
async fn another_users_session_and_a_malformed_id_are_not_found() {
    let app = TestApp::new().await;
    app.add_user("bob@example.com", PASSWORD).await;
    let (ada, bob) = (app.sign_in().await, Pair::of(&app.login("bob@example.com", PASSWORD).await));
    let list = app.bearer(Method::GET, "/user/sessions", &ada.access).await.expect_data("list");
    let path = format!("/user/sessions/{}", list[0]["id"].as_str().unwrap());
    let reply = app.bearer(Method::DELETE, &path, &bob.access).await;
    reply.expect_failure(404, "not_found", "another user's");
    app.bearer(Method::DELETE, "/user/sessions/x", &bob.access).await.expect_failure(
        404,
        "not_found",
        "no id",
    );
    app.get_user(&ada.access).await.expect_data("Ada's session continues");
}

#[actix_rt::test]
async fn last_seen_is_written_at_most_once_a_minute_and_never_by_the_request() {
    let app = TestApp::new().await;
    let pair = app.sign_in().await;
    let id = app.user_id().await;
    let began = app.clock.now();
    let written = || async { app.sessions_of(id).await[0].last_seen_at };
    app.pass(Duration::seconds(30)).await;
    app.get_user(&pair.access).await.expect_data("in use");
    assert_eq!(written().await, began, "not by the request");
    app.server.delete_expired().await.unwrap();
    assert_eq!(written().await, began + Duration::seconds(30));
    app.pass(Duration::seconds(59)).await;
    app.get_user(&pair.access).await.expect_data("in use");
    app.server.delete_expired().await.unwrap();
    assert_eq!(written().await, began + Duration::seconds(30), "within the minute");
    app.pass(Duration::seconds(1)).await;
    app.get_user(&pair.access).await.expect_data("in use");
    app.server.delete_expired().await.unwrap();
    assert_eq!(written().await, began + Duration::seconds(90));
}

#[actix_rt::test]
async fn refreshes_of_a_session_are_limited_over_all_addresses() {
    let app = TestApp::with(|settings| settings.throttle.refreshes_per_hour = 3).await;
    let mut pair = app.sign_in().await;
    for _ in 0..3 {
        pair = Pair::of(&app.refresh(&pair.refresh).await);
    }
    let refused = app.refresh(&pair.refresh).await;
    refused.expect_failure(429, "too_many_attempts", "the fourth");
    assert!(refused.header("retry-after").is_some());
    let elsewhere =
        app.post("/auth/refresh").peer("203.0.113.9").json(json!({"refresh_token": pair.refresh}));
    elsewhere.send().await.expect_failure(429, "too_many_attempts", "from elsewhere");
    let other = app.sign_in().await;
    Pair::of(&app.refresh(&other.refresh).await);
    app.pass(Duration::hours(1)).await;
    Pair::of(&app.refresh(&pair.refresh).await);
}

#[actix_rt::test]
async fn only_failed_refreshes_with_issued_tokens_count_for_an_address() {
    let app = TestApp::with(|settings| settings.throttle.refreshes_per_hour = 3).await;
    let honest = app.sign_in().await;
    for _ in 0..5 {
        // Each from another session, all from one address.
        Pair::of(&app.refresh(&app.sign_in().await.refresh).await);
        expect_invalid(&app.refresh("hpr_none-of-ours").await, "junk");
    }
    let ended: Vec<Pair> = [app.sign_in().await, app.sign_in().await, app.sign_in().await].into();
    for pair in &ended {
        app.bearer(Method::POST, "/auth/logout", &pair.access).await;
        expect_invalid(&app.refresh(&pair.refresh).await, "a session that has ended");
    }
    let delayed = app.refresh(&honest.refresh).await;
    delayed.expect_failure(429, "too_many_attempts", "after three failures from there");
    let elsewhere =
        app.post("/auth/refresh").peer("203.0.113.9").json(json!({"refresh_token": honest.refresh}));
    Pair::of(&elsewhere.send().await);
}

#[actix_rt::test]
async fn refresh_tokens_are_never_stored_in_plaintext() {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    let app = TestApp::on(TestDatabase::sqlite(), |_| {}).await;
    let mut issued = vec![app.sign_in().await.refresh];
    for _ in 0..5 {
        let newest = issued.last().unwrap().clone();
        issued.push(Pair::of(&app.refresh(&newest).await).refresh);
    }
    let secret =
        |token: &str| URL_SAFE_NO_PAD.decode(token.strip_prefix("hpr_").unwrap()).unwrap()[16..48].to_vec();
    let found = |token: &str| {
        let files = app.database.files();
        files.iter().any(|file| holds(file, &secret(token)) || holds(file, token.as_bytes()))
    };
    for token in &issued {
        assert!(!found(token), "{token}");
    }
    // The control: one that is planted is found, in whichever spelling.
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let planted = [
        issued[2].clone(),
        hex(secret(&issued[3])),
        STANDARD.encode([b"x", &secret(&issued[4])[..]].concat()),
    ];
    for (token, text) in issued[2..5].iter().zip(planted) {
        app.users().rename(app.user_id().await, Some(&text)).await.unwrap();
        assert!(found(token), "the search finds {text}");
    }
}
