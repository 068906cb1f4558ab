//! The future of the guard's extractors.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use super::refused::Refused;

/// The future of an extractor: `T`, or the refusal.
///
/// It is ready in the first poll unless something outside the process must be waited for. If it is a refusal, actix
/// then polls no later parameter of the handler.
///
/// # Example: in an app's own middleware
/// ```
/// use actix_web::{FromRequest, HttpRequest};
/// use hallpass::AuthUser;
/// use hallpass::guard::Admission;
///
/// fn user(request: &HttpRequest) -> Admission<AuthUser> {
///     AuthUser::extract(request)
/// }
/// ```
#[must_use = "a request is not authenticated until this is awaited"]
pub struct Admission<T>(Decision<T>);

enum Decision<T> {
    /// Taken when it is polled.
    Made(Option<Result<T, Refused>>),
    Awaited(LocalBoxFuture<'static, Result<T, Refused>>),
}

// Nothing in it is pinned: what is awaited has a place of its own.
impl<T> Unpin for Admission<T> {}

impl<T> Admission<T> {
    pub(super) fn new(decision: impl Future<Output = Result<T, Refused>> + 'static) -> Self {
        Self(Decision::Awaited(Box::pin(decision)))
    }

    pub(super) fn made(decision: Result<T, Refused>) -> Self {
        Self(Decision::Made(Some(decision)))
    }
}

impl<T> Future for Admission<T> {
    type Output = Result<T, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Decision::Made(decision) => {
                Poll::Ready(decision.take().expect("a future is not polled after it is ready"))
            }
            Decision::Awaited(decision) => decision.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Admission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}
