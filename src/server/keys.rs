//! Signing keys at work: unsealed in memory, added, retired, dropped. No HTTP, no SQL.
//!
//! A key is *next* until it signs: published already, so that no verifier ever meets a token of a key that it
//! does not know. Then it is the one that *signs*, until the following one does. *Retired*, it only verifies,
//! and is dropped when its last token has expired.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::DeskError;
use super::config::Settings;
use super::events::{Event, EventKind};
use super::seconds;
use super::standing::Standing;
use super::store::{KeyAddition, KeyRow, Store, StoreError};
use super::vault::{SealedKey, Vault};
use crate::clock::Clock;
use crate::guard::{KeySource, Refusal};
use crate::token::{Algorithm, JwkSet, KeyMaterial, Keyring, SigningKey};

/// What a sealed signing key is for, as its seal names it.
const ACCESS_TOKEN: &str = "access-token";

/// How far the clocks of two servers may differ before one drops a key that the other just signed with.
const CLOCKS_DIFFER: Duration = Duration::minutes(1);

/// How long after a look at the database for the sake of unknown keys the next may begin. Strangers choose what
/// their tokens name.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// The keys of a running server, and how they follow the database's.
pub(super) struct Keys {
    store: Store,
    vault: Arc<Vault>,
    standing: Arc<Standing>,
    unsealed: ArcSwap<Unsealed>,
    /// How often keys came or went, as far as was heard.
    heard: AtomicU64,
    /// Up to which of those times they are in place; held while they are read, so that what was read earlier is never
    /// put in place later.
    in_place: Mutex<u64>,
    /// When the last look for an unknown key began; held while one is under way.
    looked_at: Mutex<Option<Instant>>,
}

/// Keys in the clear.
struct Unsealed {
    /// Those that verify; `None` where there are none.
    ring: Option<Arc<Keyring>>,
    /// Those that sign, each with the time from which it does, in that order.
    signers: Vec<(DateTime<Utc>, Arc<SigningKey>)>,
}

impl Keys {
    /// Unseals every key of the database.
    pub(super) async fn open(
        store: Store,
        vault: Arc<Vault>,
        standing: Arc<Standing>,
        settings: &Settings,
        clock: &Clock,
    ) -> Result<Self, DeskError> {
        let rows = store.signing_keys().await?;
        let unsealed = Unsealed::all(&rows, &vault)?;
        if unsealed.ring.is_none() {
            return Err(DeskError::NoSigningKey);
        }
        if let Err(error) = plan(&rows, settings, clock.now(), false) {
            log::warn!("{error}");
        }
        Ok(Self {
            store,
            vault,
            standing,
            unsealed: ArcSwap::from_pointee(unsealed),
            heard: AtomicU64::new(0),
            in_place: Mutex::new(0),
            looked_at: Mutex::new(None),
        })
    }

    pub(super) fn jwks(&self) -> JwkSet {
        self.unsealed.load().ring.as_ref().map(|ring| ring.jwks()).unwrap_or_default()
    }

    /// Hears of everything that was committed before the call, and acts on it. Where that fails, things stay as they
    /// were, and it is tried again at the next call.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        if self.standing.catch_up().await?.keys {
            self.heard.fetch_add(1, Ordering::SeqCst);
        }
        let mut in_place = self.in_place.lock().await;
        // Before the keys are read: what comes meanwhile is read again.
        let heard = self.heard.load(Ordering::SeqCst);
        if *in_place == heard {
            return Ok(());
        }
        let rows = self.store.signing_keys().await?;
        let unsealed = Unsealed::all(&rows, &self.vault).unwrap_or_else(|error| {
            // One that does not open must not keep alive another that was revoked.
            log::error!("{error}; the keys that were known before are used, without those that are gone");
            let is_there = |key: &SigningKey| rows.iter().any(|row| row.sealed.kid == key.kid());
            let known = &self.unsealed.load().signers;
            Unsealed::of(known.iter().filter(|(_, key)| is_there(key)).cloned().collect())
        });
        if unsealed.ring.is_none() {
            log::error!("no key is left that could sign or verify; hallpass key list shows what there is");
        }
        self.unsealed.store(Arc::new(unsealed));
        *in_place = heard;
        Ok(())
    }

    /// Looks whether the database has keys that are not known here. Everybody who asks while a look is under way
    /// waits for the next, and shares it.
    pub(super) async fn look(&self) {
        let asked_at = Instant::now();
        let mut looked_at = self.looked_at.lock().await;
        if let Some(last) = *looked_at {
            if last >= asked_at {
                return;
            }
            actix_rt::time::sleep_until(last + LOOK_EVERY).await;
        }
        *looked_at = Some(Instant::now());
        if let Err(error) = self.catch_up().await {
            log::warn!("a token's key is not known, and the database cannot be asked for it: {error}");
        }
    }

    /// The newest key that signs already at `now`. Where none does, since all of those were revoked, the
    /// next one signs before its time.
    pub(super) fn signer(&self, now: DateTime<Utc>) -> Option<Arc<SigningKey>> {
        let unsealed = self.unsealed.load();
        let times: Vec<_> = unsealed.signers.iter().map(|(from, _)| *from).collect();
        unsealed.signers.get(signing(&times, now)).map(|(_, key)| Arc::clone(key))
    }
}

impl KeySource for Arc<Keys> {
    fn ring(&self) -> Result<Arc<Keyring>, Refusal> {
        self.unsealed.load().ring.clone().ok_or(Refusal::Unavailable)
    }

    /// A key signs before every server has heard of it where those before it were revoked.
    fn look_again(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let keys = Self::clone(self);
        Some(Box::pin(async move { keys.look().await }))
    }
}

