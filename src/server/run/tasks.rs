//! Work beside the requests, on a thread of its own.

use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

/// Work that ends when this is dropped.
///
/// It has its own thread and runtime, so it runs whichever runtime the app uses, and while all workers are busy.
#[derive(Debug)]
pub(in crate::server) struct Tasks {
    /// Dropped to end the work.
    stop: oneshot::Sender<()>,
    /// Ends when the work does.
    ended: oneshot::Receiver<()>,
    runs_on: StillRunning,
}

/// The thread, which goes on without work until this is dropped: connections that the work has given back to the pool are
/// tasks of its runtime, and would otherwise be dropped, not closed.
#[derive(Debug)]
#[must_use = "dropped after the database was closed"]
pub(in crate::server) struct StillRunning(#[expect(dead_code, reason = "it is dropped")] oneshot::Sender<()>);

impl Tasks {
    /// Starts the work that `make` returns, which is called on the new thread. The work ends soon after the receiver
    /// that it is given completes.
    ///
    /// # Errors
    /// The system's error if there can be no further thread.
    pub(super) fn start(
        make: impl FnOnce(oneshot::Receiver<()>) -> LocalBoxFuture<'static, ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (running, ended) = oneshot::channel::<()>();
        let (runs_on, over) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("hallpass-tasks".into()).spawn(move || {
            runtime.block_on(async {
                make(stopped).await;
                drop(running);
                // The sender is dropped, never used.
                let _ = over.await;
            });
        })?;
        Ok(Self { stop, ended, runs_on: StillRunning(runs_on) })
    }

    /// Ends the work and waits until it has ended.
    pub(in crate::server) async fn stop(self) -> StillRunning {
        drop(self.stop);
        // As above.
        let _ = self.ended.await;
        self.runs_on
    }
}
