//! What a guard remembers of a token: with `remember_while`, and without.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use chrono::Duration;
use hallpass::{AuthUser, CachedUser, Claims, Refusal, Unavailable, UserSource};

use super::support::TestIssuer;

/// Users in memory, and how often they were asked for.
#[derive(Default)]
struct Names {
    name: Mutex<&'static str>,
    asked: AtomicU64,
}

struct Source(Arc<Names>);

impl UserSource for Source {
    type User = &'static str;

    fn cached(&self, _: &Claims) -> CachedUser<&'static str> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        CachedUser::Found(Arc::new(*self.0.name.lock().unwrap()))
    }

    async fn find(&self, _: &Claims) -> Result<Option<Arc<&'static str>>, Unavailable> {
        unreachable!("everybody is in memory")
    }
}

#[actix_rt::test]
async fn a_decision_is_remembered_while_its_version_stays_and_no_longer_than_the_token_is_valid() {
    let issuer = TestIssuer::new();
    let (names, version, ended) =
        (Arc::new(Names::default()), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (of_guard, has_ended) = (Arc::clone(&version), Arc::clone(&ended));
    let guard = issuer
        .builder()
        .users(Source(Arc::clone(&names)))
        .check_claims(move |_| match has_ended.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(Refusal::TokenRevoked),
        })
        .remember_while(move || Some(of_guard.load(Ordering::SeqCst)).filter(|version| *version < 100))
        .build()
        .unwrap();
    let handler = || web::get().to(|user: AuthUser<&'static str>| async move { *user });
    let app = init_service(
        App::new()
            .app_data(guard.clone())
            .route("/extractor", handler())
            .service(web::scope("/middleware").wrap(guard.protect()).route("", handler())),
    )
    .await;
    let bearer = issuer.bearer();
    let ask = async || {
        let mut answers = vec![];
        for path in ["/extractor", "/middleware"] {
            let request = TestRequest::get().uri(path).insert_header(("authorization", bearer.clone()));
            let response = call_service(&app, request.to_request()).await;
            answers.push((response.status().as_u16(), read_body(response).await));
        }
        assert_eq!(answers[0].0, answers[1].0);
        (answers[0].0, String::from_utf8_lossy(&answers[0].1).into_owned())
    };
    *names.name.lock().unwrap() = "Ada";
    assert_eq!(ask().await, (200, "Ada".to_owned()));
    assert_eq!(ask().await, (200, "Ada".to_owned()));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1, "asked once for four requests");

    *names.name.lock().unwrap() = "Grace";
    assert_eq!(ask().await.1, "Ada", "the app has not said that anything changed");
    version.fetch_add(1, Ordering::SeqCst);
    assert_eq!(ask().await.1, "Grace");

    ended.store(1, Ordering::SeqCst);
    assert_eq!(ask().await.0, 200, "the app has not said that anything changed");
    version.fetch_add(1, Ordering::SeqCst);
    assert_eq!(ask().await.0, 401);
    ended.store(0, Ordering::SeqCst);
    assert_eq!(ask().await.0, 200, "a refusal is not remembered");

    version.store(100, Ordering::SeqCst);
    let before = names.asked.load(Ordering::SeqCst);
    ask().await;
    assert_eq!(names.asked.load(Ordering::SeqCst) - before, 2, "without a version, nothing is remembered");

    version.store(7, Ordering::SeqCst);
    assert_eq!(ask().await.0, 200);
    issuer.clock.advance(Duration::hours(1));
    assert_eq!(ask().await.0, 401, "the token has expired");
    issuer.clock.advance(-Duration::minutes(62));
    assert_eq!(ask().await.0, 401, "the token is not yet valid");
}

#[actix_rt::test]
async fn users_of_claims_are_those_of_each_token_and_go_with_their_key() {
    use actix_web::http::header::AUTHORIZATION;
    use hallpass::token::{Algorithm, KeyMaterial, Keyring, SigningKey};

    let key = || {
        let material = KeyMaterial::generate(Algorithm::EdDsa).unwrap();
        Arc::new(SigningKey::new(Algorithm::EdDsa, &material).unwrap())
    };
    let (first, second) = (key(), key());
    let keys = Arc::new(arc_swap::ArcSwap::from_pointee(Keyring::from(Arc::clone(&first))));
    let mint = hallpass::testing::Mint::with_key(Arc::clone(&first));
    let guard = mint.builder().keys(keys.clone()).build().unwrap();
    let handler = web::get().to(|user: AuthUser| async move { user.id.clone() });
    let app = init_service(App::new().wrap(guard.protect()).route("/", handler)).await;
    let (ada, grace) = (mint.token_for("ada").to_string(), mint.token_for("grace").to_string());
    let ask = async |token: &str| {
        let request = TestRequest::get().uri("/").insert_header((AUTHORIZATION, format!("Bearer {token}")));
        let response = call_service(&app, request.to_request()).await;
        (response.status().as_u16(), read_body(response).await)
    };
    for _ in 0..2 {
        assert_eq!(ask(&ada).await, (200, "ada".into()));
        assert_eq!(ask(&grace).await, (200, "grace".into()));
    }
    keys.store(Arc::new(Keyring::from(second)));
    assert_eq!(ask(&ada).await.0, 401, "its key is gone");
}
