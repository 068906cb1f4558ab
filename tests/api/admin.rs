//! `/admin`: who may, the list of users, acts on users, and the last admin.

use actix_web::http::Method;
use futures_util::future::join_all;
use hallpass::server::accounts::{NewUser, UserChanges};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::session::Pair;
use crate::test_database::TestDatabase;

pub const ADMIN: &str = "root@example.com";

/// Every route, with a body that is accepted; `{id}` is Ada's. The last deletes her.
const ROUTES: &[(&str, &str, &str, u16)] = &[
    ("GET", "/admin/users", "", 200),
    ("POST", "/admin/users", r#"{"email": "grace@example.com", "password": "seventeen blue lanterns"}"#, 201),
    ("GET", "/admin/users/{id}", "", 200),
    ("PATCH", "/admin/users/{id}", r#"{"name": "Augusta"}"#, 200),
    ("POST", "/admin/users/{id}/password", r#"{"new_password": "seventeen blue lanterns"}"#, 204),
    ("GET", "/admin/users/{id}/sessions", "", 200),
    ("DELETE", "/admin/users/{id}/sessions", "", 204),
    ("GET", "/admin/events", "", 200),
    ("GET", "/admin/stats", "", 200),
    ("DELETE", "/admin/users/{id}", "", 204),
];

impl TestApp {
    /// Adds the admin [`ADMIN`] and returns a token of theirs.
    pub async fn admin(&self) -> String {
        self.add_admin(ADMIN).await;
        Pair::of(&self.login(ADMIN, PASSWORD).await).access
    }

    pub async fn add_admin(&self, email: &str) -> Uuid {
        self.add_user(email, PASSWORD).await;
        let id = self.users().find(email).await.unwrap().unwrap().id;
        let changes = UserChanges { roles: Some(vec!["admin".into()]), ..UserChanges::default() };
        self.users().update(id, &changes).await.unwrap();
        id
    }

    async fn add_named(&self, email: &str, name: Option<&str>, roles: &[&str]) -> Uuid {
        let user = NewUser {
            email: email.into(),
            name: name.map(str::to_owned),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..NewUser::default()
        };
        self.users().add(user).await.unwrap().id
    }

    /// Sends a request of an admin.
    pub async fn act(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = self.ask(method, path).authorization(&format!("Bearer {token}"));
        match body {
            Some(body) => ask.json(body).send().await,
            None => ask.send().await,
        }
    }

    /// Returns a page: the addresses, and the cursor of the next.
    async fn page(&self, token: &str, query: &str) -> (Vec<String>, Option<String>) {
        let data = self.act(token, "GET", &format!("/admin/users?{query}"), None).await.expect_data(query);
        let users = data["users"].as_array().unwrap().iter();
        let emails = users.map(|user| user["email"].as_str().unwrap().to_owned()).collect();
        (emails, data["next_cursor"].as_str().map(str::to_owned))
    }
}

fn parsed(body: &str) -> Option<Value> {
    (!body.is_empty()).then(|| serde_json::from_str(body).unwrap())
}

#[actix_rt::test]
async fn every_route_needs_a_token_with_the_role_of_the_database() {
    let app = TestApp::new().await;
    let (admin, other) = (app.admin().await, app.token().await);
    let id = app.user_id().await.to_string();
    for (method, path, body, status) in ROUTES {
        let what = format!("{method} {path}");
        let path = path.replace("{id}", &id);
        let nobody = app.ask(Method::from_bytes(method.as_bytes()).unwrap(), &path).send().await;
        nobody.expect_refused("token_missing", &what);
        if app.users().get(app.user_id().await).await.unwrap().name.as_deref() == Some("Ada") {
            app.act(&other, method, &path, parsed(body)).await.expect_failure(403, "role_missing", &what);
        }
        let reply = app.act(&admin, method, &path, parsed(body)).await;
        assert_eq!(reply.status.as_u16(), *status, "{what}: {}", reply.text());
    }
    // The role is the database's, not the token's.
    let fresh = app.add_admin("second@example.com").await;
    let second = Pair::of(&app.login("second@example.com", PASSWORD).await).access;
    app.act(&second, "GET", "/admin/users", None).await.expect_data("an admin");
    let demoted =
        app.act(&admin, "PATCH", &format!("/admin/users/{fresh}"), Some(json!({"roles": []}))).await;
    assert_eq!(demoted.expect_data("demoted")["roles"], json!([]));
    let refused = app.act(&second, "GET", "/admin/users", None).await;
    refused.expect_failure(403, "role_missing", "the next request after the role was taken");
}

#[actix_rt::test]
async fn an_unknown_user_is_a_404_and_a_bad_field_a_422_and_a_taken_address_a_409() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for id in ["x", "%00", &Uuid::now_v7().to_string()] {
        for (method, path, body, _) in ROUTES.iter().filter(|(_, path, ..)| path.contains("{id}")) {
            let reply = app.act(&admin, method, &path.replace("{id}", id), parsed(body)).await;
            reply.expect_failure(404, "not_found", &format!("{method} {path} {id}"));
        }
    }
    let id = app.user_id().await;
    for (method, path, body, field) in [
        ("POST", "/admin/users".to_owned(), json!({"password": PASSWORD}), "email"),
        ("POST", "/admin/users".to_owned(), json!({"email": "x@example.com"}), "password"),
        (
            "POST",
            "/admin/users".to_owned(),
            json!({"email": "x@example.com", "password": "password"}),
            "password",
        ),
        (
            "POST",
            "/admin/users".to_owned(),
            json!({"email": "x@example.com", "password": PASSWORD, "roles": ["A"]}),
            "roles",
        ),
        ("PATCH", format!("/admin/users/{id}"), json!({"name": ""}), "name"),
        ("PATCH", format!("/admin/users/{id}"), json!({"roles": ["two words"]}), "roles"),
        ("POST", format!("/admin/users/{id}/password"), json!({}), "new_password"),
        ("POST", format!("/admin/users/{id}/password"), json!({"new_password": EMAIL}), "new_password"),
    ] {
        let reply = app.act(&admin, method, &path, Some(body)).await;
        reply.expect_failure(422, "validation_failed", field);
        assert!(reply.json()["fields"][field].is_array(), "{field}: {}", reply.text());
    }
    let body = json!({"email": EMAIL.to_uppercase(), "password": "seventeen blue lanterns"});
    app.act(&admin, "POST", "/admin/users", Some(body)).await.expect_failure(409, "email_taken", "taken");
}

#[actix_rt::test]
async fn a_parameter_that_is_not_acceptable_is_named() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let long = format!("q={}", "x".repeat(255));
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=10&limit=20", "limit"),
        ("cursor=1", "cursor"),
        ("cursor=%00", "cursor"),
        ("disabled=yes", "disabled"),
        ("role=Admin", "role"),
        ("role=a%20b", "role"),
        ("q=a%00b", "q"),
        (&long, "q"),
        ("email=a%0Ab", "email"),
    ] {
        let reply = app.act(&admin, "GET", &format!("/admin/users?{query}"), None).await;
        reply.expect_failure(400, "request_invalid", query);
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{name} is not acceptable: ")), "{query}: {message}");
    }
    let (all, _) = app.page(&admin, "q=&role=&cursor=&unknown=%ff").await;
    assert_eq!(all, [ADMIN, EMAIL], "an empty parameter is none, and an unknown one is ignored");
}

