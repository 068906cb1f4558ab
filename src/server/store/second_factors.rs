//! Second factors, and sign-ins that wait for one.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connection::{Connection, Transaction, time};
use super::error::StoreError;
use crate::server::model::{Digest, SignInChallenge, StoredTotp};

/// The most sign-ins of a user that wait for a second factor. A further one replaces the oldest.
const MOST_CHALLENGES: i64 = 10;

impl Connection {
    /// Returns the secret of the user's authenticator app, confirmed or not.
    pub async fn totp(&mut self, user: Uuid) -> Result<Option<StoredTotp>, StoreError> {
        let row: Option<(Vec<u8>, Option<i64>)> = self
            .query("select sealed, confirmed_at from totp where user_id = $1")
            .bind(user)
            .fetch_optional()
            .await?;
        row.map(|(sealed, at)| Ok(StoredTotp { sealed, confirmed_at: at.map(time).transpose()? })).transpose()
    }

    /// Returns the number of recovery codes that the user has not used.
    pub async fn count_recovery_codes(&mut self, user: Uuid) -> Result<i64, StoreError> {
        let row: Option<(i64,)> = self
            .query("select count(*) from recovery_codes where user_id = $1")
            .bind(user)
            .fetch_optional()
            .await?;
        Ok(row.map_or(0, |(count,)| count))
    }

    /// Returns the sign-in that waits for a second factor, if it has not expired at `now`.
    pub async fn sign_in_challenge(
        &mut self,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> Result<Option<SignInChallenge>, StoreError> {
        let row: Option<(Uuid, String, bool, i64, i64)> = self
            .query(
                "select user_id, amr, by_cookie, created_at, expires_at from sign_in_challenges \
                 where digest = $1 and expires_at > $2",
            )
            .bind(&digest[..])
            .bind(now.timestamp_millis())
            .fetch_optional()
            .await?;
        row.map(|(user_id, amr, by_cookie, created_at, expires_at)| {
            Ok(SignInChallenge {
                digest: *digest,
                user_id,
                methods: amr.split_whitespace().map(str::to_owned).collect(),
                by_cookie,
                created_at: time(created_at)?,
                expires_at: time(expires_at)?,
            })
        })
        .transpose()
    }
}

impl Transaction {
    /// Stores the sealed secret of an authenticator app, in place of one that was never confirmed. Returns 0 where one was.
    pub async fn put_totp(
        &mut self,
        user: Uuid,
        sealed: &[u8],
        at: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.query(
            "insert into totp (user_id, sealed, created_at, confirmed_at, last_step) values ($1, $2, $3, null, 0) \
             on conflict (user_id) do update set sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0 \
             where totp.confirmed_at is null",
        )
        .bind(user)
        .bind(sealed)
        .bind(at.timestamp_millis())
        .execute()
        .await
    }

    /// Confirms the user's authenticator app, by a code of `step`. Returns 0 where it was confirmed before.
    pub async fn confirm_totp(
        &mut self,
        user: Uuid,
        step: i64,
        at: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.query(
            "update totp set confirmed_at = $3, last_step = $2 where user_id = $1 and confirmed_at is null",
        )
        .bind(user)
        .bind(step)
        .bind(at.timestamp_millis())
        .execute()
        .await
    }

    /// Uses up the code of `step`, and those of all steps before. Returns 0 where it was used up.
    pub async fn use_totp_step(&mut self, user: Uuid, step: i64) -> Result<u64, StoreError> {
        self.query(
            "update totp set last_step = $2 where user_id = $1 and confirmed_at is not null and last_step < $2",
        )
        .bind(user)
        .bind(step)
        .execute()
        .await
    }

    /// Removes the user's authenticator app. Returns 0 where there was none that was confirmed.
    pub async fn delete_totp(&mut self, user: Uuid) -> Result<u64, StoreError> {
        self.query("delete from totp where user_id = $1 and confirmed_at is not null")
            .bind(user)
            .execute()
            .await
    }

    /// Replaces the user's recovery codes.
    pub async fn replace_recovery_codes(
        &mut self,
        user: Uuid,
        digests: &[Digest],
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.query("delete from recovery_codes where user_id = $1").bind(user).execute().await?;
        for digest in digests {
            self.query("insert into recovery_codes (digest, user_id, created_at) values ($1, $2, $3)")
                .bind(&digest[..])
                .bind(user)
                .bind(at.timestamp_millis())
                .execute()
                .await?;
        }
        Ok(())
    }

