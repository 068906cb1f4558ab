//! Delays of sign-ins and registrations, with a clock that is moved.

use std::pin::pin;

use actix_web::http::Method;
use chrono::Duration;
use futures_util::future::{Either, select};
use hallpass::server::error::Error;
use serde_json::json;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::test_database::TestDatabase;

const STRANGER: &str = "198.51.100.66";
const HOME: &str = "192.0.2.1";

impl TestApp {
    async fn login_from(&self, address: &str, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password});
        self.post("/auth/login").peer(address).json(body).send().await
    }

    /// Fails `times` times to sign in, each time let through.
    async fn fail(&self, times: u32, address: &str, email: &str) {
        for time in 0..times {
            let reply = self.login_from(address, email, "wrong horse battery").await;
            reply.expect_refused("credentials_invalid", &format!("failure {time} from {address}"));
        }
    }
}

impl Reply {
    #[track_caller]
    fn expect_delayed(&self, secs: u64, what: &str) {
        self.expect_failure(429, "too_many_attempts", what);
        assert_eq!(self.header("retry-after"), Some(secs.to_string().as_str()), "{what}");
    }
}

#[actix_rt::test]
async fn failures_delay_the_next_try_progressively_and_lock_nobody_out() {
    let app = TestApp::new().await;
    app.fail(5, STRANGER, EMAIL).await;
    for delay in [30, 120, 480, 900, 900] {
        app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_delayed(delay, "even the right password");
        app.clock.advance(Duration::seconds(delay as i64 - 1));
        app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_delayed(1, "a second too early");
        app.clock.advance(Duration::seconds(1));
        app.fail(1, STRANGER, EMAIL).await;
    }
    app.clock.advance(Duration::seconds(900));
    app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_data("after the longest delay");
}

#[actix_rt::test]
async fn the_owner_gets_in_from_a_known_address_whatever_strangers_do() {
    let app = TestApp::new().await;
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the record of success");
    app.fail(5, STRANGER, EMAIL).await;
    app.login_from("203.0.113.9", EMAIL, PASSWORD).await.expect_delayed(30, "another stranger");
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the owner");
    // A known address has an allowance of its own, and an end to it.
    app.fail(10, HOME, EMAIL).await;
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_delayed(1, "too many from home");
}

#[actix_rt::test]
async fn a_record_of_success_is_of_one_account() {
    let app = TestApp::new().await;
    app.add_user("grace@example.com", PASSWORD).await;
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the record of success");
    app.fail(5, HOME, "grace@example.com").await;
    app.login_from(HOME, "grace@example.com", PASSWORD).await.expect_delayed(30, "another account");
}

#[actix_rt::test]
async fn an_account_that_does_not_exist_is_delayed_as_one_that_does() {
    let app = TestApp::new().await;
    let mut stories = Vec::new();
    for (address, email) in [("198.51.100.1", EMAIL), ("198.51.100.2", "nobody@example.com")] {
        let mut story = Vec::new();
        for _ in 0..7 {
            let reply = app.login_from(address, email, "wrong horse battery").await;
            story.push((reply.status.as_u16(), reply.header("retry-after").map(str::to_owned), reply.text()));
        }
        stories.push(story);
    }
    assert_eq!(stories[0], stories[1]);
    assert_eq!(stories[0][6].0, 429);
}

#[actix_rt::test]
async fn one_address_is_delayed_over_all_accounts_and_others_are_not() {
    let app = TestApp::with(|settings| settings.throttle.address_free = 8).await;
    for number in 0..8 {
        app.fail(1, STRANGER, &format!("user{number}@example.com")).await;
    }
    app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_delayed(1, "any account");
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("another address");
}

#[actix_rt::test]
async fn success_gives_its_try_back() {
    let app = TestApp::with(|settings| settings.throttle.address_free = 2).await;
    for number in 0..6 {
        app.add_user(&format!("user{number}@example.com"), PASSWORD).await;
        app.login_from(HOME, &format!("user{number}@example.com"), PASSWORD)
            .await
            .expect_data("an office behind one address");
    }
    app.fail(2, HOME, "somebody@example.com").await;
    app.login_from(HOME, "somebody@example.com", PASSWORD).await.expect_delayed(1, "failures stay");
}

