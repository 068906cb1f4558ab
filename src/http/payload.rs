//! A request body that several extractors or middlewares share: each reads what the others have left.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt};

/// A handle on a body. Clones share the body.
#[derive(Clone)]
pub(crate) struct SharedPayload(Rc<RefCell<Payload>>);

impl SharedPayload {
    /// Moves the body out of `payload`, and leaves a handle on it there. Returns `None` if there is no body.
    pub(crate) fn share(payload: &mut Payload) -> Option<Self> {
        if matches!(payload, Payload::None) {
            return None;
        }
        let shared = Self(Rc::new(RefCell::new(payload.take())));
        *payload = shared.handle();
        Some(shared)
    }

    /// Returns another handle, as a payload.
    pub(crate) fn handle(&self) -> Payload {
        Payload::Stream { payload: Box::pin(self.clone()) }
    }

    /// Reads and drops the rest of the body: at most `limit` bytes, for at most `time`.
    pub(crate) async fn drain(mut self, limit: usize, time: Duration) {
        let read = async {
            let mut left = limit;
            while let Some(Ok(chunk)) = self.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        // If the body is too slow or too long, the rest stays unread, and actix closes the connection.
        let _ = actix_rt::time::timeout(time, read).await;
    }
}

impl Stream for SharedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.try_borrow_mut() {
            Ok(mut payload) => Pin::new(&mut *payload).poll_next(cx),
            // Reached only by a reader that polls itself.
            Err(_) => Poll::Ready(None),
        }
    }
}
