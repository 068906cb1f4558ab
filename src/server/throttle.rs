//! Tries to sign in, to register or to refresh: counted before any hash, and delayed when many failed. The rules stand
//! here; the tallies are in the database, for every server on it and after every restart.
//!
//! Three tallies, each with a curve of its own:
//! - of an **account**, for addresses from which nobody has signed in to it: slow, and at most so many a day;
//! - of a **known address** of an account, from which somebody has: its owner gets in, whatever strangers do;
//! - of an **address**, over all accounts.
//!
//! Registrations are counted by address, so many an hour; refreshes by session, and those that failed by address.
//!
//! A try is counted first, and given back only by success, so that one whose client went away stays counted.
//! Everything goes by what was typed, before the account is looked up, and so tells nothing of it. Accounts
//! and addresses are kept as 18 bits of an HMAC: two that share a slot share its delays, which is rare,
//! and there is an end to the slots.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::config;
use super::error::ApiError;
use super::store::Store;
use super::vault::Vault;

/// A tally's place in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(pub(super) i64);

/// An account and an address, as one HMAC.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair(pub(super) [u8; 32]);

/// What is known of a slot's tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Tries that success has not given back.
    pub failures: u32,
    /// The last one.
    pub last_at: DateTime<Utc>,
    /// When the window began that `in_window` counts.
    pub window_began: DateTime<Utc>,
    /// Tries since then.
    pub in_window: u32,
}

impl Default for Tally {
    fn default() -> Self {
        let never = DateTime::UNIX_EPOCH;
        Self { failures: 0, last_at: never, window_began: never, in_window: 0 }
    }
}

impl Tally {
    /// Times from before the clock stepped back would delay until the clock is there again.
    fn forget_times_after(&mut self, now: DateTime<Utc>) {
        self.last_at = self.last_at.min(now);
        self.window_began = self.window_began.min(now);
    }
}

/// How a tally turns into a delay.
#[derive(Debug, Clone, Copy)]
struct Curve {
    /// Failures without a delay.
    free: u32,
    /// The delay after the first failure beyond those, which grows by `factor` with each more.
    first: Duration,
    factor: u32,
    /// The longest delay.
    longest: Duration,
    /// After so long without a try, failures are forgotten.
    forgotten_after: Duration,
    /// At most so many tries in each `window`.
    most: u32,
    window: Duration,
}

const DAY: Duration = Duration::hours(24);
const BITS: u32 = 18;

/// How long an address keeps its record of success.
const KNOWN_FOR: Duration = Duration::days(90);

impl Curve {
    /// Counts a try at `now`.
    ///
    /// # Errors
    /// How long to wait, when it is too early; the tally then stays as it was.
    fn count(&self, tally: &mut Tally, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut next = *tally;
        if now - next.last_at >= self.forgotten_after {
            next.failures = 0;
        }
        if now - next.window_began >= self.window {
            next.window_began = now;
            next.in_window = 0;
        }
        let since = now - next.last_at;
        let delay = self.delay(next.failures);
        if since < delay {
            return Err(delay - since);
        }
        if next.in_window >= self.most {
            return Err((next.window_began + self.window - now).min(self.longest));
        }
        next.failures = next.failures.saturating_add(1);
        next.in_window = next.in_window.saturating_add(1);
        next.last_at = now;
        *tally = next;
        Ok(())
    }

    fn delay(&self, failures: u32) -> Duration {
        let Some(steps) = failures.checked_sub(self.free) else {
            return Duration::zero();
        };
        let grown = i64::from(self.factor).checked_pow(steps).unwrap_or(i64::MAX);
        self.first.num_seconds().checked_mul(grown).map_or(self.longest, |secs| {
            if secs < self.longest.num_seconds() { Duration::seconds(secs) } else { self.longest }
        })
    }
}

/// Counts tries and tells who must wait. Clones share what is in flight.
#[derive(Clone)]
pub struct Throttle {
    settings: config::Throttle,
    /// How many passwords of one address may wait for their hash.
    share: usize,
    key: hmac::Key,
    in_flight: Arc<Mutex<HashMap<Slot, usize>>>,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Account = 1,
    Known = 2,
    Address = 3,
    Registration = 4,
    Refresh = 5,
    Session = 6,
}

/// A try that was let through. It is in flight until this is dropped, and counted as a failure until
/// [`succeeded`](Self::succeeded).
#[must_use = "a try that is dropped stays counted as a failure"]
pub struct Try {
    counted: Vec<Slot>,
    pair: Pair,
    _in_flight: [InFlight; 2],
}

/// A refresh that was let through. It is counted as a failure of its address until [`succeeded`](Self::succeeded).
#[derive(Debug)]
#[must_use = "a refresh that is dropped stays counted as a failure"]
pub struct Refreshing {
    counted: Option<Slot>,
}

impl Refreshing {
    /// Gives the refresh back to its address.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`].
    pub async fn succeeded(self, store: &Store) -> Result<(), ApiError> {
        match self.counted {
            Some(slot) => Ok(store.give_back(&[slot], None).await?),
            None => Ok(()),
        }
    }
}

