//! The first start on a database, and a change of the passphrase.

use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;

use super::vault::Vault;
use super::{KeysError, new_signing_key};
use crate::server::model::{Event, EventKind, SealedInstallation, SealedKey};
use crate::server::store::{Store, StoreError};
use crate::token::Algorithm;

/// Creates the installation in `store`, with one signing key for tokens of `token_lifetime`, sealed under `passphrase`.
/// Returns `None` if another process was first; nothing was written then.
///
/// # Errors
/// [`KeysError`] when the database cannot be written or a key cannot be made.
pub(crate) async fn create(
    store: &Store,
    passphrase: &SecretString,
    algorithm: Algorithm,
    token_lifetime: Duration,
    now: DateTime<Utc>,
) -> Result<Option<Vault>, KeysError> {
    let (vault, installation) = Vault::create(passphrase, now)?;
    let key = new_signing_key(&vault, algorithm, now, now)?;
    let is_first = insert(store, &installation, &key, token_lifetime).await?;
    Ok(is_first.then_some(vault))
}

/// Stores an installation and its first key. Returns `false` if another process was first.
///
/// # Errors
/// [`StoreError`] when the database cannot be written.
pub async fn insert(
    store: &Store,
    installation: &SealedInstallation,
    key: &SealedKey,
    token_lifetime: Duration,
) -> Result<bool, StoreError> {
    store
        .write(async |tx| {
            let is_first = tx.insert_installation(installation).await? > 0;
            if is_first {
                tx.insert_key(key, token_lifetime).await?;
            }
            Ok(is_first)
        })
        .await
}

/// Seals the installation key of `vault` under another passphrase. Running servers are not affected.
///
/// # Errors
/// [`KeysError::ChangedMeanwhile`] if another process changed the passphrase since `installation` was read.
pub(crate) async fn change_passphrase(
    store: &Store,
    vault: &Vault,
    installation: &SealedInstallation,
    passphrase: &SecretString,
    now: DateTime<Utc>,
) -> Result<(), KeysError> {
    let sealed = vault.reseal(installation, passphrase)?;
    store
        .write(async |tx| {
            if tx.replace_seal(installation, &sealed).await? == 0 {
                return Err(KeysError::ChangedMeanwhile);
            }
            Ok(tx.record(Event::new(EventKind::PassphraseChanged, now)).await?)
        })
        .await
}
