//! Keys that an issuer publishes at a URL: fetched, kept for a while, fetched again.
//!
//! Owns when to fetch, what of an answer is believed, and how long. What a JWK set must look like is
//! decided by [`Keyring::from_jwks`]; who waits for a fetch, by the guard.
//!
//! The fetching is done by one thread with a runtime of its own: guards are shared by several workers, whose
//! runtimes come and go, and a connection dies with the runtime that opened it.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwapOption;
use chrono::Duration;
use reqwest::{Client, StatusCode, Url, header, redirect};
use tokio::runtime;
use tokio::sync::watch;

use super::refusal::Refusal;
use super::source::{KeyRefresh, KeySource};
use crate::clock::Clock;
use crate::token::{KeyError, Keyring};

/// No more than [`Keyring::from_jwks`] reads.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How soon after one unknown `kid` another may cause a fetch, where the issuer does not say that its set may change
/// sooner: strangers choose what a token's header says.
const LOOK_EVERY: Duration = Duration::seconds(10);
/// The same, whatever the issuer says.
const LOOK_EVERY_AT_LEAST: Duration = Duration::seconds(1);
/// How long after a failed fetch the next is tried, where the timer would take longer.
const RETRY_AFTER: Duration = Duration::seconds(10);

/// Where an issuer publishes its keys (RFC 7517 §5), and how to fetch them.
///
/// Give it to [`GuardBuilder::jwks_url`](super::GuardBuilder::jwks_url), or [`start`](Self::start) it to
/// have the keys in hand.
///
/// # How it fetches
/// Over https, or plain http on the loopback alone; no redirect is followed, no more than 256 KiB are read,
/// and an answer that takes longer than [`timeout`](Self::timeout) counts as none. Keys are fetched at once,
/// then every [`refresh_every`](Self::refresh_every), and 10 s after a failure. A key that the issuer no
/// longer names is dropped with the next fetch.
///
/// A token with an unknown `kid` is refused, and causes one fetch, at most one in 10 s; more often where the issuer's
/// `Cache-Control: max-age` is shorter, as this crate's server has it, down to one a second. Under the middleware
/// ([`Guard::protect`](super::Guard::protect)) the request waits for it, 2 s at most, and is judged once more.
///
/// A fetch that fails changes nothing: the last good set serves for [`max_stale`](Self::max_stale) since
/// it was asked for. After that, as before the first good set, requests get 503 and not 401. A set with a
/// symmetric or private key in it is a failure as a whole, since its secrets are public.
///
/// # What it does not learn
/// A verifier by JWKS knows the issuer's keys, not its users: a logout, a changed password or a disabled
/// user is unknown to it until the token's `exp`. Keep tokens short-lived, or ask the issuer in
/// [`verify_token`](super::GuardBuilder::verify_token) where that is too late.
///
/// # Example
/// ```no_run
/// use chrono::Duration;
/// use hallpass::{Guard, JwksUrl};
///
/// let keys = JwksUrl::new("https://id.example/.well-known/jwks.json")?.refresh_every(Duration::minutes(10));
/// let guard = Guard::builder()
///     .jwks_url(keys)
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct JwksUrl {
    url: Url,
    refresh_every: Duration,
    max_stale: Duration,
    timeout: Duration,
    clock: Option<Clock>,
}

/// What keeps keys from being fetched at all; found at start.
///
/// # Example
/// ```
/// use hallpass::JwksUrl;
///
/// let error = JwksUrl::new("http://id.example/.well-known/jwks.json").unwrap_err();
/// assert!(error.to_string().contains("https"), "plain http is for the loopback alone");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksUrlError {
    /// The text is no URL.
    #[error("the JWKS URL cannot be read; https://HOST/PATH is accepted")]
    Invalid,
    /// Whoever sits between could replace the keys.
    #[error(
        "the JWKS URL is not https; https is accepted, and http for 127.0.0.0/8, [::1] and localhost alone"
    )]
    Insecure,
    /// The URL is shown in logs.
    #[error("the JWKS URL contains a user name or password; one without is accepted")]
    Credentials,
    /// A duration would make no sense.
    #[error("{setting} is out of range; {accepted} is accepted")]
    OutOfRange {
        /// The method that set it.
        setting: &'static str,
        /// What it may be.
        accepted: &'static str,
    },
    /// No HTTPS client can be made, as where the machine has no root certificates.
    #[error("no HTTPS client can be made: {0}; root certificates must be installed")]
    Client(String),
    /// The operating system gave no thread or runtime.
    #[error("the thread that fetches keys cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a fetch brought no keys; the last good ones stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The answer was not there, or not complete, in time.
    #[error("the issuer did not answer in time")]
    TimedOut,
    /// No connection, or one that broke; the cause is for the log.
    #[error("the issuer cannot be reached: {0}")]
    Unreachable(String),
    /// Any other status than 200, a redirect too.
    #[error("the issuer answered with status {0}; 200 is accepted, redirects are not followed")]
    Status(u16),
    /// The answer is no set of keys that may be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The thread that fetches is gone, which only a panic in it could do.
    #[error("nothing fetches keys any more; restart the app")]
    Stopped,
}