#[actix_rt::test]
async fn a_strangers_forwarding_header_is_ignored_and_a_trusted_proxys_is_not() {
    let app =
        TestApp::with(|settings| settings.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let login = |peer: &'static str, forwarded: &'static str| {
        let body = json!({"email": EMAIL, "password": "wrong horse battery"});
        app.post("/auth/login").peer(peer).header("x-forwarded-for", forwarded).json(body).send()
    };
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the record of success");
    app.fail(5, STRANGER, EMAIL).await;
    login(STRANGER, HOME).await.expect_delayed(30, "who only says to come from home");
    login("10.0.0.1", HOME).await.expect_refused("credentials_invalid", "home, as the proxy says");
    login("10.0.0.1", "192.0.2.1, 203.0.113.5")
        .await
        .expect_delayed(30, "home, as a stranger told the proxy");
}

#[actix_rt::test]
async fn a_subscribers_ipv6_addresses_are_one() {
    let app = TestApp::with(|settings| settings.throttle.address_free = 3).await;
    for number in 0..3 {
        app.fail(1, &format!("2001:db8:1:2::{number}"), &format!("user{number}@example.com")).await;
    }
    app.login_from("2001:db8:1:2:ffff::9", EMAIL, PASSWORD).await.expect_delayed(1, "the same network");
    app.login_from("2001:db8:1:3::9", EMAIL, PASSWORD).await.expect_data("the next one");
}

#[actix_rt::test]
async fn tallies_are_shared_by_servers_on_one_database_and_survive_a_restart() {
    let app = TestApp::new().await;
    let other = app.another().await;
    app.fail(3, STRANGER, EMAIL).await;
    other.fail(2, STRANGER, EMAIL).await;
    app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_delayed(30, "the first server");
    let restarted = app.another().await;
    restarted.login_from(STRANGER, EMAIL, PASSWORD).await.expect_delayed(30, "after a restart");
    other
        .login_from(HOME, "nobody@example.com", PASSWORD)
        .await
        .expect_refused("credentials_invalid", "others");
}

#[actix_rt::test]
async fn a_try_whose_client_went_away_stays_counted() {
    let app = TestApp::new().await;
    let throttle = app.server.limiter();
    for _ in 0..5 {
        drop(throttle.begin_attempt(EMAIL, STRANGER.parse().unwrap(), app.clock.now()).await.unwrap());
    }
    app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_delayed(30, "five that nobody waited for");
}

#[actix_rt::test]
async fn at_most_five_tries_on_an_account_are_under_way_at_once() {
    let app = TestApp::with(|settings| settings.throttle.account_free = 100).await;
    let admit = |email: &'static str| {
        app.server.limiter().begin_attempt(email, STRANGER.parse().unwrap(), app.clock.now())
    };
    let mut under_way = Vec::new();
    for _ in 0..5 {
        under_way.push(admit(EMAIL).await.unwrap());
    }
    assert!(matches!(admit(EMAIL).await, Err(Error::TooManyAttempts { retry_after_secs: 1 })));
    assert!(admit("grace@example.com").await.is_ok());
    under_way.pop();
    assert!(admit(EMAIL).await.is_ok());
}

#[actix_rt::test]
async fn one_address_holds_at_most_a_quarter_of_the_hashing_queue() {
    let app = TestApp::with(|settings| settings.password.queue = 12).await;
    let emails = ["a@x.example", "b@x.example", "c@x.example", "d@x.example"];
    let admit = |email: &'static str, address: &str| {
        app.server.limiter().begin_attempt(email, address.parse().unwrap(), app.clock.now())
    };
    let mut under_way = Vec::new();
    for email in &emails[..3] {
        under_way.push(admit(email, STRANGER).await.unwrap());
    }
    assert!(matches!(admit(emails[3], STRANGER).await, Err(Error::TooManyAttempts { retry_after_secs: 1 })));
    assert!(admit(emails[3], HOME).await.is_ok(), "another address");
    let judge = |address| {
        app.post("/auth/password-strength").peer(address).json(json!({"password": PASSWORD})).send()
    };
    judge(STRANGER).await.expect_failure(429, "too_many_attempts", "a password to judge is one more");
    judge(HOME).await.expect_data("from another address");
}

