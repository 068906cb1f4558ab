//! The authentication server: it issues the tokens that the guard checks, and is itself an app under the guard.
//!
//! [`AuthServer::builder`] starts it within an app of yours; the guide is `docs/embedding.md`, a whole program
//! `examples/embedded.rs`. What is listed on this page is what other crates can rely on. The modules that it does not
//! list are public for our own tests and benchmarks, and change without notice.
//!
//! Imports point one way: `http` and `run` use the rules (`accounts`, `sessions`, `events`, `credentials`, `keys`,
//! `abuse`) and the state in memory (`state`). These use the `store`, the only room with SQL. Every room may name the
//! values of `model`. `.ci/modules` checks it.

mod abuse;
#[doc(hidden)]
pub mod accounts;
mod add_user;
mod auth_server;
mod builder;
pub mod config;
#[doc(hidden)]
pub mod credentials;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod events;
mod guard_parts;
pub mod http;
#[doc(hidden)]
pub mod keys;
pub mod mail;
mod metrics;
#[doc(hidden)]
pub mod model;
mod run;
pub(crate) mod sessions;
mod state;
#[doc(hidden)]
pub mod store;

#[doc(hidden)]
pub use abuse::RateLimiter;
pub use add_user::{AddUserError, NewAccount};
pub use auth_server::{AuthServer, OpenError};
pub use builder::{AuthServerBuilder, StartError};
pub(crate) use run::certificate_end;
#[doc(hidden)]
pub use run::{BindError, HandoverError, Reload, Running, Sockets, Taken, TlsError, app, bind, bind_on};
