//! A guard whose keys come from a URL, before an issuer on the loopback that answers as it is told.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration as Patience;

use actix_web::dev::ServerHandle;
use actix_web::http::header::{AUTHORIZATION, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::test as harness;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use hallpass::clock::Clock;
use hallpass::guard::FetchError;
use hallpass::token::{self, Algorithm, Grant, KeyError, KeyMaterial, Keyring, SigningKey};
use hallpass::{AuthUser, FetchedKeys, Guard, GuardError, JwksUrl, KeySource, Refusal};
use serde_json::{Value, json};
use tokio::sync::watch;

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://api.example";

const SPACES: &str = match str::from_utf8(&[b' '; 4096]) {
    Ok(spaces) => spaces,
    Err(_) => unreachable!(),
};

#[derive(Debug, Clone)]
enum Answer {
    Text(u16, String),
    /// A set that says for how many seconds it is current.
    Current(u32, String),
    Redirect(&'static str),
    /// The first bytes of the answer, then no more, on an open connection.
    Stalls(&'static str),
    /// Spaces without end and without a length.
    Endless,
    Never,
    /// The whole answer, from a server that is slow: long enough for whoever does not wait to be gone.
    Late(String),
}

impl Answer {
    fn keys(keys: &[&Arc<SigningKey>]) -> Self {
        Self::Text(200, set(keys).to_string())
    }
}

/// An issuer's web server, whose answer the test chooses.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    /// How often it was asked.
    asked: watch::Receiver<usize>,
    handle: ServerHandle,
}

impl Issuer {
    fn new(first: Answer) -> Self {
        let answer = Arc::new(Mutex::new(first));
        let (ask, asked) = watch::channel(0);
        let (state, ask) = (web::Data::from(Arc::clone(&answer)), web::Data::new(ask));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .app_data(ask.clone())
                .route("/jwks.json", web::get().to(answer_as_told))
                .route("/elsewhere", web::get().to(answer_as_told))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Self { url, answer, asked, handle }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    async fn wait_until_asked(&self, times: usize) {
        self.asked.clone().wait_for(|asked| *asked >= times).await.unwrap();
    }

    fn url(&self) -> JwksUrl {
        JwksUrl::new(&self.url).unwrap()
    }
}

async fn answer_as_told(
    answer: web::Data<Mutex<Answer>>,
    ask: web::Data<watch::Sender<usize>>,
) -> HttpResponse {
    ask.send_modify(|asked| *asked += 1);
    let answer = answer.lock().unwrap().clone();
    let part = |text: &'static str| Ok::<_, Infallible>(Bytes::from_static(text.as_bytes()));
    match answer {
        Answer::Text(status, text) => HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(text),
        Answer::Current(seconds, text) => HttpResponse::Ok()
            .insert_header(("Cache-Control", format!("public, Max-Age={seconds}")))
            .body(text),
        Answer::Redirect(to) => HttpResponse::Found().insert_header((LOCATION, to)).finish(),
        Answer::Stalls(text) => {
            HttpResponse::Ok().streaming(stream::iter([part(text)]).chain(stream::pending()))
        }
        Answer::Endless => HttpResponse::Ok().streaming(stream::repeat_with(move || part(SPACES))),
        Answer::Never => pending().await,
        Answer::Late(text) => {
            actix_rt::time::sleep(Patience::from_millis(200)).await;
            HttpResponse::Ok().body(text)
        }
    }
}

fn new_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa).unwrap()).unwrap())
}

fn set(keys: &[&Arc<SigningKey>]) -> Value {
    let keys = keys.iter().map(|key| key.verifying_key().clone());
    serde_json::to_value(Keyring::new(keys).unwrap().jwks()).unwrap()
}

fn start_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).unwrap()
}

fn token(key: &SigningKey) -> String {
    let grant = Grant { subject: "ada".to_owned(), ..Grant::default() };
    let issuer = token::Issuer::new(ISSUER, AUDIENCE, Duration::days(30));
    issuer.issue(key, &grant, start_of_time()).unwrap().token
}

fn guard(keys: Arc<dyn KeySource>, clock: &Clock) -> Guard {
    Guard::builder().keys(keys).issuer(ISSUER).audience(AUDIENCE).clock(clock.clone()).build().unwrap()
}

/// An issuer that publishes one key, which a guard on a standing clock has fetched.
struct Street {
    key: Arc<SigningKey>,
    issuer: Issuer,
    clock: Clock,
    keys: Arc<FetchedKeys>,
    guard: Guard,
}

impl Street {
    async fn new() -> Self {
        Self::with(|url| url).await
    }

