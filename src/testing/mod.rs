//! Tools for the tests of an app: tokens for any user, a clock to move, and an audit that finds unguarded routes.
//! Feature `testing`; never in production.
//!
//! - [`Mint`] has a random key and a guard that trusts it, and issues tokens: good, expired, forged.
//! - [`Clock`] is moved by hand, where a test would otherwise sleep.
//! - [`mails_in`] reads the mails that a server has written to a folder (`mail.url`).
//! - [`Audit`] sends requests without a token to every route of an app, and reports each that answers anything but 401.
//! - `TestServer` is a whole login server, for an app that embeds one (feature `server`).
//!
//! `docs/testing.md` is the guide.
//!
//! # Example: without a token, with one, and with the same one an hour later
//! ```
//! use actix_web::{App, test, web};
//! use chrono::Duration;
//! use hallpass::AuthUser;
//! use hallpass::testing::Mint;
//!
//! # actix_rt::System::new().block_on(async {
//! let mint = Mint::new();
//! let hello = web::get().to(|user: AuthUser| async move { user.id.clone() });
//! let app = test::init_service(App::new().app_data(mint.guard()).route("/", hello)).await;
//!
//! let ada = mint.token_for("ada").bearer();
//! let get = || test::TestRequest::get().uri("/");
//! assert_eq!(test::call_service(&app, get().to_request()).await.status(), 401);
//! assert_eq!(test::call_service(&app, get().insert_header(ada.clone()).to_request()).await.status(), 200);
//!
//! mint.clock().advance(Duration::hours(1));
//! assert_eq!(test::call_service(&app, get().insert_header(ada).to_request()).await.status(), 401);
//! # });
//! ```

mod app_routes;
mod audit;
mod finding;
mod mail;
mod mint;
mod responses;
mod route;
mod sample;
#[cfg(feature = "server")]
mod server;

pub use audit::Audit;
#[cfg(feature = "testing-introspection")]
pub use audit::assert_all_guarded;
pub use finding::Finding;
pub use mail::{Mail, mails_in};
pub use mint::{Mint, Token};
#[cfg(feature = "server")]
pub use server::{SignedIn, TestServer};

pub use crate::clock::Clock;
