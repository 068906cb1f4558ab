//! The keys of a JWK set URL. They are fetched, cached, and fetched again.
//!
//! This file decides when to fetch, which responses to accept, and for how long. [`Keyring::from_jwks`] decides what a
//! valid JWK set is; the guard decides which requests wait for a fetch.
//!
//! One thread with a runtime of its own fetches. Guards are shared by several workers, whose runtimes start and stop,
//! and a connection does not outlive the runtime that opened it.

use std::error::Error;
use std::sync::Arc;
use std::{fmt, io, thread};

use arc_swap::ArcSwapOption;
use chrono::Duration;
use reqwest::{Client, StatusCode, Url, header};
use tokio::runtime;
use tokio::sync::watch;

use super::refusal::Refusal;
use super::source::{KeyRefresh, KeySource};
use crate::clock::Clock;
use crate::token::{KeyError, Keyring};

/// As much as [`Keyring::from_jwks`] accepts.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The time between two fetches for unknown key ids, unless the issuer's `max-age` is shorter. Anyone can send a token
/// with any `kid`.
const REFRESH_INTERVAL: Duration = Duration::seconds(10);
/// The same, if the issuer's `max-age` is shorter still.
const MIN_REFRESH_INTERVAL: Duration = Duration::seconds(1);
/// The time between a failed fetch and the next, unless `refresh_every` is shorter.
const RETRY_AFTER: Duration = Duration::seconds(10);

/// The reason why a fetch failed. The last good keys stay in use.
///
/// # Example
/// ```
/// use hallpass::guard::FetchError;
///
/// let error = FetchError::Status(302);
/// assert_eq!(error.to_string(), "the issuer responded with status 302; 200 is accepted, redirects are not followed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The response was not complete in time.
    #[error("the issuer did not respond in time")]
    TimedOut,
    /// The connection failed. The cause is for the log.
    #[error("the issuer cannot be reached: {0}")]
    Unreachable(String),
    /// The status is not 200. Redirects are not followed.
    #[error("the issuer responded with status {0}; 200 is accepted, redirects are not followed")]
    Status(u16),
    /// The response is not a set of keys that may be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The thread that fetches has ended, which only a panic in it can cause.
    #[error("the thread that fetches keys has ended; restart the app")]
    Stopped,
}

/// The keys of a [`JwksUrl`](super::JwksUrl), refreshed by a thread that ends when the last handle is dropped.
///
/// Several guards may share one.
///
/// # Example: two guards for two audiences
/// ```no_run
/// use hallpass::{Guard, JwksUrl};
///
/// let keys = JwksUrl::new("https://id.example/.well-known/jwks.json")?.start()?;
/// let guard = |audience| Guard::builder().keys(keys.clone()).issuer("https://id.example").audience(audience).build();
/// let (api, admin) = (guard("https://api.example")?, guard("https://admin.example")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FetchedKeys {
    /// Without the query, for logs.
    url: String,
    max_stale: Duration,
    clock: Clock,
    good: Arc<ArcSwapOption<Good>>,
    /// Dropping it ends the thread.
    requests: watch::Sender<Requested>,
    results: watch::Receiver<Fetched>,
}

/// The last good set.
struct Good {
    keys: Arc<Keyring>,
    /// The time of the request for it, in the clock's ticks.
    requested_at: i64,
    /// The time between two fetches for unknown key ids.
    refresh_interval: Duration,
}

/// A request to the thread, for a fetch that starts after it was made.
struct Requested {
    number: u64,
    /// The time of the last request for an unknown key id, in the clock's ticks.
    unknown_key_at: Option<i64>,
}

/// A fetch of the thread. It answers all requests up to `number`.
struct Fetched {
    /// `None` before the first fetch has ended.
    number: Option<u64>,
    outcome: Result<(), FetchError>,
}

impl FetchedKeys {
    /// Starts the thread.
    pub(super) fn start(
        client: Client,
        url: Url,
        refresh_every: Duration,
        max_stale: Duration,
        clock: Clock,
    ) -> io::Result<Arc<Self>> {
        let good = Arc::new(ArcSwapOption::empty());
        let (requests, request_receiver) = watch::channel(Requested { number: 0, unknown_key_at: None });
        let (result_sender, results) = watch::channel(Fetched { number: None, outcome: Ok(()) });
        let shown_url = without_query(&url);
        let fetcher = Fetcher {
            client,
            url,
            refresh_every,
            clock: clock.clone(),
            good: Arc::clone(&good),
            requests: request_receiver,
            results: result_sender,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("jwks".to_owned()).spawn(move || runtime.block_on(fetcher.run()))?;
        Ok(Arc::new(Self { url: shown_url, max_stale, clock, good, requests, results }))
    }

    /// Fetches now, and returns when that fetch has ended. Calls made during a fetch share the next one.
    ///
    /// # Errors
    /// [`FetchError`]. The last good keys then stay in use.
    ///
    /// # Example
    /// ```
    /// # use hallpass::{JwksUrl, guard::FetchError};
    /// # actix_rt::System::new().block_on(async {
    /// let keys = JwksUrl::new("http://127.0.0.1:1/nobody-listens-here")?.start()?;
    /// assert!(matches!(keys.refresh().await, Err(FetchError::Unreachable(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn refresh(&self) -> Result<(), FetchError> {
        self.requests.send_modify(|requested| requested.number += 1);
        self.fetched().await
    }

