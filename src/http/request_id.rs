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
pub struct RequestId(HeaderValue);

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
        self.0.to_str().expect("a request id is ASCII")
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
        match headers.get(X_REQUEST_ID).filter(is_accepted) {
            // A copy, since the value shares the memory of everything that the connection has sent with it.
            Some(own) => Self(HeaderValue::from_bytes(own.as_bytes()).unwrap_or_else(|_| own.clone())),
            None => NEW.with_borrow_mut(NewIds::next),
        }
    }

    pub(super) fn into_header(self) -> HeaderValue {
        self.0
    }
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
        RequestId(HeaderValue::from_maybe_shared(text).expect("a UUID is header characters"))
    }
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
}