/// The place of the key that signs at `now`, of those that sign from `times` on: the last that is due; where none
/// is, the first.
fn signing(times: &[DateTime<Utc>], now: DateTime<Utc>) -> usize {
    times.iter().rposition(|from| *from <= now).unwrap_or(0)
}

impl Unsealed {
    /// Unseals every key. All or none: a key that does not open ends it.
    fn all(rows: &[KeyRow], vault: &Vault) -> Result<Self, DeskError> {
        let open = |row: &KeyRow| Ok((row.sealed.signs_from, Arc::new(open(&row.sealed, vault)?)));
        Ok(Self::of(rows.iter().map(open).collect::<Result<_, DeskError>>()?))
    }

    fn of(signers: Vec<(DateTime<Utc>, Arc<SigningKey>)>) -> Self {
        // Their names differ, since the database holds each once: only a ring of nothing is none.
        let ring = Keyring::new(signers.iter().map(|(_, key)| key.verifying_key().clone())).ok();
        Self { ring: ring.map(Arc::new), signers }
    }
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
    Ok(Unsealed::all(&store.signing_keys().await?, vault)?.signers.len())
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

/// What a rotation does at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It makes a key that signs from then on.
    Make {
        /// The first moment at which it signs.
        signs_from: DateTime<Utc>,
        /// Keys that were made by a clock that was ahead, each with the time from which it is to sign; they count as made
        /// now.
        redated: Vec<(SealedKey, DateTime<Utc>)>,
    },
    /// It makes none: this one was made already, and does not sign yet.
    Wait(SealedKey),
}

/// What a rotation does at `now`, where `keys` are there. `trust_clock`: where the newest is of a later time than `now`,
/// it was made by a clock that was ahead.
///
/// # Errors
/// [`DeskError::NoSigningKey`]; [`DeskError::ClockBehindKey`] where the newest is of a later time and the clock is not
/// trusted: a clock that is behind would make a key whose time has long come, and retire the last one in the past.
pub fn plan(
    keys: &[KeyRow],
    settings: &Settings,
    now: DateTime<Utc>,
    trust_clock: bool,
) -> Result<Plan, DeskError> {
    let newest = &keys.last().ok_or(DeskError::NoSigningKey)?.sealed;
    let is_of_later = |key: &SealedKey| key.created_at > now + CLOCKS_DIFFER;
    if is_of_later(newest) && !trust_clock {
        return Err(DeskError::ClockBehindKey {
            kid: newest.kid.clone(),
            created_at: newest.created_at,
            now,
        });
    }
    let mut signs_from = now + seconds(settings.key.publish_ahead);
    let step = Duration::milliseconds(1);
    if !is_of_later(newest) {
        // The only one signs though its time has not come.
        if newest.signs_from > now && keys.len() > 1 {
            return Ok(Plan::Wait(newest.clone()));
        }
        signs_from = signs_from.max(newest.signs_from + step);
    }
    // In their order, and just before the new one: if one of them signs, it is the one that does so now, since it is the
    // first that is left.
    let later = keys.iter().rev().map(|key| &key.sealed).take_while(|key| is_of_later(key));
    let mut redated: Vec<_> =
        later.zip(1..).map(|(key, place)| (key.clone(), signs_from - step * place)).collect();
    redated.reverse();
    Ok(Plan::Make { signs_from, redated })
}

/// What became of a rotation.
#[derive(Debug)]
pub enum Rotated {
    /// A new key was made.
    Made(SealedKey),
    /// This one was made already, by somebody else perhaps, and does not sign yet; so none was made.
    Waiting(SealedKey),
}

/// Makes a new signing key of `token.algorithm`, which signs `key.publish_ahead_s` after it was stored. Of two rotations
/// at once, one makes it. For `trust_clock` see [`plan`].
///
/// # Errors
/// [`DeskError`].
pub async fn rotate(
    store: &Store,
    vault: &Vault,
    settings: &Settings,
    clock: &Clock,
    trust_clock: bool,
) -> Result<Rotated, DeskError> {
    let made = store.add_key(seconds(settings.token.lifetime), |keys| {
        // The time is told when nobody else can write, so that a wait for that takes nothing of the time for which the
        // key is published.
        let now = clock.now();
        let (signs_from, redated) = match plan(keys, settings, now, trust_clock)? {
            Plan::Make { signs_from, redated } => (signs_from, redated),
            Plan::Wait(key) => return Err(NotMade::Waiting(key)),
        };
        let redate = |(key, signs_from): (SealedKey, _)| {
            let material = vault.open_key(&key)?;
            vault.seal_key(&key.kid, &key.algorithm, &key.purpose, now, signs_from, &material)
        };
        Ok(KeyAddition {
            redated: redated.into_iter().map(redate).collect::<Result<_, _>>().map_err(DeskError::from)?,
            added: new_signing_key(vault, settings.token.algorithm, now, signs_from)?,
            event: Event::new(EventKind::KeyAdded, now),
        })
    });
    match made.await? {
        Ok(key) => {
            log::info!("the signing key {} was made; it signs from {}", key.kid, key.signs_from);
            Ok(Rotated::Made(key))
        }
        Err(NotMade::Waiting(key)) => Ok(Rotated::Waiting(key)),
        Err(NotMade::Failed(error)) => Err(error),
    }
}

/// Why a rotation made no key.
enum NotMade {
    Waiting(SealedKey),
    Failed(DeskError),
}

impl From<DeskError> for NotMade {
    fn from(error: DeskError) -> Self {
        Self::Failed(error)
    }
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
    let times: Vec<_> = keys.iter().map(|key| key.sealed.signs_from).collect();
    let signer = signing(&times, now);
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