struct InFlight {
    slot: Slot,
    all: Arc<Mutex<HashMap<Slot, usize>>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.slot) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.slot);
            }
        }
    }
}

impl Throttle {
    /// A throttle for the installation of `vault`, with room for `queue` passwords that wait for their hash.
    pub fn new(settings: config::Throttle, queue: usize, vault: &Vault) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*vault.derive("throttle"));
        Self { settings, share: (queue / 4).max(1), key, in_flight: Arc::default() }
    }

    /// Lets a try through that presents a password for `email` (trimmed, in lower case) from `address`,
    /// and counts it.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] when it comes too early, [`ApiError::Unavailable`].
    pub async fn admit(
        &self,
        store: &Store,
        email: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Try, ApiError> {
        let block = block(address);
        let pair = Pair(self.mac(Kind::Known, &[email.as_bytes(), &block]));
        let account = self.slot(Kind::Account, &[email.as_bytes()]);
        let from = self.slot(Kind::Address, &[&block]);
        let in_flight = if self.settings.on {
            [self.fly(account, self.settings.account_in_flight)?, self.fly(from, self.share)?]
        } else {
            [self.fly(account, usize::MAX)?, self.fly(from, usize::MAX)?]
        };
        if !self.settings.on {
            return Ok(Try { counted: vec![], pair, _in_flight: in_flight });
        }
        let counted = match store.is_known(&pair, now).await? {
            true => vec![(self.slot(Kind::Known, &[email.as_bytes(), &block]), self.known_curve())],
            false => vec![(account, self.account_curve()), (from, self.address_curve())],
        };
        let counted = self.count(store, counted, now).await?;
        Ok(Try { counted, pair, _in_flight: in_flight })
    }

    /// Lets a new password from `address` be judged, which counts nothing but takes a place in flight while it is
    /// done: nobody fills the queue with passwords to judge.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] when the address has its share of the queue already.
    pub fn admit_judgement(&self, address: IpAddr) -> Result<impl Sized + use<>, ApiError> {
        let share = if self.settings.on { self.share } else { usize::MAX };
        self.fly(self.slot(Kind::Address, &[&block(address)]), share)
    }

    /// Counts a registration from `address`.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub async fn admit_registration(
        &self,
        store: &Store,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        if self.settings.on {
            let slot = self.slot(Kind::Registration, &[&block(address)]);
            let curve = self.hourly_curve(self.settings.registrations_per_hour);
            self.count(store, vec![(slot, curve)], now).await?;
        }
        Ok(())
    }

    /// Counts a refresh by a token of `session`, from `address`: for the session, and for the address until it
    /// [`succeeded`](Refreshing::succeeded), so that many people behind one address do not stand in each other's way.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub async fn admit_refresh(
        &self,
        store: &Store,
        session: Uuid,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Refreshing, ApiError> {
        if !self.settings.on {
            return Ok(Refreshing { counted: None });
        }
        let curve = self.hourly_curve(self.settings.refreshes_per_hour);
        let from = self.slot(Kind::Refresh, &[&block(address)]);
        let of = self.slot(Kind::Session, &[session.as_bytes()]);
        self.count(store, vec![(from, curve), (of, curve)], now).await?;
        Ok(Refreshing { counted: Some(from) })
    }

    async fn count(
        &self,
        store: &Store,
        tallies: Vec<(Slot, Curve)>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Slot>, ApiError> {
        let (slots, curves): (Vec<_>, Vec<_>) = tallies.into_iter().unzip();
        let verdict = store
            .count_try(&slots, |tallies| {
                tallies.iter_mut().for_each(|tally| tally.forget_times_after(now));
                let mut counted = tallies.to_vec();
                let waits = curves
                    .iter()
                    .zip(&mut counted)
                    .filter_map(|(curve, tally)| curve.count(tally, now).err());
                waits.max().map_or(Ok(()), Err)?;
                tallies.copy_from_slice(&counted);
                Ok(())
            })
            .await?;
        verdict.map(|()| slots).map_err(|wait| ApiError::TooManyAttempts(whole_seconds(wait)))
    }

    /// Takes a place in flight.
    fn fly(&self, slot: Slot, most: usize) -> Result<InFlight, ApiError> {
        let mut all = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(slot).or_default();
        if *count >= most {
            return Err(ApiError::TooManyAttempts(1));
        }
        *count += 1;
        Ok(InFlight { slot, all: Arc::clone(&self.in_flight) })
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

    fn slot(&self, kind: Kind, parts: &[&[u8]]) -> Slot {
        let mac = self.mac(kind, parts);
        let bits = u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]]) >> (32 - BITS);
        Slot(((kind as i64) << BITS) | i64::from(bits))
    }

    fn account_curve(&self) -> Curve {
        Curve {
            free: self.settings.account_free,
            first: Duration::seconds(30),
            factor: 4,
            longest: self.longest(),
            forgotten_after: DAY,
            most: self.settings.account_per_day,
            window: DAY,
        }
    }

    fn known_curve(&self) -> Curve {
        Curve {
            free: self.settings.known_free,
            first: Duration::seconds(1),
            factor: 2,
            ..self.account_curve()
        }
    }

    fn address_curve(&self) -> Curve {
        Curve {
            free: self.settings.address_free,
            first: Duration::seconds(1),
            factor: 2,
            forgotten_after: Duration::hours(1),
            most: u32::MAX,
            ..self.account_curve()
        }
    }

    /// No more than so many, however they went.
    fn hourly_curve(&self, most: u32) -> Curve {
        Curve { free: u32::MAX, most, window: Duration::hours(1), ..self.account_curve() }
    }

    fn longest(&self) -> Duration {
        Duration::from_std(self.settings.max_delay).unwrap_or(DAY)
    }
}

