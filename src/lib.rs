//! Stateless token authentication for actix-web: a handler that takes an [`AuthUser`] runs only for requests with a
//! valid token.
//!
//! The crate has two parts. The **guard** checks tokens in any actix-web app; this page is its tutorial. The **server**
//! issues the tokens (feature `server`, on by default); the README shows how to start it, and the module `server` how to
//! run it within an app. The crate is not on crates.io: depend on it by path, as here, or by git. Without its default features it has only the guard: no
//! database, no command line and no password hashing:
//!
//! ```toml
//! [dependencies]
//! actix-web = "4"
//! hallpass = { path = "../hallpass", default-features = false }
//! # or: hallpass = { git = "URL-OF-THE-REPOSITORY", default-features = false }
//!
//! [dev-dependencies]
//! hallpass = { path = "../hallpass", default-features = false, features = ["testing"] }
//! ```
//!
//! # An app with three kinds of routes
//!
//! The app builds one [`Guard`] at start. The signature of each handler says who may call it:
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
//! /// For everybody; but a bad token is refused.
//! async fn home(visitor: MaybeAuthUser) -> String {
//!     visitor.user().map_or("Hello, guest!".into(), |user| format!("Hello, {}!", user.email))
//! }
//!
//! /// For users.
//! async fn notes(user: AuthUser) -> String {
//!     format!("the notes of {}", user.email)
//! }
//!
//! /// For users with the role `admin`.
//! async fn shut_down(admin: Require<Role<Admin>>) -> String {
//!     format!("as you wish, {}", admin.email)
//! }
//!
//! fn routes(guard: &Guard) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
//!     let install = guard.install();
//!     |config| {
//!         config
//!             .configure(install)
//!             .route("/", web::get().to(home))
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
//! # Testing the app
//!
//! `hallpass::testing::Mint` issues tokens for any user, and builds a guard that accepts them. The test needs no server
//! and no network:
//!
//! ```
//! # use actix_web::{App, test, web};
//! # use hallpass::{AuthUser, Guard, MaybeAuthUser, Require, Role, RoleName};
//! # struct Admin;
//! # impl RoleName for Admin { const NAME: &'static str = "admin"; }
//! # async fn home(visitor: MaybeAuthUser) -> String {
//! #     visitor.user().map_or("Hello, guest!".into(), |user| format!("Hello, {}!", user.email))
//! # }
//! # async fn notes(user: AuthUser) -> String { format!("the notes of {}", user.email) }
//! # async fn shut_down(admin: Require<Role<Admin>>) -> String { format!("as you wish, {}", admin.email) }
//! # fn routes(guard: &Guard) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
//! #     let install = guard.install();
//! #     |config| {
//! #         config.configure(install).route("/", web::get().to(home)).route("/notes", web::get().to(notes))
//! #             .route("/shut-down", web::post().to(shut_down));
//! #     }
//! # }
//! use hallpass::testing::Mint;
//!
//! # /*
//! #[actix_web::test]
//! async fn users_see_their_notes_and_nobody_else_does() {
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
//! A mint also issues tokens that must be refused, and has a manual clock, so that no test has to sleep. An audit sends
//! requests without a token to every route of an app, and names each route that does not refuse them. See the module
//! `testing`.
//!
//! # Deny by default
//!
//! If [`AuthUser`] is the first parameter of a handler, the token is checked before the body is parsed. The middleware
//! checks the token before any parameter is extracted, whatever their order. It also guards handlers that take no user:
//!
//! ```
//! use actix_web::{App, test, web};
//! # use hallpass::testing::Mint;
//!
//! # actix_rt::System::new().block_on(async {
//! # let guard = Mint::new().guard();
//! let app = App::new()
//!     .wrap(guard.protect().allow("/about"))
//!     .route("/about", web::get().to(|| async { "everybody may read this" }))
//!     .route("/notes", web::post().to(|_: web::Json<Vec<String>>| async { "saved" }));
//!
//! let app = test::init_service(app).await;
//! let no_json = test::TestRequest::post().uri("/notes").set_payload("{").to_request();
//! assert_eq!(test::call_service(&app, no_json).await.status(), 401); // and not 400
//! # });
//! ```
//!
//! Without the middleware, [`Authed<Json<T>>`](Authed) does the same for one parameter. Never take an
//! `Option<AuthUser>`: it turns a forged token into an anonymous guest; see [`AuthUser`].
//!
//! # Keys
//!
//! | the issuer | the builder's method |
//! |---|---|
//! | shares a secret of at least 32 bytes (HS256) | [`shared_secret`](GuardBuilder::shared_secret) |
//! | gave you its public key (Ed25519, P-256) | [`public_key_pem`](GuardBuilder::public_key_pem), [`public_key_jwk`](GuardBuilder::public_key_jwk) |
//! | gave you its key set as a file | [`jwks`](GuardBuilder::jwks) |
//! | publishes its key set at a URL | `jwks_url` (feature `jwks-url`) |
//! | provides its keys in another way | [`keys`](GuardBuilder::keys), with your own [`KeySource`] |
//!
//! Issuer and audience are required. If a setting is missing, building the guard fails, and the error names the line to
//! add. The algorithm comes from the key, never from the token (RFC 8725 §3.1). A token is refused from its `exp` on,
//! unless [`leeway`](GuardBuilder::leeway) is set; `nbf` and `iat` tolerate 60 s of clock difference.
//!
//! A guard that has only keys does not notice a logout, a changed password or a disabled user: it accepts the token
//! until its `exp`. If that is too long, shorten the lifetime of tokens, or add your own check with
//! [`verify_token`](GuardBuilder::verify_token).
//!
//! # Your own users
//!
//! By default, the user is made from the token's claims. To load your own users, implement [`UserSource`]. Handlers then
//! take `AuthUser<Member>`:
//!
//! ```
//! use std::sync::Arc;
//! use hallpass::{AuthUser, Claims, Unavailable, UserSource};
//!
//! struct Member { nickname: String }
//! struct Members; // with a connection pool, for example
//!
//! impl UserSource for Members {
//!     type User = Member;
//!
//!     async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
//!         // `None` refuses the token as revoked. `Unavailable` gives a 503, not a 401.
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
//! # Error responses
//!
//! A refusal is JSON, `{"code": 401, "message": "401 Unauthorized Access", "error": "token_expired"}`, with the
//! challenge of RFC 6750. To send your own response, set [`on_unauthorized`](GuardBuilder::on_unauthorized). With the
//! middleware [`Envelope`], *every* failure of the app has this shape, including those of actix-web itself, and every
//! response has an `X-Request-Id`. Middleware and access logs find the user of a request in [`Caller`].
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `server`, `sqlite`, `postgres` (default) | the login server and its command line, and the databases it can use |
//! | `jwks-url` | keys fetched from a URL |
//! | `openapi` | the guard's security scheme and error responses, for your own utoipa document |
//! | `testing` | tokens, a clock and the audit for your tests; under `[dev-dependencies]` only |
//! | `testing-introspection` | the audit reads your routes from actix-web, where this is experimental |
//!
//! `examples/` has a small app for each of these, with curl lines to try it.
#![forbid(unsafe_code)]
// Beyond the lints of Cargo.toml, which hold for tests, examples and benchmarks too. A panic needs its reason in
// `expect`, and commands print through `cli::output`, which survives a closed output.
#![warn(unreachable_pub, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

pub mod clock;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guard;
mod http;
mod log_limit;
pub mod token;

/// The command line of the binary, and nothing that another crate can rely on.
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;

pub use guard::{
    AllOf, AnyOf, AuthUser, Authed, CachedUser, Caller, Guard, GuardBuilder, GuardError, HasRoles, KeySource,
    MaybeAuthUser, Policy, Protect, Refusal, Refused, Require, Role, RoleName, SecondFactor, SignedInWithin,
    Unavailable, User, UserSource,
};
#[cfg(feature = "jwks-url")]
pub use guard::{FetchedKeys, JwksUrl};
pub use http::{Envelope, Failure, Fields, RequestId};
pub use token::Claims;

/// Compiles the README's Rust as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Runs the programs of the guide to embedding.
#[cfg(all(doctest, feature = "server", feature = "testing"))]
#[doc = include_str!("../docs/embedding.md")]
struct EmbeddingGuide;

/// Runs the programs of the guide to testing.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
struct TestingGuide;
