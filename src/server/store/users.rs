//! Users.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connection::{Connection, Transaction, select_for_update, time};
use super::error::StoreError;
use crate::server::model::UserRecord;

pub(super) type UserColumns = (
    Uuid,
    String,
    Option<i64>,
    Option<String>,
    String,
    Option<String>,
    Option<i64>,
    i64,
    Option<i64>,
    String,
);

macro_rules! select_user {
    ($rest:literal) => {
        concat!(
            "select id, email, email_verified_at, name, roles, password_hash, disabled_at, created_at, last_login_at, \
             second_factors from users ",
            $rest
        )
    };
}

macro_rules! insert_users {
    ($values:literal) => {
        concat!(
            "insert into users \
             (id, email, email_verified_at, name, roles, password_hash, disabled_at, created_at, last_login_at) ",
            $values,
            " on conflict (email) do nothing"
        )
    };
}

impl Connection {
    /// Returns the user with this id.
    pub async fn user(&mut self, id: Uuid) -> Result<Option<UserRecord>, StoreError> {
        let row = self.query(select_user!("where id = $1")).bind(id).fetch_optional().await?;
        row.map(user_record).transpose()
    }

    /// Returns the user with this address, which must be trimmed and in lower case.
    pub async fn user_by_email(&mut self, email: &str) -> Result<Option<UserRecord>, StoreError> {
        let row = self.query(select_user!("where email = $1")).bind(email).fetch_optional().await?;
        row.map(user_record).transpose()
    }

    /// Returns at most `limit` users, sorted by address, from the one after `after`.
    pub async fn users_after(&mut self, after: &str, limit: u32) -> Result<Vec<UserRecord>, StoreError> {
        let query = self.query(select_user!("where email > $1 order by email limit $2"));
        let rows = query.bind(after).bind(i64::from(limit)).fetch_all().await?;
        rows.into_iter().map(user_record).collect()
    }
}

impl Transaction {
    /// Returns the user with this id and locks it until the transaction ends: nobody else can change the user, or begin
    /// or end a session of the user.
    pub async fn lock_user(&mut self, id: Uuid) -> Result<Option<UserRecord>, StoreError> {
        let row = select_for_update!(self, select_user!("where id = $1")).bind(id).fetch_optional().await?;
        row.map(user_record).transpose()
    }

    /// Returns the users with these ids, who cannot be deleted until the transaction ends.
    pub(super) async fn users_kept(&mut self, ids: &[Uuid]) -> Result<Vec<UserRecord>, StoreError> {
        let ids = ids.iter().map(|id| id.simple().to_string());
        let query = self.query_by_dialect(
            select_user!("where id in (select unhex(value) from json_each($1))"),
            select_user!(
                "where id = any (array(select value::uuid from jsonb_array_elements_text($1::text::jsonb) as id (value))) \
                 for key share"
            ),
        );
        let rows = query.bind(serde_json::Value::from_iter(ids).to_string()).fetch_all().await?;
        rows.into_iter().map(user_record).collect()
    }

    /// Adds a user, unless the address is taken. Returns the number of users added.
    pub async fn insert_user(&mut self, user: &UserRecord) -> Result<u64, StoreError> {
        self.insert_users(std::slice::from_ref(user)).await
    }

    /// Adds those users whose address is free; of several with one address, the first. Returns the number of users
    /// added. One statement, because each costs a round trip, and on SQLite more than the row.
    pub async fn insert_users(&mut self, users: &[UserRecord]) -> Result<u64, StoreError> {
        let rows = users.iter().map(|user| {
            serde_json::json!([
                user.id.simple().to_string(),
                user.email,
                user.email_verified_at.map(|at| at.timestamp_millis()),
                user.name,
                user.roles.join(" "),
                user.password_hash,
                user.disabled_at.map(|at| at.timestamp_millis()),
                user.created_at.timestamp_millis(),
                user.last_login_at.map(|at| at.timestamp_millis()),
            ])
        });
        let query = self.query_by_dialect(
            // Without `where true`, SQLite reads `on conflict` as a join's condition.
            insert_users!(
                "select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                 value ->> 6, value ->> 7, value ->> 8 from json_each($1) where true"
            ),
            insert_users!(
                "select (value ->> 0)::uuid, value ->> 1, (value ->> 2)::bigint, value ->> 3, value ->> 4, \
                 value ->> 5, (value ->> 6)::bigint, (value ->> 7)::bigint, (value ->> 8)::bigint \
                 from jsonb_array_elements($1::text::jsonb) as added (value)"
            ),
        );
        query.bind(serde_json::Value::from_iter(rows).to_string()).execute().await
    }

    /// Sets the user's name.
    pub async fn set_name(&mut self, id: Uuid, name: Option<&str>) -> Result<(), StoreError> {
        self.query("update users set name = $2 where id = $1").bind(id).bind(name).execute().await?;
        Ok(())
    }

    /// Sets the user's roles.
    pub async fn set_roles(&mut self, id: Uuid, roles: &[String]) -> Result<(), StoreError> {
        let query = self.query("update users set roles = $2 where id = $1");
        query.bind(id).bind(roles.join(" ")).execute().await?;
        Ok(())
    }

    /// Sets the time at which somebody proved to read the mail of the user's address; `None` if nobody did.
    pub async fn set_email_verified(
        &mut self,
        id: Uuid,
        at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let query = self.query("update users set email_verified_at = $2 where id = $1");
        query.bind(id).bind(at.map(|at| at.timestamp_millis())).execute().await?;
        Ok(())
    }

    /// Sets the hash of the user's password.
    pub async fn set_password_hash(&mut self, id: Uuid, hash: &str) -> Result<(), StoreError> {
        let query = self.query("update users set password_hash = $2 where id = $1");
        query.bind(id).bind(hash).execute().await?;
        Ok(())
    }

    /// Sets the time at which the user was disabled; `None` enables the user.
    pub async fn set_disabled(&mut self, id: Uuid, at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let query = self.query("update users set disabled_at = $2 where id = $1");
        query.bind(id).bind(at.map(|at| at.timestamp_millis())).execute().await?;
        Ok(())
    }

    /// Sets the time of the user's last sign-in.
    pub async fn set_last_login(&mut self, id: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
        let query = self.query("update users set last_login_at = $2 where id = $1");
        query.bind(id).bind(at.timestamp_millis()).execute().await?;
        Ok(())
    }

    /// Deletes the user. The ids of the sessions stay, without an owner and a client, until their tokens have expired.
    pub async fn delete_user(&mut self, id: Uuid) -> Result<(), StoreError> {
        let query = self.query("update sessions set user_agent = null, address = null where user_id = $1");
        query.bind(id).execute().await?;
        self.query("delete from users where id = $1").bind(id).execute().await?;
        Ok(())
    }
}

pub(super) fn user_record(columns: UserColumns) -> Result<UserRecord, StoreError> {
    let (
        id,
        email,
        verified_at,
        name,
        roles,
        password_hash,
        disabled_at,
        created_at,
        last_login_at,
        second_factors,
    ) = columns;
    Ok(UserRecord {
        id,
        email,
        email_verified_at: verified_at.map(time).transpose()?,
        name,
        roles: roles.split_whitespace().map(str::to_owned).collect(),
        password_hash,
        disabled_at: disabled_at.map(time).transpose()?,
        created_at: time(created_at)?,
        last_login_at: last_login_at.map(time).transpose()?,
        second_factors: second_factors.split_whitespace().map(str::to_owned).collect(),
    })
}
