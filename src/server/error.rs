//! The errors of the server's rules. They know no HTTP; `http/error.rs` turns them into answers.

use std::collections::BTreeMap;

/// The reasons why fields of a request were not accepted, by the field's name.
pub(crate) type FieldErrors = BTreeMap<&'static str, Vec<String>>;

/// The reason why a rule refused a request or could not serve it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fields are missing or not acceptable.
    #[error("validation failed")]
    ValidationFailed(FieldErrors),
    /// The sign-in failed. No answer says why.
    #[error("credentials invalid")]
    CredentialsInvalid,
    /// The user of a token that was valid a moment ago is gone or disabled.
    #[error("the user is gone")]
    UserGone,
    /// The refresh token is unknown, expired, revoked or was used before.
    #[error("refresh token invalid")]
    RefreshInvalid {
        /// Reuse ended the session; its cookie is useless.
        session_ended: bool,
    },
    /// There is no such thing, or it belongs to another user.
    #[error("not found")]
    NotFound,
    /// The password that a signed-in user was asked for once more is wrong.
    #[error("password wrong")]
    PasswordWrong,
    /// The act would leave no enabled user with the role `admin`.
    #[error("the last admin")]
    LastAdmin,
    /// `registration.open` is off.
    #[error("registration closed")]
    RegistrationClosed,
    /// A token or code that was sent by mail is unknown, used, expired or for something else. No answer says which.
    #[error("link invalid")]
    LinkInvalid,
    /// The password was right, and the address must be verified first (`registration.verify`).
    #[error("e-mail unverified")]
    EmailUnverified,
    /// The e-mail address is taken.
    #[error("e-mail taken")]
    EmailTaken,
    /// Too many attempts failed.
    #[error("too many attempts; {retry_after_secs} s to wait")]
    TooManyAttempts {
        /// The seconds to wait.
        retry_after_secs: u64,
    },
    /// The password-hashing queue is full.
    #[error("the password-hashing queue is full")]
    Overloaded,
    /// The database cannot be used now, or holds no key to sign with.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A fault of the server.
    #[error("internal: {0}")]
    Internal(String),
}
