//! The guard in somebody's app: extractors beside others that fail, the middleware, the seams.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body, read_body_json};
use actix_web::web::{self, Bytes, Form, Json, Path, Query};
use actix_web::{App, Error, HttpMessage, HttpRequest, HttpResponse};
use chrono::{DateTime, Duration, Utc};
use futures_util::Stream;
use hallpass::clock::Clock;
use hallpass::token::{Algorithm, Grant, Issuer, KeyMaterial, Keyring, SigningKey};
use hallpass::{
    AllOf, AnyOf, AuthUser, Authed, Caller, Claims, Envelope, Guard, GuardBuilder, HasRoles, MaybeAuthUser,
    Policy, Refusal, Refused, Require, Role, RoleName, SignedInWithin, Unavailable, User, UserSource,
};
use serde::Deserialize;
use serde_json::Value;

/// Issues tokens that its guards accept.
struct Office {
    key: Arc<SigningKey>,
    clock: Clock,
}

const ISSUER: &str = "https://id.example";

impl Office {
    fn new() -> Self {
        let key =
            SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa).unwrap()).unwrap();
        Self {
            key: Arc::new(key),
            clock: Clock::manual(DateTime::from_timestamp(Clock::system().now().timestamp(), 0).unwrap()),
        }
    }

    fn builder(&self) -> GuardBuilder<User> {
        let ring = Keyring::from(Arc::clone(&self.key));
        Guard::builder()
            .jwks(&serde_json::to_string(&ring.jwks()).unwrap())
            .issuer(ISSUER)
            .audience(ISSUER)
            .clock(self.clock.clone())
    }

    fn guard(&self) -> Guard {
        self.builder().build().unwrap()
    }

    /// A guard whose users are only told after a wait.
    fn waiting_guard(&self) -> Guard<Member> {
        self.builder().users(Members).build().unwrap()
    }

    fn token(&self, roles: &[&str]) -> String {
        let grant = Grant {
            subject: "ada".into(),
            email: Some("ada@example.com".into()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            session: Some(session_begun(self.clock.now())),
        };
        Issuer::new(ISSUER, ISSUER, Duration::hours(1))
            .issue(&self.key, &grant, self.clock.now())
            .unwrap()
            .token
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token(&["editor"]))
    }
}

fn session_begun(at: DateTime<Utc>) -> String {
    let timestamp = uuid::Timestamp::from_unix_time(at.timestamp().unsigned_abs(), 0, 0, 0);
    uuid::Uuid::new_v7(timestamp).to_string()
}

/// Somebody's own user, who must be waited for.
#[derive(Debug)]
struct Member {
    nickname: String,
}

struct Members;

impl UserSource for Members {
    type User = Member;

    async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
        // Once round the executor, as a query would be.
        actix_rt::task::yield_now().await;
        match claims.sub.as_str() {
            "ada" => Ok(Some(Arc::new(Member { nickname: "Ada".into() }))),
            "down" => Err(Unavailable),
            _ => Ok(None),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[allow(dead_code, reason = "only its absence is looked for")]
    number: u32,
}

/// A body that counts how often it is asked for.
struct Counted {
    body: Option<Bytes>,
    asked: Rc<Cell<usize>>,
}

impl Stream for Counted {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.asked.set(self.asked.get() + 1);
        Poll::Ready(self.body.take().map(Ok))
    }
}

/// Sends a request with a malformed path, query and body; the status, and how often the body was asked for.
async fn send_malformed(
    app: App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<impl MessageBody + 'static>,
            Error = Error,
            InitError = (),
        > + 'static,
    >,
    authorization: Option<&str>,
) -> (StatusCode, usize) {
    let asked = Rc::new(Cell::new(0));
    let counting = Rc::clone(&asked);
    let app = app.wrap_fn(move |mut request, service| {
        let body = Counted { body: Some(Bytes::from_static(b"{not json")), asked: Rc::clone(&counting) };
        request.set_payload(Payload::Stream { payload: Box::pin(body) });
        service.call(request)
    });
    let app = init_service(app).await;
    let mut request = TestRequest::post()
        .uri("/not-a-number?number=none")
        .insert_header(("content-type", "application/json"));
    if let Some(value) = authorization {
        request = request.insert_header(("authorization", value));
    }
    let status = call_service(&app, request.to_request()).await.status();
    (status, asked.get())
}

