//! `TestApp`: the real app with its own database, a clock that tests move, and a known key.

use actix_web::body::to_bytes;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::test;
use chrono::{DateTime, Duration};
use hallpass::clock::Clock;
use hallpass::server::AuthServer;
use hallpass::server::accounts::{NewUser, UserAdmin};
use hallpass::server::config::Settings;
use hallpass::server::credentials::{Hasher, Password};
use hallpass::server::keys::vault::Vault;
use hallpass::server::model::{EventFilter, RecordedEvent, SealedInstallation, StoredKey, UserRecord};
use hallpass::server::store::Store;
use hallpass::testing::TestServer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::openapi;
use crate::test_database::TestDatabase;

pub const EMAIL: &str = "ada@example.com";
pub const PASSWORD: &str = TestServer::PASSWORD;
pub const PASSPHRASE: &str = TestServer::PASSPHRASE;

/// A whole server without a socket.
pub struct TestApp {
    pub server: AuthServer,
    pub clock: Clock,
    pub database: TestDatabase,
}

/// A request to send.
pub struct Ask<'a> {
    app: &'a TestApp,
    request: test::TestRequest,
}

/// An answer, read completely.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl TestApp {
    /// Returns an app with one user, [`EMAIL`], whose password is [`PASSWORD`].
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Returns such an app with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(TestDatabase::new(), change).await
    }

    /// Returns such an app on this database.
    pub async fn on(database: TestDatabase, change: impl FnOnce(&mut Settings)) -> Self {
        let server = TestServer::with(|settings| {
            settings.database = database.settings.clone();
            change(settings);
        })
        .await;
        let app = Self { server: server.auth().clone(), clock: server.clock().clone(), database };
        app.add_user(EMAIL, PASSWORD).await;
        app
    }

    /// Returns a second server on the same database, like another process.
    pub async fn another(&self) -> Self {
        self.another_with(|_| {}).await
    }

    /// Returns a second server on the same database, with other settings.
    pub async fn another_with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let store = Store::open(&self.database.settings).await.unwrap();
        let vault = self.vault().await;
        let mut settings = self.server.settings().clone();
        change(&mut settings);
        let server = AuthServer::open(settings, store, vault, self.clock.clone()).await.unwrap();
        Self { server, clock: self.clock.clone(), database: self.database.clone() }
    }

    /// Restarts the server.
    pub async fn restart(&mut self) {
        let restarted = self.another().await;
        self.server = restarted.server;
    }

    pub async fn add_user(&self, email: &str, password: &str) {
        self.add(email, password, &["editor"]).await;
    }

    /// Adds a user whose password is [`PASSWORD`].
    pub async fn add_user_with_roles(&self, email: &str, roles: &[&str]) {
        self.add(email, PASSWORD, roles).await;
    }

    async fn add(&self, email: &str, password: &str, roles: &[&str]) {
        let hash = Hasher::start(1, 1, 4)
            .unwrap()
            .hash(&Password::from(password), hallpass::server::credentials::Origin::LOCAL)
            .await
            .unwrap();
        let user = NewUser {
            email: email.into(),
            email_is_verified: true,
            name: Some("Ada".into()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            password_hash: Some(hash),
        };
        self.users().add(user).await.unwrap();
    }

    /// Returns the operator's view of the accounts. The server learns of changes from the database.
    pub fn users(&self) -> UserAdmin {
        self.server.users()
    }

    pub async fn installation(&self) -> SealedInstallation {
        let read = self.server.store().read(async |connection| connection.installation().await);
        read.await.unwrap().unwrap()
    }

    /// Returns the vault, unsealed with [`PASSPHRASE`].
    pub async fn vault(&self) -> Vault {
        Vault::unseal(&self.installation().await, &PASSPHRASE.into()).unwrap()
    }

    pub async fn signing_keys(&self) -> Vec<StoredKey> {
        let read = self.server.store().read(async |connection| connection.signing_keys().await);
        read.await.unwrap()
    }

    pub async fn recorded_events(&self) -> Vec<RecordedEvent> {
        let filter = EventFilter { user: None, since: DateTime::UNIX_EPOCH, after: 0, limit: 10_000 };
        let read = self.server.store().read(async |connection| connection.events(&filter).await);
        read.await.unwrap()
    }

    /// The stored user with this id.
    pub async fn stored_user(&self, id: Uuid) -> UserRecord {
        let read = self.server.store().read(async |connection| connection.user(id).await);
        read.await.unwrap().unwrap()
    }

    /// The stored hash of the user's password, unsealed.
    pub async fn password_hash(&self, id: Uuid) -> String {
        let stored = self.stored_user(id).await.password_hash.unwrap();
        self.server.hashes().open(id, &stored).unwrap().to_string()
    }

    /// Moves the clock, with a sync, so that the state does not become stale.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.server.sync_changes().await.unwrap();
    }

    pub async fn user_id(&self) -> Uuid {
        self.users().find(EMAIL).await.unwrap().unwrap().id
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

    /// Returns a token of [`EMAIL`].
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

    /// Sends the request as if from this address.
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
        let service = test::init_service(hallpass::server::app(&self.app.server)).await;
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
