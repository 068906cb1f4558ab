//! Signing keys at work: unsealed in memory, added, retired, dropped. No HTTP, no SQL.
//!
//! A key is *next* until it signs: published already, so that no verifier ever meets a token of a key that it
//! does not know. Then it is the one that *signs*, until the following one does. *Retired*, it only verifies,
//! and is dropped when its last token has expired.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;

use super::DeskError;
use super::config::Settings;
use super::events::{Event, EventKind};
use super::seconds;
use super::store::{KeyRow, Store, StoreError};
use super::vault::{SealedKey, Vault};
use crate::guard::KeySource;
use crate::token::{Algorithm, JwkSet, KeyMaterial, Keyring, SigningKey};

/// What a sealed signing key is for, as its seal names it.
const ACCESS_TOKEN: &str = "access-token";

/// How far the clocks of two servers may differ before one drops a key that the other just signed with.
const CLOCKS_DIFFER: Duration = Duration::minutes(1);

/// Signing keys, each with the time from which it signs, in that order.
type Signers = Vec<(DateTime<Utc>, Arc<SigningKey>)>;

/// The unsealed keys of a running server: those that verify, and those that sign.
pub(super) struct Keys {
    ring: Arc<ArcSwap<Keyring>>,
    signers: ArcSwap<Signers>,
    /// How often keys came or went, as far as was heard.
    heard: AtomicU64,
    /// Up to which of those times they are in place; held while they are read, so that what was read earlier is never
    /// put in place later.
    in_place: Mutex<u64>,
}

impl Keys {
    /// Unseals every key of the database.
    pub(super) async fn open(store: &Store, vault: &Vault) -> Result<Self, DeskError> {
        let (ring, signers) = unseal(&store.signing_keys().await?, vault)?;
        Ok(Self {
            ring: Arc::new(ArcSwap::from_pointee(ring)),
            signers: ArcSwap::from_pointee(signers),
            heard: AtomicU64::new(0),
            in_place: Mutex::new(0),
        })
    }

    /// The keys that verify, as the guard asks for them.
    pub(super) fn ring(&self) -> Arc<dyn KeySource> {
        Arc::clone(&self.ring) as Arc<_>
    }

    pub(super) fn jwks(&self) -> JwkSet {
        self.ring.load().jwks()
    }

