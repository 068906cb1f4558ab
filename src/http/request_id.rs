//! The request id: the client's own or a new one, sent back in the response and written on every log line of the
//! request.

use std::cell::RefCell;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::BytesMut;
use tokio::task::futures::TaskLocalFuture;
use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid};

use crate::clock::Clock;

/// The header that carries the request id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The number of ids for which a thread asks the kernel once.
const BATCH: usize = 64;

/// The random bytes of an id.
const RANDOM: usize = 10;

tokio::task_local! {
    static REQUEST_ID: RequestId;
}

thread_local! {
    static NEW: RefCell<NewIds> = const { RefCell::new(NewIds { random: [0; BATCH * RANDOM], left: 0, text: None }) };
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
    id: HeaderValue,
    traceparent: Option<HeaderValue>,
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
        self.id.to_str().expect("a request id is ASCII")
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
        self.traceparent.as_ref().map(|trace| trace.to_str().expect("a traceparent is ASCII"))
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
    pub(super) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        REQUEST_ID.scope(self, future)
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is_accepted = |value: &&HeaderValue| {
            (1..=128).contains(&value.len())
                && value.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        };
        let mut id = match headers.get(X_REQUEST_ID).filter(is_accepted) {
            Some(own) => Self { id: copy(own), traceparent: None },
            None => NEW.with_borrow_mut(NewIds::next),
        };
        let mut traces = headers.get_all(TRACEPARENT);
        // Two of them say nothing.
        if let (Some(trace), None) = (traces.next(), traces.next())
            && is_traceparent(trace.as_bytes())
        {
            id.traceparent = Some(copy(trace));
        }
        id
    }

    pub(super) fn into_header(self) -> HeaderValue {
        self.id
    }
}

/// Returns a copy, since the value shares the memory of everything that the connection has sent with it.
fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// A thread's next ids.
struct NewIds {
    random: [u8; BATCH * RANDOM],
    /// The number of ids for which there are random bytes.
    left: usize,
    /// Where the texts go: ids share one block of memory.
    text: Option<BytesMut>,
}

impl NewIds {
    fn next(&mut self) -> RequestId {
        if self.left == 0 {
            aws_lc_rs::rand::fill(&mut self.random).expect("the system has random numbers");
            self.left = BATCH;
        }
        self.left -= 1;
        let millis = u64::try_from(Clock::system().now().timestamp_millis()).unwrap_or_default();
        let random = self.random[self.left * RANDOM..].first_chunk().expect("a whole number of ids");
        let id = Builder::from_unix_timestamp_millis(millis, random).into_uuid();
        let text = self.text.get_or_insert_default();
        if text.capacity() < Hyphenated::LENGTH {
            *text = BytesMut::with_capacity(BATCH * Hyphenated::LENGTH);
        }
        text.extend_from_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        let text = text.split().freeze();
        let id = HeaderValue::from_maybe_shared(text).expect("a UUID is header characters");
        RequestId { id, traceparent: None }
    }
}

/// Tells whether `text` is a `traceparent` of version 00, the only one there is: a version, an id of the trace, one of
/// the caller's part of it, and flags, in lower-case hexadecimal. An id of zeros only is invalid.
fn is_traceparent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split(|byte| *byte == b'-');
    let mut next = |length| parts.next().filter(|part| part.len() == length && is_hex(part));
    let (Some(version), Some(trace), Some(parent), Some(_)) = (next(2), next(32), next(16), next(2)) else {
        return false;
    };
    version == b"00"
        && parts.next().is_none()
        && [trace, parent].iter().all(|id| id.iter().any(|byte| *byte != b'0'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn new_ids_are_uuids_of_their_time_and_no_two_are_the_same_on_any_thread() {
        let ids = || (0..1_000).map(|_| RequestId::of(&HeaderMap::new())).collect::<Vec<_>>();
        let before = Clock::system().now().timestamp_millis();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(ids)).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        for id in &ids {
            let id: Uuid = id.as_str().parse().unwrap();
            assert_eq!(id.get_version_num(), 7);
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            let millis = seconds.cast_signed() * 1_000 + i64::from(nanos / 1_000_000);
            assert!((before..before + 600_000).contains(&millis), "{id}");
        }
        assert_eq!(ids.iter().map(RequestId::as_str).collect::<HashSet<_>>().len(), 4_000);
    }

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
