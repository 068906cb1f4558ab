//! Work beside the requests, on a thread of its own.

use std::pin::pin;

use futures_util::future::{LocalBoxFuture, select};
use tokio::sync::oneshot;

/// Work that ends when this is dropped.
///
/// It has its own thread and runtime, so it runs whichever runtime the app uses, and while all workers are busy.
#[derive(Debug)]
pub(in crate::server) struct Tasks {
    /// Dropped to end the work.
    stop: oneshot::Sender<()>,
    /// Ends when the thread does.
    ended: oneshot::Receiver<()>,
}

impl Tasks {
    /// Starts the work that `make` returns, which is called on the new thread.
    ///
    /// # Errors
    /// The system's error if there can be no further thread.
    pub(super) fn start(
        make: impl FnOnce() -> LocalBoxFuture<'static, ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (running, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("hallpass-tasks".into()).spawn(move || {
            runtime.block_on(async move {
                select(make(), pin!(stopped)).await;
            });
            drop(running);
        })?;
        Ok(Self { stop, ended })
    }

    /// Ends the work and waits until it has ended.
    pub(in crate::server) async fn stop(self) {
        drop(self.stop);
        // The sender is dropped, never used.
        let _ = self.ended.await;
    }
}
