//! The acts of operators and admins on accounts: add, change, disable, enable, delete, import. This needs neither the
//! passphrase nor a running server; servers read each change from the database.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::last_admin::{Admin, check_another_admin};
use crate::clock::Clock;
use crate::guard::RoleName;
use crate::server::error::Error;
use crate::server::keys::PasswordHashes;
use crate::server::model::{Change, Client, Event, EventKind, MailKind, NewMail, UserRecord};
use crate::server::store::{Store, StoreError, Transaction};

/// The users whose sessions are ended in one transaction, which so takes far less than its 5 s.
const USERS_AT_ONCE: u32 = 200;

/// The accounts of an installation, as the operator and admins see them.
#[derive(Debug, Clone)]
pub struct UserAdmin {
    store: Store,
    clock: Clock,
    actor: Option<Actor>,
    keeps_an_admin: bool,
    /// Seals password hashes; none in a command, whose hashes the next server seals.
    hashes: Option<PasswordHashes>,
    /// Owners are told by mail.
    has_mail: bool,
}

/// The admin who acts, for the events.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The admin's id.
    pub id: Uuid,
    /// The client of the request.
    pub client: Client,
}

/// The changes of a user. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChanges {
    /// The name.
    pub name: Option<String>,
    /// The roles, sorted, each once.
    pub roles: Option<Vec<String>>,
    /// Disables the user and ends every session, or enables the user again.
    pub disabled: Option<bool>,
    /// Says whether the address is verified.
    pub email_verified: Option<bool>,
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
            second_factors: Vec::new(),
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
        Self { store, clock, actor: None, keeps_an_admin: true, hashes: None, has_mail: false }
    }

    /// Records `actor` with every act.
    #[must_use]
    pub fn acting(&self, actor: Actor) -> Self {
        Self { actor: Some(actor), ..self.clone() }
    }

    /// Seals the password hashes that acts write.
    #[must_use]
    pub fn sealing(&self, hashes: PasswordHashes) -> Self {
        Self { hashes: Some(hashes), ..self.clone() }
    }

    /// Tells owners by mail of what was done to their second factors, if there is mail.
    #[must_use]
    pub fn telling(&self, has_mail: bool) -> Self {
        Self { has_mail, ..self.clone() }
    }

    /// Lets acts leave no enabled admin.
    #[must_use]
    pub fn forced(&self) -> Self {
        Self { keeps_an_admin: false, ..self.clone() }
    }

    /// Returns the record of a user to be added at `now`.
    fn record(&self, user: NewUser, now: DateTime<Utc>) -> Result<UserRecord, StoreError> {
        let mut user = user.into_record(now);
        if let Some(hash) = user.password_hash.take() {
            user.password_hash = Some(self.stored_hash(user.id, hash)?);
        }
        Ok(user)
    }

    /// Returns what is stored for a hash of the user's password.
    fn stored_hash(&self, user: Uuid, hash: String) -> Result<String, StoreError> {
        match &self.hashes {
            Some(hashes) => hashes.seal(user, &hash).map_err(|error| StoreError::Failed(error.to_string())),
            None => Ok(hash),
        }
    }

    /// Starts the event of an act.
    fn event(&self, kind: EventKind) -> Event {
        let event = Event::new(kind, self.clock.now());
        match &self.actor {
            Some(Actor { id, client }) => event.by(client).detail("by", id.to_string()),
            None => event,
        }
    }

    /// Checks that an act against `id` leaves an enabled admin.
    async fn check_last_admin(&self, tx: &mut Transaction, id: Uuid) -> Result<(), Error> {
        if self.keeps_an_admin { check_another_admin(tx, id).await } else { Ok(()) }
    }

    /// Returns the user with this address, which must be trimmed and in lower case.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn find(&self, email: &str) -> Result<Option<UserRecord>, StoreError> {
        self.store.read(async |connection| connection.user_by_email(email).await).await
    }

    /// Returns the user with this id.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn get(&self, id: Uuid) -> Result<UserRecord, Error> {
        let user = self.store.read(async |connection| connection.user(id).await).await?;
        user.ok_or(Error::NotFound)
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
        let user = self.record(user, self.clock.now())?;
        let event = self.event(EventKind::UserAdded).user(user.id);
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
        let users: Vec<_> = users.into_iter().map(|user| self.record(user, now)).collect::<Result<_, _>>()?;
        let added = self.store.write(async |tx| tx.insert_users(&users).await).await?;
        Ok(added as usize)
    }

    /// Records an import with its numbers.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub(crate) async fn record_import(&self, counts: &ImportCounts) -> Result<(), StoreError> {
        let event = self
            .event(EventKind::UsersImported)
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
        let stored = self.stored_hash(id, hash.to_owned())?;
        self.change(id, EventKind::PasswordChanged, async |tx, at| {
            tx.set_password_hash(id, &stored).await?;
            tx.revoke_mail_tokens(id).await?;
            tx.delete_waiting_mails(id).await?;
            tx.end_sessions_of(id, at).await
        })
        .await
    }

    /// Adds a user without a password and sends an invitation to choose one. For a user who is there already and has
    /// none either, sends another.
    ///
    /// # Errors
    /// [`Error::EmailTaken`] for a user with a password or who is disabled; [`Error::Unavailable`].
    pub async fn invite(&self, user: NewUser) -> Result<UserRecord, Error> {
        let user = NewUser { password_hash: None, email_is_verified: false, ..user };
        let user = user.into_record(self.clock.now());
        let event = self.event(EventKind::UserAdded).user(user.id);
        self.store
            .write(async |tx| {
                let user = if tx.insert_user(&user).await? == 1 {
                    tx.record(event.clone()).await?;
                    user.clone()
                } else {
                    let known = tx.user_by_email(&user.email).await?;
                    let known = known.filter(|known| known.is_enabled() && known.password_hash.is_none());
                    known.ok_or(Error::EmailTaken)?
                };
                let mail = self.mail(MailKind::Invite, &user);
                tx.insert_mail(&mail, None).await?;
                Ok(user)
            })
            .await
    }

    /// Ends every session of the user and sends a link to choose another password. The present one still works.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn send_reset(&self, id: Uuid) -> Result<(), Error> {
        self.change(id, EventKind::PasswordResetAsked, async |tx, at| {
            let Some(user) = tx.user(id).await? else { return Ok(()) };
            tx.end_sessions_of(id, at).await?;
            let kind = if user.password_hash.is_some() { MailKind::Reset } else { MailKind::Invite };
            tx.insert_mail(&self.mail(kind, &user), None).await
        })
        .await
    }

    /// Returns a mail to the user that says that an admin asked for it.
    fn mail(&self, kind: MailKind, user: &UserRecord) -> NewMail {
        let nobody = Client::default();
        let mut mail = NewMail::new(kind, &user.email, Some(user.id), &nobody, self.clock.now());
        mail.details.by_admin = true;
        mail
    }

    /// Ends every session of every user, some users at a time, and returns the number of users. A sign-in meanwhile may
    /// begin a session that lives on.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the sessions of the users before have ended then.
    pub async fn end_all_sessions(&self) -> Result<usize, Error> {
        let event = self.event(EventKind::AllSessionsEnded);
        // First: a run that is interrupted is recorded too.
        self.store.write(async |tx| tx.record(event.clone()).await).await?;
        let (mut after, mut count) = (String::new(), 0);
        loop {
            let page = self.page(&after, USERS_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after.clone_from(&last.email);
            count += page.len();
            self.store
                .write(async |tx| {
                    for user in &page {
                        tx.end_sessions_of(user.id, event.at).await?;
                    }
                    Ok::<_, Error>(())
                })
                .await?;
        }
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
    /// [`Error::LastAdmin`]; [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn disable(&self, id: Uuid) -> Result<(), Error> {
        self.update(id, &UserChanges { disabled: Some(true), ..UserChanges::default() }).await.map(|_| ())
    }

    /// Enables the user again. Ended sessions stay ended.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn enable(&self, id: Uuid) -> Result<(), Error> {
        self.update(id, &UserChanges { disabled: Some(false), ..UserChanges::default() }).await.map(|_| ())
    }

    /// Makes these changes to the user, each an event that tells from what to what, and returns the user as changed.
    ///
    /// # Errors
    /// [`Error::LastAdmin`]; [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn update(&self, id: Uuid, changes: &UserChanges) -> Result<UserRecord, Error> {
        let takes_admin =
            changes.disabled == Some(true) || changes.roles.as_ref().is_some_and(|roles| !is_admin(roles));
        self.store
            .write(async |tx| {
                if takes_admin {
                    self.check_last_admin(tx, id).await?;
                }
                let mut user = tx.lock_user(id).await?.ok_or(Error::NotFound)?;
                let events = self.apply(tx, &mut user, changes).await?;
                if !events.is_empty() {
                    tx.note_change(Change::User(id), self.clock.now()).await?;
                }
                for event in events {
                    tx.record(event).await?;
                }
                Ok(user)
            })
            .await
    }

    /// Makes the changes that differ from what is stored, and returns their events.
    async fn apply(
        &self,
        tx: &mut Transaction,
        user: &mut UserRecord,
        changes: &UserChanges,
    ) -> Result<Vec<Event>, StoreError> {
        let (id, now) = (user.id, self.clock.now());
        let mut events = Vec::new();
        if let Some(name) = changes.name.as_ref().filter(|name| user.name.as_ref() != Some(name)) {
            tx.set_name(id, Some(name)).await?;
            let event = self.event(EventKind::UserRenamed).user(id);
            events.push(event.detail("from", user.name.replace(name.clone())).detail("to", name.as_str()));
        }
        if let Some(roles) = changes.roles.as_ref().filter(|roles| user.roles != **roles) {
            tx.set_roles(id, roles).await?;
            let event = self.event(EventKind::UserRolesChanged).user(id);
            let from = std::mem::replace(&mut user.roles, roles.clone());
            events.push(event.detail("from", from).detail("to", roles.as_slice()));
        }
        if let Some(verified) = changes.email_verified.filter(|is| *is != user.email_verified_at.is_some()) {
            user.email_verified_at = verified.then_some(now);
            tx.set_email_verified(id, user.email_verified_at).await?;
            let event = self.event(EventKind::EmailVerificationSet).user(id);
            events.push(event.detail("from", !verified).detail("to", verified));
        }
        if let Some(disabled) = changes.disabled.filter(|is| *is == user.is_enabled()) {
            user.disabled_at = disabled.then_some(now);
            tx.set_disabled(id, user.disabled_at).await?;
            if disabled {
                tx.end_sessions_of(id, now).await?;
            }
            let kind = if disabled { EventKind::UserDisabled } else { EventKind::UserEnabled };
            events.push(self.event(kind).user(id));
        }
        Ok(events)
    }

    /// Deletes the user and ends every session. With `forget`, the events about the user keep their kind and time
    /// alone.
    ///
    /// # Errors
    /// [`Error::LastAdmin`]; [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn delete(&self, id: Uuid, forget: bool) -> Result<(), Error> {
        let event = self.event(EventKind::UserDeleted);
        let event = if forget { event } else { event.user(id) };
        self.store
            .write(async |tx| {
                self.check_last_admin(tx, id).await?;
                tx.lock_user(id).await?.ok_or(Error::NotFound)?;
                tx.end_sessions_of(id, event.at).await?;
                if forget {
                    tx.forget_events_of(id).await?;
                }
                tx.delete_user(id).await?;
                tx.note_change(Change::User(id), event.at).await?;
                Ok(tx.record(event.clone()).await?)
            })
            .await
    }

    /// Removes every second factor of the user, and the recovery codes. Sessions stay.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn reset_second_factors(&self, id: Uuid) -> Result<(), Error> {
        let kind = EventKind::SecondFactorsReset;
        let event = self.event(kind);
        self.change(id, kind, async |tx, _| {
            if self.has_mail
                && let Some(user) = tx.lock_user(id).await?
            {
                let mut notice = NewMail::of_second_factors(&event, &user, &Client::default());
                notice.details.by_admin = true;
                tx.insert_mail(&notice, None).await?;
            }
            tx.delete_second_factors(id).await
        })
        .await
    }

    /// Ends every session of the user.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such user; [`Error::Unavailable`].
    pub async fn end_sessions(&self, id: Uuid) -> Result<(), Error> {
        self.change(id, EventKind::SignedOutEverywhere, async |tx, at| tx.end_sessions_of(id, at).await).await
    }

    /// Makes `change` to a user, records it and notes it for every server, in one transaction.
    async fn change(
        &self,
        id: Uuid,
        kind: EventKind,
        mut change: impl AsyncFnMut(&mut Transaction, DateTime<Utc>) -> Result<(), StoreError>,
    ) -> Result<(), Error> {
        let event = self.event(kind).user(id);
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

fn is_admin(roles: &[String]) -> bool {
    roles.iter().any(|role| role == Admin::NAME)
}
