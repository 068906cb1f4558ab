//! The export of everything that is stored about a user.

use uuid::Uuid;

use super::own::Accounts;
use crate::server::error::Error;
use crate::server::model::{EventPage, Passkey, RecordedEvent, Session, UserRecord};

/// Events read at a time.
const PAGE: u32 = 1_000;

/// The most events, and the most sessions, of an export: so that one request takes little memory.
const MOST: usize = 20_000;

/// Everything stored about a user.
#[derive(Debug)]
pub(crate) struct Export {
    /// The user.
    pub user: UserRecord,
    /// The sessions, ended ones too; the latest first.
    pub sessions: Vec<Session>,
    /// The events about the user, the newest first.
    pub events: Vec<RecordedEvent>,
    /// The passkeys.
    pub passkeys: Vec<Passkey>,
    /// The recovery codes that were not used.
    pub recovery_codes: i64,
    /// There are more sessions or events.
    pub is_cut: bool,
}

impl Accounts {
    /// Returns everything that is stored of the user.
    ///
    /// # Errors
    /// [`Error::UserGone`] when the user was deleted meanwhile; [`Error::Unavailable`].
    pub(crate) async fn export(&self, id: Uuid) -> Result<Export, Error> {
        let user = self.store.read(async |connection| connection.user(id).await).await?;
        let user = user.ok_or(Error::UserGone)?;
        let read = self.store.read(async |connection| connection.stored_sessions_of(id, MOST as u32).await);
        let sessions = read.await?;
        let factors = self.store.read(async |connection| {
            Ok((connection.passkeys_of(id).await?, connection.count_recovery_codes(id).await?))
        });
        let (passkeys, recovery_codes) = factors.await?;
        let mut page = EventPage { user: Some(id), limit: PAGE, ..EventPage::default() };
        let mut events = Vec::new();
        while events.len() < MOST {
            let read = self.store.read(async |connection| connection.events_page(&page).await).await?;
            let Some(last) = read.last() else { break };
            page.before = Some(last.number);
            events.extend(read);
        }
        let is_cut = events.len() >= MOST || sessions.len() >= MOST;
        Ok(Export { user, sessions, events, passkeys, recovery_codes, is_cut })
    }
}
