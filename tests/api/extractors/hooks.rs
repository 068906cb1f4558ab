//! What an app can set: `verify_token`, `on_unauthorized`, header, scheme and realm; and what `build` refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, web};
use chrono::Duration;
use hallpass::{AuthUser, Claims, Guard, MaybeAuthUser, Refusal, Require, Role};

use super::support::{Editor, TestIssuer, get, greet};

#[actix_rt::test]
async fn verify_token_may_wait_sees_the_request_and_refuses_for_its_own_reason() {
    let issuer = TestIssuer::new();
    let guard = || {
        issuer
            .builder()
            .verify_token(|claims, request| async move {
                actix_rt::task::yield_now().await;
                if request.headers().contains_key("x-tenant") && claims.sub == "ada" {
                    Ok(())
                } else {
                    Err(Refusal::Application("wrong_tenant"))
                }
            })
            .build()
            .unwrap()
    };
    async fn claims(claims: Claims) -> String {
        claims.sub
    }
    let (bearer, tenant) = (issuer.bearer(), ("x-tenant", "1"));
    for app in [
        || App::new().route("/", web::get().to(claims)),
        || App::new().route("/", web::get().to(greet)),
        || App::new().route("/", web::get().to(|user: AuthUser| async move { user.id.clone() })),
    ] {
        let extractor = || app().app_data(guard());
        let (status, body, challenge) = get(extractor(), &[("authorization", &bearer)]).await;
        assert_eq!(status, 401);
        assert!(body.contains("wrong_tenant") && challenge.is_some(), "{body}");
        assert_eq!(get(extractor(), &[("authorization", &bearer), tenant]).await.0, 200);
        let middleware = || app().wrap(guard().protect());
        assert_eq!(get(middleware(), &[("authorization", &bearer)]).await.0, 401);
        assert_eq!(get(middleware(), &[("authorization", &bearer), tenant]).await.0, 200);
    }
}

#[actix_rt::test]
async fn verify_token_is_called_once_for_a_request_however_many_extractors_there_are() {
    let issuer = TestIssuer::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let guard = issuer
        .builder()
        .verify_token(move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .build()
        .unwrap();
    async fn many(_: AuthUser, _: Claims, _: MaybeAuthUser, _: Require<Role<Editor>>) -> &'static str {
        "in"
    }
    let app = App::new().route("/", web::get().to(many)).wrap(guard.protect());
    assert_eq!(get(app, &[("authorization", &issuer.bearer())]).await.0, 200);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn on_unauthorized_makes_the_response_but_never_with_success_or_without_a_challenge() {
    let issuer = TestIssuer::new();
    let guard = |status: u16| {
        issuer
            .builder()
            .on_unauthorized(move |reason, proposed, request| {
                HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(format!(
                    "{} {} {}",
                    reason.code(),
                    proposed.as_u16(),
                    request.path()
                ))
            })
            .build()
            .unwrap()
    };
    for (returned, sent) in [(200, 401), (204, 401), (302, 302), (401, 401), (418, 418)] {
        for app in [
            App::new().app_data(guard(returned)).route("/", web::get().to(|_: AuthUser| async { "in" })),
            App::new().app_data(guard(returned)).route("/", web::get().to(|_: Claims| async { "in" })),
        ] {
            let (status, body, challenge) = get(app, &[]).await;
            assert_eq!((status, body.as_str()), (sent, "token_missing 401 /"));
            assert_eq!(challenge.as_deref(), Some(r#"Bearer realm="Authentication Required""#));
        }
        let app = App::new().route("/", web::get().to(|| async { "in" })).wrap(guard(returned).protect());
        assert_eq!(get(app, &[]).await.0, sent);
    }
}

#[actix_rt::test]
async fn header_scheme_and_realm_are_the_apps_to_choose() {
    let issuer = TestIssuer::new();
    let token = issuer.token(&[]);
    let app =
        |guard: Guard| App::new().app_data(guard).route("/", web::get().to(|_: AuthUser| async { "in" }));

    let api_key = || issuer.builder().header("X-API-Key").without_scheme().realm("Keys").build().unwrap();
    assert_eq!(get(app(api_key()), &[("x-api-key", &token)]).await.0, 200);
    assert_eq!(get(app(api_key()), &[("authorization", &format!("Bearer {token}"))]).await.0, 401);
    assert_eq!(get(app(api_key()), &[]).await.2.as_deref(), Some(r#"Bearer realm="Keys""#));

    let scheme = || issuer.builder().scheme("Token").build().unwrap();
    assert_eq!(get(app(scheme()), &[("authorization", &format!("token {token}"))]).await.0, 200);
    assert_eq!(get(app(scheme()), &[("authorization", &format!("Bearer {token}"))]).await.0, 401);
    assert!(get(app(scheme()), &[]).await.2.unwrap().starts_with("Token realm="));

    let strict = || issuer.guard();
    assert_eq!(
        get(app(strict()), &[("authorization", &token)]).await.0,
        401,
        "bare tokens are off by default"
    );
    let bare = issuer.builder().accept_bare(true).build().unwrap();
    assert_eq!(get(app(bare), &[("authorization", &token)]).await.0, 200);
}

#[test]
fn a_missing_or_contradictory_setting_fails_the_build_with_the_line_that_fixes_it() {
    let complete = || Guard::builder().shared_secret(&[7; 32]).issuer("i").audience("a");
    complete().build().unwrap();
    let table = [
        (Guard::builder().issuer("i").audience("a"), ".shared_secret("),
        (Guard::builder().shared_secret(&[7; 32]).audience("a"), ".issuer("),
        (Guard::builder().shared_secret(&[7; 32]).issuer("i"), ".audience("),
        (complete().shared_secret(&[7; 31]), "at least 32"),
        (complete().jwks("{}"), "JWK set"),
        (complete().public_key_pem("-----BEGIN"), "PEM"),
        (complete().public_key_jwk(r#"{"kty":"oct","k":"AAAA"}"#), "symmetric"),
        (complete().header("two words"), ".header("),
        (complete().scheme("two words"), "one word"),
        (complete().realm("a \"quoted\" one"), "quotation marks"),
        (complete().leeway(Duration::minutes(6)), "0 to 300 s"),
        (complete().leeway(Duration::seconds(-1)), "0 to 300 s"),
        (complete().without_scheme().accept_bare(true), "accept_bare"),
    ];
    for (builder, fix) in table {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(fix), "{fix:?} is not in: {error}");
    }
}
