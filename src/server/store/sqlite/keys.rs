//! Sealed signing keys, and the installation's seal.

use chrono::{DateTime, Datelike, Duration, Utc};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::{Store, bounded, commit, note};
use crate::server::events::Event;
use crate::server::store::{Change, KeyAddition, KeyRow, StoreError};
use crate::server::vault::{SealedInstallation, SealedKey};

/// The longest lifetime of a token that the settings accept, seconds.
const MAX_TOKEN_LIFETIME_S: i64 = 86_400;

type KeyColumns = (String, String, String, i64, i64, i64, Vec<u8>);

impl Store {
    /// The sealed signing keys, in the order in which they sign.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn signing_keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        bounded(async { signing_keys(&mut *self.readers.acquire().await?).await }).await
    }

    /// Adds the signing key that `make` makes of those there are, while nobody else can add or remove one. Where it
    /// makes none, nothing is written.
    ///
    /// # Errors
    /// As [`StoreError`] lists; within, what `make` fails with.
    pub async fn add_key<E>(
        &self,
        token_lifetime: Duration,
        make: impl FnOnce(&[KeyRow]) -> Result<KeyAddition, E>,
    ) -> Result<Result<SealedKey, E>, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let KeyAddition { redated, added, event } = match make(&signing_keys(&mut tx).await?) {
                Ok(addition) => addition,
                Err(error) => return Ok(Err(error)),
            };
            for key in &redated {
                sqlx::query(
                    "update signing_keys set created_at = $1, signs_from = $2, sealed = $3 where kid = $4",
                )
                .bind(key.created_at.timestamp_millis())
                .bind(key.signs_from.timestamp_millis())
                .bind(&key.sealed)
                .bind(&key.kid)
                .execute(&mut *tx)
                .await?;
            }
            insert_key(&mut tx, &added, token_lifetime).await?;
            commit(tx, &event).await?;
            Ok(Ok(added))
        })
        .await
    }

    /// Removes a signing key, unless it is the only one. `false`: there is no such key, or no other.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn remove_key(&self, kid: &str, event: &Event) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let removed = sqlx::query(
                "delete from signing_keys where kid = $1 and exists (select 1 from signing_keys where kid <> $1)",
            )
            .bind(kid)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if removed == 0 {
                return Ok(false);
            }
            note(&mut tx, Change::Keys, event.at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }

    /// Removes the signing keys that `choose` names of those there are, while nobody else can add or remove one,
    /// with one `event`. Which they were.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn drop_keys(
        &self,
        event: &Event,
        choose: impl FnOnce(&[KeyRow]) -> Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let kids = choose(&signing_keys(&mut tx).await?);
            if kids.is_empty() {
                return Ok(kids);
            }
            for kid in &kids {
                sqlx::query("delete from signing_keys where kid = $1").bind(kid).execute(&mut *tx).await?;
            }
            note(&mut tx, Change::Keys, event.at).await?;
            commit(tx, event).await?;
            Ok(kids)
        })
        .await
    }

    /// Notes that a server is about to sign tokens that live for `lifetime`, if that is longer than so far.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn note_token_lifetime(&self, lifetime: Duration) -> Result<(), StoreError> {
        if self.signing_keys().await?.iter().all(|key| key.token_lifetime >= lifetime) {
            return Ok(());
        }
        bounded(async {
            sqlx::query("update signing_keys set token_lifetime = max(token_lifetime, $1)")
                .bind(lifetime.num_seconds())
                .execute(&self.writer)
                .await?;
            Ok(())
        })
        .await
    }

    /// Replaces the installation's seal `old` by `new`. `false`: it is no longer `old`, and nothing was written.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn reseal(
        &self,
        old: &SealedInstallation,
        new: &SealedInstallation,
        event: &Event,
    ) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let changed = sqlx::query(
                "update installation set kdf_memory_kib = $1, kdf_iterations = $2, kdf_lanes = $3, salt = $4, \
                 sealed_key = $5 where id = $6 and sealed_key = $7",
            )
            .bind(new.kdf.memory_kib)
            .bind(new.kdf.iterations)
            .bind(new.kdf.lanes)
            .bind(&new.salt)
            .bind(&new.sealed_key)
            .bind(new.id)
            .bind(&old.sealed_key)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if changed == 0 {
                return Ok(false);
            }
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }
}

async fn signing_keys(database: &mut SqliteConnection) -> Result<Vec<KeyRow>, StoreError> {
    let rows: Vec<KeyColumns> = sqlx::query_as(
        "select kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed from signing_keys \
         order by signs_from, created_at, kid",
    )
    .fetch_all(database)
    .await?;
    let row = |(kid, algorithm, purpose, created_at, signs_from, lifetime, sealed): KeyColumns| KeyRow {
        sealed: SealedKey {
            kid,
            algorithm,
            purpose,
            created_at: sealed_time(created_at),
            signs_from: sealed_time(signs_from),
            sealed,
        },
        // Under no seal; so whatever is written there, it is one that the settings could have had.
        token_lifetime: Duration::seconds(lifetime.clamp(1, MAX_TOKEN_LIFETIME_S)),
    };
    Ok(rows.into_iter().map(row).collect())
}

/// A time that a seal covers. One that no clock has shown is told as another, which the seal does not fit: so the row is
/// refused as altered, and no sum with it goes beyond the calendar.
fn sealed_time(millis: i64) -> DateTime<Utc> {
    let is_sane = |time: &DateTime<Utc>| (1970..=9999).contains(&time.year());
    DateTime::from_timestamp_millis(millis).filter(is_sane).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Inserts a key. Whoever makes it may have another setting than the servers that will sign with it: it is kept for
/// as long as the longest that any of them has told of.
pub(super) async fn insert_key(
    tx: &mut Transaction<'_, Sqlite>,
    key: &SealedKey,
    token_lifetime: Duration,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into signing_keys (kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed) \
         values ($1, $2, $3, $4, $5, max($6, coalesce((select max(token_lifetime) from signing_keys), 0)), $7)",
    )
    .bind(&key.kid)
    .bind(&key.algorithm)
    .bind(&key.purpose)
    .bind(key.created_at.timestamp_millis())
    .bind(key.signs_from.timestamp_millis())
    .bind(token_lifetime.num_seconds())
    .bind(&key.sealed)
    .execute(&mut **tx)
    .await?;
    note(tx, Change::Keys, key.created_at).await
}
