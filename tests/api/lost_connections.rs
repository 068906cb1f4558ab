//! The connection to PostgreSQL is lost at each statement of a request in turn, before the database got it or after it
//! ran it. Whether a transaction took place is found out, not guessed: the client sees nothing of the loss.

use std::cell::Cell;

use actix_web::http::Method;
use serde_json::json;
use uuid::Uuid;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::postgres_proxy::{Loss, Proxy};
use crate::test_database::{TestDatabase, postgres_answers};

async fn register(app: &TestApp, email: &str) -> Reply {
    app.post("/auth/register").json(json!({"email": email, "password": PASSWORD})).send().await
}

async fn refresh(app: &TestApp, token: &str) -> Reply {
    app.post("/auth/refresh").json(json!({"refresh_token": token})).send().await
}

fn token(reply: &Reply, name: &str) -> String {
    reply.json()["data"][name].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

/// Loses the connection at one round trip of a request.
struct Lose {
    proxy: Proxy,
    at: Cell<usize>,
    loss: Cell<Loss>,
    is_over: Cell<bool>,
}

impl Lose {
    /// Runs the request, and loses its connection once.
    async fn in_request(&self, request: impl Future<Output = Reply>) -> Reply {
        self.proxy.lose(self.at.get(), self.loss.get());
        let reply = request.await;
        self.is_over.set(self.proxy.lose_nothing());
        reply
    }
}

/// Runs `act` again and again, and loses the connection at the first, second, … round trip, until it has no more.
async fn at_each_round_trip(act: impl AsyncFn(&TestApp, &Lose)) {
    if !postgres_answers() {
        return;
    }
    let proxy = Proxy::start();
    let database = TestDatabase::postgres().through(proxy.port);
    let app = TestApp::on(database, |settings| settings.throttle.on = false).await;
    let lose = Lose { proxy, at: Cell::new(0), loss: Cell::new(Loss::Statement), is_over: Cell::new(false) };
    for loss in [Loss::Statement, Loss::Answer] {
        lose.loss.set(loss);
        for number in 1.. {
            // Shown where the test fails.
            eprintln!("{loss:?} {number}");
            lose.at.set(number);
            act(&app, &lose).await;
            if lose.is_over.get() {
                assert!(number > 1, "no connection was lost");
                break;
            }
        }
    }
}

#[actix_rt::test]
async fn a_registration_takes_place_once() {
    at_each_round_trip(async |app, lose| {
        let email = format!("{}@example.com", Uuid::new_v4().simple());
        let registered = lose.in_request(register(app, &email)).await;
        assert_eq!(registered.status, 201, "{}", registered.text());
        app.login(&email, PASSWORD).await.expect_data("the account is there");
        register(app, &email).await.expect_failure(409, "email_taken", "and only once");
    })
    .await;
}

#[actix_rt::test]
async fn a_sign_in_begins_a_session() {
    at_each_round_trip(async |app, lose| {
        let signed_in = lose.in_request(app.login(EMAIL, PASSWORD)).await;
        app.get_user(&token(&signed_in, "token")).await.expect_data("its token is accepted");
        refresh(app, &token(&signed_in, "refresh_token")).await.expect_data("and can be refreshed");
    })
    .await;
}

#[actix_rt::test]
async fn a_refresh_gives_the_token_that_is_valid_now() {
    at_each_round_trip(async |app, lose| {
        let first = token(&app.login(EMAIL, PASSWORD).await, "refresh_token");
        let second = token(&lose.in_request(refresh(app, &first)).await, "refresh_token");
        assert_eq!(
            token(&refresh(app, &first).await, "refresh_token"),
            second,
            "repeated within the grace period"
        );
        refresh(app, &second).await.expect_data("the token is the valid one");
    })
    .await;
}

#[actix_rt::test]
async fn a_repeated_refresh_has_the_same_result_however_often_it_is_not_answered() {
    at_each_round_trip(async |app, lose| {
        let first = token(&app.login(EMAIL, PASSWORD).await, "refresh_token");
        let second = token(&refresh(app, &first).await, "refresh_token");
        let repeated = lose.in_request(refresh(app, &first)).await;
        // It writes nothing by which its outcome could be found out, so it may fail. Then nothing is guessed.
        if repeated.status == 503 {
            repeated.expect_failure(503, "unavailable", "the commit was not answered");
        } else {
            assert_eq!(token(&repeated, "refresh_token"), second);
        }
        assert_eq!(token(&refresh(app, &first).await, "refresh_token"), second);
        refresh(app, &second).await.expect_data("the token is the valid one");
    })
    .await;
}

#[actix_rt::test]
async fn a_sign_out_ends_the_session() {
    at_each_round_trip(async |app, lose| {
        let signed_in = app.login(EMAIL, PASSWORD).await;
        let bearer = format!("Bearer {}", token(&signed_in, "token"));
        let sign_out = app.post("/auth/logout").authorization(&bearer).json(json!({})).send();
        let done = lose.in_request(sign_out).await;
        assert_eq!(done.status, 204, "{}", done.text());
        app.get_user(&token(&signed_in, "token"))
            .await
            .expect_refused("token_revoked", "the session has ended");
        let refreshed = refresh(app, &token(&signed_in, "refresh_token")).await;
        refreshed.expect_failure(401, "refresh_invalid", "for good");
    })
    .await;
}

#[actix_rt::test]
async fn a_new_name_is_stored() {
    at_each_round_trip(async |app, lose| {
        let bearer = format!("Bearer {}", app.token().await);
        let name = Uuid::new_v4().to_string();
        let rename =
            app.ask(Method::PATCH, "/user/").authorization(&bearer).json(json!({ "name": name })).send();
        assert_eq!(lose.in_request(rename).await.expect_data("renamed")["name"], *name);
        let read = app.get("/user/").authorization(&bearer).send().await;
        assert_eq!(read.expect_data("read")["name"], *name);
    })
    .await;
}
