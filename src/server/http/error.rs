//! The failures of the server's routes: the error type of all handlers, and the only mapping from errors to answers.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use super::cookie;
use crate::guard::{Guard, Refusal};
use crate::http::{Failure, UNAUTHORIZED_MESSAGE};
use crate::log_limit::LogLimit;
use crate::server::credentials::RETRY_AFTER_SECS;
use crate::server::error::Error;
use crate::server::store::StoreError;

/// The reason why a route failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ApiError {
    /// The body is not the JSON object that the route expects. The text says what is wrong with it.
    #[error("malformed JSON: {0}")]
    JsonMalformed(String),
    /// The body is not sent as `application/json`.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// The body is larger than `server.max_body_bytes`.
    #[error("body too large")]
    BodyTooLarge,
    /// The cookie came without the header `X-Hallpass`.
    #[error("the cookie came without its proof header")]
    CsrfRejected,
    /// The request contradicts itself, or a parameter of its query is not acceptable; the text says how.
    #[error("request invalid: {0}")]
    RequestInvalid(Cow<'static, str>),
    /// The user of a token that was valid a moment ago is gone. Answered like a revoked token, with its challenge.
    #[error("the user is gone")]
    UserGone(HeaderValue),
    /// A rule refused the request.
    #[error(transparent)]
    Rule(#[from] Error),
}

impl ApiError {
    /// Maps errors for a caller whose token `guard` has accepted. If the user was deleted since, the answer is the
    /// guard's to a revoked token.
    pub(super) fn behind(guard: &Guard) -> impl FnOnce(Error) -> Self + use<'_> {
        |error| match error {
            Error::UserGone => {
                Self::UserGone(guard.challenge_of(Refusal::TokenRevoked).unwrap_or_else(|| guard.challenge()))
            }
            other => Self::Rule(other),
        }
    }

    /// Returns the failure as the client sees it. The envelope adds the challenge to a 401 that has none.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::JsonMalformed(reason) => Failure::new(
                StatusCode::BAD_REQUEST,
                "json_malformed",
                format!("the body is not acceptable: {reason}"),
            ),
            Self::UnsupportedMediaType => Failure::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::BodyTooLarge => Failure::of_status(StatusCode::PAYLOAD_TOO_LARGE),
            Self::CsrfRejected => Failure::new(
                StatusCode::FORBIDDEN,
                "csrf_rejected",
                "a request with the cookie must have the header X-Hallpass: 1",
            ),
            Self::RequestInvalid(reason) => {
                Failure::new(StatusCode::BAD_REQUEST, "request_invalid", reason.clone().into_owned())
            }
            Self::UserGone(challenge) => {
                unauthorized("token_revoked").with_header(WWW_AUTHENTICATE, challenge.clone())
            }
            Self::Rule(error) => rule(error),
        }
    }
}

fn unauthorized(error: &'static str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, error, UNAUTHORIZED_MESSAGE)
}

fn rule(error: &Error) -> Failure {
    match error {
        Error::ValidationFailed(fields) => Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            "a field is missing or not acceptable; fields says which",
        )
        .with_fields(fields.clone()),
        Error::CredentialsInvalid => unauthorized("credentials_invalid"),
        Error::UserGone => unauthorized("token_revoked"),
        Error::RefreshInvalid { session_ended: false } => unauthorized("refresh_invalid"),
        Error::RefreshInvalid { session_ended: true } => {
            unauthorized("refresh_invalid").with_header(SET_COOKIE, cookie::cleared())
        }
        Error::NotFound => Failure::of_status(StatusCode::NOT_FOUND),
        Error::PasswordWrong => {
            Failure::new(StatusCode::FORBIDDEN, "password_wrong", "the password is wrong")
        }
        Error::LastAdmin => Failure::new(
            StatusCode::FORBIDDEN,
            "last_admin",
            "no enabled user with the role admin would be left; give the role to another user first",
        ),
        Error::RegistrationClosed => Failure::new(
            StatusCode::FORBIDDEN,
            "registration_closed",
            "registration is closed on this server; ask its operator for an account",
        ),
        Error::LinkInvalid => Failure::new(
            StatusCode::BAD_REQUEST,
            "link_invalid",
            "the link or code does not work: it was used, has expired, or a newer one was sent; ask for another",
        ),
        Error::EmailUnverified => Failure::new(
            StatusCode::FORBIDDEN,
            "email_unverified",
            "the e-mail address must be verified first; a link was sent to it",
        ),
        Error::EmailTaken => Failure::new(
            StatusCode::CONFLICT,
            "email_taken",
            "an account with this e-mail address exists already",
        ),
        Error::TooManyAttempts { retry_after_secs } => {
            Failure::of_status(StatusCode::TOO_MANY_REQUESTS).with_retry_after(*retry_after_secs)
        }
        Error::Overloaded => Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many sign-ins at once; try again after the seconds in Retry-After",
        )
        .with_retry_after(RETRY_AFTER_SECS),
        Error::Unavailable(_) => Failure::of_status(StatusCode::SERVICE_UNAVAILABLE),
        Error::Internal(_) => Failure::of_status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

static UNAVAILABLE: LogLimit = LogLimit::new("a request was not served");
static DELAYED: LogLimit = LogLimit::new("a request was refused for now");
static REFRESH: LogLimit = LogLimit::new("a refresh was refused");
static CSRF: LogLimit = LogLimit::new("a request was refused as forged");
static FORBIDDEN: LogLimit = LogLimit::new("a request was forbidden");
static OVERLOADED: LogLimit = LogLimit::new("a request was turned away");

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.failure().status()
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            // Every request may fail so.
            Self::Rule(Error::Unavailable(_)) => UNAVAILABLE.log(log::Level::Error, self),
            Self::Rule(Error::Overloaded) => OVERLOADED.log(log::Level::Warn, self),
            Self::Rule(Error::Internal(_)) => log::error!("{self}"),
            // What a stranger can repeat is a line a second, with its count.
            Self::Rule(Error::TooManyAttempts { .. }) => DELAYED.log(log::Level::Info, self),
            Self::Rule(Error::RefreshInvalid { .. }) => REFRESH.log(log::Level::Info, self),
            Self::CsrfRejected => CSRF.log(log::Level::Info, self),
            other if other.failure().status() == StatusCode::FORBIDDEN => {
                FORBIDDEN.log(log::Level::Info, self);
            }
            _ => log::debug!("request refused: {self}"),
        }
        self.failure().response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Rule(error.into())
    }
}
