//! The number of a user's sessions, the pages in which they are listed, and the limit of a user's changes.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::test_database::TestDatabase;

impl TestApp {
    async fn list(&self, token: &str, path: &str) -> Reply {
        self.get(path).authorization(&format!("Bearer {token}")).send().await
    }

    async fn rename(&self, token: &str, name: &str) -> Reply {
        let ask = self.ask(Method::PATCH, "/user/").authorization(&format!("Bearer {token}"));
        ask.json(json!({"name": name})).send().await
    }

    async fn count_of(&self, kind: &str) -> usize {
        self.recorded_events().await.iter().filter(|recorded| recorded.event.kind.as_str() == kind).count()
    }
}

/// Returns the path of the next page, from the header `Link`.
fn next(reply: &Reply) -> Option<String> {
    let link = reply.header("link")?;
    let path = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    Some(path.unwrap_or_else(|| panic!("{link}")).to_owned())
}

#[actix_rt::test]
async fn a_further_sign_in_ends_the_users_oldest_session() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |settings| settings.session.per_user = 3).await;
        let mut tokens = vec![];
        for _ in 0..5 {
            app.pass(chrono::Duration::seconds(1)).await;
            tokens.push(app.token().await);
        }
        for (number, token) in tokens.iter().enumerate() {
            let user = app.get_user(token).await;
            match number {
                0 | 1 => user.expect_refused("token_revoked", "one of the oldest"),
                _ => drop(user.expect_data("one of the newest three")),
            }
        }
        let listed = app.list(&tokens[4], "/user/sessions").await.expect_data("list");
        assert_eq!(listed.as_array().unwrap().len(), 3);
        assert_eq!(app.count_of("session_ended").await, 2);
    }
}

#[actix_rt::test]
async fn sessions_are_listed_in_pages_that_link_to_the_next() {
    let app = TestApp::new().await;
    let mut token = String::new();
    for number in 0..5 {
        // Two of them begin in the same millisecond.
        if number != 3 {
            app.pass(chrono::Duration::seconds(1)).await;
        }
        token = app.token().await;
    }
    let whole = app.list(&token, "/user/sessions").await;
    assert_eq!(next(&whole), None, "the default is one page");
    let whole = whole.expect_data("all");
    let (mut path, mut pages, mut found) = (Some("/user/sessions?limit=2".to_owned()), vec![], vec![]);
    while let Some(asked) = path {
        let reply = app.list(&token, &asked).await;
        path = next(&reply);
        let page = reply.expect_data(&asked);
        pages.push(page.as_array().unwrap().len());
        found.extend(page.as_array().unwrap().clone());
    }
    assert_eq!(pages, [2, 2, 1]);
    assert_eq!(Value::from(found), whole);
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=1.x", "cursor=9999999999999999999.x"] {
        let reply = app.list(&token, &format!("/user/sessions?{bad}")).await;
        reply.expect_failure(400, "request_invalid", bad);
    }
}

#[actix_rt::test]
async fn a_users_changes_are_limited_and_those_that_change_nothing_are_no_events() {
    let app = TestApp::with(|settings| settings.throttle.writes_per_hour = 3).await;
    let token = app.token().await;
    for name in ["Ada", "Ada", "Countess"] {
        app.rename(&token, name).await.expect_data(name);
    }
    assert_eq!(app.count_of("user_renamed").await, 1, "the name was Ada already");
    let reply = app.rename(&token, "Augusta").await;
    reply.expect_failure(429, "too_many_attempts", "the fourth in an hour");
    assert!(reply.header("retry-after").is_some());
    let path = format!("/user/sessions/{}", uuid::Uuid::nil());
    let ended = app.ask(Method::DELETE, &path).authorization(&format!("Bearer {token}")).send().await;
    ended.expect_failure(429, "too_many_attempts", "another change");
    app.get_user(&token).await.expect_data("reading is not limited");

    app.add_user("grace@example.com", PASSWORD).await;
    let other = app.login("grace@example.com", PASSWORD).await.expect_data("another user");
    app.rename(other["token"].as_str().unwrap(), "Grace").await.expect_data("another user");
    app.pass(chrono::Duration::hours(1)).await;
    let token = app.login(EMAIL, PASSWORD).await.expect_data("an hour later");
    app.rename(token["token"].as_str().unwrap(), "Augusta").await.expect_data("an hour later");
}
