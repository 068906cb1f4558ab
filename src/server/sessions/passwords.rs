//! Users' passwords: hashed and sealed, unsealed and compared.

use std::sync::Arc;

use uuid::Uuid;

use crate::server::credentials::{HashError, Hasher, Origin, Password, StoredHash, is_proof_of_all};
use crate::server::error::Error;
use crate::server::keys::PasswordHashes;
use crate::server::model::UserRecord;
use crate::server::state::State;

/// The passwords of an installation's users. Clones share the threads that hash.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    /// The threads that hash passwords.
    pub hasher: Hasher,
    /// The seals of the stored hashes.
    pub hashes: PasswordHashes,
    /// The memory of this server, which is synced when a hash is sealed under an installation key that it does not have.
    pub state: Arc<State>,
}

impl Passwords {
    /// Returns the string to store for the password of `user`.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Internal`].
    pub(crate) async fn hash(
        &self,
        user: Uuid,
        password: &Password,
        origin: Origin,
    ) -> Result<String, Error> {
        let hash = zeroize::Zeroizing::new(self.hasher.hash(password, origin).await?);
        Ok(self.hashes.seal(user, &hash)?)
    }

    /// Tells whether `password` is that of `user`. Without a user or a stored hash the answer is no, after the same work.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Unavailable`]; [`Error::Internal`] for a hash that was altered or moved.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        user: Option<&UserRecord>,
        origin: Origin,
    ) -> Result<bool, Error> {
        let stored = match user.and_then(|user| Some((user.id, user.password_hash.clone()?))) {
            Some((user, stored)) => Some(self.stored_hash(user, stored).await?),
            None => None,
        };
        Ok(self.hasher.verify(password, stored, origin).await?)
    }

    /// Returns the stored hash, to be unsealed when it is compared.
    async fn stored_hash(&self, user: Uuid, stored: String) -> Result<StoredHash, Error> {
        if !self.hashes.can_open(&stored) {
            self.state.sync_changes().await?;
        }
        if !self.hashes.can_open(&stored) {
            let error = "the installation key was replaced, and this server does not have the new one yet";
            return Err(Error::Unavailable(error.into()));
        }
        let hashes = self.hashes.clone();
        Ok(StoredHash::revealed_by(move || {
            hashes.open(user, &stored).map_err(|error| HashError::Failed(error.to_string()))
        }))
    }

    /// Returns the same hash, sealed under the newest installation key.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub(super) fn seal_anew(&self, user: Uuid, stored: &str) -> Result<String, Error> {
        Ok(self.hashes.seal(user, &self.hashes.open(user, stored)?)?)
    }

    /// Tells whether two stored strings hold the same hash of the user's password.
    pub(crate) fn is_same(&self, user: Uuid, one: Option<&str>, other: Option<&str>) -> bool {
        self.hashes.is_same(user, one, other)
    }

    /// Tells whether `stored`, against which `password` was compared, is to be replaced: it is of a lower cost or of another
    /// program, and depends on all of the password.
    pub(super) fn is_outdated(&self, user: Uuid, password: &Password, stored: &str) -> bool {
        self.hashes
            .open(user, stored)
            .is_ok_and(|hash| self.hasher.is_outdated(&hash) && is_proof_of_all(password, &hash))
    }
}
