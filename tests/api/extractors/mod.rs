//! The guard in an app of somebody else: its extractors beside others that fail, its middleware, its hooks.

mod auth_user;
mod envelope;
mod generated;
mod hooks;
mod maybe_auth_user;
mod middleware;
mod order;
mod policies;
mod remembered;
mod support;
