//! Stateless token authentication for actix-web: a handler that takes an [`AuthUser`] is login-protected.
//!
//! The crate is two things. The **guard** checks tokens in any actix-web app; this page is its tutorial. The
//! **server** issues them (feature `server`, on by default): `cargo install hallpass`, `hallpass serve`, and see the
//! README. The guard alone, without database, command line and password hashing, is
//!
//! ```toml
//! [dependencies]
//! actix-web = "4"
//! hallpass = { version = "0.1", default-features = false }
//!
//! [dev-dependencies]
//! hallpass = { version = "0.1", default-features = false, features = ["testing"] }
//! ```
//!
//! # An app with three kinds of routes
//!
//! One [`Guard`], built at start. What each handler asks of its caller stands in its signature:
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use hallpass::{AuthUser, Guard, MaybeAuthUser, Require, Role, RoleName};
//!
//! struct Admin;
//! impl RoleName for Admin {
//!     const NAME: &'static str = "admin";
//! }
//!
//! /// Anybody may come; a bad token is refused all the same.
//! async fn welcome(visitor: MaybeAuthUser) -> String {
//!     visitor.user().map_or("Hello, stranger!".into(), |user| format!("Hello, {}!", user.email))
//! }
//!
//! /// Users alone.
//! async fn notes(user: AuthUser) -> String {
//!     format!("the notes of {}", user.email)
//! }
//!
//! /// Users with the role `admin` alone.
//! async fn shut_down(admin: Require<Role<Admin>>) -> String {
//!     format!("as you wish, {}", admin.email)
//! }
//!
//! fn routes(guard: &Guard) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
//!     let install = guard.install();
//!     |config| {
//!         config
//!             .configure(install)
//!             .route("/", web::get().to(welcome))
//!             .route("/notes", web::get().to(notes))
//!             .route("/shut-down", web::post().to(shut_down));
//!     }
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let keys = std::fs::read_to_string("jwks.json")?; // the issuer's /.well-known/jwks.json
//!     let guard = Guard::builder().jwks(&keys).issuer("https://id.example").audience("https://app.example").build()?;
//!     Ok(HttpServer::new(move || App::new().configure(routes(&guard))).bind("127.0.0.1:9090")?.run().await?)
//! }
//! ```
//!
//! # Its test
//!
//! `hallpass::testing::Mint` issues tokens for any user, and gives the guard that accepts them. No server, no network:
//!
//! ```
//! # use actix_web::{App, test, web};
//! # use hallpass::{AuthUser, Guard, MaybeAuthUser, Require, Role, RoleName};
//! # struct Admin;
//! # impl RoleName for Admin { const NAME: &'static str = "admin"; }
//! # async fn welcome(visitor: MaybeAuthUser) -> String {
//! #     visitor.user().map_or("Hello, stranger!".into(), |user| format!("Hello, {}!", user.email))
//! # }
//! # async fn notes(user: AuthUser) -> String { format!("the notes of {}", user.email) }
//! # async fn shut_down(admin: Require<Role<Admin>>) -> String { format!("as you wish, {}", admin.email) }
//! # fn routes(guard: &Guard) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
//! #     let install = guard.install();
//! #     |config| {
//! #         config.configure(install).route("/", web::get().to(welcome)).route("/notes", web::get().to(notes))
//! #             .route("/shut-down", web::post().to(shut_down));
//! #     }
//! # }
//! use hallpass::testing::Mint;
//!
//! # /*
//! #[actix_web::test]
//! async fn strangers_are_refused_and_users_see_their_notes() {
//! # */
//! # actix_rt::System::new().block_on(async {
//!     let mint = Mint::new();
//!     let app = test::init_service(App::new().configure(routes(&mint.guard()))).await;
//!     let get = || test::TestRequest::get().uri("/notes");
//!     assert_eq!(test::call_service(&app, get().to_request()).await.status(), 401);
//!
//!     let ada = mint.token_for("ada").email("ada@example.com").bearer();
//!     let answer = test::call_and_read_body(&app, get().insert_header(ada).to_request()).await;
//!     assert_eq!(answer, "the notes of ada@example.com");
//! # });
//! # /*
//! }
//! # */
//! ```
//!
//! It also makes tokens that must be refused, has a clock to move instead of sleeping, and an audit that asks
//! every route of an app as a stranger and names each that answers: see the module `testing`.
//!
//! # Deny by default
//!
//! As an extractor, the verdict comes first when [`AuthUser`] is a handler's first parameter. Under the
//! middleware it comes before any extractor is built, whatever handlers take and in whatever order, and a handler that
//! forgot to ask is guarded too:
//!
//! ```
//! use actix_web::{App, test, web};
//! # use hallpass::testing::Mint;
//!
//! # actix_rt::System::new().block_on(async {
//! # let guard = Mint::new().guard();
//! let app = App::new()
//!     .wrap(guard.protect().allow("/about"))
//!     .route("/about", web::get().to(|| async { "anybody may read this" }))
//!     .route("/notes", web::post().to(|_: web::Json<Vec<String>>| async { "saved" }));
//!
//! let app = test::init_service(app).await;
//! let no_json = test::TestRequest::post().uri("/notes").set_payload("{").to_request();
//! assert_eq!(test::call_service(&app, no_json).await.status(), 401); // and not 400
//! # });
//! ```
//!
//! Without the middleware, [`Authed<Json<T>>`](Authed) does the same for one parameter. Never take an
//! `Option<AuthUser>`: actix makes a forged token a guest with it; [`AuthUser`] says more.
//!
//! # Where keys come from
//!
//! | the issuer | the builder's line |
//! |---|---|
//! | shares a secret of at least 32 bytes (HS256) | [`shared_secret`](GuardBuilder::shared_secret) |
//! | gave its public key (Ed25519, P-256) | [`public_key_pem`](GuardBuilder::public_key_pem), [`public_key_jwk`](GuardBuilder::public_key_jwk) |
//! | gave its key set as a file | [`jwks`](GuardBuilder::jwks) |
//! | publishes its key set at a URL | `jwks_url` (feature `jwks-url`) |
//! | is something else | [`keys`](GuardBuilder::keys), for your own [`KeySource`] |
//!
//! Issuer and audience are always asked for: what is missing is told when the guard is built, with the line that cures it. The
//! algorithm is the key's, never the token's (RFC 8725 §3.1). `exp` is taken at its word unless
//! [`leeway`](GuardBuilder::leeway) is set; `nbf` and `iat` tolerate 60 s of clock difference.
//!
//! Whoever verifies by keys alone does not learn of a logout, a changed password or a disabled user before the token's
//! `exp`: keep tokens short-lived where that matters, or check in [`verify_token`](GuardBuilder::verify_token).
//!
//! # Users of your own
//!
//! Without more, the user is what the token's claims tell. A [`UserSource`] reads yours, and handlers take
//! `AuthUser<Member>`:
//!
//! ```
//! use std::sync::Arc;
//! use hallpass::{AuthUser, Claims, Unavailable, UserSource};
//!
//! struct Member { nickname: String }
//! struct Members; // with a pool of connections, say
//!
//! impl UserSource for Members {
//!     type User = Member;
//!
//!     async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
//!         // `None` refuses the token as revoked; `Unavailable` is a 503, and no 401.
//!         Ok(Some(Arc::new(Member { nickname: format!("member {}", claims.sub) })))
//!     }
//! }
//!
//! async fn shelf(member: AuthUser<Member>) -> String {
//!     format!("the books of {}", member.nickname)
//! }
//! # use actix_web::{App, test, web};
//! # use hallpass::testing::Mint;
//! # actix_rt::System::new().block_on(async {
//! # let mint = Mint::new();
//! let guard = mint.builder().users(Members).build().unwrap();
//! let app = test::init_service(App::new().app_data(guard).route("/", web::get().to(shelf))).await;
//! # let ask = test::TestRequest::get().insert_header(mint.token_for("7").bearer()).to_request();
//! # assert_eq!(test::call_and_read_body(&app, ask).await, "the books of member 7");
//! # });
//! ```
//!
//! # Answers
//!
//! A refusal is JSON, `{"code": 401, "message": "401 Unauthorized Access", "error": "token_expired"}`, with the challenge of
//! RFC 6750. [`on_unauthorized`](GuardBuilder::on_unauthorized) answers in your own words. Wrapped in [`Envelope`], *every*
//! failure of the app has that shape, the framework's own included, and every answer an `X-Request-Id`. Middleware
//! and the access log find out who asked from [`Caller`].
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `server`, `sqlite` (default) | the login server and its command line, on the embedded database |
//! | `jwks-url` | keys fetched from a URL |
//! | `openapi` | the lock of a guarded handler in your own utoipa document |
//! | `testing` | tokens, a clock and the audit for your tests; under `[dev-dependencies]` alone |
//! | `testing-introspection` | the audit reads your routes from actix-web itself, which is experimental there |
//!
//! `examples/` has small apps for each of these ideas, with the curl lines that show them.
#![forbid(unsafe_code)]
// Beyond the lints of Cargo.toml, which hold for tests, examples and benchmarks too. A panic needs its reason in
// `expect`, and commands print through `cli::out`, which survives a closed output.
#![warn(unreachable_pub, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

pub mod clock;
pub mod guard;
mod http;
mod log_limit;
pub mod token;

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;

pub use guard::{
    AllOf, AnyOf, AuthUser, Authed, CachedUser, Caller, Guard, GuardBuilder, GuardError, HasRoles, KeySource,
    MaybeAuthUser, Policy, Protect, Refusal, Refused, Require, Role, RoleName, SignedInWithin, Unavailable,
    User, UserSource,
};
#[cfg(feature = "jwks-url")]
pub use guard::{FetchedKeys, JwksUrl};
pub use http::{Envelope, Failure, Fields, RequestId};
pub use token::Claims;

/// The README's Rust is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So is that of the guide to testing.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
struct TestingGuide;
