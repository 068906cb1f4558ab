//! The server's routes. Nothing else in the server names actix, except what starts it.
//!
//! | file | what it owns |
//! |---|---|
//! | `routes/` | one file a scope: its paths, its thin handlers and their description |
//! | `endpoint` | a path and its methods |
//! | `body`, `client`, `fields` | the request: its JSON body, its client, its fields checked |
//! | `responses`, `error`, `cookie` | the answer: `{"data": …}`, a failure, the refresh cookie |
//! | `openapi/` | the OpenAPI document |

mod body;
mod client;
mod cookie;
mod endpoint;
mod error;
mod fields;
pub mod openapi;
mod pages;
mod responses;
pub mod routes;

use std::sync::Arc;

use actix_web::http::header::HeaderName;
use actix_web::web::ServiceConfig;

pub use error::ApiError;

use super::accounts::Accounts;
use super::config;
use super::keys::SigningKeys;
use super::sessions::Sessions;
use super::state::ServerKeys;
use super::store::Store;
use crate::clock::Clock;
use crate::guard::Guard;

/// The header that a request by cookie must carry: only a page that may set headers can send it.
pub const X_HALLPASS: HeaderName = HeaderName::from_static("x-hallpass");

/// The parts of the server that handlers use. Each handler takes the one that it needs.
#[derive(Debug, Clone)]
pub(in crate::server) struct Context {
    pub guard: Guard,
    pub accounts: Accounts,
    pub sessions: Sessions,
    pub keys: Arc<SigningKeys>,
    pub server_keys: Arc<ServerKeys>,
    pub store: Store,
    pub clock: Clock,
    pub settings: config::Server,
}

/// Registers every route except the console's.
pub(in crate::server) fn configure(config: &mut ServiceConfig, context: &Context) {
    config
        .service(routes::auth::scope(context))
        .service(routes::user::scope(context))
        .service(routes::well_known::scope(context))
        .service(routes::health::scope(context))
        .configure(routes::docs::configure)
        .configure(routes::console::configure_client);
}
