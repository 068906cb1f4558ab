//! Limits of mails that people ask for, by the client's address and by the recipient. They are counted before any
//! account is looked up, so they reveal nothing about it.

use std::net::IpAddr;

use chrono::{DateTime, Duration, Utc};

use super::network::network;
use super::{KNOWN_FOR, Kind, RateLimiter};
use crate::server::abuse::limit::Limit;
use crate::server::error::Error;
use crate::server::model::{AttemptCounter, KnownAddress};
use crate::server::store::{StoreError, Transaction};

const HOUR: Duration = Duration::hours(1);

impl RateLimiter {
    /// Counts a mail to `recipient` (trimmed, in lower case) that somebody at `address` asks for.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] when the client must wait, [`Error::Unavailable`].
    pub(crate) async fn count_mail(
        &self,
        recipient: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.hold_refusal(self.try_count_mail(recipient, address, now).await).await
    }

    /// Does the same, and returns a refusal at once.
    ///
    /// # Errors
    /// As for [`count_mail`](Self::count_mail).
    pub(crate) async fn try_count_mail(
        &self,
        recipient: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        if !self.settings.on {
            return Ok(());
        }
        let network = network(address);
        let limits = [
            (self.counter(Kind::Mail, &[&network]), self.hourly_limit(self.settings.mails_per_hour)),
            (self.counter(Kind::Recipient, &[recipient.as_bytes()]), self.recipient_limit()),
        ];
        // No account: it is known nowhere.
        let pair = KnownAddress(self.mac(Kind::Mail, &[&network]));
        self.count(&pair, &[], &limits, now).await?;
        Ok(())
    }

    /// Returns the limit of mails to a recipient: after so many, the next one an hour after the last. So no hour has
    /// more, wherever it begins.
    fn recipient_limit(&self) -> Limit {
        Limit {
            free: self.settings.mails_per_recipient,
            first: HOUR,
            factor: 1,
            longest: HOUR,
            forgotten_after: HOUR,
            ..self.hourly_limit(u32::MAX)
        }
    }

    /// Lifts the delay that strangers have caused for the account of `email`, and remembers `address` as one of its
    /// owner, who has proved to read the account's mail.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn forgive(
        &self,
        tx: &mut Transaction,
        email: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let network = network(address);
        for key in [
            self.counter(Kind::Account, &[email.as_bytes()]),
            self.counter(Kind::Known, &[email.as_bytes(), &network]),
        ] {
            tx.put_counter(key, &AttemptCounter::default()).await?;
        }
        let pair = KnownAddress(self.mac(Kind::Known, &[email.as_bytes(), &network]));
        self.recent.insert(pair.0, (true, now));
        tx.remember_address(&pair, now + KNOWN_FOR).await
    }
}
