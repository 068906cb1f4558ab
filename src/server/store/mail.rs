//! Mails that wait to be sent, and the tokens in them.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::connection::{Connection, Transaction, time};
use super::error::StoreError;
use crate::server::model::{Digest, MailPurpose, MailToken, NewMail, SealedToken, WaitingMail};

type MailColumns = (
    Uuid,
    String,
    String,
    Option<Uuid>,
    String,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
    i64,
    i64,
    Option<String>,
);

macro_rules! select_mail {
    ($rest:literal) => {
        concat!(
            "select id, kind, recipient, user_id, details, digest, sealed, created_at, next_try_at, tries, last_error \
             from mail_outbox ",
            $rest
        )
    };
}

type TokenColumns = (Vec<u8>, String, Uuid, String, Option<Vec<u8>>, i64, Option<Vec<u8>>, i64, i64);

macro_rules! token_columns {
    () => {
        "digest, purpose, user_id, email, code, tries, browser, created_at, expires_at"
    };
}

impl Connection {
    /// Returns mails that are to be tried at `now`, those that wait longest first. A try that lies further ahead than
    /// `longest` was set by a clock that has stepped back since.
    pub async fn due_mails(
        &mut self,
        now: DateTime<Utc>,
        longest: Duration,
        limit: u32,
    ) -> Result<Vec<WaitingMail>, StoreError> {
        let rows: Vec<MailColumns> = self
            .query(select_mail!("where next_try_at <= $1 or next_try_at > $2 order by next_try_at limit $3"))
            .bind(now.timestamp_millis())
            .bind((now + longest).timestamp_millis())
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.into_iter().map(waiting).collect()
    }

    /// Returns the mails that wait, in the order of their ids, from the one after `after`.
    pub async fn waiting_mails(&mut self, after: Uuid, limit: u32) -> Result<Vec<WaitingMail>, StoreError> {
        let query = self.query(select_mail!("where id > $1 order by id limit $2"));
        let rows: Vec<MailColumns> = query.bind(after).bind(i64::from(limit)).fetch_all().await?;
        rows.into_iter().map(waiting).collect()
    }

    /// Returns the number of mails that wait, and the time of the oldest.
    pub async fn count_mails(&mut self) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
        let row: Option<(i64, Option<i64>)> =
            self.query("select count(*), min(created_at) from mail_outbox").fetch_optional().await?;
        let (count, oldest) = row.unwrap_or_default();
        Ok((count, oldest.map(time).transpose()?))
    }

    /// Returns the token with this digest, if it works at `now`.
    pub async fn mail_token(
        &mut self,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> Result<Option<MailToken>, StoreError> {
        let row: Option<TokenColumns> = self
            .query(concat!(
                "select ",
                token_columns!(),
                " from mail_tokens where digest = $1 and expires_at > $2"
            ))
            .bind(&digest[..])
            .bind(now.timestamp_millis())
            .fetch_optional()
            .await?;
        row.map(token).transpose()
    }

    /// Tells whether another account than that of `user` can take this address back at `now`.
    pub async fn is_reserved(
        &mut self,
        email: &str,
        user: Uuid,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let row: Option<(Uuid,)> = self
            .query(
                "select user_id from mail_tokens where email = $1 and purpose = 'undo' and user_id <> $2 \
                 and expires_at > $3 limit 1",
            )
            .bind(email)
            .bind(user)
            .bind(now.timestamp_millis())
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }
}

impl Transaction {
    /// Adds a mail to be sent, with its token where it has one already.
    pub async fn insert_mail(
        &mut self,
        mail: &NewMail,
        token: Option<&SealedToken>,
    ) -> Result<(), StoreError> {
        let details = serde_json::to_string(&mail.details)
            .map_err(|error| StoreError::Failed(format!("the details of a mail are no JSON: {error}")))?;
        self.query(
            "insert into mail_outbox (id, kind, recipient, user_id, details, digest, sealed, created_at, next_try_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        )
        .bind(mail.id)
        .bind(mail.kind.name())
        .bind(&mail.recipient)
        .bind(mail.user)
        .bind(details)
        .bind(token.map(|token| token.digest.to_vec()))
        .bind(token.map(|token| token.sealed.clone()))
        .bind(mail.at.timestamp_millis())
        .execute()
        .await?;
        Ok(())
    }

    /// Keeps every other server from sending the mail before `until`. Returns false where another one was first: the
    /// mail's next try is no longer at `seen`.
    pub async fn claim_mail(
        &mut self,
        id: Uuid,
        seen: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let claimed = self
            .query("update mail_outbox set next_try_at = $3, tries = tries + 1 where id = $1 and next_try_at = $2")
            .bind(id)
            .bind(seen.timestamp_millis())
            .bind(until.timestamp_millis())
            .execute()
            .await?;
        Ok(claimed == 1)
    }

    /// Stores the user whom a mail is about, and the token in it.
    pub async fn set_mail_token(
        &mut self,
        id: Uuid,
        user: Uuid,
        token: &SealedToken,
    ) -> Result<(), StoreError> {
        self.query("update mail_outbox set user_id = $2, digest = $3, sealed = $4 where id = $1")
            .bind(id)
            .bind(user)
            .bind(&token.digest[..])
            .bind(&token.sealed)
            .execute()
            .await?;
        Ok(())
    }

    /// Stores that a try failed, why, and when the next one is.
    pub async fn delay_mail(
        &mut self,
        id: Uuid,
        next_try_at: DateTime<Utc>,
        error: &str,
    ) -> Result<(), StoreError> {
        self.query("update mail_outbox set next_try_at = $2, last_error = $3 where id = $1")
            .bind(id)
            .bind(next_try_at.timestamp_millis())
            .bind(error)
            .execute()
            .await?;
        Ok(())
    }

    /// Deletes a mail. Returns false where it was deleted before.
    pub async fn delete_mail(&mut self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.query("delete from mail_outbox where id = $1").bind(id).execute().await? == 1)
    }

