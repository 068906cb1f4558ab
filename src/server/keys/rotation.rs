//! Key rotation: when signing keys are made, sign, are retired and are deleted.
//!
//! A new key is *next*: it is published before it signs, so that verifiers know it when they receive its first token.
//! Then it *signs*, until the following key does. After that it is *retired*: it only verifies, and is removed when its
//! last token has expired. If the key after it is revoked, a retired key signs again.

use std::fmt;

use chrono::{DateTime, Duration, Utc};

use super::KeysError;
use super::sealed::{new_signing_key, unseal};
use super::vault::Vault;
use crate::clock::Clock;
use crate::clock::rfc3339;
use crate::server::config::{Settings, seconds};
use crate::server::model::{Event, EventKind, SealedKey, StoredKey};
use crate::server::store::{Store, StoreError};
use crate::token::MAX_SET_KEYS;

/// The accepted difference between the clocks of two servers. Beyond it, one may remove a key that the other still
/// uses.
const CLOCKS_DIFFER: Duration = Duration::minutes(1);

/// Unseals every key of the database and returns their number.
///
/// # Errors
/// [`KeysError`] for the first that does not unseal.
pub(crate) async fn check(store: &Store, vault: &Vault) -> Result<usize, KeysError> {
    let keys = store.read(async |connection| connection.signing_keys().await).await?;
    check_all(&keys, vault)?;
    Ok(keys.len())
}

fn check_all(keys: &[StoredKey], vault: &Vault) -> Result<(), KeysError> {
    keys.iter().try_for_each(|key| unseal(&key.sealed, vault).map(drop))
}

/// Returns the index of the key that signs at `now`, given the times from which the keys sign: the last one that is
/// due, or else the first.
pub(super) fn current_signer(times: &[DateTime<Utc>], now: DateTime<Utc>) -> usize {
    times.iter().rposition(|from| *from <= now).unwrap_or(0)
}

/// The effect of a rotation at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// A key is made.
    Make {
        /// The time from which the key signs.
        signs_from: DateTime<Utc>,
        /// Keys dated in the future, each with the time from which it is to sign. They count as made now.
        redated: Vec<(SealedKey, DateTime<Utc>)>,
    },
    /// No key is made: this one does not sign yet, or is not old enough to be replaced.
    Wait(SealedKey),
}

/// The reason for a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The operator asks for it.
    Requested {
        /// The clock is right, even where the newest key is dated in the future.
        trust_clock: bool,
    },
    /// The newest key must be no older than this.
    MaxAge(Duration),
}

/// Returns the effect of a rotation at `now`, where `keys` are there.
///
/// # Errors
/// [`KeysError::NoSigningKey`]; [`KeysError::TooManyKeys`]; [`KeysError::ClockBehindKey`] if the newest key is dated
/// in the future and the clock is not trusted: a clock that is behind would make a key that signs immediately, and
/// retire the last one in the past.
pub fn plan(
    keys: &[StoredKey],
    settings: &Settings,
    now: DateTime<Utc>,
    reason: Reason,
) -> Result<Plan, KeysError> {
    let newest = &keys.last().ok_or(KeysError::NoSigningKey)?.sealed;
    // A key dated in the future causes the error below.
    if matches!(reason, Reason::MaxAge(age) if (now - newest.created_at).abs() < age) {
        return Ok(Plan::Wait(newest.clone()));
    }
    let is_in_future = |key: &SealedKey| key.created_at > now + CLOCKS_DIFFER;
    if is_in_future(newest) && reason != (Reason::Requested { trust_clock: true }) {
        return Err(KeysError::ClockBehindKey {
            kid: newest.kid.clone(),
            created_at: newest.created_at,
            now,
        });
    }
    // The only key signs even before its time.
    if !is_in_future(newest) && newest.signs_from > now && keys.len() > 1 {
        return Ok(Plan::Wait(newest.clone()));
    }
    if keys.len() >= MAX_SET_KEYS {
        return Err(KeysError::TooManyKeys);
    }
    let future = keys.iter().rev().take_while(|key| is_in_future(&key.sealed)).count();
    let (past, future) = keys.split_at(keys.len() - future);
    // Keys that are dated back keep their order and come after all others.
    let step = Duration::milliseconds(1);
    let steps = |count: usize| step * i32::try_from(count).unwrap_or(i32::MAX);
    let after_past = past.last().map(|last| last.sealed.signs_from + steps(future.len() + 1));
    let ahead = now + seconds(settings.key.publish_ahead);
    let signs_from = after_past.map_or(ahead, |after| after.max(ahead));
    let redated = future
        .iter()
        .enumerate()
        .map(|(place, key)| (key.sealed.clone(), signs_from - steps(future.len() - place)));
    Ok(Plan::Make { signs_from, redated: redated.collect() })
}

