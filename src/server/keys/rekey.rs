//! Replaces the installation key, and seals everything anew under the new one.
//!
//! One transaction replaces the key. From then on both keys are there: the earlier one is sealed under the new one, and
//! running servers are handed the new one (see `handover`). After the time in which they follow, what the
//! earlier key sealed is sealed anew, a few rows at a time; how far that has come is stored with each of them. So it can be
//! interrupted anywhere, and run again.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;
use uuid::Uuid;

use super::handover::answer_all;
use super::vault::{Purpose, Vault, VaultError};
use super::{KeysError, PasswordHashes};
use crate::clock::Clock;
use crate::server::model::{Change, Event, EventKind};
use crate::server::store::{MAIL_OUTBOX, SealedColumn, Store, StoreError, TOTP};

/// The sealed columns, besides signing keys and password hashes. Whoever adds one adds it here, and a test finds one that is
/// missing. The associated data of each are its row's key and then the other columns that it names.
pub const SEALED: &[(Purpose, &SealedColumn)] =
    &[(Purpose::MailToken, &MAIL_OUTBOX), (Purpose::TotpSecret, &TOTP)];

const SIGNING_KEYS: &str = "signing_keys";
const USERS: &str = "users";

/// The rows that are sealed anew in one transaction.
const BATCH: u32 = 500;

/// The time in which running servers follow.
pub(crate) const FOLLOW: Duration = Duration::from_secs(3);

/// How often their requests are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The numbers of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Signing keys sealed anew.
    pub signing_keys: u64,
    /// Password hashes sealed anew.
    pub hashes: u64,
    /// Other values sealed anew.
    pub others: u64,
}

/// How a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The installation key was replaced by one of this generation.
    Replaced(u32),
    /// An earlier run was interrupted; this one goes on with it.
    Continued(u32),
}

/// Replaces the installation key by a new one, sealed under the same `passphrase`; or goes on with a run that was interrupted.
///
/// # Errors
/// [`KeysError::ChangedMeanwhile`] if another process replaced the key or changed the passphrase at the same time;
/// [`KeysError`].
pub async fn begin(
    store: &Store,
    vault: &Vault,
    passphrase: &SecretString,
    clock: &Clock,
) -> Result<Begun, KeysError> {
    let (installation, reseals) = store
        .read(async |connection| Ok((connection.installation().await?, connection.reseals().await?)))
        .await?;
    let installation = installation.ok_or(KeysError::NoSigningKey)?;
    if installation.generation != vault.generation() {
        return Err(KeysError::ChangedMeanwhile);
    }
    let now = clock.now();
    if !reseals.is_empty() {
        let mut again = installation.clone();
        // For the servers that hand the key to others: they do so for some time after this.
        again.rekeyed_at = Some(now);
        store
            .write(async |tx| {
                tx.replace_seal(&installation, &again).await?;
                tx.note_change(Change::Keys, now).await
            })
            .await?;
        return Ok(Begun::Continued(installation.generation));
    }
    let (next, sealed, earlier) = vault.next(&installation, passphrase, now)?;
    store
        .write(async |tx| {
            if tx.replace_seal(&installation, &sealed).await? == 0 {
                return Err(KeysError::ChangedMeanwhile);
            }
            tx.replace_earlier_keys(&earlier).await?;
            tx.delete_handovers().await?;
            for subject in
                [SIGNING_KEYS, USERS].into_iter().chain(SEALED.iter().map(|(_, column)| column.table))
            {
                tx.insert_reseal(subject).await?;
            }
            tx.note_change(Change::Keys, now).await?;
            Ok(tx.record(Event::new(EventKind::InstallationKeyReplaced, now)).await?)
        })
        .await?;
    vault.adopt(next);
    vault.set_rekeyed_at(sealed.rekeyed_at);
    Ok(Begun::Replaced(sealed.generation))
}

