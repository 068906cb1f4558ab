//! Sealed signing keys, and the installation's seal.

use chrono::Duration;
use sqlx::{Sqlite, Transaction};

use super::{Store, bounded, commit, note, time};
use crate::server::events::Event;
use crate::server::store::{Change, KeyRow, StoreError};
use crate::server::vault::{SealedInstallation, SealedKey};

type KeyColumns = (String, String, String, i64, i64, i64, Vec<u8>);

impl Store {
    /// The sealed signing keys, in the order in which they sign.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn signing_keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        bounded(async {
            let rows: Vec<KeyColumns> = sqlx::query_as(
                "select kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed from signing_keys \
                 order by signs_from, created_at, kid",
            )
            .fetch_all(&self.readers)
            .await?;
            rows.into_iter()
                .map(|(kid, algorithm, purpose, created_at, signs_from, lifetime, sealed)| {
                    let (created_at, signs_from) = (time(created_at)?, time(signs_from)?);
                    Ok(KeyRow {
                        sealed: SealedKey { kid, algorithm, purpose, created_at, signs_from, sealed },
                        token_lifetime: Duration::seconds(lifetime),
                    })
                })
                .collect()
        })
        .await
    }

    /// Adds a signing key, if `newest` is still the last of those there are. `false`: another was added
    /// meanwhile, and nothing was written.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn add_key(
        &self,
        key: &SealedKey,
        newest: &str,
        token_lifetime: Duration,
        event: &Event,
    ) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let last: Option<(String,)> = sqlx::query_as(
                "select kid from signing_keys order by signs_from desc, created_at desc, kid desc limit 1",
            )
            .fetch_optional(&mut *tx)
            .await?;
            if last.is_none_or(|(last,)| last != newest) {
                return Ok(false);
            }
            insert_key(&mut tx, key, token_lifetime).await?;
            commit(tx, event).await?;
            Ok(true)
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
