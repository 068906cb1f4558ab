//! The request id: the client's own or a new one, sent back in the response and written on every log line of the
//! request.

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries the request id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

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
pub struct RequestId {
    id: Arc<str>,
    traceparent: Option<Arc<str>>,
}

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
        &self.id
    }

    /// Returns the request's `traceparent` (W3C Trace Context §3.2), if a proxy or client has sent a valid one. The
    /// server's log lines have it, so that they are found by the trace.
    ///
    /// # Example
    /// ```
    /// fn trace_id(id: &hallpass::RequestId) -> Option<&str> {
    ///     id.traceparent()?.split('-').nth(1)
    /// }
    /// ```
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
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
        let id = match own.and_then(|value| std::str::from_utf8(value).ok()) {
            Some(id) => id.into(),
            None => Uuid::now_v7().to_string().into(),
        };
        let mut traces = headers.get_all(TRACEPARENT).filter_map(|value| value.to_str().ok());
        let traceparent = traces.next().filter(|text| is_traceparent(text)).map(Into::into);
        // Two of them say nothing.
        Self { id, traceparent: traceparent.filter(|_| traces.next().is_none()) }
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.id).expect("a request id has only characters that a header may have")
    }
}

/// Tells whether `text` is a `traceparent` of version 00, the only one there is: a version, an id of the trace, one of
/// the caller's part of it, and flags, in lower-case hexadecimal. An id of zeros only is invalid.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let [version, trace, parent, flags] = parts[..] else { return false };
    let lengths = (version.len(), trace.len(), parent.len(), flags.len());
    version == "00"
        && lengths == (2, 32, 16, 2)
        && parts.iter().all(|part| is_hex(part))
        && [trace, parent].iter().all(|id| id.bytes().any(|byte| byte != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_kept_if_it_is_one_and_alone() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            }
            RequestId::of(&headers).traceparent().map(str::to_owned)
        };
        assert_eq!(of(&[good]).as_deref(), Some(good));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[good, good]), None);
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\"\"",
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
    }

    #[test]
    fn a_request_id_can_be_sent_to_another_thread() {
        fn is_send<T: Send + Sync>() {}
        is_send::<RequestId>();
    }
}