    /// Uses up a recovery code of the user. Returns 0 where the user has no such code.
    pub async fn use_recovery_code(&mut self, user: Uuid, digest: &Digest) -> Result<u64, StoreError> {
        self.query("delete from recovery_codes where user_id = $1 and digest = $2")
            .bind(user)
            .bind(&digest[..])
            .execute()
            .await
    }

    /// Writes the kinds of second factors that the user has into the user. Without any, recovery codes are of no use, and
    /// waiting sign-ins have nothing to wait for: both are deleted.
    pub async fn set_second_factors(&mut self, user: Uuid) -> Result<(), StoreError> {
        self.query(
            "update users set second_factors = trim( \
               case when exists (select 1 from passkeys where user_id = $1) then 'passkey' else '' end || ' ' || \
               case when exists (select 1 from totp where user_id = $1 and confirmed_at is not null) then 'totp' else '' end) \
             where id = $1",
        )
        .bind(user)
        .execute()
        .await?;
        self.query(
            "delete from recovery_codes where user_id = $1 \
             and exists (select 1 from users where id = $1 and second_factors = '')",
        )
        .bind(user)
        .execute()
        .await?;
        self.query(
            "delete from sign_in_challenges where user_id = $1 \
             and exists (select 1 from users where id = $1 and second_factors = '')",
        )
        .bind(user)
        .execute()
        .await?;
        Ok(())
    }

    /// Removes every second factor of the user, and an authenticator app that was never confirmed too.
    pub async fn delete_second_factors(&mut self, user: Uuid) -> Result<(), StoreError> {
        self.query("delete from totp where user_id = $1").bind(user).execute().await?;
        self.query("delete from passkeys where user_id = $1").bind(user).execute().await?;
        self.set_second_factors(user).await
    }

    /// Stores a sign-in that waits for a second factor. The user's oldest beyond ten are deleted; of several of one
    /// millisecond this one stays.
    pub async fn insert_sign_in_challenge(&mut self, challenge: &SignInChallenge) -> Result<(), StoreError> {
        self.query(
            "insert into sign_in_challenges (digest, user_id, amr, by_cookie, tries, created_at, expires_at) \
             values ($1, $2, $3, $4, 0, $5, $6) on conflict (digest) do nothing",
        )
        .bind(&challenge.digest[..])
        .bind(challenge.user_id)
        .bind(challenge.methods.join(" "))
        .bind(challenge.by_cookie)
        .bind(challenge.created_at.timestamp_millis())
        .bind(challenge.expires_at.timestamp_millis())
        .execute()
        .await?;
        self.query(
            "delete from sign_in_challenges where user_id = $1 and digest <> $2 and digest not in ( \
               select digest from sign_in_challenges where user_id = $1 and digest <> $2 \
               order by created_at desc, digest limit $3)",
        )
        .bind(challenge.user_id)
        .bind(&challenge.digest[..])
        .bind(MOST_CHALLENGES - 1)
        .execute()
        .await?;
        Ok(())
    }

    /// Counts an answer to a challenge. Returns 0 where it has had `most` answers, has expired at `now` or is gone.
    pub async fn count_answer(
        &mut self,
        digest: &Digest,
        most: u32,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.query(
            "update sign_in_challenges set tries = tries + 1 where digest = $1 and tries < $2 and expires_at > $3",
        )
        .bind(&digest[..])
        .bind(i64::from(most))
        .bind(now.timestamp_millis())
        .execute()
        .await
    }

    /// Deletes a challenge that was answered.
    pub async fn delete_sign_in_challenge(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.query("delete from sign_in_challenges where digest = $1").bind(&digest[..]).execute().await?;
        Ok(())
    }

    /// Sets how the user of a session has proved who they are.
    pub async fn set_methods(&mut self, session: Uuid, methods: &[String]) -> Result<(), StoreError> {
        self.query("update sessions set amr = $2 where id = $1")
            .bind(session)
            .bind(methods.join(" "))
            .execute()
            .await?;
        Ok(())
    }
}
