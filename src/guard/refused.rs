//! A refused request: the reason and the response, as an error for actix.

use std::cell::RefCell;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use super::answer::{self, Challenge};
use super::refusal::Refusal;

/// A refused request: the reason, and the response to it.
///
/// # Example: a handler that looks at the reason
/// ```
/// use hallpass::{AuthUser, Refusal, Refused};
///
/// async fn hello(user: Result<AuthUser, Refused>) -> String {
///     match user {
///         Ok(user) => format!("Hello, {}!", user.email),
///         Err(refused) if refused.reason() == Refusal::TokenExpired => "Welcome back! Please sign in again.".into(),
///         Err(_) => "Hello, guest!".into(),
///     }
/// }
/// ```
pub struct Refused {
    refusal: Refusal,
    /// The response, until it is sent. actix asks through a shared reference, and may ask twice; the second is then
    /// made from the reason.
    response: RefCell<Option<Box<HttpResponse>>>,
}

impl Refused {
    pub(super) fn new(refusal: Refusal, response: HttpResponse) -> Self {
        Self { refusal, response: RefCell::new(Some(Box::new(response))) }
    }

    /// The refusal of a handler for which no guard is installed.
    pub(super) fn not_configured() -> Self {
        Self { refusal: Refusal::NotConfigured, response: RefCell::new(None) }
    }

    /// Returns the reason.
    ///
    /// # Example
    /// ```
    /// use hallpass::{AuthUser, Refusal, Refused};
    ///
    /// async fn state(user: Result<AuthUser, Refused>) -> &'static str {
    ///     match user.map_err(|refused| refused.reason()) {
    ///         Ok(_) => "signed in",
    ///         Err(Refusal::TokenExpired) => "expired",
    ///         Err(_) => "signed out",
    ///     }
    /// }
    /// ```
    pub fn reason(&self) -> Refusal {
        self.refusal
    }

    pub(crate) fn into_response(self) -> HttpResponse {
        self.error_response()
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.refusal).finish()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        answer::status(self.refusal)
    }

    fn error_response(&self) -> HttpResponse {
        match self.response.take() {
            Some(response) => *response,
            None => answer::failure(self.refusal, &Challenge::bearer()).response(),
        }
    }
}