#[actix_rt::test]
async fn filters_combine_and_take_hostile_text_as_text() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.add_named("grace.hopper@navy.example", Some("Grace \"Amazing\" Hopper"), &["editor"]).await;
    app.add_named("o'neil@example.org", Some("100% Ärger_\\"), &["editor", "owner"]).await;
    app.add_named("rev@example.org", Some("\u{202e}\u{10ffff}\u{1f600} \u{20000}x"), &[]).await;
    let grace = app.users().find("grace.hopper@navy.example").await.unwrap().unwrap().id;
    app.users().disable(grace).await.unwrap();
    for (query, found) in [
        ("email=GRACE.hopper@navy.example", vec!["grace.hopper@navy.example"]),
        ("email=grace.hopper@navy.example&disabled=false", vec![]),
        ("email=grace.hopper@navy.example&role=editor&q=hop", vec!["grace.hopper@navy.example"]),
        ("email=nobody@example.org", vec![]),
        ("q=HOPPER", vec!["grace.hopper@navy.example"]),
        ("q=hopper@navy", vec!["grace.hopper@navy.example"]),
        ("q=opper", vec![]),
        ("q=editor", vec![]),
        ("q=%3Deditor", vec![]),
        ("role=editor", vec!["o'neil@example.org", "grace.hopper@navy.example", EMAIL]),
        ("role=edit", vec![]),
        ("role=editor&disabled=true", vec!["grace.hopper@navy.example"]),
        ("role=editor&q=exam", vec!["o'neil@example.org", "grace.hopper@navy.example", EMAIL]),
        ("role=owner&q=100", vec!["o'neil@example.org"]),
        ("disabled=true", vec!["grace.hopper@navy.example"]),
        ("disabled=true&q=amazing", vec!["grace.hopper@navy.example"]),
        ("q=%C3%A4r", vec!["o'neil@example.org"]),
        ("q=o%27neil", vec!["o'neil@example.org"]),
        ("q=%25", vec![]),
        ("q=_", vec![]),
        ("q=a%25", vec![]),
        ("q=%27%20or%201%3D1--", vec![]),
        ("q=%22", vec![]),
        ("q=%F0%A0%80%80", vec!["rev@example.org"]),
        ("q=%E2%80%AE", vec!["rev@example.org"]),
        ("q=%F4%8F%BF%BF", vec![]),
    ] {
        assert_eq!(app.page(&admin, query).await.0, found, "{query}");
    }
}