impl JwksUrl {
    /// The keys at `url`, which begins with `https://`; `http://` is for 127.0.0.0/8, `[::1]` and `localhost`.
    ///
    /// # Errors
    /// [`JwksUrlError::Invalid`], [`JwksUrlError::Insecure`], [`JwksUrlError::Credentials`].
    ///
    /// # Example: plain http is refused where somebody could listen
    /// ```
    /// use hallpass::JwksUrl;
    ///
    /// assert!(JwksUrl::new("http://127.0.0.1:8080/.well-known/jwks.json").is_ok());
    /// assert!(JwksUrl::new("http://id.example/.well-known/jwks.json").is_err());
    /// ```
    pub fn new(url: &str) -> Result<Self, JwksUrlError> {
        let url = Url::parse(url).map_err(|_| JwksUrlError::Invalid)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(JwksUrlError::Insecure),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(JwksUrlError::Credentials);
        }
        Ok(Self {
            url,
            refresh_every: Duration::minutes(5),
            max_stale: Duration::hours(1),
            timeout: Duration::seconds(5),
            clock: None,
        })
    }

    /// How long after one fetch the next begins; 1 s to a day. Defaults to 5 minutes.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::JwksUrl;
    ///
    /// let url = JwksUrl::new("https://id.example/.well-known/jwks.json")?.refresh_every(Duration::minutes(1));
    /// # let _ = url;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh_every(mut self, period: Duration) -> Self {
        self.refresh_every = period;
        self
    }

    /// How long a set serves while newer ones cannot be had; at least `refresh_every` and `timeout` together, at
    /// most 30 days. Defaults to an hour.
    ///
    /// It is also how long a key that the issuer dropped may live on for whoever cuts the line between.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::JwksUrl;
    ///
    /// let url = JwksUrl::new("https://id.example/.well-known/jwks.json")?.max_stale(Duration::hours(1));
    /// # let _ = url;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_stale(mut self, age: Duration) -> Self {
        self.max_stale = age;
        self
    }

    /// How long a fetch may take in all, from the look-up of the name to the last byte; at most a minute.
    /// Defaults to 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The clock that tells how old the keys are. Defaults to the guard's, or the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    pub(super) fn or_clock(mut self, clock: &Clock) -> Self {
        self.clock.get_or_insert_with(|| clock.clone());
        self
    }

    /// Begins to fetch, in a thread that ends with the last handle on the keys.
    ///
    /// # Errors
    /// [`JwksUrlError::OutOfRange`], [`JwksUrlError::Client`], [`JwksUrlError::Thread`]. A server that does not
    /// answer is no error here: see [`FetchedKeys::refresh`].
    ///
    /// # Example: keys before the first request
    /// ```
    /// use hallpass::{Guard, JwksUrl, guard::FetchError};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let keys = JwksUrl::new("http://127.0.0.1:1/nobody-listens-here")?.start()?;
    /// let guard = Guard::builder()
    ///     .keys(keys.clone())
    ///     .issuer("https://id.example")
    ///     .audience("https://api.example")
    ///     .build()?;
    /// if let Err(error) = keys.refresh().await {
    ///     eprintln!("no keys yet, requests will get 503: {error}");
    /// #   assert!(matches!(error, FetchError::Unreachable(_)));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn start(self) -> Result<Arc<FetchedKeys>, JwksUrlError> {
        let out_of_range = |setting, accepted| Err(JwksUrlError::OutOfRange { setting, accepted });
        if !(Duration::seconds(1)..=Duration::days(1)).contains(&self.refresh_every) {
            return out_of_range("refresh_every", "1 s to a day");
        }
        if !(Duration::milliseconds(1)..=Duration::minutes(1)).contains(&self.timeout) {
            return out_of_range("timeout", "1 ms to a minute");
        }
        // With less, each fetch would be a gap between two sets.
        if !(self.refresh_every + self.timeout..=Duration::days(30)).contains(&self.max_stale) {
            return out_of_range("max_stale", "refresh_every and timeout together, up to 30 days,");
        }
        let clock = self.clock.clone().unwrap_or_default();
        let good = Arc::new(ArcSwapOption::empty());
        let (ask, asked) = watch::channel(Asked { ticket: 0, looked_at: None });
        let (tell, told) = watch::channel(Told { ticket: None, outcome: Ok(()) });
        let fetcher = Fetcher {
            client: self.client()?,
            url: self.url.clone(),
            refresh_every: self.refresh_every,
            clock: clock.clone(),
            good: Arc::clone(&good),
            asked,
            tell,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("jwks".to_owned()).spawn(move || runtime.block_on(fetcher.run()))?;
        Ok(Arc::new(FetchedKeys {
            place: place(&self.url),
            max_stale: self.max_stale,
            clock,
            good,
            ask,
            told,
        }))
    }

    fn client(&self) -> Result<Client, JwksUrlError> {
        let client = Client::builder()
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(std_duration(self.timeout))
            // Minutes pass between two fetches: a connection kept open is one that breaks.
            .pool_max_idle_per_host(0);
        let client = match is_loopback(&self.url) {
            // What is trusted for staying on the machine must stay there, whatever a proxy or resolver says.
            true => client.no_proxy().resolve_to_addrs(
                "localhost",
                &[([127, 0, 0, 1], 0).into(), ([0, 0, 0, 0, 0, 0, 0, 1], 0).into()],
            ),
            false => client,
        };
        let client = match self.url.scheme() {
            // No certificate is looked at, so none need be installed.
            "http" => client.tls_certs_only([]),
            _ => client.https_only(true),
        };
        client.build().map_err(|error| JwksUrlError::Client(causes(&error)))
    }
}

