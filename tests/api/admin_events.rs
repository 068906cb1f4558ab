//! `/admin/events` and `/admin/stats`.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::admin::ADMIN;
use crate::app::{EMAIL, PASSWORD, TestApp};

#[expect(clippy::disallowed_methods, reason = "the server's own function is private")]
fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl TestApp {
    async fn events(&self, token: &str, query: &str) -> (Vec<Value>, Option<String>) {
        let data = self.act(token, "GET", &format!("/admin/events?{query}"), None).await.expect_data(query);
        (data["events"].as_array().unwrap().clone(), data["next_cursor"].as_str().map(str::to_owned))
    }

    async fn kinds_of(&self, token: &str, query: &str) -> Vec<String> {
        let (events, _) = self.events(token, query).await;
        events.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }
}

#[actix_rt::test]
async fn events_are_listed_newest_first_with_all_that_is_known() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let id = app.user_id().await;
    let root = app.users().find(ADMIN).await.unwrap().unwrap().id;
    app.act(&admin, "PATCH", &format!("/admin/users/{id}"), Some(json!({"name": "Augusta"}))).await;
    let (events, next) = app.events(&admin, "").await;
    assert_eq!(next, None);
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["user_renamed", "signed_in", "user_roles_changed", "user_added", "user_added"]);
    let renamed = &events[0];
    assert_eq!(renamed["details"], json!({"from": "Ada", "to": "Augusta"}));
    assert_eq!(
        (&renamed["by"], &renamed["user_id"], &renamed["email"]),
        (&json!(root), &json!(id), &json!(EMAIL))
    );
    assert!(renamed["request_id"].is_string());
    assert_eq!((&events[1]["by"], &events[1]["details"]), (&Value::Null, &json!({})));
}

#[actix_rt::test]
async fn filters_of_events_combine_and_an_unknown_kind_is_shown_as_it_stands() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let id = app.user_id().await;
    app.clock.advance(Duration::minutes(1));
    let then = app.clock.now();
    app.login(EMAIL, "wrong horse battery").await;
    app.clock.advance(Duration::minutes(1));
    app.token().await;
    let at = app.clock.now().timestamp_millis();
    app.database.execute(&format!("insert into events (at, kind) values ({at}, 'passkey_added')")).await;
    let (since, until) = (rfc3339(then), rfc3339(then + Duration::seconds(1)));
    for (query, kinds) in [
        (format!("since={since}"), vec!["passkey_added", "signed_in", "sign_in_failed"]),
        (format!("since={since}&until={until}"), vec!["sign_in_failed"]),
        (format!("until={since}&kind=signed_in"), vec!["signed_in"]),
        (format!("user={id}&kind=sign_in_failed"), vec!["sign_in_failed"]),
        (format!("user={id}&until={until}"), vec!["sign_in_failed", "user_added"]),
        ("kind=passkey_added".to_owned(), vec!["passkey_added"]),
        ("kind=never_heard_of".to_owned(), vec![]),
        ("since=2200-01-01T00:00:00Z".to_owned(), vec![]),
        ("until=1971-01-01T00:00:00Z".to_owned(), vec![]),
        (format!("user={}", uuid::Uuid::nil()), vec![]),
    ] {
        assert_eq!(app.kinds_of(&admin, &query).await, kinds, "{query}");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (page, next) = app.events(&admin, &format!("limit=2&cursor={cursor}")).await;
        // What happens between two pages is newer than both.
        app.login(ADMIN, "wrong horse battery").await;
        seen.extend(page.iter().map(|event| event["id"].as_i64().unwrap()));
        let Some(next) = next else { break };
        cursor = next;
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
}

#[actix_rt::test]
async fn a_parameter_of_events_or_statistics_that_is_not_acceptable_is_named() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (query, name) in [
        ("events?user=ada", "user"),
        ("events?kind=Signed%20in", "kind"),
        ("events?since=yesterday", "since"),
        ("events?until=2026-01-31", "until"),
        ("events?until=1969-12-31T00:00:00Z", "until"),
        ("events?limit=1000", "limit"),
        ("events?cursor=0", "cursor"),
        ("events?cursor=99999999999999999999", "cursor"),
        ("stats?step=week", "step"),
        ("stats?since=x", "since"),
        ("stats?until=x", "until"),
        ("stats?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("stats?since=2000-01-01T00:00:00Z&step=day", "since"),
        ("stats?since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z&step=hour", "since"),
    ] {
        let reply = app.act(&admin, "GET", &format!("/admin/{query}"), None).await;
        reply.expect_failure(400, "request_invalid", query);
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{name} is not acceptable: ")), "{query}: {message}");
    }
}