/// The outcome of a rotation.
#[derive(Debug)]
pub enum Rotated {
    /// This key was made.
    Made(SealedKey),
    /// No key was made: this one exists already, perhaps made by another process, and does not sign yet.
    Waiting(SealedKey),
}

/// Makes a signing key of `token.algorithm`, which signs `key.publish_ahead_s` after it was stored. Two rotations at
/// the same time make one key.
///
/// # Errors
/// [`KeysError::RekeyUnfinished`] until a rekey has ended; [`KeysError`]; see [`plan`].
pub async fn rotate(
    store: &Store,
    vault: &Vault,
    settings: &Settings,
    clock: &Clock,
    reason: Reason,
) -> Result<Rotated, KeysError> {
    let rotated = store
        .write(async |tx| {
            let keys = tx.lock_signing_keys().await?;
            // A key that is sealed meanwhile would be closed to a server that does not have the new installation key, or stay
            // sealed under the earlier one.
            if !tx.reseals().await?.is_empty() {
                return Err(KeysError::RekeyUnfinished);
            }
            // The time is read after the wait for the lock, so that the wait does not shorten the time for which the
            // key is published before it signs.
            let now = clock.now();
            let (signs_from, redated) = match plan(&keys, settings, now, reason)? {
                Plan::Make { signs_from, redated } => (signs_from, redated),
                Plan::Wait(key) => return Ok(Rotated::Waiting(key)),
            };
            for (key, signs_from) in redated {
                let material = vault.unseal_key(&key)?;
                tx.replace_key(&vault.seal_key(
                    &key.kid,
                    &key.algorithm,
                    &key.purpose,
                    now,
                    signs_from,
                    &material,
                )?)
                .await?;
            }
            let made = new_signing_key(vault, settings.token.algorithm, now, signs_from)?;
            tx.insert_key(&made, seconds(settings.token.lifetime)).await?;
            tx.record(Event::new(EventKind::KeyAdded, now)).await?;
            Ok::<_, KeysError>(Rotated::Made(made))
        })
        .await?;
    if let Rotated::Made(key) = &rotated {
        log::info!("the signing key {} was made; it signs from {}", key.kid, rfc3339(key.signs_from));
    }
    Ok(rotated)
}

/// Makes a signing key if the newest is older than `key.rotate_every_days`. If several servers try, one key is made.
///
/// # Errors
/// [`KeysError`]; see [`plan`].
pub async fn rotate_by_age(
    store: &Store,
    vault: &Vault,
    settings: &Settings,
    clock: &Clock,
) -> Result<(), KeysError> {
    let reason = match settings.key.rotate_every_days {
        0 => return Ok(()),
        days => Reason::MaxAge(Duration::days(i64::from(days))),
    };
    // Checked without the write lock first, so that the servers do not wait for it once a minute.
    let keys = store.read(async |connection| connection.signing_keys().await).await?;
    if let Plan::Make { .. } = plan(&keys, settings, clock.now(), reason)? {
        return match rotate(store, vault, settings, clock, reason).await {
            // The next look is soon enough.
            Err(KeysError::RekeyUnfinished) => Ok(()),
            rotated => rotated.map(drop),
        };
    }
    Ok(())
}

