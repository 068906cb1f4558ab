//! The installation and its sealed signing keys.

use chrono::{DateTime, Datelike, Duration, Utc};
use uuid::Uuid;

use super::connection::{Connection, Dialect, Transaction, time};
use super::error::StoreError;
use crate::server::model::{Change, EarlierKey, KdfParams, SealedInstallation, SealedKey, StoredKey};

/// The longest lifetime of a token that the settings accept, seconds.
const MAX_TOKEN_LIFETIME_S: i64 = 86_400;

type InstallationColumns = (Uuid, i64, i64, i64, Vec<u8>, Vec<u8>, i64, i64, Option<i64>);
type KeyColumns = (String, String, String, i64, i64, i64, Vec<u8>);

impl Connection {
    /// Returns the installation; `None` before the first start on the database.
    pub async fn installation(&mut self) -> Result<Option<SealedInstallation>, StoreError> {
        let row: Option<InstallationColumns> = self
            .query(
                "select id, kdf_memory_kib, kdf_iterations, kdf_lanes, salt, sealed_key, created_at, generation, rekeyed_at \
                 from installation",
            )
            .fetch_optional()
            .await?;
        row.map(
            |(id, memory_kib, iterations, lanes, salt, sealed_key, created_at, generation, rekeyed_at)| {
                // No server writes a number out of range, and the vault refuses such a cost.
                let cost = unsigned;
                Ok(SealedInstallation {
                    id,
                    kdf: KdfParams {
                        memory_kib: cost(memory_kib),
                        iterations: cost(iterations),
                        lanes: cost(lanes),
                    },
                    salt,
                    sealed_key,
                    created_at: time(created_at)?,
                    generation: unsigned(generation),
                    rekeyed_at: rekeyed_at.map(time).transpose()?,
                })
            },
        )
        .transpose()
    }