    /// Waits for the fetch that answers the last request made until now.
    fn fetched(&self) -> impl Future<Output = Result<(), FetchError>> + use<> {
        let number = self.requests.borrow().number;
        let mut results = self.results.clone();
        async move {
            match results.wait_for(|fetched| fetched.number >= Some(number)).await {
                Ok(fetched) => fetched.outcome.clone(),
                Err(_) => Err(FetchError::Stopped),
            }
        }
    }
}

impl KeySource for FetchedKeys {
    fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        match &*self.good.load() {
            Some(good)
                if self.clock.ticks().saturating_sub(good.requested_at)
                    <= self.max_stale.num_milliseconds() =>
            {
                Ok(Arc::clone(&good.keys))
            }
            _ => Err(Refusal::Unavailable),
        }
    }

    fn refresh(&self) -> Option<KeyRefresh> {
        let now = self.clock.ticks();
        let interval = self.good.load().as_ref().map_or(REFRESH_INTERVAL, |good| good.refresh_interval);
        self.requests.send_if_modified(|requested| {
            let is_due = requested
                .unknown_key_at
                .is_none_or(|then| now.saturating_sub(then) >= interval.num_milliseconds());
            if is_due {
                *requested = Requested { number: requested.number + 1, unknown_key_at: Some(now) };
            }
            is_due
        });
        // If no fetch is running, this is ready at once. It is never `None`, since a fetch may have ended after the
        // guard read the keys.
        let fetched = self.fetched();
        Some(Box::pin(async move {
            // If it failed, the last good set stays in use.
            let _ = fetched.await;
            Ok(())
        }))
    }
}

/// The state of the thread. It alone fetches, so no two fetches overlap.
struct Fetcher {
    client: Client,
    url: Url,
    refresh_every: Duration,
    clock: Clock,
    good: Arc<ArcSwapOption<Good>>,
    requests: watch::Receiver<Requested>,
    results: watch::Sender<Fetched>,
}

impl Fetcher {
    /// Fetches at once, then at every request and when the time has come, until the keys are dropped.
    async fn run(mut self) {
        loop {
            let number = self.requests.borrow_and_update().number;
            let requested_at = self.clock.ticks();
            let outcome = self.fetch().await.map(|(keys, refresh_interval)| {
                let good = Good { keys: Arc::new(keys), requested_at, refresh_interval };
                self.good.store(Some(Arc::new(good)));
            });
            let pause = match &outcome {
                Ok(()) => self.refresh_every,
                Err(error) => {
                    // Cut short, since it may quote a name of any length from the set.
                    log::warn!("no keys from {}: {:.300}", without_query(&self.url), error.to_string());
                    self.refresh_every.min(RETRY_AFTER)
                }
            };
            self.results.send_replace(Fetched { number: Some(number), outcome });
            if let Ok(Err(_dropped)) =
                tokio::time::timeout(std_duration(pause), self.requests.changed()).await
            {
                return;
            }
        }
    }

    /// Fetches the keys, and the time between two fetches for unknown key ids.
    async fn fetch(&self) -> Result<(Keyring, Duration), FetchError> {
        let request = self.client.get(self.url.clone());
        let request = request.header(header::ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let max_age =
            response.headers().get(header::CACHE_CONTROL).and_then(max_age).unwrap_or(REFRESH_INTERVAL);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(KeyError::SetTooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok((Keyring::from_jwks(body)?, max_age.clamp(MIN_REFRESH_INTERVAL, REFRESH_INTERVAL)))
    }
}

/// Returns the `max-age` of a response (RFC 9111 §5.2.2.1).
fn max_age(cache_control: &header::HeaderValue) -> Option<Duration> {
    let directives = cache_control.to_str().ok()?.to_ascii_lowercase();
    let seconds =
        directives.split(',').find_map(|it| it.trim().strip_prefix("max-age=")?.parse::<u32>().ok());
    seconds.map(|seconds| Duration::seconds(seconds.into()))
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            // The URL may have a query, which is not for the log.
            Self::Unreachable(causes(&error.without_url()))
        }
    }
}

/// Returns the text of an error and of its sources, where reqwest puts the cause.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Returns the URL for logs, without its query, which can contain a secret.
pub(super) fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Converts a duration that was checked to be in range.
pub(super) fn std_duration(duration: Duration) -> std::time::Duration {
    duration.to_std().unwrap_or_default()
}

impl fmt::Debug for FetchedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedKeys").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn the_thread_ends_with_the_last_handle_on_its_keys() {
        let client = Client::builder().tls_certs_only([]).build().unwrap();
        let url = "http://127.0.0.1:1/".parse().unwrap();
        let keys = FetchedKeys::start(client, url, Duration::minutes(5), Duration::hours(1), Clock::system())
            .unwrap();
        let mut results = keys.results.clone();
        let last = Arc::clone(&keys);
        drop(keys);
        assert!(matches!(last.refresh().await, Err(FetchError::Unreachable(_))), "it still works");
        drop(last);
        // The thread holds the only sender, so this ends when the thread does.
        while results.changed().await.is_ok() {}
    }
}
