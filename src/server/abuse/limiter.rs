//! The rate limiter. It counts attempts before any password is hashed, and delays them after many failures.
//!
//! Sign-ins have three counters, each with its own limit:
//! - of an **account**, for addresses that have not signed in to it: long delays, and a limit per day;
//! - of a **known address** of an account, one that has signed in to it: so the owner can sign in whatever others do;
//! - of an **address**, over all accounts. For an IPv6 address, which is counted by its /64, there is also a counter of
//!   its /48, because one owner may have all 65,536 of these.
//!
//! Registrations are counted by address, refreshes by session, failed refreshes by address, and changes of an account
//! by user. Each has a limit per hour. Sign-ins by a passkey alone have a counter of their address, with its limit.
//!
//! An attempt is counted first, and the count is undone after a success. So an attempt stays counted if its client
//! disconnects. The count is also undone if no password was hashed because the queue was full or the database failed:
//! that is not the client's fault.
//!
//! Attempts in progress are limited too. A known address has its own limit; all others share that of the account and
//! that of their address. Counters are chosen by the typed e-mail address, before the account is looked up, so they
//! reveal nothing about it. The key of a counter is 24 bits of an HMAC, which limits the number of counters. The few
//! accounts or addresses that share a key share its delays.

mod mails;
mod passkeys;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use chrono::{DateTime, Duration, Utc};
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::delay::{BITS, Delay, REASONS, reason, too_many};
use super::limit::{DAY, Limit, forget_times_after};
use super::network::{network, site};
use crate::server::config;
use crate::server::credentials::{Class, Hasher, Origin};
use crate::server::error::Error;
use crate::server::keys::vault::Vault;
use crate::server::metrics::Counters;
use crate::server::model::{AttemptCounter, CounterKey, KnownAddress};
use crate::server::store::{Counted, Store, StoreError, Transaction};

/// How many times the failures of an IPv6 /64 its /48 has without a delay.
const SITE: u32 = 8;

/// How long an address stays known after a success.
const KNOWN_FOR: Duration = Duration::days(90);

/// Counts attempts and decides how long to wait. Clones share the attempts in flight.
#[derive(Clone)]
pub struct RateLimiter {
    store: Store,
    settings: config::Throttle,
    hasher: Hasher,
    key: hmac::Key,
    in_flight: Arc<Mutex<HashMap<CounterKey, usize>>>,
    /// Answers of the database about address and account, for a moment.
    recent: Recent,
    /// The attempts that were delayed, by what delayed them.
    delayed: Arc<Counters>,
}

/// Whether an address is known to an account, and the time of that answer.
type Recent = Arc<Cache<[u8; 32], (bool, DateTime<Utc>)>>;

/// The most addresses and accounts in memory; the least used are dropped first.
const MAX_RECENT: usize = 20_000;

/// How long an address that is not known is taken for that without asking again.
const UNKNOWN_FOR: Duration = Duration::seconds(2);

/// The kinds of counters.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Account = 1,
    Known = 2,
    Address = 3,
    Registration = 4,
    Refresh = 5,
    Session = 6,
    Write = 7,
    Estimate = 8,
    Site = 9,
    Mail = 10,
    Recipient = 11,
    Passkey = 12,
}

/// An attempt within the limits. It is in flight until this is dropped, and stays counted unless it
/// [`succeeds`](Self::succeed) or is taken back.
#[must_use = "an attempt that is dropped stays counted"]
pub struct Attempt {
    counted: Vec<CounterKey>,
    address: KnownAddress,
    origin: Origin,
    recent: Recent,
    _in_flight: Vec<InFlight>,
}

/// The counters of a refresh, read and locked in the transaction that decides about it.
#[derive(Debug)]
pub(crate) struct RefreshCounters {
    /// The counters of the session and the address, each with its value including this attempt; none where limits are
    /// off.
    counted: Vec<(CounterKey, AttemptCounter)>,
}

struct InFlight {
    key: CounterKey,
    all: Arc<Mutex<HashMap<CounterKey, usize>>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}