    async fn with(change: impl FnOnce(JwksUrl) -> JwksUrl) -> Self {
        let key = new_key();
        let issuer = Issuer::new(Answer::keys(&[&key]));
        let clock = Clock::manual(start_of_time());
        let keys = change(issuer.url().clock(clock.clone())).start().unwrap();
        keys.refresh().await.unwrap();
        let guard = guard(keys.clone(), &clock);
        Self { key, issuer, clock, keys, guard }
    }
}

const BY_EXTRACTOR: &str = "/extractor";
const BY_MIDDLEWARE: &str = "/middleware/";
const DOORS: [&str; 2] = [BY_EXTRACTOR, BY_MIDDLEWARE];

/// What the holder of `token` gets: the status and, of a failure, its slug.
async fn knock(guard: &Guard, door: &str, token: &str) -> (u16, String) {
    let hello = || web::method(Method::GET).to(|user: AuthUser| async move { user.id.clone() });
    let app = App::new()
        .app_data(guard.clone())
        .route(BY_EXTRACTOR, hello())
        .service(web::scope("/middleware").wrap(guard.protect()).route("/", hello()));
    let app = harness::init_service(app).await;
    let request =
        harness::TestRequest::get().uri(door).insert_header((AUTHORIZATION, format!("Bearer {token}")));
    let response = harness::call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    let body = harness::read_body(response).await;
    let error = serde_json::from_slice::<Value>(&body).map(|body| body["error"].as_str().unwrap().to_owned());
    (status, error.unwrap_or_default())
}

#[track_caller]
fn expect(answer: (u16, String), status: u16, error: &str, what: &str) {
    assert_eq!(answer, (status, error.to_owned()), "{what}");
}

async fn expect_everywhere(guard: &Guard, token: &str, status: u16, error: &str, what: &str) {
    for door in DOORS {
        expect(knock(guard, door, token).await, status, error, &format!("{what}, {door}"));
    }
}

#[actix_rt::test]
async fn a_published_key_opens_both_doors_and_a_strangers_does_not() {
    let street = Street::new().await;
    expect_everywhere(&street.guard, &token(&street.key), 200, "", "published").await;
    expect_everywhere(&street.guard, &token(&new_key()), 401, "token_invalid", "a stranger's").await;
}

#[actix_rt::test]
async fn a_guard_given_a_url_fetches_without_being_asked_and_goes_by_its_own_clock() {
    let key = new_key();
    let issuer = Issuer::new(Answer::keys(&[&key]));
    let clock = Clock::manual(start_of_time());
    let builder = Guard::builder().jwks_url(issuer.url()).issuer(ISSUER).audience(AUDIENCE);
    let guard = builder.clock(clock.clone()).build().unwrap();
    let first_answer = async {
        loop {
            match knock(&guard, BY_EXTRACTOR, &token(&key)).await {
                (503, _) => actix_rt::task::yield_now().await,
                other => return other,
            }
        }
    };
    expect(actix_rt::time::timeout(Patience::from_secs(4), first_answer).await.unwrap(), 200, "", "fetched");
    issuer.answers(Answer::Text(500, String::new()));
    clock.advance(Duration::hours(1) + Duration::milliseconds(1));
    expect_everywhere(&guard, &token(&key), 503, "unavailable", "by the guard's clock the keys are old")
        .await;
}

#[actix_rt::test]
async fn before_the_first_keys_nobody_is_told_that_their_token_is_bad() {
    let issuer = Issuer::new(Answer::Never);
    let guard = guard(issuer.url().start().unwrap(), &Clock::manual(start_of_time()));
    expect_everywhere(&guard, &token(&new_key()), 503, "unavailable", "no keys yet").await;
}

#[actix_rt::test]
async fn a_new_key_is_refused_at_once_by_the_extractor_and_found_by_the_middleware_with_one_fetch() {
    let street = Street::new().await;
    let (before, new) = (street.issuer.asked(), new_key());
    street.issuer.answers(Answer::keys(&[&street.key, &new]));
    expect(knock(&street.guard, BY_EXTRACTOR, &token(&new)).await, 401, "token_invalid", "at once");
    expect(knock(&street.guard, BY_MIDDLEWARE, &token(&new)).await, 200, "", "by the same fetch");
    expect_everywhere(&street.guard, &token(&new), 200, "", "from then on").await;
    expect_everywhere(&street.guard, &token(&street.key), 200, "", "the old one").await;
    assert_eq!(street.issuer.asked(), before + 1);
}