/// Hands the new key to running servers for the time `follow`, then seals everything anew that is not yet. Calls `progress`
/// with the number of rows since the last call.
///
/// # Errors
/// [`KeysError`]; what was done stays, and the next run goes on.
pub async fn complete(
    store: &Store,
    vault: &Arc<Vault>,
    clock: &Clock,
    follow: Duration,
    mut progress: impl FnMut(u64),
) -> Result<Rekeyed, KeysError> {
    let mut done = Rekeyed::default();
    let hashes = PasswordHashes::new(Arc::clone(vault));
    let until = Instant::now() + follow;
    while Instant::now() < until {
        answer_all(store, vault, clock.now()).await?;
        tokio::time::sleep(LOOK_EVERY.min(follow)).await;
    }
    for (subject, done_to) in store.read(async |connection| connection.reseals().await).await? {
        let mut after = done_to.unwrap_or(Uuid::nil());
        loop {
            answer_all(store, vault, clock.now()).await?;
            let began = Instant::now();
            let batch = match subject.as_str() {
                SIGNING_KEYS => signing_keys(store, vault, clock, &mut done).await?,
                USERS => users(store, &hashes, after, &mut done).await?,
                table => others(store, vault, table, after, &mut done).await?,
            };
            let Batch { count, last } = batch;
            progress(count);
            let Some(last) = last else { break };
            after = last;
            // Others can write for as long as this did.
            tokio::time::sleep(began.elapsed()).await;
        }
    }
    // What the earlier key sealed is still in SQLite's log. Whoever reads at this moment keeps it there a little longer.
    for _ in 0..20 {
        if store.erase_log().await? {
            return Ok(done);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    log::warn!(
        "the database's log still has what was sealed under the earlier installation key, because somebody reads the \
         database; the next server that starts erases it"
    );
    Ok(done)
}

/// The rows of one transaction.
struct Batch {
    count: u64,
    /// The last row; `None` if there is none after it.
    last: Option<Uuid>,
}

async fn signing_keys(
    store: &Store,
    vault: &Vault,
    clock: &Clock,
    done: &mut Rekeyed,
) -> Result<Batch, KeysError> {
    let count = store
        .write(async |tx| {
            let mut count = 0;
            for key in tx.lock_signing_keys().await? {
                let key = key.sealed;
                if vault.is_current(&key.sealed) {
                    continue;
                }
                let secret = vault.unseal_key(&key)?;
                let anew = vault.seal_key(
                    &key.kid,
                    &key.algorithm,
                    &key.purpose,
                    key.created_at,
                    key.signs_from,
                    &secret,
                )?;
                tx.replace_key(&anew).await?;
                count += 1;
            }
            tx.note_change(Change::Keys, clock.now()).await?;
            tx.delete_reseal(SIGNING_KEYS).await?;
            Ok::<_, KeysError>(count)
        })
        .await?;
    done.signing_keys += count;
    Ok(Batch { count, last: None })
}

async fn users(
    store: &Store,
    hashes: &PasswordHashes,
    after: Uuid,
    done: &mut Rekeyed,
) -> Result<Batch, KeysError> {
    let (count, last) = store
        .write(async |tx| {
            let rows = tx.lock_hashes_after(after, BATCH).await?;
            let last = rows.last().map(|(user, ..)| *user);
            let mut anew = Vec::with_capacity(rows.len());
            for (user, stored, _) in rows {
                if hashes.is_current(&stored) {
                    continue;
                }
                // What does not unseal now would not either later: it is left as it is, and must not stop the others.
                match hashes.open(user, &stored) {
                    Ok(hash) => anew.push((user, stored, hashes.seal(user, &hash)?)),
                    Err(error @ VaultError::Altered(_)) => log::warn!("user {user}: {error}"),
                    Err(error) => return Err(error.into()),
                }
            }
            tx.replace_hashes(&anew).await?;
            match last {
                Some(last) => tx.set_reseal(USERS, last).await?,
                None => tx.delete_reseal(USERS).await?,
            }
            Ok::<_, KeysError>((anew.len() as u64, last))
        })
        .await?;
    done.hashes += count;
    Ok(Batch { count, last })
}

async fn others(
    store: &Store,
    vault: &Vault,
    table: &str,
    after: Uuid,
    done: &mut Rekeyed,
) -> Result<Batch, KeysError> {
    let (purpose, column) = SEALED.iter().find(|(_, column)| column.table == table).ok_or_else(|| {
        StoreError::Failed(format!("{table} is to be sealed anew, and this hallpass does not know how"))
    })?;
    let (count, last) = store
        .write(async |tx| {
            let (mut count, mut last) = (0, None);
            for row in tx.lock_sealed(column, after, BATCH).await? {
                last = Some(row.key);
                if vault.is_current(&row.sealed) {
                    continue;
                }
                let about: Vec<&[u8]> = row.about.iter().map(Vec::as_slice).collect();
                match vault.open(*purpose, &about, &row.sealed) {
                    Ok(plain) => {
                        tx.replace_sealed(column, row.key, &vault.seal(*purpose, &about, &plain)?).await?;
                        count += 1;
                    }
                    Err(error @ VaultError::Altered(_)) => log::warn!("{table}: {error}"),
                    Err(error) => return Err(error.into()),
                }
            }
            match last {
                Some(last) => tx.set_reseal(table, last).await?,
                None => tx.delete_reseal(table).await?,
            }
            Ok::<_, KeysError>((count, last))
        })
        .await?;
    done.others += count;
    Ok(Batch { count, last })
}
