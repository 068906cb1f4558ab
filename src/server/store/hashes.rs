//! Password hashes that are sealed in place.

use uuid::Uuid;

use super::connection::{Connection, Transaction, select_for_update};
use super::error::StoreError;

/// A user, the stored hash, and what is to be stored in its place.
pub type Resealed = (Uuid, String, String);

/// As in the index users_to_seal.
macro_rules! hashes_to_seal {
    ($columns:literal, $rest:literal) => {
        concat!(
            "select ",
            $columns,
            " from users where substr(password_hash, 1, 8) <> '$sealed$' and id > $1 ",
            $rest
        )
    };
}

/// Without an order, PostgreSQL would look through the whole table instead of the index, since it cannot know that next to no
/// row is meant.
const HAS_HASHES_TO_SEAL: &str = hashes_to_seal!("cast(1 as bigint)", "order by id limit 1");

/// The statements that look for hashes, for the test that asks the databases how they run them.
#[cfg(feature = "testing")]
pub const HASH_STATEMENTS: &[&str] =
    &[HAS_HASHES_TO_SEAL, hashes_to_seal!("id, password_hash", "order by id limit 500")];

impl Connection {
    /// Tells whether a user after `after` has a hash that is not sealed.
    pub async fn has_hashes_to_seal(&mut self, after: Uuid) -> Result<bool, StoreError> {
        let query = self.query(HAS_HASHES_TO_SEAL).bind(after);
        Ok(query.fetch_optional::<(i64,)>().await?.is_some())
    }
}

impl Transaction {
    /// Returns at most `limit` users after `after` whose hash is not sealed, in the order of their ids, with the hash. They
    /// stay locked until the transaction ends; those that somebody else has locked are left out.
    pub async fn lock_hashes_to_seal(
        &mut self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Resealed>, StoreError> {
        let query = self.query_by_dialect(
            hashes_to_seal!("id, password_hash, ''", "order by id limit $2"),
            hashes_to_seal!("id, password_hash, ''", "order by id limit $2 for update skip locked"),
        );
        query.bind(after).bind(i64::from(limit)).fetch_all().await
    }

    /// Returns at most `limit` users after `after` with a hash, in the order of their ids, and locks them.
    pub async fn lock_hashes_after(&mut self, after: Uuid, limit: u32) -> Result<Vec<Resealed>, StoreError> {
        let query = select_for_update!(
            self,
            "select id, password_hash, '' from users where password_hash is not null and id > $1 \
             order by id limit $2"
        );
        query.bind(after).bind(i64::from(limit)).fetch_all().await
    }

    /// Replaces stored hashes, each unless it was changed meanwhile. The passwords stay the same, so this is no change that a
    /// server must apply.
    pub async fn replace_hashes(&mut self, hashes: &[Resealed]) -> Result<u64, StoreError> {
        let rows =
            hashes.iter().map(|(user, old, new)| serde_json::json!([user.simple().to_string(), old, new]));
        let rows = serde_json::Value::from_iter(rows).to_string();
        self.query_by_dialect(
            "update users set password_hash = value ->> 2 from json_each($1) \
             where users.id = unhex(value ->> 0) and password_hash = value ->> 1",
            "update users set password_hash = value ->> 2 from jsonb_array_elements($1::text::jsonb) as hash (value) \
             where users.id = (value ->> 0)::uuid and password_hash = value ->> 1",
        )
        .bind(rows)
        .execute()
        .await
    }
}
