//! The authentication server: it issues the tokens that the guard checks, and is itself an app under the guard.
//!
//! Imports point one way: `http` and `run` use the rules (`accounts`, `sessions`, `events`, `credentials`, `keys`,
//! `abuse`) and the state in memory (`state`). These use the `store`, the only room with SQL. Every room may name the
//! values of `model`. `.ci/modules` checks it.

mod abuse;
pub mod accounts;
mod auth_server;
pub mod config;
pub mod credentials;
pub mod error;
pub mod events;
pub mod http;
pub mod keys;
pub mod mail;
pub mod model;
mod run;
mod sessions;
mod state;
pub mod store;

pub use abuse::RateLimiter;
pub use auth_server::{AuthServer, OpenError};
pub use run::{BindError, Running, bind};
