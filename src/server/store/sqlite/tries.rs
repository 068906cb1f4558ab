//! Counted tries, and addresses with a record of success.

use chrono::{DateTime, Utc};

use super::{Store, bounded, time};
use crate::server::store::StoreError;
use crate::server::throttle::{Pair, Slot, Tally};

impl Store {
    /// Reads the tallies of `slots`, lets `decide` change them, and writes those that it changed. Nothing comes
    /// between reading and writing. What `decide` refuses with is returned.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn count_try<R>(
        &self,
        slots: &[Slot],
        decide: impl FnOnce(&mut [Tally]) -> Result<(), R>,
    ) -> Result<Result<(), R>, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let mut tallies = Vec::with_capacity(slots.len());
            for slot in slots {
                let row: Option<(i64, i64, i64, i64)> =
                    sqlx::query_as("select failures, last_at, window_began, in_window from tries where slot = $1")
                        .bind(slot.0)
                        .fetch_optional(&mut *tx)
                        .await?;
                tallies.push(match row {
                    None => Tally::default(),
                    Some((failures, last_at, window_began, in_window)) => Tally {
                        failures: u32::try_from(failures).unwrap_or(u32::MAX),
                        last_at: time(last_at)?,
                        window_began: time(window_began)?,
                        in_window: u32::try_from(in_window).unwrap_or(u32::MAX),
                    },
                });
            }
            let before = tallies.clone();
            let verdict = decide(&mut tallies);
            if before == tallies {
                return Ok(verdict);
            }
            for ((slot, tally), before) in slots.iter().zip(&tallies).zip(&before) {
                if tally == before {
                    continue;
                }
                sqlx::query(
                    "insert into tries (slot, failures, last_at, window_began, in_window) values ($1, $2, $3, $4, $5) \
                     on conflict (slot) do update set failures = excluded.failures, last_at = excluded.last_at, \
                     window_began = excluded.window_began, in_window = excluded.in_window",
                )
                .bind(slot.0)
                .bind(tally.failures)
                .bind(tally.last_at.timestamp_millis())
                .bind(tally.window_began.timestamp_millis())
                .bind(tally.in_window)
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
            Ok(verdict)
        })
        .await
    }

    /// Takes a counted try back from each of `slots`, and remembers the address of success until then.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn give_back(
        &self,
        slots: &[Slot],
        known: Option<(&Pair, DateTime<Utc>)>,
    ) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            for slot in slots {
                sqlx::query(
                    "update tries set failures = max(failures - 1, 0), in_window = max(in_window - 1, 0) where slot = $1",
                )
                .bind(slot.0)
                .execute(&mut *tx)
                .await?;
            }
            if let Some((known, until)) = known {
                sqlx::query(
                    "insert into known_addresses (pair, until) values ($1, $2) \
                     on conflict (pair) do update set until = excluded.until",
                )
                .bind(&known.0[..])
                .bind(until.timestamp_millis())
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Whether `pair` has a record of success at `now`.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn is_known(&self, pair: &Pair, now: DateTime<Utc>) -> Result<bool, StoreError> {
        bounded(async {
            let row: Option<(i64,)> =
                sqlx::query_as("select until from known_addresses where pair = $1 and until > $2")
                    .bind(&pair.0[..])
                    .bind(now.timestamp_millis())
                    .fetch_optional(&self.readers)
                    .await?;
            Ok(row.is_some())
        })
        .await
    }
}
