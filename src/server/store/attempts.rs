//! Counted attempts, and known addresses.

use chrono::{DateTime, Utc};

use super::connection::{Connection, Transaction, time};
use super::error::StoreError;
use crate::server::model::{AttemptCounter, CounterKey, KnownAddress};

type CounterColumns = (i64, i64, i64, i64, i64);

impl Connection {
    /// Tells whether somebody has signed in from this address to this account, as far as that is remembered at `now`.
    pub async fn is_known_address(
        &mut self,
        address: &KnownAddress,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = self
            .query("select until from known_addresses where pair = $1 and until > $2")
            .bind(&address.0[..])
            .bind(now.timestamp_millis())
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }
}

impl Transaction {
    /// Returns one to three counters, and keeps everybody else from counting them until the transaction ends. A counter
    /// that was never counted is all zero.
    pub async fn lock_counters(&mut self, keys: &[CounterKey]) -> Result<Vec<AttemptCounter>, StoreError> {
        let Some([first, second, last]) = three(keys) else {
            return Err(StoreError::Failed(format!("{} counters cannot be locked together", keys.len())));
        };
        let query = self.query_by_dialect(
            "select slot, failures, last_at, window_began, in_window from attempts where slot in ($1, $2, $3)",
            // A missing row cannot be locked, so it is added first.
            "insert into attempts (slot, failures, last_at, window_began, in_window) \
             select distinct slot, 0, 0, 0, 0 from (values ($1::bigint), ($2::bigint), ($3::bigint)) as asked (slot) order by slot \
             on conflict (slot) do update set failures = attempts.failures \
             returning slot, failures, last_at, window_began, in_window",
        );
        let rows: Vec<CounterColumns> = query.bind(first.0).bind(second.0).bind(last.0).fetch_all().await?;
        let counter = |key: &CounterKey| match rows.iter().find(|(slot, ..)| *slot == key.0) {
            None => Ok(AttemptCounter::default()),
            Some((_, failures, last_at, window_began, in_window)) => Ok(AttemptCounter {
                failures: u32::try_from(*failures).unwrap_or(u32::MAX),
                last_at: time(*last_at)?,
                window_began: time(*window_began)?,
                in_window: u32::try_from(*in_window).unwrap_or(u32::MAX),
            }),
        };
        keys.iter().map(counter).collect()
    }

    /// Stores a counter.
    pub async fn put_counter(&mut self, key: CounterKey, counter: &AttemptCounter) -> Result<(), StoreError> {
        self.query(
            "insert into attempts (slot, failures, last_at, window_began, in_window) values ($1, $2, $3, $4, $5) \
             on conflict (slot) do update set failures = excluded.failures, last_at = excluded.last_at, \
             window_began = excluded.window_began, in_window = excluded.in_window",
        )
        .bind(key.0)
        .bind(i64::from(counter.failures))
        .bind(counter.last_at.timestamp_millis())
        .bind(counter.window_began.timestamp_millis())
        .bind(i64::from(counter.in_window))
        .execute()
        .await?;
        Ok(())
    }

    /// Takes one counted attempt back from at most three counters.
    pub async fn uncount(&mut self, keys: &[CounterKey]) -> Result<(), StoreError> {
        let Some([first, second, last]) = three(keys) else { return Ok(()) };
        self.query(
            "update attempts set failures = case when failures > 0 then failures - 1 else 0 end, \
             in_window = case when in_window > 0 then in_window - 1 else 0 end where slot in ($1, $2, $3)",
        )
        .bind(first.0)
        .bind(second.0)
        .bind(last.0)
        .execute()
        .await?;
        Ok(())
    }

    /// Remembers until then that somebody has signed in from this address to this account.
    pub async fn remember_address(
        &mut self,
        address: &KnownAddress,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.query(
            "insert into known_addresses (pair, until) values ($1, $2) \
             on conflict (pair) do update set until = excluded.until",
        )
        .bind(&address.0[..])
        .bind(until.timestamp_millis())
        .execute()
        .await?;
        Ok(())
    }
}

/// Returns one to three keys as three, with repetitions.
fn three(keys: &[CounterKey]) -> Option<[CounterKey; 3]> {
    match keys {
        [one] => Some([*one; 3]),
        [one, two] => Some([*one, *two, *two]),
        [one, two, three] => Some([*one, *two, *three]),
        _ => None,
    }
}