#[actix_rt::test]
async fn the_extractor_does_not_wait_for_the_fetch_it_starts() {
    let street = Street::new().await;
    let before = street.issuer.asked();
    street.issuer.answers(Answer::Never);
    let answer = knock(&street.guard, BY_EXTRACTOR, &token(&new_key())).now_or_never();
    expect(answer.expect("told in the first poll"), 401, "token_invalid", "at once");
    street.issuer.wait_until_asked(before + 1).await;
}

#[actix_rt::test]
async fn the_middleware_waits_two_seconds_and_no_longer() {
    let street = Street::with(|url| url.timeout(Duration::minutes(1))).await;
    street.issuer.answers(Answer::Never);
    let stranger = token(&new_key());
    let answer = knock(&street.guard, BY_MIDDLEWARE, &stranger);
    let answer = actix_rt::time::timeout(Patience::from_secs(4), answer).await.expect("a bounded wait");
    expect(answer, 401, "token_invalid", "after the wait");
    expect_everywhere(&street.guard, &token(&street.key), 200, "", "known keys do not wait").await;
}

#[actix_rt::test]
async fn fifty_unknown_keys_at_once_make_one_fetch_and_no_more_for_ten_seconds() {
    let street = Street::new().await;
    let (before, new) = (street.issuer.asked(), new_key());
    let strangers: Vec<_> = (0..50).map(|_| token(&new_key())).collect();
    let crowd = || join_all(strangers.iter().map(|token| knock(&street.guard, BY_MIDDLEWARE, token)));
    for answer in crowd().await {
        expect(answer, 401, "token_invalid", "in the crowd");
    }
    assert_eq!(street.issuer.asked(), before + 1);

    street.issuer.answers(Answer::keys(&[&new]));
    street.clock.advance(Duration::milliseconds(9_999));
    crowd().await;
    expect(knock(&street.guard, BY_MIDDLEWARE, &token(&new)).await, 401, "token_invalid", "too soon");
    assert_eq!(street.issuer.asked(), before + 1);

    street.clock.advance(Duration::milliseconds(1));
    let rotated = token(&new);
    for answer in join_all((0..50).map(|_| knock(&street.guard, BY_MIDDLEWARE, &rotated))).await {
        expect(answer, 200, "", "all wait for the one fetch");
    }
    assert_eq!(street.issuer.asked(), before + 2);
}

#[actix_rt::test]
async fn an_issuer_that_says_how_soon_its_set_may_change_is_asked_again_after_that() {
    for (told, seconds) in [(2, 2), (0, 1), (3_600, 10)] {
        let street = Street::new().await;
        street.issuer.answers(Answer::Current(told, set(&[&street.key]).to_string()));
        street.keys.refresh().await.unwrap();
        let (before, new) = (street.issuer.asked(), new_key());
        let ask = async || knock(&street.guard, BY_MIDDLEWARE, &token(&new_key())).await;
        ask().await;
        street.issuer.answers(Answer::keys(&[&new]));
        street.clock.advance(Duration::milliseconds(seconds * 1_000 - 1));
        ask().await;
        assert_eq!(street.issuer.asked(), before + 1, "too soon: {told}");
        street.clock.advance(Duration::milliseconds(1));
        let answer = knock(&street.guard, BY_MIDDLEWARE, &token(&new)).await;
        expect(answer, 200, "", "a key that came meanwhile");
    }
}

#[actix_rt::test]
async fn a_key_that_the_issuer_drops_is_dropped() {
    let street = Street::new().await;
    street.issuer.answers(Answer::keys(&[&new_key()]));
    street.keys.refresh().await.unwrap();
    expect_everywhere(&street.guard, &token(&street.key), 401, "token_invalid", "dropped").await;
}

