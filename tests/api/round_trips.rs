//! How often a request waits for PostgreSQL: counted by a proxy that reads the protocol.

use serde_json::json;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::postgres_proxy::Proxy;
use crate::test_database::{TestDatabase, postgres_answers};

#[actix_rt::test]
async fn a_refresh_asks_postgresql_twice_and_a_sign_in_four_times() {
    if !postgres_answers() {
        return;
    }
    let proxy = Proxy::start();
    let database = TestDatabase::postgres().through(proxy.port);
    let app = TestApp::on(database, |_| {}).await;
    let refresh = async |tokens: &Reply| {
        let token = &tokens.json()["data"]["refresh_token"];
        app.post("/auth/refresh").json(json!({"refresh_token": token})).send().await
    };
    let mut asked = vec![];
    for _ in 0..4 {
        proxy.take();
        let wrong = app.login(EMAIL, "wrong horse battery").await;
        asked.push(("a failed sign-in", 3, proxy.take()));
        wrong.expect_refused("credentials_invalid", "a wrong password");
        let signed_in = app.login(EMAIL, PASSWORD).await;
        asked.push(("a sign-in", 4, proxy.take()));
        signed_in.expect_data("a sign-in");
        let refreshed = refresh(&signed_in).await;
        asked.push(("a refresh", 2, proxy.take()));
        refreshed.expect_data("a refresh");
        let token = refreshed.json()["data"]["token"].as_str().unwrap().to_owned();
        app.get_user(&token).await.expect_data("the user is read");
        proxy.take();
        app.get_user(&token).await.expect_data("a known token");
        asked.push(("a known token", 0, proxy.take()));
    }
    let all = format!("{asked:?}");
    for (what, most, round_trips) in asked {
        assert!(round_trips <= most && (round_trips > 0 || most == 0), "{what} took {round_trips}: {all}");
    }
}
