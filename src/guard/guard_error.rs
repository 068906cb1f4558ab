//! The error of the builder: which setting is missing or contradicts another, with the line that fixes it.

#[cfg(feature = "jwks-url")]
use super::jwks_url::JwksUrlError;
use crate::token::KeyError;

/// An error of [`GuardBuilder::build`].
///
/// # Example
/// ```
/// use hallpass::{Guard, GuardError};
///
/// let built = Guard::builder().shared_secret(b"too short").issuer("i").audience("a").build();
/// assert!(matches!(built, Err(GuardError::Key(_))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// No keys are set.
    #[error(
        "the guard has no keys; add .shared_secret(..), .public_key_pem(..), .public_key_jwk(..), .jwks(..), .jwks_url(..) or .keys(..)"
    )]
    NoKeys,
    /// No issuer is set.
    #[error("the guard has no issuer; add .issuer(\"…\") with the iss of the tokens")]
    NoIssuer,
    /// No audience is set.
    #[error("the guard has no audience; add .audience(\"…\") with the aud of the tokens")]
    NoAudience,
    /// The key cannot be used.
    #[error("the guard's key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The keys cannot be fetched.
    #[cfg(feature = "jwks-url")]
    #[error("the guard's keys cannot be fetched: {0}")]
    JwksUrl(#[from] JwksUrlError),
    /// The name of the header is not valid.
    #[error("{0:?} is not the name of a header; write .header(\"X-API-Key\"), for example")]
    Header(String),
    /// The scheme or realm is not valid in a header.
    #[error("{0}")]
    Challenge(&'static str),
    /// The leeway is negative, or longer than 300 s.
    #[error("the leeway is {0} s; 0 to 300 s are accepted")]
    Leeway(i64),
    /// Bare tokens are accepted, but the header has no scheme.
    #[error(".accept_bare(true) is for headers with a scheme; remove it or .without_scheme()")]
    BareWithoutScheme,
}