/// Every neighbour that fails on the malformed request, beside the guard's extractor in the place that
/// `$handler` gives it.
macro_rules! for_each_neighbour {
    ($check:ident) => {
        $check!(Path<u32>, "path");
        $check!(Query<Wanted>, "query");
        $check!(Json<Wanted>, "json");
        $check!(Form<Wanted>, "form");
    };
}

#[actix_rt::test]
async fn with_the_user_first_a_stranger_is_refused_before_a_neighbour_parses_anything() {
    let office = Office::new();
    macro_rules! check {
        ($neighbour:ty, $name:literal) => {{
            async fn first(_: AuthUser, _: $neighbour) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            let app = || App::new().app_data(office.guard()).route("/{number}", web::post().to(first));
            for bad in [None, Some("Bearer no.such.token"), Some("Basic x")] {
                assert_eq!(send_malformed(app(), bad).await, (StatusCode::UNAUTHORIZED, 0), $name);
            }
            // The control: for a user the neighbour does fail.
            let (status, _) = send_malformed(app(), Some(&office.bearer())).await;
            assert!(status.is_client_error() && status != StatusCode::UNAUTHORIZED, "{}: {status}", $name);
        }};
    }
    for_each_neighbour!(check);
}

#[actix_rt::test]
async fn under_the_middleware_order_does_not_matter_and_a_user_may_be_waited_for() {
    let office = Office::new();
    macro_rules! check {
        ($neighbour:ty, $name:literal) => {{
            async fn last(_: $neighbour, _: AuthUser<Member>) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            async fn unaware(_: $neighbour) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            for handler in [web::post().to(last), web::post().to(unaware)] {
                let app = App::new().route("/{number}", handler).wrap(office.waiting_guard().protect());
                assert_eq!(send_malformed(app, None).await, (StatusCode::UNAUTHORIZED, 0), $name);
            }
            let app =
                App::new().route("/{number}", web::post().to(last)).wrap(office.waiting_guard().protect());
            let (status, _) = send_malformed(app, Some(&office.bearer())).await;
            assert!(status.is_client_error() && status != StatusCode::UNAUTHORIZED, "{}: {status}", $name);
        }};
    }
    for_each_neighbour!(check);
}

#[actix_rt::test]
async fn what_stands_in_authed_is_extracted_only_after_the_verdict_in_any_order() {
    let office = Office::new();
    macro_rules! check {
        ($neighbour:ty, $name:literal) => {{
            async fn in_authed(
                _: web::Data<()>,
                _: Authed<$neighbour, Member>,
                _: HttpRequest,
            ) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            let app = || {
                App::new()
                    .app_data(web::Data::new(()))
                    .app_data(office.waiting_guard())
                    .route("/{number}", web::post().to(in_authed))
            };
            assert_eq!(send_malformed(app(), None).await, (StatusCode::UNAUTHORIZED, 0), $name);
            // A forger's token is refused at once, a user who must be waited for is waited for.
            assert_eq!(
                send_malformed(app(), Some("Bearer no.such.token")).await,
                (StatusCode::UNAUTHORIZED, 0),
                $name
            );
            let (status, _) = send_malformed(app(), Some(&office.bearer())).await;
            assert!(status.is_client_error() && status != StatusCode::UNAUTHORIZED, "{}: {status}", $name);
        }};
    }
    for_each_neighbour!(check);
}