impl RateLimiter {
    /// Returns a limiter for the installation of `vault`, whose passwords `hasher` hashes.
    pub(crate) fn new(store: Store, settings: config::Throttle, hasher: Hasher, vault: &Vault) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*vault.derive("throttle"));
        Self {
            store,
            settings,
            hasher,
            key,
            in_flight: Arc::default(),
            recent: Arc::new(Cache::new(MAX_RECENT)),
            delayed: Arc::new(Counters::new(REASONS)),
        }
    }

    /// Returns the number of attempts that were delayed, by what delayed them.
    pub(crate) fn delayed(&self) -> &Counters {
        &self.delayed
    }

    /// Counts that `key` delays an attempt. Returns the error for the client.
    fn delay(&self, Delay { key, wait }: Delay) -> Error {
        self.delayed.count(reason(key));
        too_many(wait)
    }

    /// Counts an attempt with a password for `email` (trimmed, in lower case) from `address`.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] when the client must wait, [`Error::Unavailable`].
    pub async fn begin_attempt(
        &self,
        email: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Attempt, Error> {
        self.hold_refusal(self.try_begin_attempt(email, address, now).await).await
    }

    async fn try_begin_attempt(
        &self,
        email: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Attempt, Error> {
        let network = network(address);
        let pair = KnownAddress(self.mac(Kind::Known, &[email.as_bytes(), &network]));
        if !self.settings.on {
            let origin = Origin::new(Class::Stranger, address);
            let recent = Arc::clone(&self.recent);
            return Ok(Attempt { counted: vec![], address: pair, origin, recent, _in_flight: vec![] });
        }
        let account = self.counter(Kind::Account, &[email.as_bytes()]);
        let from = self.counter(Kind::Address, &[&network]);
        let known = self.counter(Kind::Known, &[email.as_bytes(), &network]);
        let most = self.settings.account_in_flight;
        // A known address has places of its own, which no stranger's attempt can take. It is asked for only if it
        // matters.
        let mut in_flight = match self.recent(&pair, now) {
            Some(true) => vec![self.enter(known, most)?],
            recent => {
                match self.enter(account, most).and_then(|one| Ok(vec![one, self.enter(from, self.share())?]))
                {
                    Ok(places) => places,
                    Err(_) if recent.is_none() && self.is_known(&pair, now).await? => {
                        vec![self.enter(known, most)?]
                    }
                    Err(full) => return Err(full),
                }
            }
        };
        let stranger = Origin::new(Class::Stranger, address);
        if self.recent(&pair, now) != Some(true)
            && self.hasher.would_shed(stranger)
            && !self.is_known(&pair, now).await?
        {
            self.check_room(stranger)?;
        }
        let if_known = [(known, self.known_limit())];
        let mut otherwise = vec![(account, self.account_limit()), (from, self.address_limit())];
        if let Some(site) = site(address) {
            otherwise.push((self.counter(Kind::Site, &[&site]), self.site_limit()));
        }
        let counted = self.count(&pair, &if_known, &otherwise, now).await?;
        let is_known = counted == [known];
        self.recent.insert(pair.0, (is_known, now));
        if is_known
            && in_flight.len() > 1
            && let Ok(own) = self.enter(known, most)
        {
            in_flight = vec![own];
        }
        let class = if is_known { Class::Known } else { Class::Stranger };
        let (origin, recent) = (Origin::new(class, address), Arc::clone(&self.recent));
        Ok(Attempt { counted, address: pair, origin, recent, _in_flight: in_flight })
    }

    /// Tells whether the pair is known, as far as that is in memory.
    fn recent(&self, pair: &KnownAddress, now: DateTime<Utc>) -> Option<bool> {
        let (is_known, at) = self.recent.get(&pair.0)?;
        (is_known || (now - at).abs() < UNKNOWN_FOR).then_some(is_known)
    }

    /// Asks the database whether the pair is known, and remembers the answer.
    async fn is_known(&self, pair: &KnownAddress, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let is_known =
            self.store.read(async |connection| connection.is_known_address(pair, now).await).await?;
        self.recent.insert(pair.0, (is_known, now));
        Ok(is_known)
    }

    /// Passes `outcome` on. If it is an error, takes the attempt back: it never reached a hash.
    ///
    /// # Errors
    /// That of `outcome`.
    pub(crate) async fn or_take_back<T, E: Into<Error>>(
        &self,
        attempt: &Attempt,
        outcome: Result<T, E>,
    ) -> Result<T, Error> {
        if outcome.is_err() {
            let uncounted = self.store.write(async |tx| tx.uncount(&attempt.counted).await).await;
            if let Err::<(), StoreError>(error) = uncounted {
                log::debug!("an attempt that reached no hash stays counted: {error}");
            }
        }
        self.hold_refusal(outcome.map_err(Into::into)).await
    }

    /// Returns `outcome`; if the client must come back later, after `throttle.refusal_delay_ms`. A refusal costs the
    /// server almost nothing, so a client that repeats its request at once would otherwise take the processor from the
    /// hashes of others. Nothing is held meanwhile: no place, no connection to the database.
    pub(crate) async fn hold_refusal<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::TooManyAttempts { .. } | Error::Overloaded) = outcome {
            tokio::time::sleep(self.settings.refusal_delay).await;
        }
        outcome
    }

    /// Counts an estimate of a password from `address`. It is in flight until the result is dropped, so that no client
    /// fills the queue.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] when the client must wait or fills its share of the queue, [`Error::Unavailable`].
    pub(crate) async fn begin_estimate(
        &self,
        class: Class,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Attempt, Error> {
        let limit = (Kind::Estimate, self.settings.estimates_per_hour);
        self.hold_refusal(self.begin_hourly(limit, class, address, now).await).await
    }

    /// Counts a registration from `address`. It is in flight until the result is dropped, so that no client fills the
    /// queue.
    ///
    /// # Errors
    /// As for [`begin_estimate`](Self::begin_estimate).
    pub(crate) async fn begin_registration(
        &self,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Attempt, Error> {
        let limit = (Kind::Registration, self.settings.registrations_per_hour);
        self.hold_refusal(self.begin_hourly(limit, Class::Stranger, address, now).await).await
    }

    async fn begin_hourly(
        &self,
        (kind, most): (Kind, u32),
        class: Class,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Attempt, Error> {
        let network = network(address);
        let origin = Origin::new(class, address);
        // No account: it is known nowhere.
        let address = KnownAddress(self.mac(kind, &[&network]));
        let recent = Arc::clone(&self.recent);
        if !self.settings.on {
            return Ok(Attempt { counted: vec![], address, origin, recent, _in_flight: vec![] });
        }
        self.check_room(if matches!(kind, Kind::Estimate) {
            origin.in_class(Class::Estimate)
        } else {
            origin
        })?;
        let in_flight = vec![self.enter(self.counter(Kind::Address, &[&network]), self.share())?];
        let limits = [(self.counter(kind, &[&network]), self.hourly_limit(most))];
        let counted = self.count(&address, &[], &limits, now).await?;
        Ok(Attempt { counted, address, origin, recent, _in_flight: in_flight })
    }

    /// Counts a change of the account of `user` by its user.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] when the user must wait, [`Error::Unavailable`].
    pub(crate) async fn count_write(&self, user: Uuid, now: DateTime<Utc>) -> Result<(), Error> {
        if self.settings.on {
            let limits = [(
                self.counter(Kind::Write, &[user.as_bytes()]),
                self.hourly_limit(self.settings.writes_per_hour),
            )];
            // No address: it is known nowhere.
            let pair = KnownAddress(self.mac(Kind::Write, &[user.as_bytes()]));
            self.hold_refusal(self.count(&pair, &[], &limits, now).await).await?;
        }
        Ok(())
    }

    /// Counts an attempt by the limits `if_known` where `pair` is a known address, by `otherwise` where not. Returns
    /// the counters.
    async fn count(
        &self,
        pair: &KnownAddress,
        if_known: &[(CounterKey, Limit)],
        otherwise: &[(CounterKey, Limit)],
        now: DateTime<Utc>,
    ) -> Result<Vec<CounterKey>, Error> {
        let free = |limits: &[(CounterKey, Limit)]| -> Vec<_> {
            limits.iter().map(|(key, limit)| limit.free_count(*key, now)).collect()
        };
        let partly = match self.store.try_count(pair, &free(if_known), &free(otherwise), now).await? {
            Counted::All(counters) => return Ok(counters),
            Counted::Some(counters) => counters,
        };
        let counted = self
            .store
            .write(async |tx| {
                tx.uncount(&partly).await?;
                let is_known = !if_known.is_empty() && tx.is_known_address(pair, now).await?;
                Ok::<_, Error>(count(tx, if is_known { if_known } else { otherwise }, now).await?)
            })
            .await?;
        counted.map_err(|delay| self.delay(delay))
    }

    /// Reads the counters of a refresh by a token of `session` from `address`, in the transaction that decides about
    /// it. A failed refresh counts for both, a successful one for the session alone, so that users behind one address
    /// do not limit each other.
    ///
    /// # Errors
    /// In the outer result [`StoreError`]; in the inner one [`Error::TooManyAttempts`].
    pub(crate) async fn lock_refresh(
        &self,
        tx: &mut Transaction,
        session: Uuid,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Result<RefreshCounters, Error>, StoreError> {
        let Some((keys, most)) = self.refresh_limit(session, address) else {
            return Ok(Ok(RefreshCounters { counted: vec![] }));
        };
        let limits = keys.map(|key| (key, self.hourly_limit(most)));
        let counted = check(tx, &limits, now).await?;
        Ok(counted.map(|counted| RefreshCounters { counted }).map_err(|delay| self.delay(delay)))
    }

    /// Returns the counters of a refresh, of the session and of the address, and the most refreshes in an hour; none
    /// where limits are off.
    pub(crate) fn refresh_limit(&self, session: Uuid, address: IpAddr) -> Option<([CounterKey; 2], u32)> {
        let keys = [
            self.counter(Kind::Session, &[session.as_bytes()]),
            self.counter(Kind::Refresh, &[&network(address)]),
        ];
        self.settings.on.then_some((keys, self.settings.refreshes_per_hour))
    }

    /// Returns the most passwords of one address in the hashing queue.
    fn share(&self) -> usize {
        (self.hasher.places() / 4).max(1)
    }

    /// Refuses a request whose password would be shed, before it costs the database anything.
    fn check_room(&self, origin: Origin) -> Result<(), Error> {
        if self.hasher.would_shed(origin) {
            self.hasher.note_shed(origin);
            return Err(Error::Overloaded);
        }
        Ok(())
    }

    /// Takes a place in flight.
    fn enter(&self, key: CounterKey, most: usize) -> Result<InFlight, Error> {
        let mut all = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key).or_default();
        if *count >= most {
            self.delayed.count("in_flight");
            return Err(Error::TooManyAttempts { retry_after_secs: 1 });
        }
        *count += 1;
        Ok(InFlight { key, all: Arc::clone(&self.in_flight) })
    }

    fn mac(&self, kind: Kind, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[kind as u8]);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    fn counter(&self, kind: Kind, parts: &[&[u8]]) -> CounterKey {
        let mac = self.mac(kind, parts);
        let bits = u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]]) >> (32 - BITS);
        CounterKey(((kind as i64) << BITS) | i64::from(bits))
    }

    fn account_limit(&self) -> Limit {
        Limit {
            free: self.settings.account_free,
            first: Duration::seconds(30),
            factor: 4,
            longest: Duration::from_std(self.settings.max_delay).unwrap_or(DAY),
            forgotten_after: DAY,
            most: self.settings.account_per_day,
            window: DAY,
        }
    }

    fn known_limit(&self) -> Limit {
        Limit {
            free: self.settings.known_free,
            first: Duration::seconds(1),
            factor: 2,
            ..self.account_limit()
        }
    }

    fn address_limit(&self) -> Limit {
        Limit {
            free: self.settings.address_free,
            first: Duration::seconds(1),
            factor: 2,
            forgotten_after: Duration::hours(1),
            most: u32::MAX,
            ..self.account_limit()
        }
    }

    fn site_limit(&self) -> Limit {
        Limit { free: self.settings.address_free.saturating_mul(SITE), ..self.address_limit() }
    }

    /// Returns a limit of `most` attempts an hour, whatever their outcome.
    fn hourly_limit(&self, most: u32) -> Limit {
        Limit { free: u32::MAX, most, window: Duration::hours(1), ..self.account_limit() }
    }
}

