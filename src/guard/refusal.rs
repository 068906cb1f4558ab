//! Why a caller was turned away. Knows nothing of HTTP: [`answer`](super::answer) tells it.

use crate::token::TokenError;

/// Why a caller was turned away.
///
/// Each has a stable name, [`code`](Self::code), that clients branch on.
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
    /// No credential of our scheme was presented (RFC 6750 §3.1, last paragraph).
    #[error("no credential was presented")]
    TokenMissing,
    /// The credential is not a token that this guard accepts; the cause is for the log.
    #[error("{0}")]
    TokenInvalid(#[source] TokenError),
    /// More than one credential was presented, which leaves open who is asking.
    #[error("more than one credential was presented; send one")]
    CredentialAmbiguous,
    /// The token is genuine, but its time has passed (RFC 7519 §4.1.4).
    #[error("the token has expired")]
    TokenExpired,
    /// The token is genuine and in time, but what it stood for has ended: the session, or the user.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The caller is known but lacks the role that the handler asks for.
    #[error("the user lacks the role")]
    RoleMissing,
    /// The caller signed in longer ago than the handler accepts.
    #[error("the sign-in is too long ago; sign in again")]
    SignInStale,
    /// The app's own `verify_token` refused; the text is its slug for programs.
    #[error("the application refused: {0}")]
    Application(&'static str),
    /// What must be asked to decide does not answer.
    #[error("users or keys cannot be asked now")]
    Unavailable,
    /// The handler names a guard that the app was never given.
    #[error("no guard is installed for this handler")]
    NotConfigured,
}

impl Refusal {
    /// The stable name clients branch on. Published, therefore never renamed.
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
            Self::SignInStale => "sign_in_stale",
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