#[actix_rt::test]
async fn bytes_and_a_stream_are_not_read_for_a_stranger() {
    async fn bytes(_: AuthUser, body: Bytes) -> Bytes {
        body
    }
    async fn stream(_: AuthUser, _: web::Payload) -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    let office = Office::new();
    let app = || {
        App::new().app_data(office.guard()).service(
            web::resource("/{number}")
                .route(web::post().guard(actix_web::guard::Header("x-kind", "bytes")).to(bytes))
                .route(web::post().to(stream)),
        )
    };
    assert_eq!(send_malformed(app(), None).await, (StatusCode::UNAUTHORIZED, 0));
    let bytes_only = App::new().app_data(office.guard()).route("/{number}", web::post().to(bytes));
    assert_eq!(send_malformed(bytes_only, None).await, (StatusCode::UNAUTHORIZED, 0));
    let (status, asked) = send_malformed(
        App::new().app_data(office.guard()).route("/{number}", web::post().to(bytes)),
        Some(&office.bearer()),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert!(asked > 0, "the control: a user's body is read");
}

#[actix_rt::test]
async fn a_body_in_authed_is_still_there_for_a_later_extractor() {
    async fn handler(
        authed: Authed<Query<std::collections::HashMap<String, String>>>,
        body: String,
    ) -> String {
        format!("{} {} {body}", authed.user.id, authed.inner.len())
    }
    let office = Office::new();
    let app = init_service(App::new().app_data(office.guard()).route("/", web::post().to(handler))).await;
    let request = TestRequest::post()
        .uri("/?a=1")
        .insert_header(("authorization", office.bearer()))
        .set_payload("hello");
    assert_eq!(read_body(call_service(&app, request.to_request()).await).await, "ada 1 hello");
}

/// One request to `/` of an app; status and body.
async fn get(
    app: App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<impl MessageBody + 'static>,
            Error = Error,
            InitError = (),
        > + 'static,
    >,
    headers: &[(&str, &str)],
) -> (u16, String, Option<String>) {
    let app = init_service(app).await;
    let request =
        headers.iter().fold(TestRequest::get().uri("/"), |request, header| request.insert_header(*header));
    let response = call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    let challenge =
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (status, String::from_utf8(read_body(response).await.to_vec()).unwrap(), challenge)
}

async fn greet(visitor: MaybeAuthUser) -> String {
    visitor.user().map_or_else(|| "stranger".to_owned(), |user| user.email.clone())
}

#[actix_rt::test]
async fn a_visitor_without_a_credential_is_anonymous_and_one_with_a_bad_one_is_refused() {
    let office = Office::new();
    let app = || App::new().app_data(office.guard()).route("/", web::get().to(greet));
    assert_eq!(get(app(), &[]).await.1, "stranger");
    assert_eq!(get(app(), &[("authorization", &office.bearer())]).await.1, "ada@example.com");
    assert_eq!(get(app(), &[("authorization", "Bearer no.such.token")]).await.0, 401);
    let expired = office.bearer();
    office.clock.advance(Duration::hours(1));
    let (status, body, _) = get(app(), &[("authorization", &expired)]).await;
    assert_eq!(status, 401);
    assert!(body.contains("token_expired"), "{body}");
}

#[actix_rt::test]
async fn the_trap_of_an_optional_user_is_as_the_documentation_says() {
    async fn trap(user: Option<AuthUser>) -> String {
        user.map_or_else(|| "guest".to_owned(), |user| user.email.clone())
    }
    async fn cure(user: Result<AuthUser, Refused>) -> String {
        user.map_or_else(|refused| refused.reason().code().to_owned(), |user| user.email.clone())
    }
    let office = Office::new();
    let forged = [("authorization", "Bearer no.such.token")];
    let app = App::new().app_data(office.guard()).route("/", web::get().to(trap));
    assert_eq!(get(app, &forged).await.1, "guest", "if actix ever refuses here, the documentation may relax");
    let app = App::new().app_data(office.guard()).route("/", web::get().to(cure));
    assert_eq!(get(app, &forged).await.1, "token_invalid");
}

struct Admin;
impl RoleName for Admin {
    const NAME: &'static str = "admin";
}
struct Editor;
impl RoleName for Editor {
    const NAME: &'static str = "editor";
}

/// An app's own demand: a user whose address is of the house.
struct OfTheHouse;
impl Policy<User> for OfTheHouse {
    fn judge(user: &AuthUser, _: DateTime<Utc>) -> Result<(), Refusal> {
        if user.email.ends_with("@example.com") && user.has_role("editor") {
            Ok(())
        } else {
            Err(Refusal::RoleMissing)
        }
    }
}

#[actix_rt::test]
async fn each_demand_in_a_signature_lets_in_those_who_meet_it() {
    async fn met<P: 'static>(user: Require<P>) -> String {
        user.email.clone()
    }
    let office = Office::new();
    macro_rules! verdicts {
        ($policy:ty) => {{
            let mut verdicts = Vec::new();
            for roles in [&[][..], &["editor"], &["admin"], &["admin", "editor"]] {
                let app = App::new().app_data(office.guard()).route("/", web::get().to(met::<$policy>));
                let (status, body, challenge) =
                    get(app, &[("authorization", &format!("Bearer {}", office.token(roles)))]).await;
                if status == 403 {
                    assert!(body.contains("role_missing"), "{body}");
                    assert!(challenge.unwrap().contains(r#"error="insufficient_scope""#));
                }
                verdicts.push(status);
            }
            verdicts
        }};
    }
    assert_eq!(verdicts!(Role<Admin>), [403, 403, 200, 200]);
    assert_eq!(verdicts!(AnyOf<(Role<Admin>, Role<Editor>)>), [403, 200, 200, 200]);
    assert_eq!(verdicts!(AllOf<(Role<Admin>, Role<Editor>)>), [403, 403, 403, 200]);
    assert_eq!(verdicts!(AnyOf<(AllOf<(Role<Admin>, Role<Editor>)>, OfTheHouse)>), [403, 200, 403, 200]);
    assert_eq!(verdicts!(OfTheHouse), [403, 200, 403, 200]);

    let app = App::new().app_data(office.guard()).route("/", web::get().to(met::<Role<Admin>>));
    assert_eq!(get(app, &[]).await.0, 401, "a stranger is unknown, not forbidden");
}

#[actix_rt::test]
async fn a_sign_in_that_is_too_long_ago_asks_for_a_new_one() {
    async fn fresh(_: Require<SignedInWithin<10>>) -> &'static str {
        "fresh"
    }
    let office = Office::new();
    let token = office.bearer();
    let app = || App::new().app_data(office.guard()).route("/", web::get().to(fresh));
    office.clock.advance(Duration::minutes(10));
    assert_eq!(get(app(), &[("authorization", &token)]).await.0, 200);
    office.clock.advance(Duration::seconds(1));
    let (status, body, challenge) = get(app(), &[("authorization", &token)]).await;
    assert_eq!(status, 401);
    assert!(body.contains("sign_in_stale"), "{body}");
    assert!(challenge.unwrap().contains(r#"error="insufficient_user_authentication""#));
}

#[actix_rt::test]
async fn an_apps_own_users_are_asked_for_and_their_absence_or_silence_is_told_apart() {
    async fn nickname(user: AuthUser<Member>) -> String {
        user.nickname.clone()
    }
    let office = Office::new();
    let app = || App::new().configure(office.waiting_guard().install()).route("/", web::get().to(nickname));
    let token = |subject: &str| {
        let grant = Grant { subject: subject.into(), ..Grant::default() };
        let issuer = Issuer::new(ISSUER, ISSUER, Duration::hours(1));
        format!("Bearer {}", issuer.issue(&office.key, &grant, office.clock.now()).unwrap().token)
    };
    assert_eq!(get(app(), &[("authorization", &token("ada"))]).await.1, "Ada");
    let (status, body, _) = get(app(), &[("authorization", &token("bob"))]).await;
    assert_eq!((status, body.contains("token_revoked")), (401, true));
    let (status, body, challenge) = get(app(), &[("authorization", &token("down"))]).await;
    assert_eq!((status, body.contains("unavailable"), challenge), (503, true, None));
}

#[actix_rt::test]
async fn claims_are_had_without_a_user_under_every_guard() {
    async fn subject(claims: Claims) -> String {
        claims.sub
    }
    let office = Office::new();
    let header = [("authorization", &*office.bearer())].map(|(name, value)| (name, value.to_owned()));
    let header = [(header[0].0, header[0].1.as_str())];
    let installed = App::new().configure(office.waiting_guard().install()).route("/", web::get().to(subject));
    assert_eq!(get(installed, &header).await.1, "ada");
    let data = App::new().app_data(office.guard()).route("/", web::get().to(subject));
    assert_eq!(get(data, &header).await.1, "ada");
    let wrapped = App::new().route("/", web::get().to(subject)).wrap(office.waiting_guard().protect());
    assert_eq!(get(wrapped, &header).await.1, "ada");
}

#[actix_rt::test]
async fn several_guards_in_one_app_are_told_apart_by_their_users() {
    async fn both(staff: Result<AuthUser, Refused>, member: Result<AuthUser<Member>, Refused>) -> String {
        format!("{} {}", staff.is_ok(), member.is_ok())
    }
    let (staff, members) = (Office::new(), Office::new());
    let app = || {
        App::new()
            .configure(staff.guard().install())
            .configure(members.waiting_guard().install())
            .route("/", web::get().to(both))
    };
    assert_eq!(get(app(), &[("authorization", &staff.bearer())]).await.1, "true false");
    assert_eq!(get(app(), &[("authorization", &members.bearer())]).await.1, "false true");
}

#[actix_rt::test]
async fn verify_token_may_wait_sees_the_request_and_refuses_for_its_own_reason() {
    let office = Office::new();
    let guard = || {
        office
            .builder()
            .verify_token(|claims, request| async move {
                actix_rt::task::yield_now().await;
                if request.headers().contains_key("x-door") && claims.sub == "ada" {
                    Ok(())
                } else {
                    Err(Refusal::Application("wrong_door"))
                }
            })
            .build()
            .unwrap()
    };
    async fn claims(claims: Claims) -> String {
        claims.sub
    }
    let (bearer, door) = (office.bearer(), ("x-door", "1"));
    for app in [
        || App::new().route("/", web::get().to(claims)),
        || App::new().route("/", web::get().to(greet)),
        || App::new().route("/", web::get().to(|user: AuthUser| async move { user.id.clone() })),
    ] {
        let extractor = || app().app_data(guard());
        let (status, body, challenge) = get(extractor(), &[("authorization", &bearer)]).await;
        assert_eq!(status, 401);
        assert!(body.contains("wrong_door") && challenge.is_some(), "{body}");
        assert_eq!(get(extractor(), &[("authorization", &bearer), door]).await.0, 200);
        let middleware = || app().wrap(guard().protect());
        assert_eq!(get(middleware(), &[("authorization", &bearer)]).await.0, 401);
        assert_eq!(get(middleware(), &[("authorization", &bearer), door]).await.0, 200);
    }
}

#[actix_rt::test]
async fn verify_token_is_asked_once_for_a_request_however_many_extractors_there_are() {
    let office = Office::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let guard = office
        .builder()
        .verify_token(move |_, _| {
            counting.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .build()
        .unwrap();
    async fn many(_: AuthUser, _: Claims, _: MaybeAuthUser, _: Require<Role<Editor>>) -> &'static str {
        "in"
    }
    let app = App::new().route("/", web::get().to(many)).wrap(guard.protect());
    assert_eq!(get(app, &[("authorization", &office.bearer())]).await.0, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn on_unauthorized_answers_in_the_apps_way_but_never_with_success_or_without_a_challenge() {
    let office = Office::new();
    let guard = |status: u16| {
        office
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
    let office = Office::new();
    let token = office.token(&[]);
    let app =
        |guard: Guard| App::new().app_data(guard).route("/", web::get().to(|_: AuthUser| async { "in" }));

    let api_key = || office.builder().header("X-API-Key").without_scheme().realm("Keys").build().unwrap();
    assert_eq!(get(app(api_key()), &[("x-api-key", &token)]).await.0, 200);
    assert_eq!(get(app(api_key()), &[("authorization", &format!("Bearer {token}"))]).await.0, 401);
    assert_eq!(get(app(api_key()), &[]).await.2.as_deref(), Some(r#"Bearer realm="Keys""#));

    let scheme = || office.builder().scheme("Token").build().unwrap();
    assert_eq!(get(app(scheme()), &[("authorization", &format!("token {token}"))]).await.0, 200);
    assert_eq!(get(app(scheme()), &[("authorization", &format!("Bearer {token}"))]).await.0, 401);
    assert!(get(app(scheme()), &[]).await.2.unwrap().starts_with("Token realm="));

    let strict = || office.guard();
    assert_eq!(get(app(strict()), &[("authorization", &token)]).await.0, 401, "bare is off unless asked for");
    let bare = office.builder().accept_bare(true).build().unwrap();
    assert_eq!(get(app(bare), &[("authorization", &token)]).await.0, 200);
}

#[test]
fn what_is_missing_or_contradictory_is_told_when_the_guard_is_built_with_the_line_that_cures_it() {
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
    for (builder, cure) in table {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(cure), "{cure:?} is not in: {error}");
    }
}

#[actix_rt::test]
async fn a_handler_without_its_guard_is_a_failure_of_the_server_and_never_a_way_in() {
    let app =
        App::new().wrap(Envelope::default()).route("/", web::get().to(|_: AuthUser<Member>| async { "in" }));
    let (status, body, _) = get(app, &[("authorization", "Bearer a.b.c")]).await;
    assert_eq!(status, 500);
    assert!(body.contains(r#""error":"internal""#) && !body.contains("Member"), "{body}");
}

#[actix_rt::test]
async fn public_paths_are_let_through_exactly_and_preflights_always() {
    let office = Office::new();
    let app = init_service(
        App::new()
            .route("/open", web::get().to(greet))
            .route("/open/secret", web::get().to(|| async { "in" }))
            .route("/secret", web::to(|| async { "in" }))
            .wrap(office.guard().protect().allow("/open")),
    )
    .await;
    let status = async |method: Method, path: &str| {
        call_service(&app, TestRequest::default().method(method).uri(path).to_request())
            .await
            .status()
            .as_u16()
    };
    assert_eq!(status(Method::GET, "/open").await, 200);
    assert_eq!(status(Method::OPTIONS, "/secret").await, 200);
    for path in [
        "/secret",
        "/open/secret",
        "/%6fpen",
        "/Open",
        "/open/../secret",
        "//open",
        "/open%2f",
        "/open;x",
        "/nowhere",
    ] {
        assert_eq!(status(Method::GET, path).await, 401, "{path}");
    }
    let bad = TestRequest::get().uri("/open").insert_header(("authorization", "Bearer no.such.token"));
    assert_eq!(call_service(&app, bad.to_request()).await.status(), 401, "its handler asks who comes");
}

#[actix_rt::test]
async fn who_was_let_in_is_known_to_middleware_outside_the_handler() {
    let office = Office::new();
    for with_middleware in [false, true] {
        let app = App::new().app_data(office.guard()).route("/", web::get().to(|_: AuthUser| async { "in" }));
        let guard = actix_web::middleware::Condition::new(with_middleware, office.guard().protect());
        let app = init_service(app.wrap(guard)).await;
        let request = TestRequest::get().uri("/").insert_header(("authorization", office.bearer()));
        let response = call_service(&app, request.to_request()).await;
        let extensions = response.request().extensions();
        let caller = extensions.get::<Caller>().unwrap();
        assert_eq!(caller.claims().sub, "ada");
        assert_eq!(caller.user::<User>().unwrap().email, "ada@example.com");
        assert!(caller.user::<Member>().is_none());
    }
}

#[actix_rt::test]
async fn a_browser_can_read_a_refusal_through_cors_on_either_side_of_the_guard() {
    let office = Office::new();
    let cors = || {
        actix_cors::Cors::default()
            .allowed_origin("https://spa.example")
            .allowed_header("authorization")
            .allow_any_method()
    };
    let origin = ("origin", "https://spa.example");
    macro_rules! check {
        ($app:expr, $name:literal) => {
            let app = init_service($app).await;
            let refused =
                call_service(&app, TestRequest::get().uri("/").insert_header(origin).to_request()).await;
            assert_eq!(refused.status(), 401, $name);
            if $name == "outside" {
                assert_eq!(
                    refused.headers().get("access-control-allow-origin").unwrap(),
                    "https://spa.example"
                );
            }
            let body: Value = read_body_json(refused).await;
            assert_eq!(body["error"], "token_missing", $name);
            let preflight = TestRequest::default()
                .method(Method::OPTIONS)
                .uri("/")
                .insert_header(origin)
                .insert_header(("access-control-request-method", "GET"))
                .insert_header(("access-control-request-headers", "authorization"));
            let preflight = call_service(&app, preflight.to_request()).await;
            assert!(preflight.status().is_success(), $name);
            assert_eq!(
                preflight.headers().get("access-control-allow-origin").unwrap(),
                "https://spa.example",
                $name
            );
        };
    }
    let app = || App::new().route("/", web::get().to(|_: AuthUser| async { "in" }));
    check!(app().wrap(office.guard().protect()).wrap(cors()), "outside");
    check!(app().wrap(cors()).wrap(office.guard().protect()), "inside");
    check!(app().app_data(office.guard()).wrap(cors()), "outside");
}

#[actix_rt::test]
async fn the_envelope_gives_every_failure_of_an_app_its_shape() {
    async fn broken() -> Result<&'static str, Error> {
        Err(actix_web::error::ErrorInternalServerError("select * from users where it hurts"))
    }
    async fn json(_: Json<Wanted>) -> &'static str {
        "in"
    }
    async fn query(_: Query<Wanted>) -> &'static str {
        "in"
    }
    async fn path(_: Path<u32>) -> &'static str {
        "in"
    }
    async fn own() -> HttpResponse {
        HttpResponse::Conflict().json(serde_json::json!({"mine": true}))
    }
    let app = init_service(
        App::new()
            .wrap(Envelope::default())
            .route("/broken", web::get().to(broken))
            .route("/json", web::post().to(json))
            .route("/query", web::get().to(query))
            .route("/path/{number}", web::get().to(path))
            .route("/own", web::get().to(own)),
    )
    .await;
    let json = |request: TestRequest, body: &'static str| {
        request.insert_header(("content-type", "application/json")).set_payload(body)
    };
    let huge = TestRequest::post()
        .uri("/json")
        .insert_header(("content-type", "application/json"))
        .set_payload(vec![b' '; 3_000_000]);
    let table = [
        ("unknown path", TestRequest::get().uri("/nowhere"), 404, "not_found"),
        ("its own failure", TestRequest::get().uri("/broken"), 500, "internal"),
        ("not JSON", json(TestRequest::post().uri("/json"), "{"), 400, "json_malformed"),
        ("no media type", TestRequest::post().uri("/json").set_payload("{}"), 415, "unsupported_media_type"),
        ("too much", huge, 413, "body_too_large"),
        ("a bad query", TestRequest::get().uri("/query?number=x"), 400, "request_invalid"),
        ("a bad path", TestRequest::get().uri("/path/x"), 404, "not_found"),
    ];
    for (name, request, status, error) in table {
        let response = call_service(&app, request.to_request()).await;
        assert_eq!(response.status().as_u16(), status, "{name}");
        assert!(response.headers().contains_key("x-request-id"), "{name}");
        let body: Value = read_body_json(response).await;
        assert_eq!((&body["error"], &body["code"]), (&error.into(), &status.into()), "{name}");
        assert!(!body.to_string().contains("select"), "{name}");
    }
    let own: Value =
        read_body_json(call_service(&app, TestRequest::get().uri("/own").to_request()).await).await;
    assert_eq!(own, serde_json::json!({"mine": true}), "an app's own JSON is left alone");
}

mod generated {
    use actix_web::FromRequest;
    use proptest::prelude::*;

    use super::*;

    /// What the guard says of a request with this header: the reason for a refusal, or `None` for a way in.
    fn refusal(guard: &Guard, value: &[u8]) -> Option<Refusal> {
        let value = actix_web::http::header::HeaderValue::from_bytes(value).ok()?;
        let request = TestRequest::get()
            .insert_header(("authorization", value))
            .app_data(guard.clone())
            .to_http_request();
        let verdict = AuthUser::<User>::from_request(&request, &mut Payload::None);
        // A verdict on a user from the claims is told in the first poll.
        futures_util::FutureExt::now_or_never(verdict).unwrap().err().map(|refused| refused.reason())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_header_that_nobody_signed_passes_or_panics(
            scheme in prop_oneof![Just("Bearer "), Just("bearer  "), Just(""), Just("Basic ")],
            value in prop_oneof![
                "[\\x20-\\x7e]{0,80}",
                "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}",
            ],
        ) {
            let guard = Office::new().builder().accept_bare(true).build().unwrap();
            let header = [scheme.as_bytes(), value.as_bytes()].concat();
            prop_assert!(refusal(&guard, &header).is_some());
        }

        #[test]
        fn no_token_of_which_a_byte_was_changed_passes(position in any::<prop::sample::Index>(), byte in 0x21_u8..0x7f) {
            let office = Office::new();
            let mut header = office.bearer().into_bytes();
            prop_assert_eq!(refusal(&office.guard(), &header), None, "the control");
            let position = "Bearer ".len() + position.index(header.len() - "Bearer ".len());
            prop_assume!(header[position] != byte);
            header[position] = byte;
            prop_assert!(refusal(&office.guard(), &header).is_some());
        }
    }
}
