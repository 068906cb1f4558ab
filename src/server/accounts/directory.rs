//! The list of all users, in pages. Filters: words, a role, and whether users are disabled.

use uuid::Uuid;

use super::terms::{range_of, role_term, terms_of};
use crate::server::model::{UserPage, UserRecord};
use crate::server::store::{Store, StoreError};

/// Users whose terms are written in one transaction.
const BATCH: u32 = 500;

/// The most transactions that a search waits for. What is left is written in the background.
const BATCHES: usize = 4;

/// The users of an installation, to be searched.
#[derive(Debug, Clone)]
pub struct Directory {
    store: Store,
}

/// The users to list.
#[derive(Debug, Clone, Default)]
pub struct UserSearch {
    /// The user with this address alone, which must be trimmed and in lower case.
    pub email: Option<String>,
    /// Those with a word in the address or name that begins so.
    pub words: Option<String>,
    /// Those with this role.
    pub role: Option<String>,
    /// Those that are disabled, or those that are not.
    pub disabled: Option<bool>,
    /// Those added before the user with this id.
    pub before: Option<Uuid>,
    /// The most to list.
    pub limit: u32,
}

impl Directory {
    /// The users in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Returns the users that `search` selects, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn search(&self, search: &UserSearch) -> Result<Vec<UserRecord>, StoreError> {
        let words = match search.words.as_deref().filter(|words| !words.is_empty()) {
            Some(typed) => match range_of(typed) {
                Some(range) => Some(range),
                None => return Ok(vec![]),
            },
            None => None,
        };
        if words.is_some() || search.role.is_some() {
            self.index(BATCHES).await?;
        }
        let page = UserPage {
            email: search.email.clone(),
            words,
            role: search.role.as_deref().map(role_term),
            disabled: search.disabled,
            before: search.before,
            limit: search.limit,
        };
        self.store.read(async |connection| connection.users_page(&page).await).await
    }

    /// Writes the terms of the users that were added or changed since, in at most `batches` transactions.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub(crate) async fn index(&self, batches: usize) -> Result<(), StoreError> {
        for _ in 0..batches {
            // Read first: that does not hold up writers.
            if !self.store.read(async |connection| connection.has_users_to_index().await).await? {
                break;
            }
            self.store
                .write(async |tx| {
                    let users = tx.take_users_to_index(BATCH).await?;
                    let terms = |user: &UserRecord| terms_of(&user.email, user.name.as_deref(), &user.roles);
                    let terms: Vec<_> = users.iter().map(|user| (user.id, terms(user))).collect();
                    tx.replace_terms(&terms).await
                })
                .await?;
        }
        Ok(())
    }
}
