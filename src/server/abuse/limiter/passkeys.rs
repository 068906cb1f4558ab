//! Limits of sign-ins by a passkey alone. Nothing can be guessed there, and no password is hashed: only failures from
//! an address are limited, apart from those with passwords, so that neither keeps the other from signing in.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::{KNOWN_FOR, Kind, RateLimiter};
use crate::server::abuse::network::{network, site};
use crate::server::error::Error;
use crate::server::model::{CounterKey, KnownAddress};
use crate::server::store::{StoreError, Transaction};

impl RateLimiter {
    /// Counts a sign-in by passkey from `address`. Returns its counters, for
    /// [`passkey_accepted`](Self::passkey_accepted).
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] when the client must wait, [`Error::Unavailable`].
    pub(crate) async fn count_passkey(
        &self,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Vec<CounterKey>, Error> {
        if !self.settings.on {
            return Ok(vec![]);
        }
        let network = network(address);
        let mut limits = vec![(self.counter(Kind::Passkey, &[&network]), self.address_limit())];
        if let Some(site) = site(address) {
            limits.push((self.counter(Kind::Passkey, &[&site]), self.site_limit()));
        }
        // No account: it is known nowhere.
        let pair = KnownAddress(self.mac(Kind::Passkey, &[&network]));
        self.hold_refusal(self.count(&pair, &[], &limits, now).await).await
    }

    /// Takes a sign-in by passkey back from `counted`, and remembers `address` for the account of `email`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn passkey_accepted(
        &self,
        tx: &mut Transaction,
        counted: &[CounterKey],
        (email, address): (&str, IpAddr),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        tx.uncount(counted).await?;
        let pair = KnownAddress(self.mac(Kind::Known, &[email.as_bytes(), &network(address)]));
        self.recent.insert(pair.0, (true, now));
        tx.remember_address(&pair, now + KNOWN_FOR).await
    }
}
