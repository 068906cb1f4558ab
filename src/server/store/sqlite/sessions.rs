//! Sessions and their refresh tokens.

use chrono::{DateTime, Utc};
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::{Store, UserColumns, bounded, commit, note, time, user_columns, user_row};
use crate::server::events::{Client, Event, EventKind};
use crate::server::store::{
    CLOCK_STEP, Change, Lifetimes, NewSession, Presented, Rotation, SessionRow, StoreError,
};

type SessionColumns = (Uuid, i64, i64, i64, Option<String>, Option<String>);

impl Store {
    /// Begins a session and notes the sign-in, if the user is still there, enabled, and has the password
    /// that was checked. `false`: not so, and nothing was written.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn begin_session(&self, session: &NewSession, event: &Event) -> Result<bool, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let welcome = sqlx::query(
                "update users set last_login_at = $3 where id = $1 and password_hash = $2 and disabled_at is null",
            )
            .bind(session.user_id)
            .bind(&session.password_hash)
            .bind(session.at.timestamp_millis())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if welcome == 0 {
                return Ok(false);
            }
            insert_session(&mut tx, session).await?;
            note(&mut tx, Change::User(session.user_id), session.at).await?;
            commit(tx, event).await?;
            Ok(true)
        })
        .await
    }

    /// Gives a refresh token its successor. The first use and its salt are one commit; a repeat within the
    /// grace reads that salt, and one after it ends the session. `token` must be known to be ours.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn rotate(&self, token: &Presented, lifetimes: &Lifetimes) -> Result<Rotation, StoreError> {
        let at = token.at.timestamp_millis();
        bounded(async {
            let mut tx = self.begin().await?;
            let event = |kind| Event::new(kind, token.at).session(token.session).by(&token.client);
            // Alive, of a user who is, and travelling as it should: checked before everything else.
            let alive: Option<(Uuid, i64, i64)> = sqlx::query_as(
                "select user_id, created_at, refreshed_at from sessions where id = $1 and ended_at is null \
                 and user_id is not null and by_cookie = $2 and created_at > $3 and refreshed_at > $4",
            )
            .bind(token.session)
            .bind(token.by_cookie)
            .bind((token.at - lifetimes.absolute).timestamp_millis())
            .bind((token.at - lifetimes.idle).timestamp_millis())
            .fetch_optional(&mut *tx)
            .await?;
            let Some((user_id, created_at, refreshed_at)) = alive else {
                return Ok(Rotation::Refused);
            };
            let row: Option<UserColumns> =
                sqlx::query_as(user_columns!("where id = $1")).bind(user_id).fetch_optional(&mut *tx).await?;
            let Some(user) = row.map(user_row).transpose()? else {
                return Ok(Rotation::Refused);
            };
            let user = Box::new(user);
            let until = |refreshed_at: i64| -> Result<DateTime<Utc>, StoreError> {
                Ok((time(created_at)? + lifetimes.absolute).min(time(refreshed_at)? + lifetimes.idle))
            };
            let is_first_use = sqlx::query(
                "update sessions set refresh_digest = $3, refreshed_at = $4, last_seen_at = max(last_seen_at, $4), \
                 token_until = max(token_until, $5), user_agent = $6, address = $7 \
                 where id = $1 and refresh_digest = $2 and ended_at is null",
            )
            .bind(token.session)
            .bind(&token.digest[..])
            .bind(&token.successor[..])
            .bind(at)
            .bind(token.token_until.timestamp_millis())
            .bind(&token.client.user_agent)
            .bind(token.client.address.map(|address| address.to_string()))
            .execute(&mut *tx)
            .await?
            .rows_affected()
                > 0;
            if is_first_use {
                sqlx::query("insert into rotations (digest, session_id, salt, at) values ($1, $2, $3, $4)")
                    .bind(&token.digest[..])
                    .bind(token.session)
                    .bind(&token.salt[..])
                    .bind(at)
                    .execute(&mut *tx)
                    .await?;
                commit(tx, &event(EventKind::Refreshed).user(user_id)).await?;
                return Ok(Rotation::Successor { user, salt: token.salt, expires_at: until(at)? });
            }
            let used: Option<(Vec<u8>, i64)> =
                sqlx::query_as("select salt, at from rotations where digest = $1 and session_id = $2")
                    .bind(&token.digest[..])
                    .bind(token.session)
                    .fetch_optional(&mut *tx)
                    .await?;
            // A clock that stepped back may lengthen the grace, but not by more than it may step.
            let is_repeat = |used_at: DateTime<Utc>| {
                (used_at - CLOCK_STEP..used_at + lifetimes.grace).contains(&token.at)
            };
            match used {
                Some((salt, used_at)) if is_repeat(time(used_at)?) => {
                    let salt = salt
                        .try_into()
                        .map_err(|_| StoreError::Failed("a rotation's salt is cut short".into()))?;
                    sqlx::query("update sessions set token_until = max(token_until, $2) where id = $1")
                        .bind(token.session)
                        .bind(token.token_until.timestamp_millis())
                        .execute(&mut *tx)
                        .await?;
                    tx.commit().await?;
                    Ok(Rotation::Successor { user, salt, expires_at: until(refreshed_at)? })
                }
                _ => {
                    end(&mut tx, token.session, token.at).await?;
                    commit(tx, &event(EventKind::RefreshReused).user(user_id)).await?;
                    Ok(Rotation::Theft)
                }
            }
        })
        .await
    }

    /// Ends a session: of anybody's, or of `owner`'s alone. Whether it was by cookie; `None` when there is no
    /// such session that has not ended.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn end_session(
        &self,
        id: Uuid,
        owner: Option<Uuid>,
        event: &Event,
    ) -> Result<Option<bool>, StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            let row: Option<(Option<Uuid>, bool)> =
                sqlx::query_as("select user_id, by_cookie from sessions where id = $1 and ended_at is null")
                    .bind(id)
                    .fetch_optional(&mut *tx)
                    .await?;
            let Some((user, by_cookie)) = row.filter(|(user, _)| owner.is_none() || *user == owner) else {
                return Ok(None);
            };
            end(&mut tx, id, event.at).await?;
            let event = Event { user, ..event.clone() }.session(id);
            commit(tx, &event).await?;
            Ok(Some(by_cookie))
        })
        .await
    }

    /// Ends every session of the user.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn end_all_sessions(&self, user: Uuid, event: &Event) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            end_sessions(&mut tx, user, event.at).await?;
            commit(tx, event).await
        })
        .await
    }

    /// The user's sessions that can still be refreshed, or have an access token that is still in time at
    /// `now`, the latest first.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn sessions(
        &self,
        user: Uuid,
        now: DateTime<Utc>,
        lifetimes: &Lifetimes,
    ) -> Result<Vec<SessionRow>, StoreError> {
        bounded(async {
            let rows: Vec<SessionColumns> = sqlx::query_as(
                "select id, created_at, refreshed_at, last_seen_at, user_agent, address from sessions \
                 where user_id = $1 and ended_at is null \
                 and (token_until > $2 or (created_at > $3 and refreshed_at > $4)) order by created_at desc, id desc",
            )
            .bind(user)
            .bind(now.timestamp_millis())
            .bind((now - lifetimes.absolute).timestamp_millis())
            .bind((now - lifetimes.idle).timestamp_millis())
            .fetch_all(&self.readers)
            .await?;
            rows.into_iter()
                .map(|(id, created_at, refreshed_at, last_seen_at, user_agent, address)| {
                    let (created_at, refreshed_at) = (time(created_at)?, time(refreshed_at)?);
                    Ok(SessionRow {
                        id,
                        created_at,
                        last_seen_at: time(last_seen_at)?,
                        expires_at: (created_at + lifetimes.absolute).min(refreshed_at + lifetimes.idle),
                        client: Client { user_agent, address: address.and_then(|text| text.parse().ok()) },
                    })
                })
                .collect()
        })
        .await
    }

    /// Whether the session's refresh tokens travel in the cookie alone.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn is_by_cookie(&self, session: Uuid) -> Result<bool, StoreError> {
        bounded(async {
            let row: Option<(bool,)> = sqlx::query_as("select by_cookie from sessions where id = $1")
                .bind(session)
                .fetch_optional(&self.readers)
                .await?;
            Ok(row.is_some_and(|(by_cookie,)| by_cookie))
        })
        .await
    }

    /// Writes when sessions were last seen in use.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn seen(&self, sessions: &[(Uuid, DateTime<Utc>)]) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.begin().await?;
            for (id, at) in sessions {
                sqlx::query("update sessions set last_seen_at = max(last_seen_at, $2) where id = $1")
                    .bind(id)
                    .bind(at.timestamp_millis())
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// The sessions that have ended while tokens of theirs are still in time at `now`, and until when.
    ///
    /// # Errors
    /// As [`StoreError`] lists.
    pub async fn ended_sessions(&self, now: DateTime<Utc>) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
        bounded(async {
            let rows: Vec<(Uuid, i64)> = sqlx::query_as(
                "select id, token_until from sessions where ended_at is not null and token_until > $1",
            )
            .bind(now.timestamp_millis())
            .fetch_all(&self.readers)
            .await?;
            rows.into_iter().map(|(id, until)| Ok((id, time(until)?))).collect()
        })
        .await
    }
}

