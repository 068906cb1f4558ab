//! `TestApp`: the real app over a database of its own, with a clock to move and a key that is known.

use actix_web::body::to_bytes;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{App, test};
use chrono::{DateTime, Duration, Utc};
use hallpass::clock::Clock;
use hallpass::server::accounts::new_user;
use hallpass::server::config::Settings;
use hallpass::server::events::{Event, EventKind};
use hallpass::server::password::{Hasher, Password};
use hallpass::server::store::Store;
use hallpass::server::vault::{KdfParams, Vault};
use hallpass::server::{Desk, new_signing_key};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::openapi;

pub const EMAIL: &str = "ada@example.com";
pub const PASSWORD: &str = "correct horse battery";
pub const PASSPHRASE: &str = "a river of seventeen blue lanterns";

/// A whole server without a socket.
pub struct TestApp {
    pub desk: Desk,
    pub clock: Clock,
    pub folder: TempDir,
}

/// A request about to be sent.
pub struct Ask<'a> {
    app: &'a TestApp,
    request: test::TestRequest,
}

/// An answer, read to its end.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl TestApp {
    /// With one user, [`EMAIL`], whose password is [`PASSWORD`].
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        let mut settings = Settings::default();
        settings.password.bcrypt_cost = 4;
        change(&mut settings);
        // Whole seconds, as tokens count them.
        let clock = Clock::manual(DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap());
        // So that a test may move the clock back.
        let long_ago = clock.now() - Duration::days(365);
        let (vault, installation) =
            Vault::create_with(&PASSPHRASE.into(), KdfParams::for_tests(), clock.now()).unwrap();
        let key = new_signing_key(&vault, settings.token.algorithm, clock.now(), long_ago).unwrap();
        assert!(store.found(&installation, &key, Duration::hours(1)).await.unwrap());
        let desk = Desk::open(settings, store, vault, clock.clone()).await.unwrap();
        let app = Self { desk, clock, folder };
        app.add_user(EMAIL, PASSWORD).await;
        app
    }

    /// A second server on the same database, as another process would be.
    pub async fn another(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&self.folder.path().join("test.db")).await.unwrap();
        let installation = store.installation().await.unwrap().unwrap();
        let vault = Vault::open(&installation, &PASSPHRASE.into()).unwrap();
        let settings = self.desk.settings().clone();
        let desk = Desk::open(settings, store, vault, self.clock.clone()).await.unwrap();
        Self { desk, clock: self.clock.clone(), folder }
    }

    /// The same server after a restart.
    pub async fn restart(&mut self) {
        let restarted = self.another().await;
        self.desk = restarted.desk;
    }

    pub async fn add_user(&self, email: &str, password: &str) {
        let hash = Hasher::start(1, 1, 4).unwrap().hash(&Password::from(password)).await.unwrap();
        let user = new_user(email.into(), Some("Ada".into()), vec!["editor".into()], hash, self.clock.now());
        let event = self.event(EventKind::UserAdded).user(user.id);
        self.desk.store().insert_user(&user, &event).await.unwrap();
    }

    /// What the operator does now.
    pub fn event(&self, kind: EventKind) -> Event {
        Event::new(kind, self.clock.now())
    }

    /// Lets time pass for a server that goes on hearing from its database.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.desk.catch_up().await.unwrap();
    }

    pub async fn user_id(&self) -> uuid::Uuid {
        self.desk.store().user_by_email(EMAIL).await.unwrap().unwrap().id
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { app: self, request: test::TestRequest::default().method(method).uri(path) }
    }

    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    pub async fn login(&self, email: &str, password: &str) -> Reply {
        self.post("/auth/login").json(json!({"email": email, "password": password})).send().await
    }

    /// A token of [`EMAIL`]'s.
    pub async fn token(&self) -> String {
        let reply = self.login(EMAIL, PASSWORD).await;
        reply.json()["data"]["token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token: {}", reply.text()))
            .to_owned()
    }

    pub async fn get_user(&self, token: &str) -> Reply {
        self.get("/user/").authorization(&format!("Bearer {token}")).send().await
    }
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.request = self.request.append_header((name, HeaderValue::from_bytes(value.as_ref()).unwrap()));
        self
    }

    pub fn authorization(self, value: &str) -> Self {
        self.header("authorization", value)
    }

    /// As if it came through a socket from this address.
    pub fn peer(mut self, address: &str) -> Self {
        self.request = self.request.peer_addr((address.parse::<std::net::IpAddr>().unwrap(), 4711).into());
        self
    }

    pub fn json(mut self, value: Value) -> Self {
        self.request = self.request.set_json(value);
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.set_payload(body.into());
        self.header("content-type", content_type)
    }

    pub async fn send(self) -> Reply {
        let desk = &self.app.desk;
        let service = test::init_service(
            App::new()
                .wrap(desk.cors())
                .wrap(desk.envelope())
                .configure(desk.configure())
                .configure(desk.console()),
        )
        .await;
        let request = self.request.to_request();
        let asked = (request.method().clone(), request.path().to_owned());
        let response = test::call_service(&service, request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap().to_vec();
        let reply = Reply { status, headers, body };
        openapi::hold_against_document(&asked.0, &asked.1, &reply);
        reply
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