/// The keys of a [`JwksUrl`], kept fresh by a thread that ends when the last handle is dropped.
///
/// Several guards may share one.
pub struct FetchedKeys {
    place: String,
    max_stale: Duration,
    clock: Clock,
    good: Arc<ArcSwapOption<Good>>,
    /// Its end is the thread's.
    ask: watch::Sender<Asked>,
    told: watch::Receiver<Told>,
}

/// The last set that could be used.
struct Good {
    ring: Arc<Keyring>,
    /// When it was asked for, in the clock's ticks.
    as_of: i64,
    /// How soon after one unknown `kid` another may cause a fetch.
    look_every: Duration,
}

/// What is wanted of the thread: a fetch that begins after the last ticket was drawn.
struct Asked {
    ticket: u64,
    /// When an unknown `kid` last drew a ticket, in the clock's ticks.
    looked_at: Option<i64>,
}

/// What the thread has done: all tickets up to this one are served.
struct Told {
    /// None before the first fetch has ended.
    ticket: Option<u64>,
    outcome: Result<(), FetchError>,
}

impl FetchedKeys {
    /// Fetches now, and tells how it went. Whoever asks while a fetch is under way shares the next one.
    ///
    /// # Errors
    /// [`FetchError`]; the last good keys then stay in force.
    pub async fn refresh(&self) -> Result<(), FetchError> {
        self.ask.send_modify(|asked| asked.ticket += 1);
        self.fetched().await
    }

    /// How the fetch went, or goes, that serves the last ticket drawn until now.
    fn fetched(&self) -> impl Future<Output = Result<(), FetchError>> + use<> {
        let ticket = self.ask.borrow().ticket;
        let mut told = self.told.clone();
        async move {
            match told.wait_for(|told| told.ticket >= Some(ticket)).await {
                Ok(told) => told.outcome.clone(),
                Err(_) => Err(FetchError::Stopped),
            }
        }
    }
}

