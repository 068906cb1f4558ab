//! The routes, one file per scope.

pub(crate) mod admin;
mod admin_events;
pub(crate) mod auth;
pub(super) mod by_cookie;
mod by_mail;
pub(crate) mod console;
pub(crate) mod docs;
mod export;
mod factor_bodies;
pub(crate) mod health;
mod link;
pub(crate) mod metrics;
pub(crate) mod passkeys;
pub(crate) mod second_factors;
pub(crate) mod user;
pub(crate) mod well_known;

use super::openapi::Operation;

/// Returns the description of every operation, in the order of the document.
pub(super) fn operations() -> impl Iterator<Item = Operation> {
    [
        auth::operations(),
        by_mail::operations(),
        link::operations(),
        user::operations(),
        second_factors::operations(),
        passkeys::operations(),
        admin::operations(),
        well_known::operations(),
        health::operations(),
        docs::operations(),
    ]
    .into_iter()
    .flatten()
}
