//! The request id: the client's own or a new one, sent back in the response and written on every log line of the
//! request.

use std::rc::Rc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries the request id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static REQUEST_ID: RequestId;
}

/// The id of a request: its `X-Request-Id`, if that is 1 to 128 of `A-Z a-z 0-9 - _ .`, or a new UUIDv7.
///
/// [`Envelope`](crate::Envelope) stores it in the request's extensions.
///
/// # Example
/// ```
/// use actix_web::{HttpMessage, HttpRequest};
/// use hallpass::RequestId;
///
/// async fn show(request: HttpRequest) -> String {
///     let extensions = request.extensions();
///     extensions.get::<RequestId>().map_or("-", RequestId::as_str).to_owned()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Rc<str>);

impl RequestId {
    /// Returns the id as text.
    ///
    /// # Example
    /// ```
    /// fn log_line(id: &hallpass::RequestId) -> String {
    ///     format!("request {}", id.as_str())
    /// }
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the request that the current task serves; `None` outside of [`Envelope`](crate::Envelope).
    ///
    /// # Example
    /// ```
    /// use hallpass::RequestId;
    ///
    /// assert!(RequestId::current().is_none(), "no request is being served here");
    /// ```
    pub fn current() -> Option<Self> {
        REQUEST_ID.try_with(Clone::clone).ok()
    }

    /// Runs `start` with this id as the current one.
    pub(super) fn enter<T>(&self, start: impl FnOnce() -> T) -> T {
        REQUEST_ID.sync_scope(self.clone(), start)
    }

    /// Polls `future` with this id as the current one.
    pub(super) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        REQUEST_ID.scope(self.clone(), future)
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is_accepted = |value: &&[u8]| {
            (1..=128).contains(&value.len())
                && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        };
        let own = headers.get(X_REQUEST_ID).map(HeaderValue::as_bytes).filter(is_accepted);
        match own.and_then(|value| std::str::from_utf8(value).ok()) {
            Some(id) => Self(id.into()),
            None => Self(Uuid::now_v7().to_string().into()),
        }
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a request id has only characters that a header may have")
    }
}
