//! What the tests of an app need: tokens for any user, a clock to move, and an audit that finds every route
//! which answers strangers. Feature `testing`; never in production.
//!
//! - [`Mint`] makes a key at random, gives a guard that trusts it, and issues tokens: good, expired, forged.
//! - [`Clock`] is moved by hand, where a test would otherwise sleep.
//! - [`Audit`] asks every route of an app as a stranger and names each that answers anything but 401.
//!
//! `docs/testing.md` shows them together, under actix's own test harness.
//!
//! # Example: a stranger, a user, and the same user an hour later
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
//! let ask = || test::TestRequest::get().uri("/");
//! assert_eq!(test::call_service(&app, ask().to_request()).await.status(), 401);
//! assert_eq!(test::call_service(&app, ask().insert_header(ada.clone()).to_request()).await.status(), 200);
//!
//! mint.clock().advance(Duration::hours(1));
//! assert_eq!(test::call_service(&app, ask().insert_header(ada).to_request()).await.status(), 401);
//! # });
//! ```

mod audit;
mod mint;
mod routes;
mod sample;

#[cfg(feature = "testing-introspection")]
pub use audit::assert_all_guarded;
pub use audit::{Audit, Finding};
pub use mint::{Mint, Token};

pub use crate::clock::Clock;