#[actix_rt::test]
async fn statistics_count_each_step_also_the_empty_ones_and_outlive_the_events() {
    let app = TestApp::with(|settings| settings.throttle.on = false).await;
    let admin = app.admin().await;
    // The beginning of an hour of a day that has more than two after it.
    let of_day = app.clock.now().timestamp() % 86_400;
    app.clock.advance(Duration::seconds(86_400 + 7_200 - of_day));
    app.server.sync_changes().await.unwrap();
    let start = app.clock.now();
    for _ in 0..3 {
        app.login(EMAIL, "wrong horse battery").await;
    }
    app.pass(Duration::hours(2) - Duration::seconds(1)).await;
    let admin = {
        drop(admin);
        let data = app.login(ADMIN, PASSWORD).await.expect_data("sign-in");
        data["token"].as_str().unwrap().to_owned()
    };
    app.token().await;
    app.pass(Duration::seconds(1)).await;
    app.token().await;
    let stats = async |query: String| {
        app.act(&admin, "GET", &format!("/admin/stats?{query}"), None).await.expect_data(&query)
    };
    let counts = |series: &Value| -> Vec<i64> {
        series.as_array().unwrap().iter().map(|point| point["count"].as_i64().unwrap()).collect()
    };
    let (since, until) = (rfc3339(start), rfc3339(start + Duration::hours(3)));
    let by_hour = stats(format!("since={since}&until={until}&step=hour")).await;
    assert_eq!(counts(&by_hour["series"]["sign_ins_failed"]), [3, 0, 0]);
    assert_eq!(counts(&by_hour["series"]["sign_ins"]), [0, 2, 1]);
    assert_eq!(counts(&by_hour["series"]["refreshes"]), [0, 0, 0]);
    assert_eq!(by_hour["series"]["sign_ins"][1]["at"], rfc3339(start + Duration::hours(1)));
    assert_eq!(by_hour["totals"]["users"], 2);
    assert_eq!(by_hour["totals"]["users_disabled"], 0);
    assert_eq!(counts(&stats(String::new()).await["series"]["sign_ins"]).len(), 24, "unless told otherwise");

    // As the events are deleted and the shards of past hours become one, the numbers stay.
    app.pass(Duration::minutes(59)).await;
    app.server.store().merge_event_counts(start + Duration::days(10)).await.unwrap();
    app.database.execute("delete from events").await;
    let by_day = stats(format!("since={since}&until={until}&step=day")).await;
    assert_eq!(counts(&by_day["series"]["sign_ins_failed"]), [3]);
    assert_eq!(counts(&by_day["series"]["sign_ins"]), [3]);
    app.server.store().merge_event_counts(start + Duration::days(402)).await.unwrap();
    let by_day = stats(format!("since={since}&until={until}&step=day")).await;
    assert_eq!(counts(&by_day["series"]["sign_ins"]), [0], "after 400 days");
}

#[actix_rt::test]
async fn an_admin_sees_the_queue_the_delays_and_the_age_of_the_key_of_the_server_that_answers() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let server = async || {
        app.act(&admin, "GET", "/admin/stats", None).await.expect_data("statistics")["server"].take()
    };
    let before = server().await;
    assert_eq!((&before["passwords_waiting"], &before["passwords_shed"]), (&json!(0), &json!(0)));
    assert_eq!((&before["signing_keys"], &before["delayed"]), (&json!(1), &json!(0)));
    for _ in 0..20 {
        app.login(EMAIL, "wrong").await;
    }
    app.pass(Duration::minutes(5)).await;
    let after = server().await;
    assert!(after["delayed"].as_u64().unwrap() > 0, "{after}");
    let age = |server: &Value| server["signing_key_age_s"].as_i64().unwrap();
    assert_eq!(age(&after) - age(&before), 300);
}

#[actix_rt::test]
async fn totals_are_counted_at_most_once_a_minute() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let users = async || {
        let stats = app.act(&admin, "GET", "/admin/stats", None).await.expect_data("statistics");
        stats["totals"]["users"].as_i64().unwrap()
    };
    assert_eq!(users().await, 2);
    app.add_user("grace@example.com", PASSWORD).await;
    app.pass(Duration::seconds(59)).await;
    assert_eq!(users().await, 2);
    app.pass(Duration::seconds(1)).await;
    assert_eq!(users().await, 3);
}
