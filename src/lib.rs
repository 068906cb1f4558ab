//! Stateless token authentication for actix-web.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

pub mod clock;
mod envelope;
mod failure;
pub mod guard;
pub mod token;

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;

pub use envelope::{Envelope, RequestId};
pub use failure::{Failure, Fields};
pub use guard::{
    AllOf, AnyOf, AuthUser, Authed, Caller, Guard, GuardBuilder, GuardError, HasRoles, KeySource,
    MaybeAuthUser, Policy, Protect, Recall, Refusal, Refused, Require, Role, RoleName, SignedInWithin,
    Unavailable, User, UserSource,
};
#[cfg(feature = "jwks-url")]
pub use guard::{FetchedKeys, JwksUrl};
pub use token::Claims;

/// The README's Rust is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So is that of the guide to testing.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
struct TestingGuide;
