//! A request's body that two parties may hold: whoever reads it first gets it, and whoever is left
//! holding it can read what remains.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt};

/// A handle on a body; clones share it.
#[derive(Clone)]
pub(crate) struct SharedPayload(Rc<RefCell<Payload>>);

impl SharedPayload {
    /// Takes the body out of `payload` and leaves a handle on it there. Without a body: `None`.
    pub(crate) fn share(payload: &mut Payload) -> Option<Self> {
        if matches!(payload, Payload::None) {
            return None;
        }
        let shared = Self(Rc::new(RefCell::new(payload.take())));
        *payload = shared.handle();
        Some(shared)
    }

    /// One more handle, as a payload.
    pub(crate) fn handle(&self) -> Payload {
        Payload::Stream { payload: Box::pin(self.clone()) }
    }

    /// Reads what remains, at most `limit` bytes and for at most `time`, and drops it.
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
        // Too slow or too long alike: the connection is then closed, which is what such a body earns.
        let _ = actix_rt::time::timeout(time, read).await;
    }
}

impl Stream for SharedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.try_borrow_mut() {
            Ok(mut payload) => Pin::new(&mut *payload).poll_next(cx),
            // Only a reader that polls itself could get here; it has no more to read.
            Err(_) => Poll::Ready(None),
        }
    }
}