impl Attempt {
    /// Returns the counters in which it was counted.
    pub(crate) fn counted(&self) -> &[CounterKey] {
        &self.counted
    }

    /// Returns who asks, for the hashing queue.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the address that a success at `now` is remembered for, and until when.
    pub(crate) fn remembered(&self, now: DateTime<Utc>) -> (&KnownAddress, DateTime<Utc>) {
        self.recent.insert(self.address.0, (true, now));
        (&self.address, now + KNOWN_FOR)
    }

    /// Takes the attempt back, because the password was right, and remembers the address.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn succeed(&self, tx: &mut Transaction, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (address, until) = self.remembered(now);
        tx.uncount(&self.counted).await?;
        tx.remember_address(address, until).await
    }
}

impl RefreshCounters {
    /// Stores that the refresh succeeded: it counts for the session alone.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn succeed(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        match self.counted.first() {
            Some((key, counter)) => tx.put_counter(*key, counter).await,
            None => Ok(()),
        }
    }

    /// Stores that the refresh failed: it counts for the session and the address.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn fail(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        put(tx, &self.counted).await
    }
}

/// Reads and locks the counters of `limits`. Returns their values including an attempt at `now`, or the time to wait.
async fn check(
    tx: &mut Transaction,
    limits: &[(CounterKey, Limit)],
    now: DateTime<Utc>,
) -> Result<Result<Vec<(CounterKey, AttemptCounter)>, Delay>, StoreError> {
    let keys: Vec<_> = limits.iter().map(|(key, _)| *key).collect();
    let stored = tx.lock_counters(&keys).await?;
    let mut counters = stored.clone();
    counters.iter_mut().for_each(|counter| forget_times_after(counter, now));
    let uncounted = counters.clone();
    let waits = limits.iter().zip(&mut counters);
    let delays = waits.filter_map(|((key, limit), counter)| {
        let wait = limit.count(counter, now).err()?;
        Some(Delay { key: *key, wait })
    });
    let Some(longest) = delays.max_by_key(|delay| delay.wait) else {
        return Ok(Ok(keys.into_iter().zip(counters).collect()));
    };
    if uncounted != stored {
        // The clock has stepped back. Without this, a client that has waited would have to wait again.
        put(tx, &keys.into_iter().zip(uncounted).collect::<Vec<_>>()).await?;
    }
    Ok(Err(longest))
}

/// Counts an attempt at `now` and returns its counters; or what delays it, and nothing was counted.
async fn count(
    tx: &mut Transaction,
    limits: &[(CounterKey, Limit)],
    now: DateTime<Utc>,
) -> Result<Result<Vec<CounterKey>, Delay>, StoreError> {
    match check(tx, limits, now).await? {
        Ok(counted) => {
            put(tx, &counted).await?;
            Ok(Ok(counted.into_iter().map(|(key, _)| key).collect()))
        }
        Err(delay) => Ok(Err(delay)),
    }
}

async fn put(tx: &mut Transaction, counters: &[(CounterKey, AttemptCounter)]) -> Result<(), StoreError> {
    for (key, counter) in counters {
        tx.put_counter(*key, counter).await?;
    }
    Ok(())
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("counted", &self.counted).finish_non_exhaustive()
    }
}
