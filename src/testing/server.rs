//! A whole server for the tests of an app that embeds one: its own database, its users, a clock to move.

use actix_web::http::header::{AUTHORIZATION, HeaderName};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, http::StatusCode};
use chrono::{DateTime, Duration};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::audit::Audit;
use super::mail::{Mail, mails_in};
use crate::clock::Clock;
use crate::guard::User;
use crate::server::config::{DatabaseUrl, MailUrl, Settings};
use crate::server::http::openapi;
use crate::server::keys::vault::Vault;
use crate::server::keys::{installation, new_signing_key};
use crate::server::model::KdfParams;
use crate::server::store::Store;
use crate::server::{AuthServer, NewAccount};

/// A whole [`AuthServer`] for a test: on a database of its own, with a clock that the test moves, and a cheap password
/// hash. Features `testing` and `server`.
///
/// It has no socket and no background tasks: [`pass`](Self::pass) applies what they would have applied, so nothing in a
/// test depends on when it runs.
///
/// # Example: an app with sign-in, tested as a whole
/// ```
/// use actix_web::{App, test, web};
/// use hallpass::AuthUser;
/// use hallpass::server::AuthServer;
/// use hallpass::testing::TestServer;
///
/// async fn notes(user: AuthUser) -> String {
///     format!("the notes of {}", user.email)
/// }
///
/// fn routes(auth: &AuthServer) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
///     let auth = auth.configure();
///     |config| {
///         config.configure(auth).route("/notes", web::get().to(notes));
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let server = TestServer::new().await;
/// server.add_user("ada@example.com").await;
///
/// let app = test::init_service(App::new().configure(routes(server.auth()))).await;
/// let ada = server.sign_in("ada@example.com").await;
/// let ask = test::TestRequest::get().uri("/notes").insert_header(ada.bearer()).to_request();
/// assert_eq!(test::call_and_read_body(&app, ask).await, "the notes of ada@example.com");
///
/// // The app and the server within it: every route that is not public refuses strangers.
/// server.audit(["GET /notes"]).assert_all_guarded(App::new().configure(routes(server.auth()))).await;
/// # });
/// ```
#[derive(Debug)]
pub struct TestServer {
    auth: AuthServer,
    clock: Clock,
    _folder: TempDir,
}

/// The tokens of a user who has signed in to a [`TestServer`].
///
/// # Example
/// ```no_run
/// # async fn f(server: hallpass::testing::TestServer) {
/// let ada = server.sign_in("ada@example.com").await;
/// assert_eq!(ada.token.split('.').count(), 3);
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SignedIn {
    /// The access token.
    pub token: String,
    /// The refresh token.
    pub refresh_token: String,
}

impl SignedIn {
    /// Returns the header `Authorization` with the access token.
    ///
    /// # Example
    /// ```no_run
    /// # async fn f(server: hallpass::testing::TestServer) {
    /// let ada = server.sign_in("ada@example.com").await;
    /// let ask = actix_web::test::TestRequest::get().insert_header(ada.bearer());
    /// # let _ = ask;
    /// # }
    /// ```
    pub fn bearer(&self) -> (HeaderName, String) {
        (AUTHORIZATION, format!("Bearer {}", self.token))
    }
}

impl TestServer {
    /// The password of the users that [`add_user`](Self::add_user) adds.
    ///
    /// # Example
    /// ```
    /// assert_eq!(hallpass::testing::TestServer::PASSWORD, "correct horse battery");
    /// ```
    pub const PASSWORD: &str = "correct horse battery";

    /// The passphrase of the database.
    ///
    /// # Example
    /// ```
    /// assert_eq!(hallpass::testing::TestServer::PASSPHRASE, "a river of seventeen blue lanterns");
    /// ```
    pub const PASSPHRASE: &str = "a river of seventeen blue lanterns";

