//! Hands the newest installation key to running servers, which have the one before and no passphrase.
//!
//! The server that asks stores a public key of its own (X25519, RFC 7748), made for this one request. A process that has both
//! installation keys answers with a public key of its own and the newest key, encrypted under a secret of both key pairs and
//! of the earlier installation key. So a copy of the database, now or later, reveals the newest key to nobody, not even to
//! whoever knows the earlier one; and only who knows the earlier one can ask or answer.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::KeysError;
use super::seal::{self, KEY_BYTES, length_prefixed};
use super::vault::{InstallationKey, Vault, VaultError};
use crate::log_limit::LogLimit;
use crate::server::model::{Change, Handover, SealedInstallation};
use crate::server::store::{Store, StoreError};

const DOMAIN: &[u8] = b"hallpass key handover";

/// The bytes of a public key.
const PUBLIC_BYTES: usize = 32;

/// How long after the installation key was replaced running servers hand it over. Whoever knows the earlier key and can write
/// to the database could ask for it too, so they do not do so for longer.
const OPEN_FOR: Duration = Duration::minutes(10);

/// How long a server waits for an answer before it logs that it must be restarted.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

static UNANSWERED: LogLimit = LogLimit::new("the new installation key was not received");

/// A request of this process.
struct Request {
    row: Handover,
    private: PrivateKey,
    since: Instant,
}

/// Follows when the installation key is replaced: asks for the new one, and hands it to others.
pub(crate) struct Follower {
    vault: std::sync::Arc<Vault>,
    request: Mutex<Option<Request>>,
}

impl Follower {
    /// A follower that adds to `vault`.
    pub(crate) fn new(vault: std::sync::Arc<Vault>) -> Self {
        Self { vault, request: Mutex::default() }
    }

    /// Tells whether an answer is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        self.request.try_lock().is_ok_and(|request| request.is_some())
    }

    /// Asks for the installation key that the database has now, if it is a later one, or takes the answer; hands the key to
    /// others if it was replaced a moment ago.
    ///
    /// # Errors
    /// [`KeysError`] when the database cannot be used.
    pub(crate) async fn follow(&self, store: &Store, now: DateTime<Utc>) -> Result<(), KeysError> {
        let mut request = self.request.lock().await;
        let Some(installation) = store.read(async |connection| connection.installation().await).await? else {
            return Ok(());
        };
        if installation.generation <= self.vault.generation() {
            *request = None;
            let is_open = installation.rekeyed_at.is_some_and(|at| (now - at).abs() < OPEN_FOR);
            if is_open {
                answer_all(store, &self.vault, now).await?;
            }
            return Ok(());
        }
        if let Some(asked) = &*request
            && asked.row.to == installation.generation
            && let Some(row) = store.read(async |connection| connection.handover(asked.row.id).await).await?
        {
            match &row.answer {
                Some(answer) => self.accept(store, asked, answer, &installation).await?,
                None if asked.since.elapsed() > PATIENCE => UNANSWERED.log(
                    log::Level::Error,
                    &"the installation key was replaced, and no other process has handed it over; restart this server, or run hallpass key rekey again",
                ),
                None => {}
            }
            if row.answer.is_some() {
                *request = None;
            }
            return Ok(());
        }
        *request = Some(self.ask(store, installation.generation, now).await?);
        Ok(())
    }

    async fn ask(&self, store: &Store, to: u32, now: DateTime<Utc>) -> Result<Request, KeysError> {
        let (private, public_key) = key_pair()?;
        let row = Handover {
            id: Uuid::new_v4(),
            from: self.vault.generation(),
            to,
            public_key,
            answer: None,
            created_at: now,
        };
        store
            .write(async |tx| {
                tx.insert_handover(&row).await?;
                // For the processes that can answer.
                tx.note_change(Change::Keys, now).await
            })
            .await?;
        log::info!("the installation key was replaced; this server asks for the new one");
        Ok(Request { row, private, since: Instant::now() })
    }

    async fn accept(
        &self,
        store: &Store,
        request: &Request,
        answer: &[u8],
        installation: &SealedInstallation,
    ) -> Result<(), KeysError> {
        match self.vault.accept(request, answer) {
            Some(key) => {
                self.vault.adopt(key);
                self.vault.set_rekeyed_at(installation.rekeyed_at);
                let earlier = store.read(async |connection| connection.earlier_keys().await).await?;
                self.vault.add_earlier(&earlier)?;
                log::info!("this server has the new installation key (generation {})", request.row.to);
            }
            None => log::warn!("an answer to the request for the new installation key is not genuine"),
        }
        Ok(store.write(async |tx| tx.delete_handover(request.row.id).await).await?)
    }
}

