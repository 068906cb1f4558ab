//! The server's routes. Only this room, `auth_server.rs` and `run/` name actix.
//!
//! | file | what it owns |
//! |---|---|
//! | `routes/` | one file per scope: its paths, its handlers and their description |
//! | `context` | the parts of the server that handlers use |
//! | `endpoint` | a path and its methods |
//! | `body`, `query`, `client`, `fields` | the request: its JSON body, its query, its client, its fields checked |
//! | `responses`, `error`, `cookie` | the answer: `{"data": …}`, a failure, the refresh cookie |
//! | `edge` | the limits of a request's head; HSTS |
//! | `shortcut` | answers `GET /user/` without the router |
//! | `measure`, `readiness`, `watched` | counts requests, for metrics; tells what is missing; what an admin sees of this server |
//! | `required_roles` | what users may do whose role asks for a second factor that they do not have |
//! | `openapi/` | the OpenAPI document |

mod body;
mod client;
mod context;
mod cookie;
mod edge;
mod endpoint;
mod error;
mod fields;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod measure;
pub mod openapi;
mod pages;
mod query;
mod readiness;
mod required_roles;
mod responses;
pub(in crate::server) mod routes;
mod shortcut;
mod watched;

use actix_web::web::ServiceConfig;

pub(in crate::server) use context::Context;
pub(in crate::server) use cookie::X_HALLPASS;
pub(in crate::server) use edge::Edge;
pub(in crate::server) use error::ApiError;
pub(in crate::server) use measure::Measure;
pub(in crate::server) use readiness::Readiness;
pub(in crate::server) use required_roles::require_second_factor;
pub(in crate::server) use shortcut::Shortcut;
pub(in crate::server) use watched::Watched;

/// Registers every route except the console's.
pub(in crate::server) fn configure(config: &mut ServiceConfig, context: &Context) {
    // The router tries one after the other.
    config
        .service(routes::user::scope(context))
        .service(routes::auth::scope(context))
        .service(routes::admin::scope(context))
        .service(routes::well_known::scope(context))
        .service(routes::health::scope(context))
        .configure(routes::console::configure_client);
    if context.settings.docs {
        routes::docs::configure(config, openapi::json, context.settings.public_url.clone());
    }
}