    /// A server with the default settings, without users.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::new().await;
    /// assert!(server.auth().issuer().starts_with("urn:uuid:"));
    /// # });
    /// ```
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with other settings. Another `database.url` is used as it is; it must be empty. The limits of settings
    /// that files have do not count here.
    ///
    /// # Panics
    /// If no temporary folder can be made, or the settings cannot be used.
    ///
    /// # Example: nobody may register
    /// ```
    /// use hallpass::testing::TestServer;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let server = TestServer::with(|settings| settings.registration.open = false).await;
    /// assert!(!server.auth().settings().registration.open);
    /// # });
    /// ```
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::start(folder, change).await
    }

    /// A server that sends mails, which [`mails`](Self::mails) returns.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    ///
    /// # Example: a forgotten password
    /// ```
    /// use actix_web::{App, test};
    /// use hallpass::testing::TestServer;
    /// use serde_json::json;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let server = TestServer::with_mail(|_| {}).await;
    /// server.add_user("ada@example.com").await;
    /// let app = test::init_service(App::new().configure(server.auth().configure())).await;
    /// let ask = test::TestRequest::post().uri("/auth/password/forgot").set_json(json!({"email": "ada@example.com"}));
    /// assert_eq!(test::call_service(&app, ask.to_request()).await.status(), 202);
    ///
    /// let mails = server.mails().await;
    /// assert_eq!(mails[0].to(), "ada@example.com");
    /// assert!(mails[0].link().unwrap().contains("#/reset?token="));
    /// # });
    /// ```
    pub async fn with_mail(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mails = folder.path().to_owned();
        Self::start(folder, |settings| {
            settings.mail.url = Some(MailUrl::Folder(mails));
            change(settings);
        })
        .await
    }

    async fn start(folder: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let own = DatabaseUrl::Sqlite(folder.path().join("test.db"));
        let mut settings = Settings::default();
        settings.database.url = own.clone();
        // A test's passwords are worth nothing.
        settings.password.bcrypt_cost = 4;
        settings.throttle.refusal_delay = std::time::Duration::ZERO;
        change(&mut settings);
        // Whole seconds, as tokens count them.
        let now = DateTime::from_timestamp(Clock::system().now().timestamp(), 0);
        let clock = Clock::manual(now.expect("the time is within chrono's range"));
        let opened = async {
            let store = Store::open(&settings.database).await.map_err(|error| error.to_string())?;
            let vault = Self::install(&store, &settings, &clock).await?;
            AuthServer::open(settings, store, vault, clock.clone()).await.map_err(|error| error.to_string())
        };
        let auth = opened.await.unwrap_or_else(|error| panic!("the test's server does not start: {error}"));
        Self { auth, clock, _folder: folder }
    }

    /// Makes the installation, with a key derivation that costs nothing.
    async fn install(store: &Store, settings: &Settings, clock: &Clock) -> Result<Vault, String> {
        let now = clock.now();
        let passphrase = Self::PASSPHRASE.into();
        let (vault, sealed) = Vault::create_with(&passphrase, KdfParams::for_tests(), now)
            .map_err(|error| error.to_string())?;
        // Of long ago, so that a test may move the clock back.
        let key = new_signing_key(&vault, settings.token.algorithm, now, now - Duration::days(365))
            .map_err(|error| error.to_string())?;
        let is_first = installation::insert(store, &sealed, &key, Duration::hours(1)).await;
        if is_first.map_err(|error| error.to_string())? {
            Ok(vault)
        } else {
            Err("the database is not empty".into())
        }
    }

    /// Returns the server, for the app: `App::new().configure(server.auth().configure())`.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::new().await;
    /// let app = actix_web::App::new().configure(server.auth().configure());
    /// # let _ = app;
    /// # });
    /// ```
    pub fn auth(&self) -> &AuthServer {
        &self.auth
    }

    /// Returns the clock.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::new().await;
    /// let start = server.clock().now();
    /// server.pass(chrono::Duration::hours(1)).await;
    /// assert_eq!(server.clock().now() - start, chrono::Duration::hours(1));
    /// # });
    /// ```
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Lets time pass, and applies the changes of other servers and commands on the same database.
    ///
    /// # Panics
    /// If the database cannot be read.
    ///
    /// # Example: a token expires
    /// ```
    /// use actix_web::{App, test};
    /// use chrono::Duration;
    /// use hallpass::testing::TestServer;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let server = TestServer::new().await;
    /// server.add_user("ada@example.com").await;
    /// let ada = server.sign_in("ada@example.com").await;
    /// server.pass(Duration::hours(1)).await;
    ///
    /// let app = test::init_service(App::new().configure(server.auth().configure())).await;
    /// let ask = test::TestRequest::get().uri("/user/").insert_header(ada.bearer()).to_request();
    /// assert_eq!(test::call_service(&app, ask).await.status(), 401);
    /// # });
    /// ```
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.auth.sync_changes().await.expect("the test's database can be read");
    }

    /// Sends the mails that are due, and returns all that were sent so far, in the order in which they were caused.
    ///
    /// # Panics
    /// If the server has no `mail.url`, as [`with_mail`](Self::with_mail) sets it.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::with_mail(|_| {}).await;
    /// assert!(server.mails().await.is_empty());
    /// # });
    /// ```
    pub async fn mails(&self) -> Vec<Mail> {
        let (Some(mailer), Some(MailUrl::Folder(folder))) =
            (self.auth.mailer(), &self.auth.settings().mail.url)
        else {
            panic!("the test's server sends no mails to a folder; make it with TestServer::with_mail");
        };
        mailer.send_due().await.expect("the test's database can be used");
        mails_in(folder).expect("the folder can be read")
    }

    /// Adds a user whose password is [`PASSWORD`](Self::PASSWORD).
    ///
    /// # Panics
    /// If the user cannot be added.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::new().await;
    /// assert_eq!(server.add_user("Ada@Example.com").await.email, "ada@example.com");
    /// # });
    /// ```
    pub async fn add_user(&self, email: &str) -> User {
        self.add_user_with_roles(email, &[]).await
    }

    /// Adds such a user with roles.
    ///
    /// # Panics
    /// If the user cannot be added.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::new().await;
    /// assert_eq!(server.add_user_with_roles("ada@example.com", &["admin"]).await.roles, ["admin"]);
    /// # });
    /// ```
    pub async fn add_user_with_roles(&self, email: &str, roles: &[&str]) -> User {
        let account = NewAccount::new(email).roles(roles.iter().copied()).password(Self::PASSWORD);
        match self.auth.add_user(account).await {
            Ok(user) => user,
            Err(error) => panic!("{email} cannot be added: {error}"),
        }
    }

    /// Signs a user in whose password is [`PASSWORD`](Self::PASSWORD), as a client does.
    ///
    /// # Panics
    /// With the server's answer, if it refuses.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// let server = hallpass::testing::TestServer::new().await;
    /// server.add_user("ada@example.com").await;
    /// let ada = server.sign_in("ada@example.com").await;
    /// assert!(ada.bearer().1.starts_with("Bearer "));
    /// # });
    /// ```
    pub async fn sign_in(&self, email: &str) -> SignedIn {
        let app = init_service(App::new().configure(self.auth.configure())).await;
        let body = json!({"email": email, "password": Self::PASSWORD});
        let response =
            call_service(&app, TestRequest::post().uri("/auth/login").set_json(body).to_request()).await;
        let (status, body) = (response.status(), read_body(response).await);
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| read["data"][name].as_str().map(str::to_owned);
        match (status, text("token"), text("refresh_token")) {
            (StatusCode::OK, Some(token), Some(refresh_token)) => SignedIn { token, refresh_token },
            _ => panic!("{email} cannot sign in: {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Returns an audit of an app that embeds this server with [`AuthServer::configure`]. `routes` are those of the app
    /// itself, all of them; the server's are known, and those for everybody allowed.
    ///
    /// # Panics
    /// If one of them is not written like `GET /notes` or `/notes`.
    ///
    /// # Example: a page for everybody beside a guarded route
    /// ```
    /// use actix_web::{App, web};
    /// use hallpass::AuthUser;
    /// use hallpass::testing::TestServer;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let server = TestServer::new().await;
    /// let app = App::new()
    ///     .configure(server.auth().configure())
    ///     .route("/", web::get().to(|| async { "for everybody" }))
    ///     .route("/notes", web::get().to(|_: AuthUser| async { "for users" }));
    /// server.audit(["GET /", "GET /notes"]).allow(["GET /"]).assert_all_guarded(app).await;
    /// # });
    /// ```
    #[track_caller]
    pub fn audit<R: AsRef<str>>(&self, routes: impl IntoIterator<Item = R>) -> Audit {
        let (all, public) = openapi::routes(self.auth.settings());
        Audit::new().routes(all).routes(routes).allow(public)
    }
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").finish_non_exhaustive()
    }
}