    /// Adds a token.
    pub async fn insert_mail_token(&mut self, token: &MailToken) -> Result<(), StoreError> {
        self.query(
            "insert into mail_tokens (digest, purpose, user_id, email, code, browser, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&token.digest[..])
        .bind(token.purpose.name())
        .bind(token.user)
        .bind(&token.email)
        .bind(token.code.map(|code| code.to_vec()))
        .bind(token.browser.map(|browser| browser.to_vec()))
        .bind(token.created_at.timestamp_millis())
        .bind(token.expires_at.timestamp_millis())
        .execute()
        .await?;
        Ok(())
    }

    /// Deletes the token with this digest. Returns false where somebody else has used it.
    pub async fn delete_mail_token(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        let query = self.query("delete from mail_tokens where digest = $1");
        Ok(query.bind(&digest[..]).execute().await? == 1)
    }

    /// Deletes the user's tokens of a purpose.
    pub async fn delete_mail_tokens(&mut self, user: Uuid, purpose: MailPurpose) -> Result<(), StoreError> {
        let query = self.query("delete from mail_tokens where user_id = $1 and purpose = $2");
        query.bind(user).bind(purpose.name()).execute().await?;
        Ok(())
    }

    /// Deletes the user's tokens of every purpose but the undo of a change.
    pub async fn revoke_mail_tokens(&mut self, user: Uuid) -> Result<(), StoreError> {
        let query = self.query("delete from mail_tokens where user_id = $1 and purpose <> 'undo'");
        query.bind(user).execute().await?;
        Ok(())
    }

    /// Deletes the undo tokens of the user's changes at `since` or later.
    pub async fn delete_undo_tokens(&mut self, user: Uuid, since: DateTime<Utc>) -> Result<(), StoreError> {
        self.query("delete from mail_tokens where user_id = $1 and purpose = 'undo' and created_at >= $2")
            .bind(user)
            .bind(since.timestamp_millis())
            .execute()
            .await?;
        Ok(())
    }

    /// Deletes the mails about the user that wait for a token, except those with an undo of a change. Their links would
    /// be for an address or a password that the user no longer has.
    pub async fn delete_waiting_mails(&mut self, user: Uuid) -> Result<(), StoreError> {
        self.query(
            "delete from mail_outbox where user_id = $1 and kind in ('verify', 'reset', 'invite', 'change', 'link')",
        )
        .bind(user)
        .execute()
        .await?;
        Ok(())
    }

    /// Counts a try with a code for the user's sign-in link, at most `most` of them. Returns the token, of which no
    /// code is left after the last try.
    pub async fn count_code_try(
        &mut self,
        user: Uuid,
        now: DateTime<Utc>,
        most: u32,
    ) -> Result<Option<MailToken>, StoreError> {
        let row: Option<TokenColumns> = self
            .query(concat!(
                "update mail_tokens set tries = tries + 1 \
                 where user_id = $1 and purpose = 'link' and code is not null and tries < $2 and expires_at > $3 \
                 returning ",
                token_columns!()
            ))
            .bind(user)
            .bind(i64::from(most))
            .bind(now.timestamp_millis())
            .fetch_optional()
            .await?;
        row.map(token).transpose()
    }

    /// Sets the user's address and the time at which it was verified, unless another account has the address. Returns
    /// whether it was set.
    pub async fn set_email(
        &mut self,
        id: Uuid,
        email: &str,
        verified_at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let set = self
            .query(
                "update users set email = $2, email_verified_at = $3 where id = $1 \
                 and not exists (select 1 from users as others where others.email = $2 and others.id <> $1)",
            )
            .bind(id)
            .bind(email)
            .bind(verified_at.timestamp_millis())
            .execute()
            .await?;
        Ok(set == 1)
    }

    /// Removes the hash of the user's password: nobody can sign in by password.
    pub async fn remove_password(&mut self, id: Uuid) -> Result<(), StoreError> {
        self.query("update users set password_hash = null where id = $1").bind(id).execute().await?;
        Ok(())
    }
}

fn waiting(columns: MailColumns) -> Result<WaitingMail, StoreError> {
    let (id, kind, recipient, user, details, digest, sealed, created_at, next_try_at, tries, last_error) =
        columns;
    let digest = digest.map(|digest| digest_of(&digest)).transpose()?;
    Ok(WaitingMail {
        id,
        kind,
        recipient,
        user,
        // A newer server may write more; what this one does not understand is left out of the text.
        details: serde_json::from_str(&details).unwrap_or_default(),
        token: digest.zip(sealed).map(|(digest, sealed)| SealedToken { digest, sealed }),
        created_at: time(created_at)?,
        next_try_at: time(next_try_at)?,
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
        last_error,
    })
}

fn token(columns: TokenColumns) -> Result<MailToken, StoreError> {
    let (digest, purpose, user, email, code, _, browser, created_at, expires_at) = columns;
    Ok(MailToken {
        digest: digest_of(&digest)?,
        purpose: MailPurpose::named(&purpose)
            .ok_or_else(|| StoreError::Failed(format!("{purpose} is no purpose of a token")))?,
        user,
        email,
        code: code.map(|code| digest_of(&code)).transpose()?,
        browser: browser.map(|browser| digest_of(&browser)).transpose()?,
        created_at: time(created_at)?,
        expires_at: time(expires_at)?,
    })
}

fn digest_of(bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Failed("a digest has not 32 bytes".into()))
}