#[actix_rt::test]
async fn a_wrong_password_in_a_users_own_request_counts_as_a_failed_sign_in() {
    let app = TestApp::with(|settings| settings.throttle.known_free = 3).await;
    let data = app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("login");
    let bearer = format!("Bearer {}", data["token"].as_str().unwrap());
    let wrong = json!({"password": "wrong horse battery"});
    for _ in 0..3 {
        let ask = app.ask(Method::DELETE, "/user/").peer(HOME).authorization(&bearer);
        ask.json(wrong.clone()).send().await.expect_failure(403, "password_wrong", "delete");
    }
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let ask = app.post("/user/password").peer(HOME).authorization(&bearer).json(body);
    ask.send().await.expect_delayed(1, "another request");
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_delayed(1, "a login");
    app.get_user(data["token"].as_str().unwrap()).await.expect_data("a token already issued");
}

#[actix_rt::test]
async fn registrations_have_a_limit_of_their_own_for_each_address() {
    let app = TestApp::with(|settings| settings.throttle.registrations_per_hour = 2).await;
    let register = |number: u32, address: &'static str| {
        let body = json!({"email": format!("user{number}@example.com"), "password": PASSWORD});
        app.post("/auth/register").peer(address).json(body).send()
    };
    for number in 0..2 {
        assert_eq!(register(number, STRANGER).await.status, 201);
    }
    register(2, STRANGER).await.expect_delayed(900, "the third");
    assert_eq!(register(2, HOME).await.status, 201, "another address");
    app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_data("a login is another matter");
    app.clock.advance(Duration::hours(1));
    assert_eq!(register(3, STRANGER).await.status, 201, "an hour later");
}

#[actix_rt::test]
async fn a_delayed_try_writes_nothing_and_what_was_typed_is_nowhere_in_the_database() {
    let app = TestApp::on(TestDatabase::sqlite(), |_| {}).await;
    let typed = "my-password-in-the-wrong-field@example.com";
    app.fail(5, STRANGER, typed).await;
    let files = || app.database.files();
    let before = files();
    app.login_from(STRANGER, typed, PASSWORD).await.expect_delayed(30, "delayed");
    assert!(before == files(), "the database was written to");
    for file in &before {
        assert!(memchr::memmem::find(file, typed.as_bytes()).is_none());
    }
    assert!(before.iter().any(|file| memchr::memmem::find(file, EMAIL.as_bytes()).is_some()), "the control");
}

#[actix_rt::test]
async fn the_setting_turns_it_off() {
    let app = TestApp::with(|settings| settings.throttle.on = false).await;
    app.fail(40, STRANGER, EMAIL).await;
    app.login_from(STRANGER, EMAIL, PASSWORD).await.expect_data("not delayed");
}

#[actix_rt::test]
async fn a_clock_that_was_ahead_delays_nobody_longer_than_told() {
    let app = TestApp::new().await;
    app.clock.advance(Duration::days(1));
    app.fail(5, "192.0.2.1", EMAIL).await;
    app.clock.advance(Duration::days(-1));
    let delayed = app.login_from("192.0.2.1", EMAIL, PASSWORD).await;
    delayed.expect_delayed(30, "by a clock that has stepped back");
    app.clock.advance(Duration::seconds(30));
    app.login_from("192.0.2.1", EMAIL, PASSWORD).await.expect_data("after the wait that was told");
}