impl Try {
    /// Gives the try back: the password was right.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`].
    pub async fn succeeded(self, store: &Store, now: DateTime<Utc>) -> Result<(), ApiError> {
        Ok(store.give_back(&self.counted, Some((&self.pair, now + KNOWN_FOR))).await?)
    }
}

/// The network that an address stands for: itself, or its /64, which one subscriber has whole (RFC 6177).
fn block(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// Rounded up, so that who waits so long is not told to wait again.
fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from((wait.num_milliseconds() + 999) / 1000).unwrap_or(1).max(1)
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Try {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Try").field("counted", &self.counted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    fn account() -> Curve {
        Curve {
            free: 5,
            first: Duration::seconds(30),
            factor: 4,
            longest: Duration::seconds(900),
            forgotten_after: DAY,
            most: 100,
            window: DAY,
        }
    }

    #[test]
    fn failures_beyond_the_free_ones_delay_progressively_up_to_the_longest() {
        let delays: Vec<_> = (0..12).map(|failures| account().delay(failures).num_seconds()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 30, 120, 480, 900, 900, 900, 900]);
        assert_eq!(account().delay(u32::MAX).num_seconds(), 900);
    }

    #[test]
    fn a_try_that_comes_too_early_is_told_how_long_and_changes_nothing() {
        let mut tally = Tally { failures: 5, last_at: at(0), window_began: at(0), in_window: 5 };
        let before = tally;
        assert_eq!(account().count(&mut tally, at(10)), Err(Duration::seconds(20)));
        assert_eq!(tally, before);
        assert_eq!(account().count(&mut tally, at(30)), Ok(()));
        assert_eq!((tally.failures, tally.in_window, tally.last_at), (6, 6, at(30)));
    }

    #[test]
    fn whoever_tries_as_fast_as_allowed_gets_no_more_than_a_hundred_guesses_in_any_day() {
        let mut tally = Tally::default();
        let mut tries = Vec::new();
        let mut now = 0;
        while now < 3 * 86_400 {
            match account().count(&mut tally, at(now)) {
                Ok(()) => tries.push(now),
                Err(wait) => {
                    assert!(wait <= Duration::seconds(900), "{wait}");
                    now += wait.num_seconds().max(1);
                }
            }
        }
        for from in &tries {
            let in_a_day = tries.iter().filter(|time| (*from..from + 86_400).contains(*time)).count();
            assert!(in_a_day <= 100, "{in_a_day} from {from} s on");
        }
        assert!(tries.len() > 250, "nobody is locked out for good: {}", tries.len());
    }

    #[test]
    fn failures_are_forgotten_after_a_quiet_day() {
        let mut tally = Tally { failures: 40, last_at: at(0), window_began: at(0), in_window: 40 };
        assert_eq!(account().count(&mut tally, at(86_400)), Ok(()));
        assert_eq!(tally.failures, 1);
    }

    #[test]
    fn whoever_waits_as_told_is_let_through_even_when_the_clock_stepped_back() {
        let mut tally =
            Tally { failures: 50, last_at: at(100_000), window_began: at(100_000), in_window: 50 };
        tally.forget_times_after(at(0));
        assert_eq!(account().count(&mut tally, at(0)), Err(Duration::seconds(900)));
        assert_eq!(account().count(&mut tally, at(899)), Err(Duration::seconds(1)));
        assert_eq!(account().count(&mut tally, at(900)), Ok(()));
        let hourly = Curve { free: u32::MAX, most: 3, window: Duration::hours(1), ..account() };
        let mut tally = Tally { failures: 3, last_at: at(100_000), window_began: at(100_000), in_window: 3 };
        tally.forget_times_after(at(0));
        assert!(hourly.count(&mut tally, at(0)).is_err());
        assert_eq!(hourly.count(&mut tally, at(3_600)), Ok(()));
    }

    #[test]
    fn an_ipv6_address_stands_for_its_network_and_a_mapped_one_for_its_ipv4() {
        let block_of = |text: &str| block(text.parse().unwrap());
        assert_eq!(block_of("2001:db8:1:2::1"), block_of("2001:db8:1:2:ffff::9"));
        assert_ne!(block_of("2001:db8:1:2::1"), block_of("2001:db8:1:3::1"));
        assert_eq!(block_of("::ffff:192.0.2.1"), block_of("192.0.2.1"));
        assert_ne!(block_of("192.0.2.1"), block_of("192.0.2.2"));
    }
}