#[actix_rt::test]
async fn what_another_program_writes_is_found_too() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    assert_eq!(app.page(&admin, "q=countess").await.0, Vec::<String>::new());
    app.database.execute("update users set name = 'The Countess', roles = 'owner' where name = 'Ada' and email like 'ada@%'").await;
    assert_eq!(app.page(&admin, "q=countess&role=owner").await.0, [EMAIL]);
    assert_eq!(app.page(&admin, "role=editor").await.0, Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Between two pages users come and go: each user who was there all the time is listed once, the newest first.
    #[test]
    fn paging_shows_every_user_who_stays_once_while_others_come_and_go(
        steps in proptest::collection::vec((any::<bool>(), 0usize..20), 1..12),
        limit in 1usize..5,
        filter in prop::sample::select(vec!["", "q=u", "role=r", "disabled=false", "role=r&q=user"]),
    ) {
        actix_rt::System::new().block_on(async {
            let app = TestApp::new().await;
            let admin = app.admin().await;
            let mut users = Vec::new();
            for number in 0..12 {
                users.push((app.add_named(&format!("user{number}@x.example"), None, &["r"]).await, number));
            }
            let mut gone = Vec::new();
            let (mut steps, mut listed, mut cursor) = (steps.into_iter(), Vec::new(), String::new());
            loop {
                let (page, next) = app.page(&admin, &format!("{filter}&limit={limit}&cursor={cursor}")).await;
                assert!(page.len() <= limit);
                listed.extend(page);
                match (steps.next(), users.is_empty()) {
                    (Some((true, place)), false) => {
                        let (id, number) = users.remove(place % users.len());
                        app.users().delete(id, false).await.unwrap();
                        gone.push(format!("user{number}@x.example"));
                    }
                    (Some((false, number)), _) => {
                        let email = format!("user-late{number}-{}@x.example", listed.len());
                        if app.users().find(&email).await.unwrap().is_none() {
                            app.add_named(&email, None, &["r"]).await;
                        }
                    }
                    _ => {}
                }
                match next {
                    Some(next) => cursor = next,
                    None => break,
                }
            }
            let ours = |email: &&String| email.starts_with("user") && !email.contains("late") && !gone.contains(*email);
            let kept: Vec<_> = listed.iter().filter(ours).cloned().collect();
            let expected: Vec<_> = users.iter().rev().map(|(_, number)| format!("user{number}@x.example")).collect();
            assert_eq!(kept, expected, "{filter}");
        });
    }
}

