//! Counts of events, which a trigger keeps, and of users and sessions.

use chrono::{DateTime, Duration, Utc};

use super::Store;
use super::connection::Connection;
use super::error::StoreError;
use crate::server::model::Lifetimes;

/// How long counts are kept: a year, and some days to compare.
const KEEP: Duration = Duration::days(400);

/// The age from which the rows of an hour become one. No transaction of the hour is open any more.
const MERGE_AFTER: Duration = Duration::hours(2);

impl Connection {
    /// Returns the kind, the beginning and the number of the events in each step of `step` milliseconds that begins
    /// from `from` on and before `until`. Steps without events are left out.
    pub async fn event_counts(
        &mut self,
        from: i64,
        until: i64,
        step: i64,
    ) -> Result<Vec<(String, i64, i64)>, StoreError> {
        self.query(
            "select kind, hour / $3 * $3 as beginning, cast(sum(count) as bigint) from event_counts \
             where hour >= $1 and hour < $2 group by kind, beginning",
        )
        .bind(from)
        .bind(until)
        .bind(step)
        .fetch_all()
        .await
    }

    /// Counts the users, the disabled ones, and the sessions that can be refreshed at `now`.
    pub async fn count_all(
        &mut self,
        now: DateTime<Utc>,
        lifetimes: &Lifetimes,
    ) -> Result<(i64, i64, i64, i64), StoreError> {
        let row: Option<(i64, i64, i64, i64)> = self
            .query(
                "select (select count(*) from users), (select count(*) from users where disabled_at is not null), \
                 (select count(*) from sessions where user_id is not null and ended_at is null and created_at > $1 \
                 and refreshed_at > $2), (select count(*) from users where second_factors <> '')",
            )
            .bind((now - lifetimes.absolute).timestamp_millis())
            .bind((now - lifetimes.idle).timestamp_millis())
            .fetch_optional()
            .await?;
        row.ok_or_else(|| StoreError::Failed("a count has no row".into()))
    }

    async fn has_counts_to_merge(&mut self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = self
            .query(
                "select cast(1 as bigint) from event_counts \
                 where (hour < $1 and shard <> 0) or hour < $2 limit 1",
            )
            .bind((now - MERGE_AFTER - Duration::hours(1)).timestamp_millis())
            .bind((now - KEEP).timestamp_millis())
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }
}

impl Store {
    /// Makes the rows of each hour that is over one, and deletes those of more than 400 days ago.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn merge_event_counts(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        // Read first: that does not hold up writers.
        if !self.read(async |connection| connection.has_counts_to_merge(now).await).await? {
            return Ok(());
        }
        self.write(async |tx| {
            tx.query("delete from event_counts where hour < $1")
                .bind((now - KEEP).timestamp_millis())
                .execute()
                .await?;
            let merged = (now - MERGE_AFTER - Duration::hours(1)).timestamp_millis();
            // In SQLite there is one row already.
            tx.query_by_dialect(
                "select 1 where $1 < 0",
                "with taken as (delete from event_counts where hour < $1 and shard <> 0 returning hour, kind, count) \
                 insert into event_counts (hour, kind, shard, count) \
                 select hour, kind, 0, cast(sum(count) as bigint) from taken group by hour, kind order by hour, kind \
                 on conflict (hour, kind, shard) do update set count = event_counts.count + excluded.count",
            )
            .bind(merged)
            .execute()
            .await?;
            Ok(())
        })
        .await
    }
}
