//! All paths, one file a scope.

pub mod auth;
pub mod console;
pub mod docs;
pub mod health;
pub mod metrics;
pub mod user;
pub mod well_known;

use super::openapi::Operation;

/// Returns the description of every operation, in the order of the document.
pub(super) fn operations() -> impl Iterator<Item = Operation> {
    [
        auth::operations(),
        user::operations(),
        well_known::operations(),
        health::operations(),
        docs::operations(),
    ]
    .into_iter()
    .flatten()
}