/// The attempt of another request, which is still in progress.
async fn begin(app: &TestApp, email: &str, address: &str) -> Result<impl Sized + use<>, Error> {
    app.server.limiter().begin_attempt(email, address.parse().unwrap(), app.clock.now()).await
}

#[actix_rt::test]
async fn strangers_who_hold_every_place_of_an_account_do_not_keep_its_owner_out() {
    let mut app = TestApp::with(|settings| settings.throttle.account_free = 100).await;
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the record of success");
    // A server that has just started knows nobody by heart.
    app.restart().await;
    let mut held = Vec::new();
    for number in 1..=5 {
        held.push(begin(&app, EMAIL, &format!("198.51.100.{number}")).await.unwrap());
    }
    assert!(begin(&app, EMAIL, STRANGER).await.is_err(), "the strangers' places are taken");
    for round in 1..=3 {
        app.login_from(HOME, EMAIL, PASSWORD).await.expect_data(&format!("the owner, {round}"));
    }
    // The owner's own places have an end too.
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(begin(&app, EMAIL, HOME).await.unwrap());
    }
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_delayed(1, "six at once");
    drop(own);
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("one at a time");
}

#[actix_rt::test]
async fn an_address_that_becomes_known_has_its_own_places_at_once() {
    let app = TestApp::with(|settings| settings.throttle.account_free = 100).await;
    let held: Vec<_> = futures_util::future::join_all((1..=5).map(async |number| {
        let address = format!("198.51.100.{number}");
        app.server.limiter().begin_attempt(EMAIL, address.parse().unwrap(), app.clock.now()).await.unwrap()
    }))
    .await;
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_delayed(1, "a stranger to the account so far");
    drop(held);
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the first success");
    let _held = [
        begin(&app, EMAIL, "198.51.100.7").await.unwrap(),
        begin(&app, EMAIL, "198.51.100.8").await.unwrap(),
    ];
    let _more =
        [begin(&app, EMAIL, "203.0.113.7").await.unwrap(), begin(&app, EMAIL, "203.0.113.8").await.unwrap()];
    let _last = begin(&app, EMAIL, "203.0.113.9").await.unwrap();
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("known from now on");
}

#[actix_rt::test]
async fn an_attempt_that_was_shed_is_nobodys_mistake() {
    let app = TestApp::new().await;
    app.login_from(HOME, EMAIL, PASSWORD).await.expect_data("the record of success");
    // A server on the same database whose queue is always full.
    let busy = app.another_with(|settings| settings.password.queue = 0).await;
    for number in 0..40 {
        for address in [HOME, STRANGER] {
            let reply = busy.login_from(address, EMAIL, PASSWORD).await;
            reply.expect_failure(503, "overloaded", &format!("try {number} from {address}"));
        }
    }
    for address in [HOME, STRANGER] {
        app.login_from(address, EMAIL, PASSWORD).await.expect_data("no delay");
    }
}

#[actix_rt::test]
async fn registrations_and_changes_of_passwords_hold_places_of_their_address() {
    let app = TestApp::with(|settings| settings.password.queue = 12).await;
    let register = async |address: &str, email: &str| {
        let body = json!({"email": email, "password": PASSWORD});
        app.post("/auth/register").peer(address).json(body).send().await
    };
    let held = [
        begin(&app, "a@x.example", STRANGER).await.unwrap(),
        begin(&app, "b@x.example", STRANGER).await.unwrap(),
        begin(&app, "c@x.example", STRANGER).await.unwrap(),
    ];
    register(STRANGER, "bob@x.example").await.expect_delayed(1, "the address's places are taken");
    assert_eq!(register(HOME, "bob@x.example").await.status, 201, "another address");
    drop(held);
    assert_eq!(register(STRANGER, "carol@x.example").await.status, 201, "the places are free again");
}

#[actix_rt::test]
async fn an_attempt_that_would_be_shed_is_refused_before_the_database_is_to_write() {
    let app = TestApp::with(|settings| settings.password.queue = 0).await;
    // So that a write would fail.
    app.database.execute("drop table attempts").await;
    for path in ["/auth/login", "/auth/register", "/auth/password-strength"] {
        let body = json!({"email": "bob@x.example", "password": PASSWORD});
        let reply = app.post(path).peer(STRANGER).json(body).send().await;
        reply.expect_failure(503, "overloaded", path);
    }
}

