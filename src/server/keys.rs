//! Signing keys at work: unsealed in memory, added, retired, dropped. No HTTP, no SQL.
//!
//! A key is *next* until it signs: published already, so that no verifier ever meets a token of a key that it
//! does not know. Then it is the one that *signs*, until the following one does. *Retired*, it only verifies
//! (unless the one that followed it is revoked), and is dropped when its last token has expired.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::DeskError;
use super::config::Settings;
use super::events::{Event, EventKind};
use super::standing::Standing;
use super::store::{KeyAddition, KeyRow, Store, StoreError};
use super::vault::{SealedKey, Vault};
use super::{seconds, shown};
use crate::clock::Clock;
use crate::guard::{KeyRefresh, KeySource, Refusal, Unavailable};
use crate::token::{Algorithm, JwkSet, KeyMaterial, Keyring, MAX_SET_KEYS, SigningKey};

/// What a sealed signing key is for, as its seal names it.
const ACCESS_TOKEN: &str = "access-token";

/// How far the clocks of two servers may differ before one drops a key that the other just signed with.
const CLOCKS_DIFFER: Duration = Duration::minutes(1);

/// How long after a look at the database for the sake of unknown keys the next may begin. Strangers choose what
/// their tokens name.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// How long a look is waited for: less than the middleware waits, so that what became of it is told.
const LOOK_PATIENCE: std::time::Duration = std::time::Duration::from_millis(1_500);

/// The keys of a running server, and how they follow the database's.
pub(super) struct Keys {
    store: Store,
    vault: Arc<Vault>,
    standing: Arc<Standing>,
    unsealed: ArcSwap<Unsealed>,
    /// Up to which of their changes they are in place; held while they are read, so that what was read earlier is never
    /// put in place later.
    in_place: Mutex<u64>,
    /// Looks for unknown keys; held while one is under way.
    looks: Mutex<Looks>,
}

/// Looks at the database for the sake of keys that are not known here.
#[derive(Default)]
struct Looks {
    /// When the last one began, whatever became of it.
    last: Option<Instant>,
    /// When the last one began that came to an end, and how it went.
    ended: Option<(Instant, Result<(), Unavailable>)>,
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
        if let Err(error) = plan(&rows, settings, clock.now(), Reason::Asked { trust_clock: false }) {
            log::warn!("{error}");
        }
        Ok(Self {
            store,
            vault,
            standing,
            unsealed: ArcSwap::from_pointee(unsealed),
            in_place: Mutex::new(0),
            looks: Mutex::default(),
        })
    }

    pub(super) fn jwks(&self) -> JwkSet {
        self.unsealed.load().ring.as_ref().map(|ring| ring.jwks()).unwrap_or_default()
    }

    /// Hears of everything that was committed before the call, and acts on it. Where that fails, things stay as they
    /// were, and it is tried again at the next call.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        self.standing.catch_up().await?;
        let mut in_place = self.in_place.lock().await;
        // Before the keys are read: what comes meanwhile is read again.
        let heard = self.standing.key_changes();
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

    /// Looks whether the database has keys that are not known here.
    ///
    /// # Errors
    /// [`Unavailable`] when the database does not tell in time.
    pub(super) async fn look(&self) -> Result<(), Unavailable> {
        tokio::time::timeout(LOOK_PATIENCE, self.look_in_turn()).await.unwrap_or(Err(Unavailable))
    }

    /// Everybody who asks while a look is under way waits for the next, and shares it. One that was given up counts for
    /// nobody.
    async fn look_in_turn(&self) -> Result<(), Unavailable> {
        let asked_at = Instant::now();
        let mut looks = self.looks.lock().await;
        match &looks.ended {
            Some((began, outcome)) if *began >= asked_at => return *outcome,
            _ => {}
        }
        if let Some(last) = looks.last {
            actix_rt::time::sleep_until(last + LOOK_EVERY).await;
        }
        let began = Instant::now();
        looks.last = Some(began);
        let outcome = self.catch_up().await.map_err(|error| {
            log::warn!("a token's key is not known, and the database cannot be asked for it: {error}");
            Unavailable
        });
        looks.ended = Some((began, outcome));
        outcome
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
    fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        self.unsealed.load().ring.clone().ok_or(Refusal::Unavailable)
    }

    /// A key signs before every server has heard of it where those before it were revoked.
    fn refresh(&self) -> Option<KeyRefresh> {
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
    /// It makes none: this one was made already, and does not sign yet, or is young enough.
    Wait(SealedKey),
}