impl KeySource for FetchedKeys {
    fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        match &*self.good.load() {
            Some(good)
                if self.clock.ticks().saturating_sub(good.as_of) <= self.max_stale.num_milliseconds() =>
            {
                Ok(Arc::clone(&good.ring))
            }
            _ => Err(Refusal::Unavailable),
        }
    }

    fn refresh(&self) -> Option<KeyRefresh> {
        let now = self.clock.ticks();
        let look_every = self.good.load().as_ref().map_or(LOOK_EVERY, |good| good.look_every);
        self.ask.send_if_modified(|asked| {
            let due =
                asked.looked_at.is_none_or(|then| now.saturating_sub(then) >= look_every.num_milliseconds());
            if due {
                *asked = Asked { ticket: asked.ticket + 1, looked_at: Some(now) };
            }
            due
        });
        // Without a fetch under way this is ready at once. It is not `None` even then: the fetch may have ended
        // since the ring was read.
        let fetched = self.fetched();
        Some(Box::pin(async move {
            // How it went shows in the ring: the last good set serves on.
            let _ = fetched.await;
            Ok(())
        }))
    }
}

/// The thread's part: the only one that fetches, so no two fetches overlap.
struct Fetcher {
    client: Client,
    url: Url,
    refresh_every: Duration,
    clock: Clock,
    good: Arc<ArcSwapOption<Good>>,
    asked: watch::Receiver<Asked>,
    tell: watch::Sender<Told>,
}

impl Fetcher {
    /// Fetches at once, then whenever it is asked or the time has come, until the keys are dropped.
    async fn run(mut self) {
        loop {
            let ticket = self.asked.borrow_and_update().ticket;
            let as_of = self.clock.ticks();
            let outcome = self.fetch().await.map(|(ring, look_every)| {
                self.good.store(Some(Arc::new(Good { ring: Arc::new(ring), as_of, look_every })));
            });
            let pause = match &outcome {
                Ok(()) => self.refresh_every,
                Err(error) => {
                    // Cut short: it may quote a name from the set, which is as long as its author liked.
                    log::warn!("no keys from {}: {:.300}", place(&self.url), error.to_string());
                    self.refresh_every.min(RETRY_AFTER)
                }
            };
            self.tell.send_replace(Told { ticket: Some(ticket), outcome });
            if let Ok(Err(_gone)) = tokio::time::timeout(std_duration(pause), self.asked.changed()).await {
                return;
            }
        }
    }

    /// The keys, and how soon they may be asked for again.
    async fn fetch(&self) -> Result<(Keyring, Duration), FetchError> {
        let request = self.client.get(self.url.clone());
        let request = request.header(header::ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let current_for =
            response.headers().get(header::CACHE_CONTROL).and_then(max_age).unwrap_or(LOOK_EVERY);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(KeyError::SetTooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok((Keyring::from_jwks(body)?, current_for.clamp(LOOK_EVERY_AT_LEAST, LOOK_EVERY)))
    }
}

/// For how long an answer may be taken for current, as its author says (RFC 9111 §5.2.2.1).
fn max_age(cache_control: &header::HeaderValue) -> Option<Duration> {
    let directives = cache_control.to_str().ok()?.to_ascii_lowercase();
    let seconds =
        directives.split(',').find_map(|it| it.trim().strip_prefix("max-age=")?.parse::<u32>().ok());
    seconds.map(|seconds| Duration::seconds(seconds.into()))
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        match error.is_timeout() {
            true => Self::TimedOut,
            // The URL may have a query, which is not for the log.
            false => Self::Unreachable(causes(&error.without_url())),
        }
    }
}

/// An error of the client, which hides what went wrong in its sources.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The URL as it may be shown: a query can hold a secret.
fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Whether what is sent there cannot leave the machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Every duration here was found to be in range.
fn std_duration(duration: Duration) -> std::time::Duration {
    duration.to_std().unwrap_or_default()
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksUrl")
            .field("url", &place(&self.url))
            .field("refresh_every", &self.refresh_every)
            .field("max_stale", &self.max_stale)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FetchedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedKeys").field("url", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn the_thread_ends_with_the_last_handle_on_its_keys() {
        let keys = JwksUrl::new("http://127.0.0.1:1/").unwrap().start().unwrap();
        let mut told = keys.told.clone();
        let last = Arc::clone(&keys);
        drop(keys);
        assert!(matches!(last.refresh().await, Err(FetchError::Unreachable(_))), "it still works");
        drop(last);
        // Changes are seen until the sender is gone, which is the thread's own.
        while told.changed().await.is_ok() {}
    }
}