    /// Returns the earlier installation keys.
    pub async fn earlier_keys(&mut self) -> Result<Vec<EarlierKey>, StoreError> {
        let query =
            self.query("select generation, sealed from earlier_installation_keys order by generation");
        let rows: Vec<(i64, Vec<u8>)> = query.fetch_all().await?;
        let row = |(generation, sealed)| EarlierKey { generation: unsigned(generation), sealed };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Returns the sealed signing keys, in the order in which they sign.
    pub async fn signing_keys(&mut self) -> Result<Vec<StoredKey>, StoreError> {
        let rows: Vec<KeyColumns> = self
            .query(
                "select kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed from signing_keys \
                 order by signs_from, created_at, kid",
            )
            .fetch_all()
            .await?;
        let row =
            |(kid, algorithm, purpose, created_at, signs_from, lifetime, sealed): KeyColumns| StoredKey {
                sealed: SealedKey {
                    kid,
                    algorithm,
                    purpose,
                    created_at: sealed_time(created_at),
                    signs_from: sealed_time(signs_from),
                    sealed,
                },
                // This column is not sealed, so it is limited to the range that the settings accept.
                token_lifetime: Duration::seconds(lifetime.clamp(1, MAX_TOKEN_LIFETIME_S)),
            };
        Ok(rows.into_iter().map(row).collect())
    }
}

impl Transaction {
    /// Stores the installation. Returns the number of rows added: 0 if another process was first.
    pub async fn insert_installation(
        &mut self,
        installation: &SealedInstallation,
    ) -> Result<u64, StoreError> {
        self.query(
            "insert into installation \
             (singleton, id, kdf_memory_kib, kdf_iterations, kdf_lanes, salt, sealed_key, created_at, generation) \
             values (1, $1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        )
        .bind(installation.id)
        .bind(i64::from(installation.kdf.memory_kib))
        .bind(i64::from(installation.kdf.iterations))
        .bind(i64::from(installation.kdf.lanes))
        .bind(&installation.salt)
        .bind(&installation.sealed_key)
        .bind(installation.created_at.timestamp_millis())
        .bind(i64::from(installation.generation))
        .execute()
        .await
    }

    /// Replaces the sealed installation `old` by `new`. Returns the number of rows changed: 0 if the stored one is no
    /// longer `old`.
    pub async fn replace_seal(
        &mut self,
        old: &SealedInstallation,
        new: &SealedInstallation,
    ) -> Result<u64, StoreError> {
        self.query(
            "update installation set kdf_memory_kib = $1, kdf_iterations = $2, kdf_lanes = $3, salt = $4, \
             sealed_key = $5, generation = $8, rekeyed_at = $9 where id = $6 and sealed_key = $7",
        )
        .bind(i64::from(new.kdf.memory_kib))
        .bind(i64::from(new.kdf.iterations))
        .bind(i64::from(new.kdf.lanes))
        .bind(&new.salt)
        .bind(&new.sealed_key)
        .bind(new.id)
        .bind(&old.sealed_key)
        .bind(i64::from(new.generation))
        .bind(new.rekeyed_at.map(|at| at.timestamp_millis()))
        .execute()
        .await
    }

    /// Returns the sealed signing keys. Until the transaction ends, nobody else can add or remove one.
    pub async fn lock_signing_keys(&mut self) -> Result<Vec<StoredKey>, StoreError> {
        if self.dialect() == Dialect::Postgres {
            self.query("lock table signing_keys in share row exclusive mode").execute().await?;
        }
        self.signing_keys().await
    }

    /// Adds a signing key whose tokens have the lifetime `token_lifetime`, or that of a stored key if it is longer: the
    /// servers that sign with the key may have a longer setting than the process that made it.
    pub async fn insert_key(&mut self, key: &SealedKey, token_lifetime: Duration) -> Result<(), StoreError> {
        self.query_by_dialect(
            "insert into signing_keys (kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed) \
             values ($1, $2, $3, $4, $5, max($6, coalesce((select max(token_lifetime) from signing_keys), 0)), $7)",
            "insert into signing_keys (kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed) \
             values ($1, $2, $3, $4, $5, greatest($6, (select max(token_lifetime) from signing_keys)), $7)",
        )
        .bind(&key.kid)
        .bind(&key.algorithm)
        .bind(&key.purpose)
        .bind(key.created_at.timestamp_millis())
        .bind(key.signs_from.timestamp_millis())
        .bind(token_lifetime.num_seconds())
        .bind(&key.sealed)
        .execute()
        .await?;
        self.note_change(Change::Keys, key.created_at).await
    }

    /// Replaces the dates of a signing key, and so its sealed bytes.
    pub async fn replace_key(&mut self, key: &SealedKey) -> Result<(), StoreError> {
        self.query("update signing_keys set created_at = $1, signs_from = $2, sealed = $3 where kid = $4")
            .bind(key.created_at.timestamp_millis())
            .bind(key.signs_from.timestamp_millis())
            .bind(&key.sealed)
            .bind(&key.kid)
            .execute()
            .await?;
        Ok(())
    }

    /// Removes a signing key.
    pub async fn delete_key(&mut self, kid: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.query("delete from signing_keys where kid = $1").bind(kid).execute().await?;
        self.note_change(Change::Keys, at).await
    }

    /// Stores the lifetime of the tokens that a server is about to sign, if it is the longest so far.
    pub async fn raise_token_lifetime(&mut self, lifetime: Duration) -> Result<(), StoreError> {
        self.query("update signing_keys set token_lifetime = $1 where token_lifetime < $1")
            .bind(lifetime.num_seconds())
            .execute()
            .await?;
        Ok(())
    }
}

/// Reads a number that is never negative or large.
fn unsigned(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads a time that is sealed with its row. A time outside the years 1970 to 9999 is replaced, so that no sum with it
/// overflows; the row does not unseal in any case.
fn sealed_time(millis: i64) -> DateTime<Utc> {
    let is_sane = |time: &DateTime<Utc>| (1970..=9999).contains(&time.year());
    DateTime::from_timestamp_millis(millis).filter(is_sane).unwrap_or(DateTime::UNIX_EPOCH)
}
