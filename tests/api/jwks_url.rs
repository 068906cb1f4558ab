//! A guard whose keys come from a URL, with an issuer on the loopback whose responses the test sets.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration as Timeout;

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
    /// A set with this `max-age`, in seconds.
    MaxAge(u32, String),
    Redirect(&'static str),
    /// The first bytes, then no more, on an open connection.
    Stalls(&'static str),
    /// Endless spaces, without a length.
    Endless,
    Never,
    /// The whole set after 200 ms: too late for a request that does not wait.
    Late(String),
}

impl Answer {
    fn keys(keys: &[&Arc<SigningKey>]) -> Self {
        Self::Text(200, set(keys).to_string())
    }
}

/// An issuer's web server.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    /// The number of requests.
    requests: watch::Receiver<usize>,
    handle: ServerHandle,
}

impl Issuer {
    fn new(first: Answer) -> Self {
        let answer = Arc::new(Mutex::new(first));
        let (counter, requests) = watch::channel(0);
        let (state, counter) = (web::Data::from(Arc::clone(&answer)), web::Data::new(counter));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .app_data(counter.clone())
                .route("/jwks.json", web::get().to(respond))
                .route("/elsewhere", web::get().to(respond))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Self { url, answer, requests, handle }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    async fn wait_for_requests(&self, number: usize) {
        self.requests.clone().wait_for(|requests| *requests >= number).await.unwrap();
    }

    fn url(&self) -> JwksUrl {
        JwksUrl::new(&self.url).unwrap()
    }
}

async fn respond(answer: web::Data<Mutex<Answer>>, counter: web::Data<watch::Sender<usize>>) -> HttpResponse {
    counter.send_modify(|requests| *requests += 1);
    let answer = answer.lock().unwrap().clone();
    let part = |text: &'static str| Ok::<_, Infallible>(Bytes::from_static(text.as_bytes()));
    match answer {
        Answer::Text(status, text) => HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(text),
        Answer::MaxAge(seconds, text) => HttpResponse::Ok()
            .insert_header(("Cache-Control", format!("public, Max-Age={seconds}")))
            .body(text),
        Answer::Redirect(to) => HttpResponse::Found().insert_header((LOCATION, to)).finish(),
        Answer::Stalls(text) => {
            HttpResponse::Ok().streaming(stream::iter([part(text)]).chain(stream::pending()))
        }
        Answer::Endless => HttpResponse::Ok().streaming(stream::repeat_with(move || part(SPACES))),
        Answer::Never => pending().await,
        Answer::Late(text) => {
            actix_rt::time::sleep(Timeout::from_millis(200)).await;
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

/// An issuer with one key, and a guard with a manual clock that has fetched it.
struct Fixture {
    key: Arc<SigningKey>,
    issuer: Issuer,
    clock: Clock,
    keys: Arc<FetchedKeys>,
    guard: Guard,
}

impl Fixture {
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
const ROUTES: [&str; 2] = [BY_EXTRACTOR, BY_MIDDLEWARE];

/// Sends a request with `token`; returns the status and, for a failure, its `error`.
async fn get(guard: &Guard, path: &str, token: &str) -> (u16, String) {
    let hello = || web::method(Method::GET).to(|user: AuthUser| async move { user.id.clone() });
    let app = App::new()
        .app_data(guard.clone())
        .route(BY_EXTRACTOR, hello())
        .service(web::scope("/middleware").wrap(guard.protect()).route("/", hello()));
    let app = harness::init_service(app).await;
    let request =
        harness::TestRequest::get().uri(path).insert_header((AUTHORIZATION, format!("Bearer {token}")));
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
    for path in ROUTES {
        expect(get(guard, path, token).await, status, error, &format!("{what}, {path}"));
    }
}

#[actix_rt::test]
async fn a_token_of_a_published_key_is_accepted_and_one_of_another_key_is_not() {
    let fixture = Fixture::new().await;
    expect_everywhere(&fixture.guard, &token(&fixture.key), 200, "", "published").await;
    expect_everywhere(&fixture.guard, &token(&new_key()), 401, "token_invalid", "another key").await;
}

#[actix_rt::test]
async fn a_guard_with_a_url_fetches_at_the_start_and_uses_its_own_clock() {
    let key = new_key();
    let issuer = Issuer::new(Answer::keys(&[&key]));
    let clock = Clock::manual(start_of_time());
    let builder = Guard::builder().jwks_url(issuer.url()).issuer(ISSUER).audience(AUDIENCE);
    let guard = builder.clock(clock.clone()).build().unwrap();
    let first_decision = async {
        loop {
            match get(&guard, BY_EXTRACTOR, &token(&key)).await {
                (503, _) => actix_rt::task::yield_now().await,
                other => return other,
            }
        }
    };
    expect(actix_rt::time::timeout(Timeout::from_secs(4), first_decision).await.unwrap(), 200, "", "fetched");
    issuer.answers(Answer::Text(500, String::new()));
    clock.advance(Duration::hours(1) + Duration::milliseconds(1));
    expect_everywhere(&guard, &token(&key), 503, "unavailable", "by the guard's clock the keys are old")
        .await;
}

#[actix_rt::test]
async fn before_the_first_keys_a_token_is_a_503_and_not_a_401() {
    let issuer = Issuer::new(Answer::Never);
    let guard = guard(issuer.url().start().unwrap(), &Clock::manual(start_of_time()));
    expect_everywhere(&guard, &token(&new_key()), 503, "unavailable", "no keys yet").await;
}

#[actix_rt::test]
async fn an_extractor_refuses_a_new_key_at_once_and_the_middleware_finds_it_with_one_fetch() {
    let fixture = Fixture::new().await;
    let (before, new) = (fixture.issuer.requests(), new_key());
    fixture.issuer.answers(Answer::keys(&[&fixture.key, &new]));
    expect(get(&fixture.guard, BY_EXTRACTOR, &token(&new)).await, 401, "token_invalid", "at once");
    expect(get(&fixture.guard, BY_MIDDLEWARE, &token(&new)).await, 200, "", "by the same fetch");
    expect_everywhere(&fixture.guard, &token(&new), 200, "", "from then on").await;
    expect_everywhere(&fixture.guard, &token(&fixture.key), 200, "", "the old one").await;
    assert_eq!(fixture.issuer.requests(), before + 1);
}

#[actix_rt::test]
async fn the_extractor_does_not_wait_for_the_fetch_it_starts() {
    let fixture = Fixture::new().await;
    let before = fixture.issuer.requests();
    fixture.issuer.answers(Answer::Never);
    let answer = get(&fixture.guard, BY_EXTRACTOR, &token(&new_key())).now_or_never();
    expect(answer.expect("decided in the first poll"), 401, "token_invalid", "at once");
    fixture.issuer.wait_for_requests(before + 1).await;
}

#[actix_rt::test]
async fn the_middleware_waits_two_seconds_and_no_longer() {
    let fixture = Fixture::with(|url| url.timeout(Duration::minutes(1))).await;
    fixture.issuer.answers(Answer::Never);
    let unknown = token(&new_key());
    let answer = get(&fixture.guard, BY_MIDDLEWARE, &unknown);
    let answer = actix_rt::time::timeout(Timeout::from_secs(4), answer).await.expect("a bounded wait");
    expect(answer, 401, "token_invalid", "after the wait");
    expect_everywhere(&fixture.guard, &token(&fixture.key), 200, "", "known keys do not wait").await;
}

#[actix_rt::test]
async fn fifty_unknown_keys_at_once_make_one_fetch_and_no_more_for_ten_seconds() {
    let fixture = Fixture::new().await;
    let (before, new) = (fixture.issuer.requests(), new_key());
    let unknown: Vec<_> = (0..50).map(|_| token(&new_key())).collect();
    let crowd = || join_all(unknown.iter().map(|token| get(&fixture.guard, BY_MIDDLEWARE, token)));
    for answer in crowd().await {
        expect(answer, 401, "token_invalid", "in the crowd");
    }
    assert_eq!(fixture.issuer.requests(), before + 1);

    fixture.issuer.answers(Answer::keys(&[&new]));
    fixture.clock.advance(Duration::milliseconds(9_999));
    crowd().await;
    expect(get(&fixture.guard, BY_MIDDLEWARE, &token(&new)).await, 401, "token_invalid", "too soon");
    assert_eq!(fixture.issuer.requests(), before + 1);

    fixture.clock.advance(Duration::milliseconds(1));
    let rotated = token(&new);
    for answer in join_all((0..50).map(|_| get(&fixture.guard, BY_MIDDLEWARE, &rotated))).await {
        expect(answer, 200, "", "all wait for the one fetch");
    }
    assert_eq!(fixture.issuer.requests(), before + 2);
}

#[actix_rt::test]
async fn a_shorter_max_age_of_the_issuer_allows_the_next_fetch_sooner() {
    for (max_age, seconds) in [(2, 2), (0, 1), (3_600, 10)] {
        let fixture = Fixture::new().await;
        fixture.issuer.answers(Answer::MaxAge(max_age, set(&[&fixture.key]).to_string()));
        fixture.keys.refresh().await.unwrap();
        let (before, new) = (fixture.issuer.requests(), new_key());
        let ask = async || get(&fixture.guard, BY_MIDDLEWARE, &token(&new_key())).await;
        ask().await;
        fixture.issuer.answers(Answer::keys(&[&new]));
        fixture.clock.advance(Duration::milliseconds(seconds * 1_000 - 1));
        ask().await;
        assert_eq!(fixture.issuer.requests(), before + 1, "too soon: {max_age}");
        fixture.clock.advance(Duration::milliseconds(1));
        let answer = get(&fixture.guard, BY_MIDDLEWARE, &token(&new)).await;
        expect(answer, 200, "", "a key that was added meanwhile");
    }
}

#[actix_rt::test]
async fn a_key_that_the_issuer_removes_is_removed() {
    let fixture = Fixture::new().await;
    fixture.issuer.answers(Answer::keys(&[&new_key()]));
    fixture.keys.refresh().await.unwrap();
    expect_everywhere(&fixture.guard, &token(&fixture.key), 401, "token_invalid", "dropped").await;
}

#[actix_rt::test]
async fn a_failed_fetch_changes_nothing() {
    let fixture = Fixture::with(|url| url.timeout(Duration::seconds(1))).await;
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
        fixture.issuer.answers(answer);
        let outcome = actix_rt::time::timeout(Timeout::from_secs(10), fixture.keys.refresh()).await;
        assert_eq!(outcome, Ok(Err(error)), "{name}");
        expect_everywhere(&fixture.guard, &token(&fixture.key), 200, "", name).await;
        expect(get(&fixture.guard, BY_EXTRACTOR, &token(&new)).await, 401, "token_invalid", name);
    }
    fixture.issuer.answers(Answer::Text(200, good));
    assert_eq!(fixture.keys.refresh().await, Ok(()), "and the good set that the bad ones were made from");
    expect_everywhere(&fixture.guard, &token(&new), 200, "", "good again").await;
}

#[actix_rt::test]
async fn keys_are_used_until_they_are_stale_and_then_every_token_is_a_503() {
    let fixture = Fixture::with(|url| url.max_stale(Duration::minutes(20))).await;
    fixture.issuer.handle.stop(false).await;
    let error = fixture.keys.refresh().await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error:?}");

    let (known, unknown) = (token(&fixture.key), token(&new_key()));
    fixture.clock.advance(Duration::minutes(20));
    expect_everywhere(&fixture.guard, &known, 200, "", "as old as may be").await;
    fixture.clock.advance(Duration::milliseconds(1));
    expect_everywhere(&fixture.guard, &known, 503, "unavailable", "a millisecond older").await;
    expect_everywhere(&fixture.guard, &unknown, 503, "unavailable", "of an unknown key").await;
    expect_everywhere(&fixture.guard, "", 401, "token_missing", "without a token no key is needed").await;
}

#[actix_rt::test]
async fn keys_of_an_issuer_that_is_back_are_used_again() {
    let fixture = Fixture::new().await;
    fixture.issuer.answers(Answer::Text(503, String::new()));
    fixture.clock.advance(Duration::hours(2));
    assert_eq!(fixture.keys.refresh().await, Err(FetchError::Status(503)));
    expect_everywhere(&fixture.guard, &token(&fixture.key), 503, "unavailable", "stale").await;
    fixture.issuer.answers(Answer::keys(&[&fixture.key]));
    fixture.keys.refresh().await.unwrap();
    expect_everywhere(&fixture.guard, &token(&fixture.key), 200, "", "fresh").await;
}

#[actix_rt::test]
async fn the_timer_fetches_again_after_success_and_after_failure() {
    let issuer = Issuer::new(Answer::Text(500, String::new()));
    let _keys = issuer.url().refresh_every(Duration::seconds(1)).start().unwrap();
    issuer.wait_for_requests(1).await;
    issuer.answers(Answer::keys(&[&new_key()]));
    actix_rt::time::timeout(Timeout::from_secs(8), issuer.wait_for_requests(3)).await.expect("a timer");
}

#[actix_rt::test]
async fn the_middleware_waits_for_the_key_that_the_request_needs() {
    let (fixture, new) = (Fixture::new().await, new_key());
    fixture.issuer.answers(Answer::Late(set(&[&new]).to_string()));
    expect(get(&fixture.guard, BY_MIDDLEWARE, &token(&new)).await, 200, "", "the first request");
}

#[actix_rt::test]
async fn a_request_that_waited_for_a_key_runs_every_check_and_is_refused_once() {
    let (fixture, new) = (Fixture::new().await, new_key());
    let refusals = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refusals);
    let guard = Guard::builder()
        .keys(fixture.keys.clone())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .clock(fixture.clock.clone())
        .verify_token(|_, _| async { Err(Refusal::Application("closed_today")) })
        .on_unauthorized(move |refusal, status, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            HttpResponse::build(status).json(json!({"error": refusal.code()}))
        })
        .build()
        .unwrap();
    fixture.issuer.answers(Answer::keys(&[&new]));
    expect(
        get(&guard, BY_MIDDLEWARE, &token(&new)).await,
        401,
        "closed_today",
        "the key is found, and the app refuses",
    );
    assert_eq!(refusals.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn localhost_is_resolved_to_this_machine() {
    let key = new_key();
    let issuer = Issuer::new(Answer::keys(&[&key]));
    let keys = JwksUrl::new(&issuer.url.replace("127.0.0.1", "localhost")).unwrap().start().unwrap();
    assert_eq!(keys.refresh().await, Ok(()));
}

#[actix_rt::test]
async fn keys_outlive_the_runtime_that_first_used_them() {
    let fixture = Fixture::new().await;
    let (keys, new) = (Arc::clone(&fixture.keys), new_key());
    let worker = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move { keys.refresh().await.unwrap() });
    });
    actix_rt::task::spawn_blocking(|| worker.join().unwrap()).await.unwrap();
    fixture.issuer.answers(Answer::keys(&[&new]));
    expect(get(&fixture.guard, BY_MIDDLEWARE, &token(&new)).await, 200, "", "from another runtime");
}

#[test]
fn a_url_is_refused_if_the_keys_could_be_replaced_on_their_way() {
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
        ("id.example/jwks.json", Some("is not a URL")),
        ("https://", Some("is not a URL")),
        ("", Some("is not a URL")),
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
fn a_guard_with_a_duration_out_of_range_is_not_built() {
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
