//! Keys dated in the future.

use super::*;

const YEAR: Duration = Duration::days(365);

/// A server whose first start was by a clock a year ahead. The clock is right now.
async fn founded_ahead() -> TestApp {
    let app = TestApp::new().await;
    let vault = app.vault().await;
    let ahead = app.clock.now() + YEAR;
    let row = app.signing_keys().await.remove(0).sealed;
    let material = vault.unseal_key(&row).unwrap();
    let sealed = vault.seal_key(&row.kid, &row.algorithm, &row.purpose, ahead, ahead, &material).unwrap();
    let (ahead, sealed) = (ahead.timestamp_millis(), app.database.literal(&sealed.sealed));
    app.database
        .execute(&format!(
            "update signing_keys set created_at = {ahead}, signs_from = {ahead}, sealed = {sealed}"
        ))
        .await;
    app.another().await
}

#[actix_rt::test]
async fn a_rotation_with_a_key_dated_in_the_future_does_nothing_and_names_both_times() {
    let app = founded_ahead().await;
    let before = app.signing_keys().await;
    let error = app.try_rotate(false).await.unwrap_err().to_string();
    #[expect(clippy::disallowed_methods, reason = "written out, apart from the code that is tested")]
    let shown = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for part in [shown(app.clock.now()), shown(app.clock.now() + YEAR), "--trust-clock".into()] {
        assert!(error.contains(&part), "{error}");
    }
    assert_eq!(app.signing_keys().await, before);
}

#[actix_rt::test]
async fn a_key_made_by_a_clock_that_was_ahead_can_be_followed_and_revoked() {
    let app = founded_ahead().await;
    let old = app.token().await;
    let Rotated::Made(made) = app.try_rotate(true).await.unwrap() else { panic!("it is alone") };
    app.server.sync_changes().await.unwrap();
    app.get_user(&old).await.expect_data("no token is invalidated");
    assert_eq!(kid(&app.token().await), kid(&old), "the new one is published first");
    app.pass(Duration::seconds(5)).await;
    assert_eq!(kid(&app.token().await), made.kid);
    app.another().await.get_user(&old).await.expect_data("the row unseals");
    app.revoke(&kid(&old)).await;
    app.pass(YEAR + YEAR).await;
    assert_eq!(kid(&app.token().await), made.kid);
}

#[actix_rt::test]
async fn after_a_clock_that_was_ahead_a_rotation_makes_the_key_that_signs_next() {
    let app = TestApp::new().await;
    let first = app.token().await;
    app.clock.advance(YEAR);
    let Rotated::Made(ahead) = app.rotate().await else { panic!("no other rotation") };
    app.clock.advance(-YEAR);
    app.server.sync_changes().await.unwrap();
    let Rotated::Made(made) = app.try_rotate(true).await.unwrap() else { panic!("none waits in earnest") };
    assert_eq!(app.kids().await, [kid(&first), ahead.kid, made.kid.clone()]);
    app.server.sync_changes().await.unwrap();
    assert_eq!(kid(&app.token().await), kid(&first));
    app.pass(Duration::seconds(5)).await;
    assert_eq!(kid(&app.token().await), made.kid);
    app.get_user(&first).await.expect_data("until it expires");
    app.pass(Duration::minutes(62)).await;
    app.server.delete_expired().await.unwrap();
    assert_eq!(app.kids().await, [made.kid], "the others are dropped");
}

#[actix_rt::test]
async fn a_key_made_after_one_dated_in_the_future_signs_after_a_waiting_one_too() {
    let day = std::time::Duration::from_secs(86_400);
    let app = TestApp::with(|settings| settings.key.publish_ahead = day).await;
    let Rotated::Made(waiting) = app.rotate().await else { panic!("no other rotation") };
    app.clock.advance(YEAR);
    app.rotate().await;
    app.clock.advance(-YEAR);
    let mut settings = app.server.settings().clone();
    settings.key.publish_ahead = std::time::Duration::from_secs(5);
    let trusted = Reason::Requested { trust_clock: true };
    let rotated =
        rotation::rotate(app.server.store(), &app.vault().await, &settings, &app.clock, trusted).await;
    let Ok(Rotated::Made(made)) = rotated else { panic!("made") };
    assert!(made.signs_from > waiting.signs_from);
    assert_eq!(app.kids().await.last(), Some(&made.kid));
}

#[actix_rt::test]
async fn a_clock_that_is_behind_retires_no_key_in_the_past() {
    let app = TestApp::new().await;
    app.clock.advance(-YEAR);
    assert!(matches!(app.try_rotate(false).await, Err(KeysError::ClockBehindKey { .. })));
    app.clock.advance(YEAR);
    assert_eq!(app.kids().await.len(), 1);
}

#[actix_rt::test]
async fn clocks_that_differ_by_seconds_are_accepted() {
    let app = TestApp::new().await;
    app.clock.advance(-Duration::seconds(50));
    assert!(matches!(app.try_rotate(false).await, Ok(Rotated::Made(_))));
}

#[actix_rt::test]
async fn a_rotation_by_age_fails_with_a_key_dated_in_the_future() {
    let app = TestApp::with(|settings| settings.key.rotate_every_days = 30).await;
    app.clock.advance(-YEAR);
    let error = app.server.rotate_by_age().await.unwrap_err();
    assert!(matches!(error, KeysError::ClockBehindKey { .. }), "{error}");
}

#[actix_rt::test]
async fn the_only_key_can_be_rotated_before_it_is_due() {
    let app =
        TestApp::with(|settings| settings.key.publish_ahead = std::time::Duration::from_secs(86_400)).await;
    let first = app.kids().await.remove(0);
    let Rotated::Made(second) = app.rotate().await else { panic!("no other rotation") };
    app.revoke(&first).await;
    // Made with a shorter notice, and yet after it.
    let mut settings = app.server.settings().clone();
    settings.key.publish_ahead = std::time::Duration::from_secs(5);
    let rotated = rotation::rotate(app.server.store(), &app.vault().await, &settings, &app.clock, REQUESTED)
        .await
        .unwrap();
    let Rotated::Made(third) = rotated else { panic!("it signs already") };
    assert_eq!(app.kids().await, [second.kid.clone(), third.kid.clone()]);
    app.revoke(&second.kid).await;
    app.server.sync_changes().await.unwrap();
    assert_eq!(kid(&app.token().await), third.kid);
}