#[actix_rt::test]
async fn every_act_is_an_event_with_its_admin_and_what_changed_from_what_to_what() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (id, root) = (app.user_id().await, app.users().find(ADMIN).await.unwrap().unwrap().id);
    let seen = app.recorded_events().await.len();
    let path = format!("/admin/users/{id}");
    let changes = json!({"name": "Augusta", "roles": ["owner", "editor", "owner"], "disabled": true, "email_verified": false});
    let user = app.act(&admin, "PATCH", &path, Some(changes.clone())).await.expect_data("changed");
    assert_eq!(user["roles"], json!(["editor", "owner"]));
    assert_eq!(
        (&user["name"], &user["disabled"], &user["email_verified"]),
        (&json!("Augusta"), &json!(true), &json!(false))
    );
    app.act(&admin, "PATCH", &path, Some(changes)).await.expect_data("nothing changed");
    app.act(&admin, "PATCH", &path, Some(json!({"disabled": false}))).await.expect_data("enabled");
    for (method, path, body) in [
        ("POST", format!("{path}/password"), Some(json!({"new_password": "seventeen blue lanterns"}))),
        ("DELETE", format!("{path}/sessions"), None),
        ("DELETE", path, None),
    ] {
        assert_eq!(app.act(&admin, method, &path, body).await.status, 204, "{method} {path}");
    }
    let events = app.recorded_events().await;
    let told: Vec<_> = events[seen..]
        .iter()
        .map(|recorded| {
            let event = &recorded.event;
            assert_eq!((event.user, &event.details["by"]), (Some(id), &json!(root)));
            assert!(event.request.is_some());
            let of = |name: &str| event.details.get(name).cloned().unwrap_or_default();
            (event.kind.to_string(), of("from"), of("to"))
        })
        .collect();
    let expected = [
        ("user_renamed", json!("Ada"), json!("Augusta")),
        ("user_roles_changed", json!(["editor"]), json!(["editor", "owner"])),
        ("email_verification_set", json!(true), json!(false)),
        ("user_disabled", Value::Null, Value::Null),
        ("user_enabled", Value::Null, Value::Null),
        ("password_changed", Value::Null, Value::Null),
        ("signed_out_everywhere", Value::Null, Value::Null),
        ("user_deleted", Value::Null, Value::Null),
    ];
    assert_eq!(told, expected.map(|(kind, from, to)| (kind.to_owned(), from, to)));
}

#[actix_rt::test]
async fn an_act_takes_effect_with_the_users_next_request_and_the_admins_session_survives() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let path = format!("/admin/users/{}", app.user_id().await);
    let token = app.token().await;
    let sessions = app.act(&admin, "GET", &format!("{path}/sessions"), None).await.expect_data("sessions");
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["current"]), (1, &json!(false)));
    app.act(&admin, "DELETE", &format!("{path}/sessions"), None).await;
    app.get_user(&token).await.expect_refused("token_revoked", "sessions ended");
    let token = app.token().await;
    app.act(&admin, "PATCH", &path, Some(json!({"disabled": true}))).await.expect_data("disabled");
    app.get_user(&token).await.expect_refused("token_revoked", "disabled");
    app.login(EMAIL, PASSWORD).await.expect_refused("credentials_invalid", "disabled");
    app.act(&admin, "PATCH", &path, Some(json!({"disabled": false}))).await.expect_data("enabled");
    app.get_user(&token).await.expect_refused("token_revoked", "no old token revives");
    let body = json!({"new_password": "seventeen blue lanterns"});
    app.act(&admin, "POST", &format!("{path}/password"), Some(body)).await;
    app.login(EMAIL, "seventeen blue lanterns").await.expect_data("the new password");
    app.act(&admin, "GET", "/admin/users", None).await.expect_data("the admin's own session");
}

