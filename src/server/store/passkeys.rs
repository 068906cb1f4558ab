//! Passkeys, and the WebAuthn challenges that were answered.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connection::{Connection, Transaction, time};
use super::error::StoreError;
use crate::server::model::{Digest, Passkey};

type PasskeyColumns = (Uuid, Uuid, Vec<u8>, Vec<u8>, String, String, i64, bool, bool, i64, Option<i64>);

macro_rules! select_passkey {
    ($rest:literal) => {
        concat!(
            "select id, user_id, credential_id, public_key, transports, name, sign_count, syncable, synced, \
             created_at, last_used_at from passkeys ",
            $rest
        )
    };
}

impl Connection {
    /// Returns the user's passkeys, in the order in which they were added.
    pub async fn passkeys_of(&mut self, user: Uuid) -> Result<Vec<Passkey>, StoreError> {
        let query = self.query(select_passkey!("where user_id = $1 order by created_at, id"));
        query.bind(user).fetch_all().await?.into_iter().map(passkey).collect()
    }

    /// Returns the passkey that an authenticator gave this id.
    pub async fn passkey_by_credential(&mut self, credential: &[u8]) -> Result<Option<Passkey>, StoreError> {
        let query = self.query(select_passkey!("where credential_id = $1"));
        query.bind(credential).fetch_optional().await?.map(passkey).transpose()
    }
}

impl Transaction {
    /// Adds a passkey. Returns 0 where the credential is known already.
    pub async fn insert_passkey(&mut self, passkey: &Passkey) -> Result<u64, StoreError> {
        self.query(
            "insert into passkeys (id, user_id, credential_id, public_key, transports, name, sign_count, syncable, \
             synced, created_at, last_used_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null) \
             on conflict (credential_id) do nothing",
        )
        .bind(passkey.id)
        .bind(passkey.user_id)
        .bind(&passkey.credential_id[..])
        .bind(&passkey.public_key[..])
        .bind(passkey.transports.join(" "))
        .bind(&passkey.name)
        .bind(i64::from(passkey.sign_count))
        .bind(passkey.syncable)
        .bind(passkey.synced)
        .bind(passkey.created_at.timestamp_millis())
        .execute()
        .await
    }

    /// Renames a passkey of the user. Returns 0 where the user has no such passkey.
    pub async fn rename_passkey(&mut self, user: Uuid, id: Uuid, name: &str) -> Result<u64, StoreError> {
        let query = self.query("update passkeys set name = $3 where user_id = $1 and id = $2");
        query.bind(user).bind(id).bind(name).execute().await
    }

    /// Removes a passkey of the user. Returns 0 where the user has no such passkey.
    pub async fn delete_passkey(&mut self, user: Uuid, id: Uuid) -> Result<u64, StoreError> {
        self.query("delete from passkeys where user_id = $1 and id = $2").bind(user).bind(id).execute().await
    }

    /// Removes the passkeys that were added to the user at `since` or later. Returns their number.
    pub async fn delete_passkeys_since(
        &mut self,
        user: Uuid,
        since: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.query("delete from passkeys where user_id = $1 and created_at >= $2")
            .bind(user)
            .bind(since.timestamp_millis())
            .execute()
            .await
    }

    /// Notes a signature of a passkey. Returns 0 where its counter is not after the stored one: the key was copied, or
    /// it is gone. An authenticator that does not count sends 0 always.
    pub async fn use_passkey(
        &mut self,
        id: Uuid,
        sign_count: u32,
        synced: bool,
        at: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.query(
            "update passkeys set sign_count = $2, synced = $3, last_used_at = $4 \
             where id = $1 and (sign_count < $2 or (sign_count = 0 and $2 = 0))",
        )
        .bind(id)
        .bind(i64::from(sign_count))
        .bind(synced)
        .bind(at.timestamp_millis())
        .execute()
        .await
    }

    /// Uses up a WebAuthn challenge. Returns 0 where it was answered before.
    pub async fn use_challenge(
        &mut self,
        digest: &Digest,
        expires_at: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.query("insert into used_challenges (digest, expires_at) values ($1, $2) on conflict (digest) do nothing")
            .bind(&digest[..])
            .bind(expires_at.timestamp_millis())
            .execute()
            .await
    }
}

fn passkey(columns: PasskeyColumns) -> Result<Passkey, StoreError> {
    let (
        id,
        user_id,
        credential_id,
        public_key,
        transports,
        name,
        sign_count,
        syncable,
        synced,
        created_at,
        last_used_at,
    ) = columns;
    Ok(Passkey {
        id,
        user_id,
        credential_id,
        public_key,
        transports: transports.split_whitespace().map(str::to_owned).collect(),
        name,
        sign_count: u32::try_from(sign_count).unwrap_or(u32::MAX),
        syncable,
        synced,
        created_at: time(created_at)?,
        last_used_at: last_used_at.map(time).transpose()?,
    })
}