/// The outcome of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The key was removed.
    Removed,
    /// There is no such key.
    NotFound,
    /// The key is the only one, so nothing could be signed without it. It was kept.
    OnlyKey,
}

/// Removes a signing key. Every token that it signed becomes invalid.
///
/// # Errors
/// [`StoreError`] when the database cannot be written.
pub async fn revoke(store: &Store, kid: &str, now: DateTime<Utc>) -> Result<Revoked, StoreError> {
    store
        .write(async |tx| {
            let keys = tx.lock_signing_keys().await?;
            if keys.iter().all(|key| key.sealed.kid != kid) {
                return Ok(Revoked::NotFound);
            }
            if keys.len() == 1 {
                return Ok(Revoked::OnlyKey);
            }
            tx.delete_key(kid, now).await?;
            tx.record(Event::new(EventKind::KeyRevoked, now)).await?;
            Ok(Revoked::Removed)
        })
        .await
}

/// The state of a key at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The key is published, and signs from then on.
    Next(DateTime<Utc>),
    /// The key signs.
    Signs,
    /// The key verifies earlier tokens, and is removed then.
    Retired(DateTime<Utc>),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next(from) => write!(f, "signs from {}", rfc3339(*from)),
            Self::Signs => f.write_str("signs"),
            Self::Retired(until) => write!(f, "retired, removed at {}", rfc3339(*until)),
        }
    }
}

/// Returns the state of each of `keys` (in the order in which they sign) at `now`.
pub fn states(keys: &[StoredKey], now: DateTime<Utc>, leeway: Duration) -> Vec<State> {
    let times: Vec<_> = keys.iter().map(|key| key.sealed.signs_from).collect();
    let signer = current_signer(&times, now);
    keys.iter()
        .enumerate()
        .map(|(place, key)| match place.cmp(&signer) {
            std::cmp::Ordering::Less => {
                State::Retired(times[place + 1] + key.token_lifetime + leeway + CLOCKS_DIFFER)
            }
            std::cmp::Ordering::Equal => State::Signs,
            std::cmp::Ordering::Greater => State::Next(times[place]),
        })
        .collect()
}

/// Removes the retired keys whose last token has expired at `now`. Removes none while a key does not unseal: a server
/// that cannot use that key still signs with the ones before it.
///
/// # Errors
/// [`KeysError`] for a key that does not unseal, or when the database cannot be used.
pub(crate) async fn remove_expired(
    store: &Store,
    vault: &Vault,
    now: DateTime<Utc>,
    leeway: Duration,
) -> Result<(), KeysError> {
    let expired = |keys: &[StoredKey]| -> Vec<String> {
        let is_expired = |state: &State| matches!(state, State::Retired(until) if *until <= now);
        let states = states(keys, now, leeway).into_iter();
        keys.iter()
            .zip(states)
            .filter(|(_, state)| is_expired(state))
            .map(|(key, _)| key.sealed.kid.clone())
            .collect()
    };
    let keys = store.read(async |connection| connection.signing_keys().await).await?;
    if expired(&keys).is_empty() {
        return Ok(());
    }
    check_all(&keys, vault)?;
    let removed = store
        .write(async |tx| {
            // Checked again, now that no other process can write.
            let kids = expired(&tx.lock_signing_keys().await?);
            for kid in &kids {
                tx.delete_key(kid, now).await?;
            }
            if !kids.is_empty() {
                tx.record(Event::new(EventKind::KeyDropped, now)).await?;
            }
            Ok::<_, KeysError>(kids)
        })
        .await?;
    for kid in removed {
        log::info!("the signing key {kid} was removed: its last token has expired");
    }
    Ok(())
}