pub(super) async fn insert_session(
    tx: &mut Transaction<'_, Sqlite>,
    session: &NewSession,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into sessions (id, user_id, created_at, refreshed_at, last_seen_at, token_until, refresh_digest, \
         by_cookie, user_agent, address) values ($1, $2, $3, $3, $3, $4, $5, $6, $7, $8)",
    )
    .bind(session.id)
    .bind(session.user_id)
    .bind(session.at.timestamp_millis())
    .bind(session.token_until.timestamp_millis())
    .bind(&session.refresh_digest[..])
    .bind(session.by_cookie)
    .bind(&session.client.user_agent)
    .bind(session.client.address.map(|address| address.to_string()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends every session of `user`.
pub(super) async fn end_sessions(
    tx: &mut Transaction<'_, Sqlite>,
    user: Uuid,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into changes (kind, subject, at) \
         select 'session', id, $2 from sessions where user_id = $1 and ended_at is null",
    )
    .bind(user)
    .bind(at.timestamp_millis())
    .execute(&mut **tx)
    .await?;
    sqlx::query("update sessions set ended_at = $2 where user_id = $1 and ended_at is null")
        .bind(user)
        .bind(at.timestamp_millis())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn end(tx: &mut Transaction<'_, Sqlite>, id: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query("update sessions set ended_at = $2 where id = $1 and ended_at is null")
        .bind(id)
        .bind(at.timestamp_millis())
        .execute(&mut **tx)
        .await?;
    note(tx, Change::Session(id), at).await
}
