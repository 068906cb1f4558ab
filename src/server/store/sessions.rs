//! Sessions and their refresh tokens.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connection::{Connection, Transaction, select_for_update, time};
use super::error::StoreError;
use crate::server::model::{
    Authentication, Change, Client, Digest, Lifetimes, NewSession, Rotation, Session, SessionPlace,
};

/// The most sessions that one sign-in ends, so that it stays quick where the setting was lowered.
const MOST_AT_ONCE: i64 = 100;

type SessionColumns = (
    Uuid,
    Option<Uuid>,
    i64,
    i64,
    i64,
    bool,
    Vec<u8>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

macro_rules! select_session {
    ($rest:literal) => {
        concat!(
            "select id, user_id, created_at, refreshed_at, last_seen_at, by_cookie, refresh_digest, user_agent, address, \
             ended_at, auth_time, amr from sessions ",
            $rest
        )
    };
}

impl Connection {
    /// Returns the session with this id.
    pub async fn session(&mut self, id: Uuid) -> Result<Option<Session>, StoreError> {
        let row = self.query(select_session!("where id = $1")).bind(id).fetch_optional().await?;
        row.map(session).transpose()
    }

    /// Returns up to `limit` of the user's sessions that can be refreshed at `now`, or have an access token that has
    /// not expired; the latest first, from the place `after` on.
    pub async fn sessions_of(
        &mut self,
        user: Uuid,
        now: DateTime<Utc>,
        lifetimes: &Lifetimes,
        after: Option<SessionPlace>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let (before, id) =
            after.map_or((i64::MAX, Uuid::max()), |place| (place.created_at.timestamp_millis(), place.id));
        let rows = self
            .query(select_session!(
                "where user_id = $1 and ended_at is null \
                 and (token_until > $2 or (created_at > $3 and refreshed_at > $4)) \
                 and (created_at < $5 or (created_at = $5 and id < $6)) order by created_at desc, id desc limit $7"
            ))
            .bind(user)
            .bind(now.timestamp_millis())
            .bind((now - lifetimes.absolute).timestamp_millis())
            .bind((now - lifetimes.idle).timestamp_millis())
            .bind(before)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.into_iter().map(session).collect()
    }

    /// Returns at most `limit` sessions of the user that are stored, ended ones too; the latest first.
    pub async fn stored_sessions_of(&mut self, user: Uuid, limit: u32) -> Result<Vec<Session>, StoreError> {
        let query =
            self.query(select_session!("where user_id = $1 order by created_at desc, id desc limit $2"));
        let rows = query.bind(user).bind(i64::from(limit)).fetch_all().await?;
        rows.into_iter().map(session).collect()
    }

    /// Returns the ended sessions whose access tokens have not all expired at `now`, with the expiry of the last one.
    pub async fn ended_sessions(
        &mut self,
        now: DateTime<Utc>,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
        let rows: Vec<(Uuid, i64)> = self
            .query("select id, token_until from sessions where ended_at is not null and token_until > $1")
            .bind(now.timestamp_millis())
            .fetch_all()
            .await?;
        rows.into_iter().map(|(id, until)| Ok((id, time(until)?))).collect()
    }
}

impl Transaction {
    /// Adds a session.
    pub async fn insert_session(&mut self, session: &NewSession) -> Result<(), StoreError> {
        self.query(
            "insert into sessions (id, user_id, created_at, refreshed_at, last_seen_at, token_until, refresh_digest, \
             by_cookie, user_agent, address, auth_time, amr) values ($1, $2, $3, $3, $3, $4, $5, $6, $7, $8, $3, $9)",
        )
        .bind(session.id)
        .bind(session.user_id)
        .bind(session.at.timestamp_millis())
        .bind(session.token_until.timestamp_millis())
        .bind(&session.refresh_digest[..])
        .bind(session.by_cookie)
        .bind(&session.client.user_agent)
        .bind(session.client.address.map(|address| address.to_string()))
        .bind(session.methods.join(" "))
        .execute()
        .await?;
        Ok(())
    }

    /// Returns the session with this id, and keeps everybody else from changing it until the transaction ends.
    pub async fn lock_session(&mut self, id: Uuid) -> Result<Option<Session>, StoreError> {
        let row =
            select_for_update!(self, select_session!("where id = $1")).bind(id).fetch_optional().await?;
        row.map(session).transpose()
    }

    /// Makes `successor` the session's refresh token.
    pub async fn set_refresh_digest(
        &mut self,
        id: Uuid,
        successor: &Digest,
        at: DateTime<Utc>,
        client: &Client,
    ) -> Result<(), StoreError> {
        self.query(
            "update sessions set refresh_digest = $2, refreshed_at = $3, \
             last_seen_at = case when last_seen_at > $3 then last_seen_at else $3 end, user_agent = $4, address = $5 \
             where id = $1",
        )
        .bind(id)
        .bind(&successor[..])
        .bind(at.timestamp_millis())
        .bind(&client.user_agent)
        .bind(client.address.map(|address| address.to_string()))
        .execute()
        .await?;
        Ok(())
    }

    /// Notes that an access token of the session expires at `until`, if that is later than every other.
    pub async fn extend_tokens(&mut self, id: Uuid, until: DateTime<Utc>) -> Result<(), StoreError> {
        self.query("update sessions set token_until = $2 where id = $1 and token_until < $2")
            .bind(id)
            .bind(until.timestamp_millis())
            .execute()
            .await?;
        Ok(())
    }

    /// Records the first use of the refresh token with this digest.
    pub async fn insert_rotation(
        &mut self,
        session: Uuid,
        digest: &Digest,
        rotation: &Rotation,
    ) -> Result<(), StoreError> {
        self.query("insert into rotations (digest, session_id, salt, at) values ($1, $2, $3, $4)")
            .bind(&digest[..])
            .bind(session)
            .bind(&rotation.salt[..])
            .bind(rotation.at.timestamp_millis())
            .execute()
            .await?;
        Ok(())
    }

    /// Returns the first use of a refresh token of the session, where that was a moment ago.
    pub async fn rotation(&mut self, session: Uuid, digest: &Digest) -> Result<Option<Rotation>, StoreError> {
        let row: Option<(Vec<u8>, i64)> = self
            .query("select salt, at from rotations where digest = $1 and session_id = $2")
            .bind(&digest[..])
            .bind(session)
            .fetch_optional()
            .await?;
        row.map(|(salt, at)| Ok(Rotation { salt: exactly(salt, "a rotation's salt")?, at: time(at)? }))
            .transpose()
    }

    /// Ends the session, and tells every server.
    pub async fn end_session(&mut self, id: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.query("update sessions set ended_at = $2 where id = $1 and ended_at is null")
            .bind(id)
            .bind(at.timestamp_millis())
            .execute()
            .await?;
        self.note_change(Change::Session(id), at).await
    }

    /// Ends every session of the user, and tells every server.
    pub async fn end_sessions_of(&mut self, user: Uuid, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.has_changes = true;
        self.query(
            "insert into changes (kind, subject, at) \
             select 'session', id, $2 from sessions where user_id = $1 and ended_at is null",
        )
        .bind(user)
        .bind(at.timestamp_millis())
        .execute()
        .await?;
        self.query("update sessions set ended_at = $2 where user_id = $1 and ended_at is null")
            .bind(user)
            .bind(at.timestamp_millis())
            .execute()
            .await?;
        Ok(())
    }

    /// Returns the user's sessions that have not been ended, without the newest `most`.
    pub async fn surplus_sessions(&mut self, user: Uuid, most: u32) -> Result<Vec<Uuid>, StoreError> {
        let rows: Vec<(Uuid,)> = self
            .query(
                "select id from sessions where user_id = $1 and ended_at is null \
                 order by created_at desc, id desc limit $2 offset $3",
            )
            .bind(user)
            .bind(MOST_AT_ONCE)
            .bind(i64::from(most))
            .fetch_all()
            .await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Notes the times at which sessions were last used.
    pub async fn set_last_seen(&mut self, uses: &[(Uuid, DateTime<Utc>)]) -> Result<(), StoreError> {
        for (id, at) in uses {
            self.query("update sessions set last_seen_at = $2 where id = $1 and last_seen_at < $2")
                .bind(*id)
                .bind(at.timestamp_millis())
                .execute()
                .await?;
        }
        Ok(())
    }
}

fn session(columns: SessionColumns) -> Result<Session, StoreError> {
    let (
        id,
        user_id,
        created_at,
        refreshed_at,
        last_seen_at,
        by_cookie,
        refresh_digest,
        user_agent,
        address,
        ended_at,
        auth_time,
        amr,
    ) = columns;
    Ok(Session {
        id,
        user_id,
        created_at: time(created_at)?,
        refreshed_at: time(refreshed_at)?,
        last_seen_at: time(last_seen_at)?,
        by_cookie,
        refresh_digest: exactly(refresh_digest, "a session's digest")?,
        client: Client {
            user_agent,
            address: address.and_then(|text| text.parse().ok()),
            ..Client::default()
        },
        authentication: authentication(auth_time, amr.as_deref(), created_at)?,
        ended_at: ended_at.map(time).transpose()?,
    })
}

/// Returns how a session was signed in. A server of before these columns signed in by password alone.
pub(super) fn authentication(
    auth_time: Option<i64>,
    amr: Option<&str>,
    created_at: i64,
) -> Result<Authentication, StoreError> {
    let methods = amr.unwrap_or("pwd").split_whitespace().map(str::to_owned).collect();
    Ok(Authentication { at: time(auth_time.unwrap_or(created_at))?, methods })
}

fn exactly<const N: usize>(bytes: Vec<u8>, what: &str) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Failed(format!("{what} is not {N} bytes long")))
}
