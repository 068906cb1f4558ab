//! The acts of the operator: add, list, disable, enable, delete, import. They need neither the passphrase nor a running
//! server; servers read each change from the database.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::Clock;
use crate::server::error::Error;
use crate::server::model::{Change, Event, EventKind, UserRecord};
use crate::server::store::{Store, StoreError, Transaction};

/// The accounts of an installation, as the operator sees them.
#[derive(Debug, Clone)]
pub struct UserAdmin {
    store: Store,
    clock: Clock,
}

/// A user to be added. The fields have been checked.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// Trimmed and in lower case.
    pub email: String,
    /// Somebody vouches for the address: the operator, or whoever reads its mail.
    pub email_is_verified: bool,
    /// The name to show.
    pub name: Option<String>,
    /// Sorted, each once.
    pub roles: Vec<String>,
    /// The stored hash; a user without one cannot sign in by password.
    pub password_hash: Option<String>,
}

impl NewUser {
    /// Returns the record of the user, added at `now`.
    pub(super) fn into_record(self, now: DateTime<Utc>) -> UserRecord {
        UserRecord {
            id: Uuid::now_v7(),
            email: self.email,
            email_verified_at: self.email_is_verified.then_some(now),
            name: self.name,
            roles: self.roles,
            password_hash: self.password_hash,
            disabled_at: None,
            created_at: now,
            last_login_at: None,
        }
    }
}

/// The numbers of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ImportCounts {
    /// Users added.
    pub added: usize,
    /// Users whose address was taken; they were left as they are.
    pub existing: usize,
    /// Lines refused.
    pub refused: usize,
}

impl UserAdmin {
    /// The accounts in `store`.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Returns the user with this address, which must be trimmed and in lower case.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn find(&self, email: &str) -> Result<Option<UserRecord>, StoreError> {
        self.store.read(async |connection| connection.user_by_email(email).await).await
    }

    /// Returns at most `limit` users, sorted by address, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub(crate) async fn page(&self, after: &str, limit: u32) -> Result<Vec<UserRecord>, StoreError> {
        self.store.read(async |connection| connection.users_after(after, limit).await).await
    }

    /// Tells whether there is no user at all.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub(crate) async fn has_no_users(&self) -> Result<bool, StoreError> {
        Ok(self.page("", 1).await?.is_empty())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`Error::EmailTaken`], [`Error::Unavailable`].
    pub async fn add(&self, user: NewUser) -> Result<UserRecord, Error> {
        let user = user.into_record(self.clock.now());
        let event = Event::new(EventKind::UserAdded, user.created_at).user(user.id);
        self.store
            .write(async |tx| {
                if tx.insert_user(&user).await? == 0 {
                    return Err(Error::EmailTaken);
                }
                Ok(tx.record(event.clone()).await?)
            })
            .await?;
        Ok(user)
    }

    /// Adds those of `users` whose address is free, in one transaction, and returns their number.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then none was added.
    pub async fn import(&self, users: Vec<NewUser>) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let users: Vec<_> = users.into_iter().map(|user| user.into_record(now)).collect();
        self.store
            .write(async |tx| {
                let mut added = 0;
                for user in &users {
                    added += tx.insert_user(user).await? as usize;
                }
                Ok(added)
            })
            .await
    }

    /// Records an import with its numbers.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn record_import(&self, counts: &ImportCounts) -> Result<(), StoreError> {
        let event = Event::new(EventKind::UsersImported, self.clock.now())
            .detail("added", counts.added)
            .detail("existing", counts.existing)
            .detail("refused", counts.refused);
        self.store.write(async |tx| tx.record(event.clone()).await).await
    }

    /// Replaces the hash of the user's password and ends every session.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn set_password(&self, id: Uuid, hash: &str) -> Result<(), Error> {
        self.change(id, EventKind::PasswordChanged, async |tx, at| {
            tx.set_password_hash(id, hash).await?;
            tx.end_sessions_of(id, at).await
        })
        .await
    }

    /// Changes or removes the user's name.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn rename(&self, id: Uuid, name: Option<&str>) -> Result<(), Error> {
        self.change(id, EventKind::UserRenamed, async |tx, _| tx.set_name(id, name).await).await
    }

    /// Disables the user and ends every session.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn disable(&self, id: Uuid) -> Result<(), Error> {
        self.change(id, EventKind::UserDisabled, async |tx, at| {
            tx.set_disabled(id, Some(at)).await?;
            tx.end_sessions_of(id, at).await
        })
        .await
    }

    /// Enables the user again. Ended sessions stay ended.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn enable(&self, id: Uuid) -> Result<(), Error> {
        self.change(id, EventKind::UserEnabled, async |tx, _| tx.set_disabled(id, None).await).await
    }

    /// Deletes the user and ends every session.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn delete(&self, id: Uuid) -> Result<(), Error> {
        self.change(id, EventKind::UserDeleted, async |tx, at| {
            tx.end_sessions_of(id, at).await?;
            tx.delete_user(id).await
        })
        .await
    }

    /// Makes `change` to a user, records it and notes it for every server, in one transaction.
    async fn change(
        &self,
        id: Uuid,
        kind: EventKind,
        mut change: impl AsyncFnMut(&mut Transaction, DateTime<Utc>) -> Result<(), StoreError>,
    ) -> Result<(), Error> {
        let event = Event::new(kind, self.clock.now()).user(id);
        self.store
            .write(async |tx| {
                tx.lock_user(id).await?.ok_or(Error::NotFound)?;
                change(tx, event.at).await?;
                tx.note_change(Change::User(id), event.at).await?;
                tx.record(event.clone()).await?;
                Ok(())
            })
            .await
    }
}