    /// Keys came or went.
    pub(super) fn note_change(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes over what the database holds, if that changed. Where it fails, things stay as they were, and it is
    /// tried again.
    pub(super) async fn renew_if_due(&self, store: &Store, vault: &Vault) -> Result<(), DeskError> {
        let mut in_place = self.in_place.lock().await;
        // Before the keys are read: what comes meanwhile is read again.
        let heard = self.heard.load(Ordering::SeqCst);
        if *in_place == heard {
            return Ok(());
        }
        let rows = store.signing_keys().await?;
        let (ring, signers) = match unseal(&rows, vault) {
            Ok(unsealed) => unsealed,
            Err(error) => {
                // One that does not open must not keep alive another that was revoked.
                log::error!("{error}; the keys that were known before are used, without those that are gone");
                let is_there = |key: &SigningKey| rows.iter().any(|row| row.sealed.kid == key.kid());
                let known = self.signers.load();
                ring_of(known.iter().filter(|(_, key)| is_there(key)).cloned().collect())?
            }
        };
        // The ring first: what is signed can then be verified.
        self.ring.store(Arc::new(ring));
        self.signers.store(Arc::new(signers));
        *in_place = heard;
        Ok(())
    }

    /// The newest key that signs already at `now`. Where none does, since all of those were revoked, the
    /// next one signs before its time.
    pub(super) fn signer(&self, now: DateTime<Utc>) -> Option<Arc<SigningKey>> {
        let signers = self.signers.load();
        let due = signers.iter().rfind(|(from, _)| *from <= now);
        due.or(signers.first()).map(|(_, key)| Arc::clone(key))
    }
}

/// Unseals every key. All or none: a key that does not open ends it.
fn unseal(rows: &[KeyRow], vault: &Vault) -> Result<(Keyring, Signers), DeskError> {
    let open = |row: &KeyRow| Ok((row.sealed.signs_from, Arc::new(open(&row.sealed, vault)?)));
    ring_of(rows.iter().map(open).collect::<Result<_, DeskError>>()?)
}

fn ring_of(signers: Signers) -> Result<(Keyring, Signers), DeskError> {
    let ring = Keyring::new(signers.iter().map(|(_, key)| key.verifying_key().clone()))
        .map_err(|_| DeskError::NoSigningKey)?;
    Ok((ring, signers))
}

/// Unseals one key.
fn open(sealed: &SealedKey, vault: &Vault) -> Result<SigningKey, DeskError> {
    let unusable = |reason: String| DeskError::Key { kid: sealed.kid.clone(), reason };
    let algorithm: Algorithm =
        sealed.algorithm.parse().map_err(|_| unusable("its algorithm is unknown".into()))?;
    let material = KeyMaterial::from_bytes(vault.open_key(sealed)?);
    SigningKey::with_kid(&sealed.kid, algorithm, &material).map_err(|error| unusable(error.to_string()))
}

/// Unseals every key, and says how many there are.
///
/// # Errors
/// [`DeskError`] for the first that does not open.
pub async fn check(store: &Store, vault: &Vault) -> Result<usize, DeskError> {
    Ok(unseal(&store.signing_keys().await?, vault)?.1.len())
}

/// A new signing key for `algorithm`, sealed; it signs from `signs_from` on.
///
/// # Errors
/// [`DeskError`] when the key cannot be made or sealed.
pub fn new_signing_key(
    vault: &Vault,
    algorithm: Algorithm,
    now: DateTime<Utc>,
    signs_from: DateTime<Utc>,
) -> Result<SealedKey, DeskError> {
    let unusable = |reason: String| DeskError::Key { kid: "just made".into(), reason };
    let material = KeyMaterial::generate(algorithm).map_err(|error| unusable(error.to_string()))?;
    let kid = SigningKey::fresh_kid(algorithm, &material).map_err(|error| unusable(error.to_string()))?;
    Ok(vault.seal_key(&kid, &algorithm.to_string(), ACCESS_TOKEN, now, signs_from, material.as_bytes())?)
}

/// What became of a rotation.
#[derive(Debug)]
pub enum Rotated {
    /// A new key was made.
    Made(SealedKey),
    /// Somebody else has just made one, which does not sign yet; so none was made.
    Meanwhile,
}

/// Makes a new signing key of `token.algorithm`, which signs `key.publish_ahead_s` from `now`. Of two rotations at
/// once, one makes it.
///
/// # Errors
/// [`DeskError`].
pub async fn rotate(
    store: &Store,
    vault: &Vault,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Rotated, DeskError> {
    let newest = store.signing_keys().await?.pop().ok_or(DeskError::NoSigningKey)?.sealed;
    if newest.signs_from > now {
        return Ok(Rotated::Meanwhile);
    }
    let signs_from = now + seconds(settings.key.publish_ahead);
    let key = new_signing_key(vault, settings.token.algorithm, now, signs_from)?;
    let lifetime = seconds(settings.token.lifetime);
    let event = Event::new(EventKind::KeyAdded, now);
    Ok(match store.add_key(&key, &newest.kid, lifetime, &event).await? {
        true => {
            log::info!("the signing key {} was made; it signs from {}", key.kid, key.signs_from);
            Rotated::Made(key)
        }
        false => Rotated::Meanwhile,
    })
}

/// Where a key stands at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Published; it signs from then on.
    Next(DateTime<Utc>),
    /// It signs.
    Signs,
    /// It verifies what it signed, and is dropped then.
    Retired(DateTime<Utc>),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |time: &DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        match self {
            Self::Next(from) => write!(f, "signs from {}", text(from)),
            Self::Signs => f.write_str("signs"),
            Self::Retired(until) => write!(f, "retired, dropped at {}", text(until)),
        }
    }
}

/// The state of each of `keys` (in the order in which they sign) at `now`.
pub fn states(keys: &[KeyRow], now: DateTime<Utc>, leeway: Duration) -> Vec<State> {
    let signer = keys.iter().rposition(|key| key.sealed.signs_from <= now);
    keys.iter()
        .enumerate()
        .map(|(place, key)| match signer {
            Some(signer) if place == signer => State::Signs,
            Some(signer) if place < signer => {
                let successor = &keys[place + 1];
                State::Retired(successor.sealed.signs_from + key.token_lifetime + leeway + CLOCKS_DIFFER)
            }
            _ => State::Next(key.sealed.signs_from),
        })
        .collect()
}

/// Drops the retired keys whose last token has expired at `now`.
///
/// # Errors
/// As [`StoreError`] lists.
pub async fn drop_spent(store: &Store, now: DateTime<Utc>, leeway: Duration) -> Result<(), StoreError> {
    let keys = store.signing_keys().await?;
    for (key, state) in keys.iter().zip(states(&keys, now, leeway)) {
        if matches!(state, State::Retired(until) if until <= now)
            && store.remove_key(&key.sealed.kid, &Event::new(EventKind::KeyDropped, now)).await?
        {
            log::info!("the signing key {} was dropped: its last token has expired", key.sealed.kid);
        }
    }
    Ok(())
}