/// Why a key is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asks for it. `trust_clock`: where the newest key is of a later time, it was made by a clock that was
    /// ahead.
    Asked {
        /// Whether the clock is known to be right.
        trust_clock: bool,
    },
    /// The newest is to be no older than this.
    Age(Duration),
}

/// What a rotation for that `reason` does at `now`, where `keys` are there.
///
/// # Errors
/// [`DeskError::NoSigningKey`]; [`DeskError::TooManyKeys`]; [`DeskError::ClockBehindKey`] where the newest is of a later
/// time and the clock is not trusted: a clock that is behind would make a key whose time has long come, and retire the
/// last one in the past.
pub fn plan(
    keys: &[KeyRow],
    settings: &Settings,
    now: DateTime<Utc>,
    reason: Reason,
) -> Result<Plan, DeskError> {
    let newest = &keys.last().ok_or(DeskError::NoSigningKey)?.sealed;
    // One of a later time than now is no reason to wait for that time: what follows says what is wrong.
    if matches!(reason, Reason::Age(age) if (now - newest.created_at).abs() < age) {
        return Ok(Plan::Wait(newest.clone()));
    }
    let is_of_later = |key: &SealedKey| key.created_at > now + CLOCKS_DIFFER;
    if is_of_later(newest) && reason != (Reason::Asked { trust_clock: true }) {
        return Err(DeskError::ClockBehindKey {
            kid: newest.kid.clone(),
            created_at: newest.created_at,
            now,
        });
    }
    // The only one signs though its time has not come.
    if !is_of_later(newest) && newest.signs_from > now && keys.len() > 1 {
        return Ok(Plan::Wait(newest.clone()));
    }
    if keys.len() >= MAX_SET_KEYS {
        return Err(DeskError::TooManyKeys);
    }
    let later = keys.iter().rev().take_while(|key| is_of_later(&key.sealed)).count();
    let (rest, later) = keys.split_at(keys.len() - later);
    // After all the others, in whose order those that are dated back stay: if one of them signs, it is the one that
    // does so now, since it is the first that is left.
    let step = Duration::milliseconds(1);
    let steps = |count: usize| step * i32::try_from(count).unwrap_or(i32::MAX);
    let after_the_rest = rest.last().map(|last| last.sealed.signs_from + steps(later.len() + 1));
    let ahead = now + seconds(settings.key.publish_ahead);
    let signs_from = after_the_rest.map_or(ahead, |after| after.max(ahead));
    let redated = later
        .iter()
        .enumerate()
        .map(|(place, key)| (key.sealed.clone(), signs_from - steps(later.len() - place)));
    Ok(Plan::Make { signs_from, redated: redated.collect() })
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
/// at once, one makes it.
///
/// # Errors
/// [`DeskError`].
pub async fn rotate(
    store: &Store,
    vault: &Vault,
    settings: &Settings,
    clock: &Clock,
    reason: Reason,
) -> Result<Rotated, DeskError> {
    let made = store.add_key(seconds(settings.token.lifetime), |keys| {
        // The time is told when nobody else can write, so that a wait for that takes nothing of the time for which the
        // key is published.
        let now = clock.now();
        let (signs_from, redated) = match plan(keys, settings, now, reason)? {
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
        match self {
            Self::Next(from) => write!(f, "signs from {}", shown(from)),
            Self::Signs => f.write_str("signs"),
            Self::Retired(until) => write!(f, "retired, dropped at {}", shown(until)),
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

/// Drops the retired keys whose last token has expired at `now`; none while one does not unseal, since servers that
/// cannot use it go on with those before it.
///
/// # Errors
/// [`DeskError`].
pub async fn drop_spent(
    store: &Store,
    vault: &Vault,
    now: DateTime<Utc>,
    leeway: Duration,
) -> Result<(), DeskError> {
    let spent = |keys: &[KeyRow]| -> Vec<String> {
        let is_spent = |state: &State| matches!(state, State::Retired(until) if *until <= now);
        let states = states(keys, now, leeway).into_iter();
        keys.iter()
            .zip(states)
            .filter(|(_, it)| is_spent(it))
            .map(|(key, _)| key.sealed.kid.clone())
            .collect()
    };
    let keys = store.signing_keys().await?;
    if spent(&keys).is_empty() {
        return Ok(());
    }
    Unsealed::all(&keys, vault)?;
    // Decided once more, when nobody else can write.
    for kid in store.drop_keys(&Event::new(EventKind::KeyDropped, now), spent).await? {
        log::info!("the signing key {kid} was dropped: its last token has expired");
    }
    Ok(())
}
