//! Checks the access tokens of requests, in any actix-web app.
//!
//! A [`Guard`] is built once, at start. It serves the extractors ([`Claims`], [`AuthUser`], [`MaybeAuthUser`],
//! [`Authed`], [`Require`]) and the middleware ([`Guard::protect`]) alike. An extractor decides in its first poll
//! unless the user or the app's own check has to be waited for. The middleware decides before any extractor is built.
//!
//! [`Claims`]: crate::token::Claims

mod admission;
pub(crate) mod answer;
mod authenticate;
mod builder;
mod caller;
mod credential;
mod entered;
mod extract;
#[cfg(feature = "jwks-url")]
mod fetched_keys;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[expect(clippy::module_inception, reason = "the file is named after the type in it")]
mod guard;
mod guard_error;
#[cfg(feature = "jwks-url")]
mod jwks_url;
mod nearest;
#[cfg(feature = "openapi")]
pub(crate) mod openapi;
mod policy;
mod protect;
mod refusal;
mod refused;
mod source;

pub use admission::Admission;
pub use builder::GuardBuilder;
pub use caller::Caller;
pub use extract::{AuthUser, Authed, MaybeAuthUser};
#[cfg(feature = "jwks-url")]
pub use fetched_keys::{FetchError, FetchedKeys};
pub use guard::Guard;
pub use guard_error::GuardError;
#[cfg(feature = "jwks-url")]
pub use jwks_url::{JwksUrl, JwksUrlError};
#[cfg(feature = "openapi")]
pub use openapi::SECURITY_SCHEME;
pub use policy::{AllOf, AnyOf, HasRoles, Policy, Require, Role, RoleName, SecondFactor, SignedInWithin};
#[cfg(feature = "testing")]
pub(crate) use protect::OptionsAnswered;
pub use protect::{Protect, ProtectService};
pub use refusal::Refusal;
pub use refused::Refused;
#[cfg(feature = "server")]
pub(crate) use source::Shown;
pub use source::{CachedUser, FromClaims, KeyRefresh, KeySource, Unavailable, User, UserSource};
