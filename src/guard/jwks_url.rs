//! The URL where an issuer publishes its keys, checked at the start. `fetched_keys.rs` fetches them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::Duration;
use reqwest::{Client, Url, redirect};

use super::fetched_keys::{FetchedKeys, causes, std_duration, without_query};
use crate::clock::Clock;

/// The URL of an issuer's JWK set (RFC 7517 §5), and how to fetch it.
///
/// Pass it to [`GuardBuilder::jwks_url`](super::GuardBuilder::jwks_url), or [`start`](Self::start) it to share the keys
/// among guards or to wait for them.
///
/// # Fetching
/// The URL is https, or http on the loopback only. No redirect is followed, at most 256 KiB are read, and a response
/// that takes longer than [`timeout`](Self::timeout) is a failure. Keys are fetched at the start, then every
/// [`refresh_every`](Self::refresh_every), and 10 s after a failure. A key that is no longer in the set is dropped with
/// the next fetch.
///
/// A token with an unknown `kid` is refused, and causes a fetch: at most one in 10 s, or one in the issuer's
/// `Cache-Control: max-age` if that is shorter (as with this crate's server), but at most one a second. Under the
/// middleware ([`Guard::protect`](super::Guard::protect)) the request waits for it, for at most 2 s, and its token is
/// verified again.
///
/// # Failures
/// A failed fetch changes nothing: the last good set is used until it is [`max_stale`](Self::max_stale) old, counted
/// from the request for it. After that, and before the first good set, clients get 503 and not 401. A set that contains
/// a symmetric or private key is refused as a whole, since that key is public.
///
/// # Revocation
/// The JWK set has the issuer's keys, not its users. A guard that uses only the keys accepts a token until its `exp`,
/// even after a sign-out, a password change or a disabled account. Keep tokens short-lived, or ask the issuer in
/// [`verify_token`](super::GuardBuilder::verify_token).
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

/// An error of [`JwksUrl`], found at the start.
///
/// # Example
/// ```
/// use hallpass::JwksUrl;
///
/// let error = JwksUrl::new("http://id.example/.well-known/jwks.json").unwrap_err();
/// assert!(error.to_string().contains("https"), "http is accepted on the loopback only");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksUrlError {
    /// The text is not a URL.
    #[error("the JWKS URL is not a URL; https://HOST/PATH is accepted")]
    Invalid,
    /// The keys could be replaced on their way.
    #[error(
        "the JWKS URL is not https; https is accepted, and http only for 127.0.0.0/8, [::1] and localhost"
    )]
    Insecure,
    /// The URL has a user name or password, which the log would show.
    #[error("the JWKS URL contains a user name or password; one without is accepted")]
    Credentials,
    /// A duration is out of range.
    #[error("{setting} is out of range; {accepted} is accepted")]
    OutOfRange {
        /// The method that set the duration.
        setting: &'static str,
        /// The accepted range.
        accepted: &'static str,
    },
    /// The HTTPS client cannot be created, for example because the machine has no root certificates.
    #[error("the HTTPS client cannot be created: {0}; root certificates must be installed")]
    Client(String),
    /// The operating system did not start a thread or runtime.
    #[error("the thread that fetches keys cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl JwksUrl {
    /// The keys at `url`, which begins with `https://`, or with `http://` for 127.0.0.0/8, `[::1]` and `localhost`.
    ///
    /// # Errors
    /// [`JwksUrlError::Invalid`], [`JwksUrlError::Insecure`], [`JwksUrlError::Credentials`].
    ///
    /// # Example: http is accepted on the loopback only
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

    /// Sets the time between two fetches: 1 s to a day. Defaults to 5 minutes.
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

    /// Sets how long a set is used while fetches fail: at least `refresh_every` and `timeout` together, at most 30
    /// days. Defaults to an hour.
    ///
    /// An attacker who blocks the connection to the issuer can keep a dropped key in use for this time.
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

    /// Sets how long a fetch may take, from the name lookup to the last byte: 1 ms to a minute. Defaults to 5 s.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::JwksUrl;
    ///
    /// let url = JwksUrl::new("https://id.example/.well-known/jwks.json")?.timeout(Duration::seconds(2));
    /// # let _ = url;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the clock that measures the age of the keys. Defaults to the guard's, or to the system's without a guard.
    ///
    /// # Example
    /// ```
    /// use hallpass::{JwksUrl, clock::Clock};
    ///
    /// let clock = Clock::manual(chrono::Utc::now()); // and the test moves `clock`
    /// let url = JwksUrl::new("http://127.0.0.1:8080/.well-known/jwks.json")?.clock(clock.clone());
    /// # let _ = url;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    pub(super) fn or_clock(mut self, clock: &Clock) -> Self {
        self.clock.get_or_insert_with(|| clock.clone());
        self
    }

    /// Starts to fetch, in a thread that ends when the last handle on the keys is dropped.
    ///
    /// # Errors
    /// [`JwksUrlError::OutOfRange`], [`JwksUrlError::Client`], [`JwksUrlError::Thread`]. An issuer that does not
    /// respond is not an error here, but of [`FetchedKeys::refresh`].
    ///
    /// # Example: waiting for the keys before the first request
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
    ///     eprintln!("no keys yet, clients will get 503: {error}");
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
        // With less, the keys would be stale before each fetch ends.
        if !(self.refresh_every + self.timeout..=Duration::days(30)).contains(&self.max_stale) {
            return out_of_range("max_stale", "refresh_every and timeout together, up to 30 days,");
        }
        let client = self.client()?;
        let clock = self.clock.unwrap_or_default();
        Ok(FetchedKeys::start(client, self.url, self.refresh_every, self.max_stale, clock)?)
    }

    fn client(&self) -> Result<Client, JwksUrlError> {
        let client = Client::builder()
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(std_duration(self.timeout))
            // Minutes pass between two fetches, so an idle connection would be closed by then.
            .pool_max_idle_per_host(0);
        let client = if is_loopback(&self.url) {
            // The request must stay on the machine, whatever a proxy or resolver says.
            client.no_proxy().resolve_to_addrs(
                "localhost",
                &[([127, 0, 0, 1], 0).into(), ([0, 0, 0, 0, 0, 0, 0, 1], 0).into()],
            )
        } else {
            client
        };
        let client = match self.url.scheme() {
            // No root certificates are needed, so none have to be installed.
            "http" => client.tls_certs_only([]),
            _ => client.https_only(true),
        };
        client.build().map_err(|error| JwksUrlError::Client(causes(&error)))
    }
}

/// Returns whether a request to `url` stays on the machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksUrl")
            .field("url", &without_query(&self.url))
            .field("refresh_every", &self.refresh_every)
            .field("max_stale", &self.max_stale)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
