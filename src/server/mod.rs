//! The authentication server: it issues the tokens that the guard checks, and is the guard's first user.
//!
//! Imports point one way: `http` and `run` use the rules (`accounts`, `sessions`, `credentials`, `keys`, `abuse`) and the
//! `state` in memory; these use the `store`, which alone knows SQL; everybody may name the values in `model`.

mod abuse;
pub mod accounts;
mod auth_server;
#[allow(clippy::match_bool, reason = "until the settings are a table")]
pub mod config;
pub mod credentials;
pub mod error;
pub mod http;
pub mod keys;
pub mod model;
mod run;
mod sessions;
mod state;
pub mod store;

pub use abuse::RateLimiter;
pub use auth_server::{AuthServer, OpenError};
pub use run::{BindError, Running, bind};
