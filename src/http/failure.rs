//! The JSON body of every failure: `{"code", "message", "error"}`, and `fields` for a 422.
//!
//! This file owns the format and the messages. The reasons are in [`guard::Refusal`](crate::guard::Refusal) for tokens,
//! and in `server::error` for everything else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;

/// The errors of a request's fields: for each field, one or more sentences.
///
/// # Example
/// ```
/// let fields = hallpass::Fields::from([("email", vec!["is required".to_owned()])]);
/// assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"email":["is required"]}"#);
/// ```
pub type Fields = BTreeMap<&'static str, Vec<String>>;

/// A failure as the client sees it.
///
/// Put nothing internal into it: no SQL, path, type name or backtrace.
///
/// # Example
/// ```
/// use actix_web::http::StatusCode;
/// use hallpass::Failure;
///
/// let failure = Failure::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address");
/// assert_eq!(
///     serde_json::to_string(&failure).unwrap(),
///     r#"{"code":404,"message":"there is nothing at this address","error":"not_found"}"#,
/// );
/// ```
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(description = "The body of every failure."))]
pub struct Failure {
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[cfg_attr(feature = "openapi", schema(value_type = u16))]
    code: StatusCode,
    /// One sentence for a person.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    message: Cow<'static, str>,
    /// The stable name for programs.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    error: Cow<'static, str>,
    /// The errors of each field, by its name; only with a 422.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Vec<String>>, required = false))]
    fields: Fields,
    /// To be sent back with a second factor; only with `second_factor_required`.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    challenge: Secret,
    /// The kinds of second factors that the account has; only with `second_factor_required`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, required = false))]
    methods: Vec<String>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A credential in a failure. `Debug` does not show it.
#[derive(Clone, Default, Serialize)]
#[serde(transparent)]
struct Secret(String);

impl Secret {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "…" })
    }
}

/// The message of every 401. Some old clients compare it literally.
pub(crate) const UNAUTHORIZED_MESSAGE: &str = "401 Unauthorized Access";

impl Failure {
    /// Returns a failure with the status `code`, the stable name `error` for programs, and one sentence for a person.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    /// use hallpass::Failure;
    ///
    /// let failure = Failure::new(StatusCode::CONFLICT, "name_taken", "another note has this name");
    /// assert_eq!(failure.response().status(), 409);
    /// ```
    pub fn new(
        code: StatusCode,
        error: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            error: error.into(),
            fields: Fields::new(),
            challenge: Secret::default(),
            methods: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The failure for a status alone, for example when the framework refuses a request.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    /// use hallpass::Failure;
    ///
    /// assert_eq!(Failure::of_status(StatusCode::NOT_FOUND).error(), "not_found");
    /// ```
    pub fn of_status(code: StatusCode) -> Self {
        let (error, message) = match code {
            StatusCode::BAD_REQUEST => ("request_invalid", "the request cannot be understood"),
            StatusCode::UNAUTHORIZED => ("token_missing", UNAUTHORIZED_MESSAGE),
            StatusCode::FORBIDDEN => ("forbidden", "this is not allowed"),
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "this address does not support this method; the Allow header lists those that it supports",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("body_too_large", "the body is larger than this server accepts")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("unsupported_media_type", "the body must be sent as Content-Type: application/json")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                ("too_many_attempts", "too many attempts; try again after the seconds in Retry-After")
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                ("unavailable", "the service cannot answer now; try again soon")
            }
            other if other.is_client_error() => ("request_invalid", "the request cannot be served"),
            _ => {
                ("internal", "the server failed; its log has the cause under the X-Request-Id of this answer")
            }
        };
        Self::new(code, error, message)
    }

    /// Sets the errors of each field.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    /// use hallpass::{Failure, Fields};
    ///
    /// let fields = Fields::from([("email", vec!["is required".to_owned()])]);
    /// let failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", "a field is missing").with_fields(fields);
    /// assert!(serde_json::to_string(&failure).unwrap().contains(r#""fields":{"email":["is required"]}"#));
    /// ```
    #[must_use]
    pub fn with_fields(mut self, fields: Fields) -> Self {
        self.fields = fields;
        self
    }

    /// Sets what the client needs to sign in with a second factor.
    #[cfg(feature = "server")]
    #[must_use]
    pub(crate) fn with_second_factor(mut self, challenge: &str, methods: Vec<String>) -> Self {
        self.challenge = Secret(challenge.to_owned());
        self.methods = methods;
        self
    }

    /// Adds a header to the response.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::{StatusCode, header};
    /// use hallpass::Failure;
    ///
    /// let failure = Failure::of_status(StatusCode::METHOD_NOT_ALLOWED)
    ///     .with_header(header::ALLOW, header::HeaderValue::from_static("GET"));
    /// assert_eq!(failure.response().headers().get("allow").unwrap(), "GET");
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds the header `Retry-After` (RFC 9110 §10.2.3), in whole seconds.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    /// use hallpass::Failure;
    ///
    /// let failure = Failure::of_status(StatusCode::TOO_MANY_REQUESTS).with_retry_after(30);
    /// assert_eq!(failure.response().headers().get("retry-after").unwrap(), "30");
    /// ```
    #[must_use]
    pub fn with_retry_after(self, secs: u64) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(secs))
    }

    /// Returns the HTTP status.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    ///
    /// assert_eq!(hallpass::Failure::of_status(StatusCode::GONE).status(), StatusCode::GONE);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.code
    }

    /// Returns the stable name for programs.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    ///
    /// assert_eq!(hallpass::Failure::of_status(StatusCode::NOT_FOUND).error(), "not_found");
    /// ```
    pub fn error(&self) -> &str {
        &self.error
    }

    /// The headers of the response, without those that describe the body.
    #[cfg(feature = "server")]
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Makes the response: status, headers and the JSON body.
    ///
    /// # Example
    /// ```
    /// use actix_web::http::StatusCode;
    /// use hallpass::Failure;
    ///
    /// assert_eq!(Failure::of_status(StatusCode::CONFLICT).response().status(), 409);
    /// ```
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code);
        for header in &self.headers {
            response.append_header(header.clone());
        }
        response.json(self)
    }
}

fn as_number<S: serde::Serializer>(code: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(code.as_u16())
}
