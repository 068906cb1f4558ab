//! The readiness of the server: `GET /health/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::server::keys::SigningKeys;
use crate::server::store::Store;

/// The longest time in which the database must answer.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The reason given if it does not.
const SILENT: &str = "the database does not answer";

/// Tells whether the server is ready. Requests that come while the database is being asked wait for the same answer, so
/// a flood of them keeps one connection busy.
#[derive(Debug)]
pub(in crate::server) struct Readiness {
    store: Store,
    keys: Arc<SigningKeys>,
    clock: Clock,
    /// The number of checks that have begun.
    begun: AtomicU64,
    /// The number of the last check that ended, and what was missing.
    last: Mutex<(u64, Result<(), &'static str>)>,
}

impl Readiness {
    pub(in crate::server) fn new(store: Store, keys: Arc<SigningKeys>, clock: Clock) -> Self {
        Self { store, keys, clock, begun: AtomicU64::new(0), last: Mutex::new((0, Ok(()))) }
    }

    /// Returns what is missing.
    pub(super) async fn check(&self) -> Result<(), &'static str> {
        actix_rt::time::timeout(MAX_WAIT, self.ask()).await.unwrap_or(Err(SILENT))
    }

    async fn ask(&self) -> Result<(), &'static str> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.0 <= begun {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let is_answering = self.store.ping().await.is_ok();
            let verdict = match self.keys.signer(self.clock.now()) {
                _ if !is_answering => Err(SILENT),
                None => Err("there is no key to sign with"),
                Some(_) => Ok(()),
            };
            *last = (number, verdict);
        }
        last.1
    }
}
