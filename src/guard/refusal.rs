//! The reasons for a refusal. They know nothing of HTTP; [`answer`](super::answer) maps them to responses.

use crate::token::TokenError;

/// The reason why a request is refused.
///
/// Each has a stable name, [`code`](Self::code), for clients to branch on.
///
/// # Example
/// ```
/// use hallpass::Refusal;
///
/// assert_eq!(Refusal::Application("fees_due").to_string(), "the application refused: fees_due");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request has no credential of the guard's scheme (RFC 6750 §3.1, last paragraph).
    #[error("the request has no credential")]
    TokenMissing,
    /// The credential is not a token that the guard accepts. The cause is for the log.
    #[error("{0}")]
    TokenInvalid(#[source] TokenError),
    /// The request has more than one credential.
    #[error("the request has more than one credential; send one")]
    CredentialAmbiguous,
    /// The signature is valid, but the token has expired (RFC 7519 §4.1.4).
    #[error("the token has expired")]
    TokenExpired,
    /// The token is valid, but its session has ended, or its user is gone or disabled.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The user lacks a role that the handler requires.
    #[error("the user lacks the role")]
    RoleMissing,
    /// The user signed in longer ago than the handler accepts.
    #[error("the sign-in is older than {max_age_secs} s; sign in again")]
    SignInStale {
        /// The greatest age of a sign-in that the handler accepts, in seconds.
        max_age_secs: u64,
    },
    /// The user signed in without a second factor, which the handler requires.
    #[error("the sign-in was without a second factor; sign in with one")]
    SecondFactorMissing,
    /// A role of the user's requires a second factor, and the user has none.
    #[error("a role requires a second factor, and the user has none")]
    SecondFactorUnenrolled,
    /// The app's own `verify_token` refused the token. The text is the name for programs.
    #[error("the application refused: {0}")]
    Application(&'static str),
    /// The source of users or keys does not answer.
    #[error("the source of users or keys does not answer")]
    Unavailable,
    /// The app has no guard for the user type of the handler.
    #[error("no guard is installed for this handler")]
    NotConfigured,
}

impl Refusal {
    /// Returns the stable name for clients. It is published and therefore never renamed.
    ///
    /// # Example
    /// ```
    /// assert_eq!(hallpass::Refusal::TokenExpired.code(), "token_expired");
    /// ```
    pub const fn code(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid(_) | Self::CredentialAmbiguous => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::RoleMissing => "role_missing",
            Self::SignInStale { .. } | Self::SecondFactorMissing => "sign_in_stale",
            Self::SecondFactorUnenrolled => "second_factor_unenrolled",
            Self::Application(code) => code,
            Self::Unavailable => "unavailable",
            Self::NotConfigured => "internal",
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::TokenExpired,
            other => Self::TokenInvalid(other),
        }
    }
}
