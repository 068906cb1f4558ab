//! Every failure of the server's own routes, as the contract's JSON. The one error type of all handlers.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use super::cookie;
use super::password::HashError;
use super::refresh::NoRandomness;

use super::store::StoreError;
use crate::http::{Failure, Fields, UNAUTHORIZED_MESSAGE};

/// Why a route did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The body is not the JSON object that the route takes; the text says what is wrong with it.
    #[error("malformed JSON: {0}")]
    JsonMalformed(String),
    /// The body is not sent as `application/json`.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// The body is over `server.max_body_bytes`.
    #[error("body too large")]
    BodyTooLarge,
    /// Fields are missing or not acceptable.
    #[error("validation failed")]
    ValidationFailed(Fields),
    /// The sign-in failed; why, nobody outside learns.
    #[error("credentials invalid")]
    CredentialsInvalid(HeaderValue),
    /// The user of a token that was good a moment ago is gone.
    #[error("the user is gone")]
    Gone(HeaderValue),
    /// The refresh token is unknown, over, or was used before.
    #[error("refresh token invalid")]
    RefreshInvalid {
        /// The challenge of the 401.
        challenge: HeaderValue,
        /// Its session has ended of it: a cookie of it is of no more use.
        ended: bool,
    },
    /// The cookie came without the header that only a page of ours sends.
    #[error("the cookie came without its proof header")]
    CsrfRejected,
    /// The request contradicts itself; the text says how.
    #[error("request invalid: {0}")]
    RequestInvalid(&'static str),
    /// There is no such thing, or it is another user's.
    #[error("not found")]
    NotFound,
    /// The password that a signed-in user was asked for once more is wrong.
    #[error("password wrong")]
    PasswordWrong,
    /// `registration.open` is off.
    #[error("registration closed")]
    RegistrationClosed,
    /// The e-mail address belongs to somebody.
    #[error("e-mail taken")]
    EmailTaken,
    /// Too many tries failed; how many seconds to wait.
    #[error("too many attempts; {0} s to wait")]
    TooManyAttempts(u64),
    /// More passwords wait for their hash than may wait.
    #[error("the password-hashing queue is full")]
    Overloaded,
    /// The database cannot be used now, or holds no key to sign with.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A fault of ours.
    #[error("internal: {0}")]
    Internal(String),
}

/// A hash takes a fraction of a second, so a full queue has moved on by then.
const OVERLOADED_RETRY_SECS: u64 = 2;

impl ApiError {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::JsonMalformed(reason) => Failure::new(
                StatusCode::BAD_REQUEST,
                "json_malformed",
                format!("the body is not acceptable: {reason}"),
            ),
            Self::UnsupportedMediaType => Failure::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::BodyTooLarge => Failure::of_status(StatusCode::PAYLOAD_TOO_LARGE),
            Self::ValidationFailed(fields) => Failure::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "validation_failed",
                "a field is missing or not acceptable; fields says which",
            )
            .with_fields(fields.clone()),
            Self::CredentialsInvalid(challenge) => {
                Failure::new(StatusCode::UNAUTHORIZED, "credentials_invalid", UNAUTHORIZED_MESSAGE)
                    .with_header(WWW_AUTHENTICATE, challenge.clone())
            }
            Self::Gone(challenge) => {
                Failure::new(StatusCode::UNAUTHORIZED, "token_revoked", UNAUTHORIZED_MESSAGE)
                    .with_header(WWW_AUTHENTICATE, challenge.clone())
            }
            Self::RefreshInvalid { challenge, ended } => {
                let failure = Failure::new(StatusCode::UNAUTHORIZED, "refresh_invalid", UNAUTHORIZED_MESSAGE)
                    .with_header(WWW_AUTHENTICATE, challenge.clone());
                match ended {
                    true => failure.with_header(SET_COOKIE, cookie::cleared()),
                    false => failure,
                }
            }
            Self::CsrfRejected => Failure::new(
                StatusCode::FORBIDDEN,
                "csrf_rejected",
                "a request by cookie must carry the header X-Hallpass: 1",
            ),
            Self::RequestInvalid(reason) => Failure::new(StatusCode::BAD_REQUEST, "request_invalid", *reason),
            Self::NotFound => Failure::of_status(StatusCode::NOT_FOUND),
            Self::PasswordWrong => {
                Failure::new(StatusCode::FORBIDDEN, "password_wrong", "the password is wrong")
            }
            Self::RegistrationClosed => Failure::new(
                StatusCode::FORBIDDEN,
                "registration_closed",
                "this server takes no registrations; ask its operator for an account",
            ),
            Self::EmailTaken => Failure::new(
                StatusCode::CONFLICT,
                "email_taken",
                "the e-mail address belongs to an account already",
            ),
            Self::TooManyAttempts(secs) => {
                Failure::of_status(StatusCode::TOO_MANY_REQUESTS).with_retry_after(*secs)
            }
            Self::Overloaded => Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "too many sign-ins at once; try again after the seconds in Retry-After",
            )
            .with_retry_after(OVERLOADED_RETRY_SECS),
            Self::Unavailable(_) => Failure::of_status(StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal(_) => Failure::of_status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.failure().status()
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Unavailable(_) | Self::Internal(_) => log::error!("{self}"),
            Self::Overloaded => log::warn!("{self}"),
            _ => log::debug!("request refused: {self}"),
        }
        self.failure().response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::EmailTaken => Self::EmailTaken,
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<NoRandomness> for ApiError {
    fn from(error: NoRandomness) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::QueueFull => Self::Overloaded,
            other => Self::Internal(other.to_string()),
        }
    }
}