#[actix_rt::test]
async fn an_admin_ends_the_sessions_of_everybody_their_own_too() {
    let app = TestApp::new().await;
    let (admin, token) = (app.admin().await, app.token().await);
    app.act(&token, "DELETE", "/admin/sessions", None).await.expect_failure(403, "role_missing", "no admin");
    assert_eq!(app.act(&admin, "DELETE", "/admin/sessions", None).await.status, 204);
    for token in [&admin, &token] {
        app.get_user(token).await.expect_refused("token_revoked", "everybody");
    }
    let events = app.recorded_events().await;
    let ended = events.iter().find(|recorded| recorded.event.kind.as_str() == "all_sessions_ended").unwrap();
    let root = app.users().find(ADMIN).await.unwrap().unwrap().id;
    assert_eq!(ended.event.details["by"], json!(root));
}

#[actix_rt::test]
async fn the_last_admin_can_be_neither_disabled_demoted_nor_deleted() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let id = app.users().find(ADMIN).await.unwrap().unwrap().id;
    let path = format!("/admin/users/{id}");
    let acts = [
        ("PATCH", path.as_str(), Some(json!({"disabled": true}))),
        ("PATCH", &path, Some(json!({"roles": ["administrator"], "name": "x"}))),
        ("DELETE", &path, None),
        ("DELETE", "/user/", Some(json!({"password": PASSWORD}))),
    ];
    // A disabled admin is none.
    let disabled = app.add_admin("away@example.com").await;
    app.users().disable(disabled).await.unwrap();
    for (method, path, body) in &acts {
        let what = format!("{method} {path} {body:?}");
        app.act(&admin, method, path, body.clone()).await.expect_failure(403, "last_admin", &what);
    }
    assert_eq!(app.stored_user(id).await.name.as_deref(), Some("Ada"), "all of a request, or nothing");
    let kept = json!({"roles": ["admin", "owner"], "disabled": false, "name": "Root"});
    app.act(&admin, "PATCH", &path, Some(kept)).await.expect_data("still an admin");
    app.users().enable(disabled).await.unwrap();
    let gone = app.act(&admin, "DELETE", "/user/", Some(json!({"password": PASSWORD}))).await;
    assert_eq!(gone.status, 204, "another is left: {}", gone.text());
}

#[actix_rt::test]
async fn of_acts_at_once_against_the_last_two_admins_one_is_refused() {
    for database in TestDatabase::each() {
        eprintln!("on {}", database.settings.url);
        let app = TestApp::on(database, |settings| settings.throttle.on = false).await;
        let other = app.another().await;
        for round in 0..4 {
            let emails = [format!("one{round}@example.com"), format!("two{round}@example.com")];
            let ids = [app.add_admin(&emails[0]).await, app.add_admin(&emails[1]).await];
            let [one, two] = [&emails[0], &emails[1]].map(|email| app.login(email, PASSWORD));
            let tokens = [Pair::of(&one.await).access, Pair::of(&two.await).access];
            let paths = ids.map(|id| format!("/admin/users/{id}"));
            // Each acts against itself, and against the other.
            let acts = [
                (&app, &tokens[0], "PATCH", &paths[0], json!({"disabled": true})),
                (&other, &tokens[1], "PATCH", &paths[1], json!({"roles": []})),
                (&other, &tokens[0], "DELETE", &paths[1], json!({})),
                (&app, &tokens[1], "DELETE", &paths[0], json!({})),
            ];
            let acts = acts.into_iter().map(|(app, token, method, path, body)| async move {
                app.act(token, method, path, Some(body)).await.status.as_u16()
            });
            let statuses = join_all(acts).await;
            let admins = app.server.store().write(async |tx| tx.lock_admins().await);
            let admins: Result<Vec<Uuid>, hallpass::server::store::StoreError> = admins.await;
            let admins = admins.unwrap();
            assert_eq!(admins.len(), 1, "round {round}: {statuses:?}");
            app.users().forced().delete(admins[0], false).await.unwrap();
        }
    }
}