#[actix_rt::test]
async fn an_answer_that_cannot_be_trusted_changes_nothing() {
    let street = Street::with(|url| url.timeout(Duration::seconds(1))).await;
    let new = new_key();
    let among = |entry: Value| {
        let mut set = set(&[&new]);
        set["keys"].as_array_mut().unwrap().push(entry);
        Answer::Text(200, set.to_string())
    };
    let good = set(&[&new]).to_string();
    let secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA";
    let cases = [
        ("a server in trouble", Answer::Text(500, good.clone()), FetchError::Status(500)),
        ("no content", Answer::Text(204, String::new()), FetchError::Status(204)),
        ("not found", Answer::Text(404, good.clone()), FetchError::Status(404)),
        ("a redirect", Answer::Redirect("/elsewhere"), FetchError::Status(302)),
        ("nothing", Answer::Text(200, String::new()), KeyError::SetInvalid.into()),
        ("a page", Answer::Text(200, "<!doctype html>".to_owned()), KeyError::SetInvalid.into()),
        ("half a set", Answer::Text(200, good[..good.len() / 2].to_owned()), KeyError::SetInvalid.into()),
        ("no keys", Answer::Text(200, json!({"keys": []}).to_string()), KeyError::NoKey.into()),
        (
            "a shared secret",
            among(json!({"kty": "oct", "kid": "s", "k": secret})),
            KeyError::SymmetricKey.into(),
        ),
        (
            "a private key",
            among(json!({"kty": "OKP", "crv": "Ed25519", "d": secret})),
            KeyError::PrivateKey.into(),
        ),
        ("too long", Answer::Text(200, good.clone() + &" ".repeat(256 * 1024)), KeyError::SetTooLarge.into()),
        ("endless", Answer::Endless, KeyError::SetTooLarge.into()),
        ("silence", Answer::Never, FetchError::TimedOut),
        ("silence after the first bytes", Answer::Stalls("{\"keys\": ["), FetchError::TimedOut),
    ];
    for (name, answer, error) in cases {
        street.issuer.answers(answer);
        let outcome = actix_rt::time::timeout(Patience::from_secs(10), street.keys.refresh()).await;
        assert_eq!(outcome, Ok(Err(error)), "{name}");
        expect_everywhere(&street.guard, &token(&street.key), 200, "", name).await;
        expect(knock(&street.guard, BY_EXTRACTOR, &token(&new)).await, 401, "token_invalid", name);
    }
    street.issuer.answers(Answer::Text(200, good));
    assert_eq!(street.keys.refresh().await, Ok(()), "and the good set that the bad ones were made from");
    expect_everywhere(&street.guard, &token(&new), 200, "", "good again").await;
}

#[actix_rt::test]
async fn keys_that_cannot_be_renewed_serve_until_they_are_stale_and_then_nobody_is_judged() {
    let street = Street::with(|url| url.max_stale(Duration::minutes(20))).await;
    street.issuer.handle.stop(false).await;
    let error = street.keys.refresh().await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error:?}");

    let (known, stranger) = (token(&street.key), token(&new_key()));
    street.clock.advance(Duration::minutes(20));
    expect_everywhere(&street.guard, &known, 200, "", "as old as may be").await;
    street.clock.advance(Duration::milliseconds(1));
    expect_everywhere(&street.guard, &known, 503, "unavailable", "a millisecond older").await;
    expect_everywhere(&street.guard, &stranger, 503, "unavailable", "a stranger's").await;
    expect_everywhere(&street.guard, "", 401, "token_missing", "who presents nothing needs no key").await;
}

#[actix_rt::test]
async fn an_issuer_that_comes_back_is_believed_again() {
    let street = Street::new().await;
    street.issuer.answers(Answer::Text(503, String::new()));
    street.clock.advance(Duration::hours(2));
    assert_eq!(street.keys.refresh().await, Err(FetchError::Status(503)));
    expect_everywhere(&street.guard, &token(&street.key), 503, "unavailable", "stale").await;
    street.issuer.answers(Answer::keys(&[&street.key]));
    street.keys.refresh().await.unwrap();
    expect_everywhere(&street.guard, &token(&street.key), 200, "", "fresh").await;
}

#[actix_rt::test]
async fn the_timer_fetches_again_after_success_and_after_failure() {
    let issuer = Issuer::new(Answer::Text(500, String::new()));
    let _keys = issuer.url().refresh_every(Duration::seconds(1)).start().unwrap();
    issuer.wait_until_asked(1).await;
    issuer.answers(Answer::keys(&[&new_key()]));
    actix_rt::time::timeout(Patience::from_secs(8), issuer.wait_until_asked(3)).await.expect("a timer");
}

#[actix_rt::test]
async fn the_middleware_alone_finds_a_new_key_in_the_request_that_brings_it() {
    let (street, new) = (Street::new().await, new_key());
    street.issuer.answers(Answer::Late(set(&[&new]).to_string()));
    expect(knock(&street.guard, BY_MIDDLEWARE, &token(&new)).await, 200, "", "the first request");
}

