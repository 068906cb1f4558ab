//! `GET /user/`, and when changes take effect.

use actix_web::http::Method;
use chrono::Duration;

use crate::app::{EMAIL, PASSWORD, TestApp};

#[actix_rt::test]
async fn a_token_shows_its_user() {
    let app = TestApp::new().await;
    let token = app.token().await;
    let user = app.get_user(&token).await.expect_data("own user");
    assert_eq!(user["email"], EMAIL);
    let mut names: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["created_at", "email", "email_verified", "id", "last_login_at", "name", "roles", "second_factors"]
    );
}

#[actix_rt::test]
async fn a_token_is_valid_for_an_hour_to_the_second() {
    let app = TestApp::new().await;
    let token = app.token().await;
    app.pass(Duration::seconds(3599)).await;
    app.get_user(&token).await.expect_data("one second before exp");
    app.pass(Duration::seconds(1)).await;
    app.get_user(&token).await.expect_refused("token_expired", "at exp");
}

#[actix_rt::test]
async fn the_leeway_counts_from_exp() {
    let app = TestApp::with(|settings| settings.token.leeway = std::time::Duration::from_secs(10)).await;
    let token = app.token().await;
    app.pass(Duration::seconds(3609)).await;
    app.get_user(&token).await.expect_data("within the leeway");
    app.pass(Duration::seconds(1)).await;
    app.get_user(&token).await.expect_refused("token_expired", "after the leeway");
}

/// A change by another process, and the server's next answer after a sync.
#[actix_rt::test]
async fn a_change_by_another_process_takes_effect_after_a_sync() {
    let app = TestApp::new().await;
    let id = app.user_id().await;
    let users = app.another().await.users();

    let token = app.token().await;
    assert_eq!(app.get_user(&token).await.expect_data("at first")["name"], "Ada");

    users.rename(id, Some("Countess")).await.unwrap();
    app.server.sync_changes().await.unwrap();
    assert_eq!(app.get_user(&token).await.expect_data("renamed")["name"], "Countess");

    users.disable(id).await.unwrap();
    app.server.sync_changes().await.unwrap();
    app.get_user(&token).await.expect_refused("token_revoked", "disabled");

    users.enable(id).await.unwrap();
    app.server.sync_changes().await.unwrap();
    app.get_user(&token).await.expect_refused("token_revoked", "enabled again: no old token revives");

    let token = app.token().await;
    app.get_user(&token).await.expect_data("a new sign-in");
    users.delete(id, false).await.unwrap();
    app.server.sync_changes().await.unwrap();
    app.get_user(&token).await.expect_refused("token_revoked", "deleted");
}

#[actix_rt::test]
async fn a_new_password_revokes_every_earlier_token_also_one_of_the_same_second() {
    let app = TestApp::new().await;
    let tokens = [app.token().await, app.token().await];
    let hash = app
        .server
        .hasher()
        .hash(&"another horse battery".into(), hallpass::server::credentials::Origin::LOCAL)
        .await
        .unwrap();
    app.users().set_password(app.user_id().await, &hash).await.unwrap();
    app.server.sync_changes().await.unwrap();
    for token in &tokens {
        app.get_user(token).await.expect_refused("token_revoked", "issued before");
    }
    app.login(EMAIL, PASSWORD).await.expect_refused("credentials_invalid", "the old password");
    let fresh = app.login(EMAIL, "another horse battery").await.expect_data("the new password");
    app.get_user(fresh["token"].as_str().unwrap()).await.expect_data("issued after, in the same second");
}

#[actix_rt::test]
async fn ended_sessions_stay_ended_for_a_server_that_starts_later() {
    let app = TestApp::new().await;
    let (dead, id) = (app.token().await, app.user_id().await);
    app.users().disable(id).await.unwrap();
    app.users().enable(id).await.unwrap();
    let alive = app.token().await;
    let later = app.another().await;
    later.get_user(&dead).await.expect_refused("token_revoked", "ended before the start");
    later.get_user(&alive).await.expect_data("a token of the first server");
}

#[actix_rt::test]
async fn a_server_that_missed_deleted_changes_reloads_everything() {
    let app = TestApp::new().await;
    let token = app.token().await;
    app.get_user(&token).await.expect_data("known and cached");
    let other = app.another().await;
    let id = app.user_id().await;
    other.users().disable(id).await.unwrap();
    app.clock.advance(Duration::hours(2));
    other.server.delete_expired().await.unwrap();
    app.clock.advance(Duration::hours(-2));
    app.server.sync_changes().await.unwrap();
    app.get_user(&token).await.expect_refused("token_revoked", "disabled during the sleep");
}

#[actix_rt::test]
async fn without_the_database_known_tokens_are_accepted_until_the_state_is_stale() {
    let app = TestApp::new().await;
    let token = app.token().await;
    app.get_user(&token).await.expect_data("known");
    app.server.store().close().await;
    app.clock.advance(Duration::seconds(60));
    app.get_user(&token).await.expect_data("60 s after the last word");
    app.clock.advance(Duration::seconds(1));
    app.get_user(&token).await.expect_failure(503, "unavailable", "61 s after");
}

#[actix_rt::test]
async fn without_the_database_a_user_who_is_not_in_memory_is_a_503() {
    let app = TestApp::new().await;
    let token = app.token().await;
    app.server.store().close().await;
    app.get_user(&token).await.expect_failure(503, "unavailable", "not yet asked for");
}

#[actix_rt::test]
async fn a_reverse_proxy_gets_the_user_in_headers() {
    let app = TestApp::new().await;
    let token = app.token().await;
    for method in [Method::GET, Method::HEAD] {
        let reply = app.ask(method, "/auth/verify").authorization(&format!("Bearer {token}")).send().await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
        assert_eq!(reply.header("x-auth-user-id"), Some(app.user_id().await.to_string().as_str()));
        assert_eq!(reply.header("x-auth-user-email"), Some(EMAIL));
        assert_eq!(reply.header("x-auth-user-roles"), Some("editor"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    app.get("/auth/verify").send().await.expect_refused("token_missing", "without a token");
    app.add_user_with_roles("bob@example.com", &[]).await;
    let bob = app.login("bob@example.com", PASSWORD).await.expect_data("a user without roles");
    let bob = format!("Bearer {}", bob["token"].as_str().unwrap());
    let reply = app.get("/auth/verify").authorization(&bob).send().await;
    // Never empty: some proxies would keep the client's own header then.
    assert_eq!(reply.header("x-auth-user-roles"), Some("-"));
    app.users().disable(app.user_id().await).await.unwrap();
    app.server.sync_changes().await.unwrap();
    let reply = app.get("/auth/verify").authorization(&format!("Bearer {token}")).send().await;
    reply.expect_refused("token_revoked", "it knows of revocations");
    assert_eq!(reply.header("x-auth-user-id"), None);
}