/// Answers every request that can be answered.
pub(super) async fn answer_all(store: &Store, vault: &Vault, now: DateTime<Utc>) -> Result<(), KeysError> {
    let rows = store.read(async |connection| connection.handovers().await).await?;
    for row in rows.iter().filter(|row| row.answer.is_none()) {
        let Some(answer) = vault.answer(row)? else { continue };
        store
            .write(async |tx| {
                if tx.answer_handover(row.id, &answer).await? > 0 {
                    tx.note_change(Change::Keys, now).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    Ok(())
}

impl Vault {
    /// Answers a request; `None` if this vault lacks one of the two keys, or the request is no key.
    fn answer(&self, row: &Handover) -> Result<Option<Vec<u8>>, VaultError> {
        let (Some(earlier), Some(newest)) = (self.of(row.from), self.of(row.to)) else { return Ok(None) };
        let (private, public) = key_pair()?;
        let Some(secret) = self.secret(&private, &row.public_key, &earlier, row, &public) else {
            return Ok(None);
        };
        let about = self.about(row, &public);
        let sealed = seal::encrypt(&*secret, &*newest.key, &about).map_err(VaultError::Failed)?;
        Ok(Some([public, sealed].concat()))
    }

    /// Returns the key in an answer, if it is genuine.
    fn accept(&self, Request { row, private, .. }: &Request, answer: &[u8]) -> Option<InstallationKey> {
        let earlier = self.of(row.from)?;
        let (public, sealed) = answer.split_at_checked(PUBLIC_BYTES)?;
        let secret = self.secret(private, public, &earlier, row, public)?;
        InstallationKey::from_bytes(row.to, &seal::decrypt(&*secret, sealed, &self.about(row, public))?)
    }

    fn secret(
        &self,
        private: &PrivateKey,
        peer: &[u8],
        earlier: &InstallationKey,
        row: &Handover,
        answers_public: &[u8],
    ) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let salt = earlier.derive(self.id(), "key handover");
        let about = self.about(row, answers_public);
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agree(private, peer, (), |shared| Ok(seal::derive(shared, &*salt, &[&about]))).ok()
    }

    fn about(&self, row: &Handover, answers_public: &[u8]) -> Vec<u8> {
        length_prefixed(&[
            DOMAIN,
            self.id().as_bytes(),
            row.id.as_bytes(),
            &row.from.to_be_bytes(),
            &row.to.to_be_bytes(),
            &row.public_key,
            answers_public,
        ])
    }
}

fn key_pair() -> Result<(PrivateKey, Vec<u8>), VaultError> {
    let failed = |_| VaultError::Failed("a key pair cannot be made");
    let private = PrivateKey::generate(&X25519).map_err(failed)?;
    let public = private.compute_public_key().map_err(failed)?.as_ref().to_vec();
    Ok((private, public))
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("vault", &self.vault).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::model::KdfParams;

    const PASSPHRASE: &str = "a river of seventeen blue lanterns";

    /// A vault with the first installation key, one with both, and a request of the first.
    fn parties() -> (Vault, Vault, Request) {
        let now = DateTime::UNIX_EPOCH;
        let (old, installation) =
            Vault::create_with(&PASSPHRASE.into(), KdfParams::for_tests(), now).unwrap();
        let (_, sealed, earlier) = old.next(&installation, &PASSPHRASE.into(), now).unwrap();
        let both = Vault::unseal(&sealed, &PASSPHRASE.into()).unwrap();
        both.add_earlier(&earlier).unwrap();
        let (private, public_key) = key_pair().unwrap();
        let row =
            Handover { id: Uuid::from_u128(7), from: 1, to: 2, public_key, answer: None, created_at: now };
        (old, both, Request { row, private, since: Instant::now() })
    }

    #[test]
    fn an_answer_gives_the_newest_key_to_the_one_that_asked() {
        let (old, both, request) = parties();
        let answer = both.answer(&request.row).unwrap().unwrap();
        assert!(!answer.windows(8).any(|piece| both.newest().key.windows(8).any(|key| key == piece)));
        old.adopt(old.accept(&request, &answer).unwrap());
        assert_eq!(*old.newest().key, *both.newest().key);
        assert_eq!(old.answer(&Handover { to: 3, ..request.row }).unwrap(), None, "a key that it lacks");
    }

    #[test]
    fn nobody_else_can_ask_answer_or_read_an_answer() {
        let (old, both, request) = parties();
        let answer = both.answer(&request.row).unwrap().unwrap();
        let (private, public_key) = key_pair().unwrap();
        let thief = Request { row: request.row.clone(), private, since: Instant::now() };
        assert!(old.accept(&thief, &answer).is_none(), "the earlier key alone does not read it");
        let (_, stranger, _) = parties();
        let forged = stranger.answer(&request.row).unwrap().unwrap();
        assert!(old.accept(&request, &forged).is_none(), "who lacks the earlier key cannot answer");
        let swapped = both.answer(&Handover { public_key, ..request.row.clone() }).unwrap().unwrap();
        assert!(old.accept(&request, &swapped).is_none(), "an answer to another public key");
        for place in [0, 40, answer.len() - 1] {
            let mut altered = answer.clone();
            altered[place] ^= 1;
            assert!(old.accept(&request, &altered).is_none(), "byte {place}");
        }
        assert!(both.answer(&Handover { public_key: vec![1], ..request.row.clone() }).unwrap().is_none());
    }
}