#[actix_rt::test]
async fn a_request_that_waited_for_a_key_is_judged_whole_and_refused_once() {
    let (street, new) = (Street::new().await, new_key());
    let refusals = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refusals);
    let guard = Guard::builder()
        .keys(street.keys.clone())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .clock(street.clock.clone())
        .verify_token(|_, _| async { Err(Refusal::Application("closed_today")) })
        .on_unauthorized(move |refusal, status, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            HttpResponse::build(status).json(json!({"error": refusal.code()}))
        })
        .build()
        .unwrap();
    street.issuer.answers(Answer::keys(&[&new]));
    expect(knock(&guard, BY_MIDDLEWARE, &token(&new)).await, 401, "closed_today", "found, and then judged");
    assert_eq!(refusals.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn localhost_is_this_machine() {
    let key = new_key();
    let issuer = Issuer::new(Answer::keys(&[&key]));
    let keys = JwksUrl::new(&issuer.url.replace("127.0.0.1", "localhost")).unwrap().start().unwrap();
    assert_eq!(keys.refresh().await, Ok(()));
}

#[actix_rt::test]
async fn keys_outlive_the_runtime_that_first_asked_for_them() {
    let street = Street::new().await;
    let (keys, new) = (Arc::clone(&street.keys), new_key());
    let worker = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move { keys.refresh().await.unwrap() });
    });
    actix_rt::task::spawn_blocking(|| worker.join().unwrap()).await.unwrap();
    street.issuer.answers(Answer::keys(&[&new]));
    expect(knock(&street.guard, BY_MIDDLEWARE, &token(&new)).await, 200, "", "from another runtime");
}

#[test]
fn a_url_is_refused_at_construction_where_the_keys_could_be_exchanged_on_their_way() {
    let cases = [
        ("https://id.example/jwks.json", None),
        ("https://id.example:8443/jwks.json?tenant=a", None),
        ("http://127.0.0.1:8080/jwks.json", None),
        ("http://127.200.3.4/jwks.json", None),
        ("http://[::1]:8080/jwks.json", None),
        ("http://localhost:8080/jwks.json", None),
        ("http://LOCALHOST/jwks.json", None),
        ("http://id.example/jwks.json", Some("is not https")),
        ("http://localhost.id.example/jwks.json", Some("is not https")),
        ("http://127.0.0.1.id.example/jwks.json", Some("is not https")),
        ("http://127.0.0.1@id.example/jwks.json", Some("is not https")),
        ("http://10.0.0.1/jwks.json", Some("is not https")),
        ("http://0.0.0.0/jwks.json", Some("is not https")),
        ("http://[::ffff:127.0.0.1]/jwks.json", Some("is not https")),
        ("http://[::2]/jwks.json", Some("is not https")),
        ("ftp://127.0.0.1/jwks.json", Some("is not https")),
        ("file:///etc/jwks.json", Some("is not https")),
        ("data:application/json,{}", Some("is not https")),
        ("https://ada:secret@id.example/jwks.json", Some("user name or password")),
        ("id.example/jwks.json", Some("cannot be read")),
        ("https://", Some("cannot be read")),
        ("", Some("cannot be read")),
    ];
    for (url, expected) in cases {
        let error = JwksUrl::new(url).err().map(|error| error.to_string());
        match expected {
            None => assert_eq!(error, None, "{url}"),
            Some(part) => {
                assert!(error.as_ref().is_some_and(|error| error.contains(part)), "{url}: {error:?}");
            }
        }
    }
}

#[test]
fn a_duration_that_makes_no_sense_keeps_the_guard_from_being_built() {
    let url = || JwksUrl::new("http://127.0.0.1:1/").unwrap();
    let cases = [
        ("refresh_every", url().refresh_every(Duration::zero())),
        ("refresh_every", url().refresh_every(Duration::MIN)),
        ("refresh_every", url().refresh_every(Duration::MAX)),
        ("timeout", url().timeout(Duration::zero())),
        ("timeout", url().timeout(-Duration::seconds(1))),
        ("timeout", url().timeout(Duration::MAX)),
        ("max_stale", url().max_stale(Duration::minutes(5))),
        ("max_stale", url().max_stale(Duration::MIN)),
        ("max_stale", url().max_stale(Duration::MAX)),
        ("max_stale", url().refresh_every(Duration::hours(1))),
    ];
    for (setting, url) in cases {
        let what = format!("{url:?}");
        let error = Guard::builder().jwks_url(url).issuer(ISSUER).audience(AUDIENCE).build().unwrap_err();
        assert!(matches!(error, GuardError::JwksUrl(_)), "{what}: {error:?}");
        let start = format!("the guard's keys cannot be fetched: {setting} is out of range; ");
        assert!(error.to_string().starts_with(&start), "{what}: {error}");
    }
}

#[test]
fn a_secret_in_the_query_is_not_shown() {
    let url = JwksUrl::new("http://127.0.0.1:1/jwks.json?key=hunter2").unwrap();
    assert!(!format!("{url:?}").contains("hunter2"));
    assert!(!format!("{:?}", url.start().unwrap()).contains("hunter2"));
}
