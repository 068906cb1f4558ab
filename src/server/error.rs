//! The errors of the server's rules. They know no HTTP; `http/error.rs` turns them into answers.

use std::collections::BTreeMap;

use super::model::SecondFactorAsked;

/// The reasons why fields of a request were not accepted, by the field's name.
pub(crate) type FieldErrors = BTreeMap<&'static str, Vec<String>>;

/// The outcomes of sign-ins and refreshes that are counted, as [`outcome`] names them.
pub(crate) const OUTCOMES: &[&str] = &[
    "ok",
    "credentials_invalid",
    "second_factor_required",
    "second_factor_invalid",
    "refresh_invalid",
    "refresh_reused",
    "too_many_attempts",
    "overloaded",
    "unavailable",
    "other",
];

/// Names the outcome of a rule, for metrics.
pub(crate) fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::CredentialsInvalid) => "credentials_invalid",
        Err(Error::SecondFactorRequired(_)) => "second_factor_required",
        Err(Error::SecondFactorInvalid) => "second_factor_invalid",
        Err(Error::RefreshInvalid { session_ended: false }) => "refresh_invalid",
        Err(Error::RefreshInvalid { session_ended: true }) => "refresh_reused",
        Err(Error::TooManyAttempts { .. }) => "too_many_attempts",
        Err(Error::Overloaded) => "overloaded",
        Err(Error::Unavailable(_)) => "unavailable",
        Err(_) => "other",
    }
}

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
    /// The first factor was right, and the account has a second one.
    #[error("a second factor is asked for")]
    SecondFactorRequired(Box<SecondFactorAsked>),
    /// The second factor is wrong or was used before, or its challenge is unknown, used up or expired.
    #[error("second factor invalid")]
    SecondFactorInvalid,
    /// The act needs a sign-in that is not older than `max_age`.
    #[error("the sign-in is older than {} s", max_age.num_seconds())]
    SignInStale {
        /// The greatest age.
        max_age: chrono::Duration,
    },
    /// The act needs a sign-in with the second factor that the account has.
    #[error("the sign-in was without the second factor")]
    SecondFactorMissing,
    /// A second factor of this kind is there already.
    #[error("already enrolled")]
    AlreadyEnrolled,
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
