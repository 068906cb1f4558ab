//! Users, and what each change of theirs ends.

use uuid::Uuid;

use super::sessions::{end_sessions, insert_session};
use super::{Store, UserColumns, bounded, commit, note, user_columns, user_row};
use crate::server::events::Event;
use crate::server::store::{Change, PasswordChange, StoreError, UserRow};

macro_rules! insert_user {
    ($user:expr, $rest:literal) => {
        sqlx::query(concat!(
            "insert into users (id, email, name, roles, password_hash, disabled_at, created_at, last_login_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) ",
            $rest
        ))
        .bind($user.id)
        .bind(&$user.email)
        .bind(&$user.name)
        .bind($user.roles.join(" "))
        .bind(&$user.password_hash)
        .bind($user.disabled_at.map(|at| at.timestamp_millis()))
        .bind($user.created_at.timestamp_millis())
        .bind($user.last_login_at.map(|at| at.timestamp_millis()))
    };
}

impl Store {
    /// Adds a user.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`] when the address belongs to somebody; the index decides, so two at
    /// once cannot both win.
    pub async fn insert_user(&self, user: &UserRow, event: &Event) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            insert_user!(user, "").execute(&mut *tx).await.map_err(|error| {
                match error.as_database_error().is_some_and(|error| error.is_unique_violation()) {
                    true => StoreError::EmailTaken,
                    false => error.into(),
                }
            })?;
            commit(tx, event).await
        })
        .await
    }

    /// Adds those of `users` whose address is free, all in one transaction; how many that were.
    ///
    /// # Errors
    /// As [`StoreError`] lists; then none was added.
    pub async fn insert_users(&self, users: &[UserRow], event: &Event) -> Result<usize, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let mut added = 0;
            for user in users {
                let done = insert_user!(user, "on conflict (email) do nothing").execute(&mut *tx).await?;
                added += usize::from(done.rows_affected() > 0);
            }
            commit(tx, event).await?;
            Ok(added)
        })
        .await
    }

    /// The user with this id.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn user(&self, id: Uuid) -> Result<Option<UserRow>, StoreError> {
        bounded(async {
            let row: Option<UserColumns> =
                sqlx::query_as(user_columns!("where id = $1")).bind(id).fetch_optional(&self.readers).await?;
            row.map(user_row).transpose()
        })
        .await
    }

    /// The user with this address, which must be trimmed and in lower case.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<UserRow>, StoreError> {
        bounded(async {
            let row: Option<UserColumns> = sqlx::query_as(user_columns!("where email = $1"))
                .bind(email)
                .fetch_optional(&self.readers)
                .await?;
            row.map(user_row).transpose()
        })
        .await
    }

    /// At most `limit` users, by address, from the one after `after`.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn users(&self, after: &str, limit: u32) -> Result<Vec<UserRow>, StoreError> {
        bounded(async {
            let rows: Vec<UserColumns> =
                sqlx::query_as(user_columns!("where email > $1 order by email limit $2"))
                    .bind(after)
                    .bind(limit)
                    .fetch_all(&self.readers)
                    .await?;
            rows.into_iter().map(user_row).collect()
        })
        .await
    }

    /// Whether there is no user at all.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn has_no_users(&self) -> Result<bool, StoreError> {
        Ok(self.users("", 1).await?.is_empty())
    }

    /// Gives the user a new password and ends every session. `false`: there is no such user.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn set_password(&self, id: Uuid, hash: &str, event: &Event) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let found = sqlx::query("update users set password_hash = $2 where id = $1")
                .bind(id)
                .bind(hash)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if found == 0 {
                return Ok(false);
            }
            end_sessions(&mut tx, id, event.at).await?;
            note(&mut tx, Change::User(id), event.at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }

    /// Changes the password that the user knows, ends every session and begins the given one. `false`: the
    /// user went, was disabled or has another password by now, and nothing was written.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn change_password(
        &self,
        change: &PasswordChange<'_>,
        event: &Event,
    ) -> Result<bool, StoreError> {
        bounded(async {
            let (user, at) = (change.session.user_id, change.session.at);
            let mut tx = self.begin().await?;
            let changed = sqlx::query(
                "update users set password_hash = $3 where id = $1 and password_hash is $2 and disabled_at is null",
            )
            .bind(user)
            .bind(change.old_hash)
            .bind(change.new_hash)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if changed == 0 {
                return Ok(false);
            }
            end_sessions(&mut tx, user, at).await?;
            insert_session(&mut tx, change.session).await?;
            note(&mut tx, Change::User(user), at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }

    /// Replaces the stored hash `old` of an unchanged password by `new`, made at today's cost. Sessions go
    /// on. Where the hash is no longer `old`, nothing is written: the password has changed meanwhile.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn refresh_hash(&self, id: Uuid, old: &str, new: &str) -> Result<(), StoreError> {
        bounded(async {
            sqlx::query("update users set password_hash = $3 where id = $1 and password_hash = $2")
                .bind(id)
                .bind(old)
                .bind(new)
                .execute(&self.writer)
                .await?;
            Ok(())
        })
        .await
    }

    /// Disables the user and ends every session, or enables the user again, which revives none. `false`:
    /// there is no such user.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn set_disabled(&self, id: Uuid, disabled: bool, event: &Event) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let found = sqlx::query("update users set disabled_at = $2 where id = $1")
                .bind(id)
                .bind(disabled.then(|| event.at.timestamp_millis()))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if found == 0 {
                return Ok(false);
            }
            if disabled {
                end_sessions(&mut tx, id, event.at).await?;
            }
            note(&mut tx, Change::User(id), event.at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }

    /// Gives the user another name. `false`: there is no such user.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn set_name(&self, id: Uuid, name: Option<&str>, event: &Event) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let found = sqlx::query("update users set name = $2 where id = $1")
                .bind(id)
                .bind(name)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if found == 0 {
                return Ok(false);
            }
            note(&mut tx, Change::User(id), event.at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }

    /// Deletes the user; where `confirmed` is a hash, only if it is still that of the password, and the user is
    /// enabled. The ids of the sessions stay, without an owner, until their tokens have expired. `false`: there is no
    /// such user, and nothing was written.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn delete_user(
        &self,
        id: Uuid,
        confirmed: Option<&str>,
        event: &Event,
    ) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            end_sessions(&mut tx, id, event.at).await?;
            sqlx::query("update sessions set user_agent = null, address = null where user_id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await?;
            let found = sqlx::query(
                "delete from users where id = $1 and ($2 is null or (password_hash = $2 and disabled_at is null))",
            )
            .bind(id)
            .bind(confirmed)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if found == 0 {
                return Ok(false);
            }
            note(&mut tx, Change::User(id), event.at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }
}