#[actix_rt::test]
async fn a_refusal_is_held_back_and_holds_up_nobody_else() {
    let app = TestApp::with(|settings| {
        settings.throttle.registrations_per_hour = 1;
        settings.throttle.refusal_delay = std::time::Duration::from_secs(3_600);
    })
    .await;
    let register = async |address: &str, email: &str| {
        let body = json!({"email": email, "password": PASSWORD});
        app.post("/auth/register").peer(address).json(body).send().await
    };
    assert_eq!(register(STRANGER, "bob@x.example").await.status, 201);
    let refused = pin!(register(STRANGER, "carol@x.example"));
    match select(refused, pin!(register(HOME, "dave@x.example"))).await {
        Either::Left((reply, _)) => panic!("the refusal was sent at once: {}", reply.status),
        Either::Right((reply, _)) => assert_eq!(reply.status, 201, "from another address"),
    }
}

#[actix_rt::test]
async fn registrations_and_estimates_that_were_shed_are_not_counted() {
    let app = TestApp::with(|settings| {
        settings.throttle.registrations_per_hour = 2;
        settings.throttle.estimates_per_hour = 2;
    })
    .await;
    let body = |number| json!({"email": format!("user{number}@x.example"), "password": PASSWORD});
    // A server on the same database whose queue is always full.
    let busy = app.another_with(|settings| {
        settings.password.queue = 0;
        settings.throttle.registrations_per_hour = 2;
        settings.throttle.estimates_per_hour = 2;
    });
    let busy = busy.await;
    for number in 0..5 {
        for path in ["/auth/register", "/auth/password-strength"] {
            let reply = busy.post(path).peer(STRANGER).json(body(number)).send().await;
            reply.expect_failure(503, "overloaded", &format!("{path} {number}"));
        }
    }
    let reply = app.post("/auth/register").peer(STRANGER).json(body(0)).send().await;
    assert_eq!(reply.status, 201, "the first that counts");
    app.post("/auth/password-strength").peer(STRANGER).json(body(0)).send().await.expect_data("no delay");
}

#[actix_rt::test]
async fn estimates_of_passwords_are_counted_by_address() {
    let app = TestApp::with(|settings| settings.throttle.estimates_per_hour = 3).await;
    let judge = async |address: &str| {
        app.post("/auth/password-strength").peer(address).json(json!({"password": "1"})).send().await
    };
    for number in 0..3 {
        judge(STRANGER).await.expect_data(&format!("estimate {number}"));
    }
    judge(STRANGER).await.expect_failure(429, "too_many_attempts", "the fourth in an hour");
    judge(HOME).await.expect_data("another address");
    app.clock.advance(Duration::hours(1));
    judge(STRANGER).await.expect_data("an hour later");
}

#[actix_rt::test]
async fn the_networks_of_an_ipv6_site_share_a_limit_beyond_their_own() {
    let app = TestApp::with(|settings| settings.throttle.address_free = 2).await;
    let fail = async |address: String, account: u32| {
        app.login_from(&address, &format!("nobody{account}@example.com"), "wrong horse battery").await
    };
    // Eight times the failures of one network, each from a network of its own at an account of its own.
    for number in 0..16 {
        fail(format!("2001:db8:1:{number}::1"), number)
            .await
            .expect_refused("credentials_invalid", "within the limit");
    }
    fail("2001:db8:1:ff::1".into(), 99).await.expect_delayed(1, "one more of the site");
    fail("2001:db8:2:1::1".into(), 98).await.expect_refused("credentials_invalid", "another site");
    app.clock.advance(Duration::seconds(1));
    app.login_from("2001:db8:1:77::1", EMAIL, PASSWORD).await.expect_data("a success takes itself back");
}
