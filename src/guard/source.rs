//! Where keys and users come from: the two seams that an app fills.

use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use super::refusal::Refusal;
use crate::clock::serialize_rfc3339;
use crate::token::{Claims, Keyring};

/// Who is asking, where the app brings no type of its own: the server's user, or what the claims tell.
///
/// Serializes as the `user` of the server's routes.
///
/// # Example
/// ```
/// async fn show(user: hallpass::AuthUser) -> String {
///     format!("{} <{}>, roles {:?}", user.name.as_deref().unwrap_or("?"), user.email, user.roles)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(description = "A user."))]
pub struct User {
    /// The stable id, a UUIDv7 where our own server issued the token; `sub` in the claims.
    pub id: String,
    /// The address, in lower case; empty where a foreign issuer's token names none.
    pub email: String,
    /// The name to show, if the user gave one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub name: Option<String>,
    /// The roles, sorted.
    pub roles: Vec<String>,
    /// When the user was made; unknown where only the claims were read.
    #[serde(serialize_with = "serialize_rfc3339")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>, format = DateTime))]
    pub created_at: Option<DateTime<Utc>>,
    /// The last successful sign-in; unknown where only the claims were read.
    #[serde(serialize_with = "serialize_rfc3339")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>, format = DateTime))]
    pub last_login_at: Option<DateTime<Utc>>,
}

/// Users or keys cannot be asked now; the caller gets a 503, never a 401.
///
/// # Example
/// ```
/// use hallpass::Unavailable;
///
/// fn looked_up(row: std::io::Result<String>) -> Result<String, Unavailable> {
///     row.map_err(|_| Unavailable)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what must be asked to decide does not answer")]
pub struct Unavailable;

/// What a source of users knows without waiting.
///
/// # Example
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
/// use hallpass::CachedUser;
///
/// fn cached(cache: &HashMap<String, Arc<String>>, id: &str) -> CachedUser<String> {
///     cache.get(id).map_or(CachedUser::NotCached, |user| CachedUser::Found(Arc::clone(user)))
/// }
/// ```
#[derive(Debug)]
pub enum CachedUser<U> {
    /// The user, from memory.
    Found(Arc<U>),
    /// It is known that there is no such user, or no more.
    Gone,
    /// It must be asked for: [`UserSource::find`].
    NotCached,
}

/// Where users come from: a table, another service, or the claims alone.
///
/// # Example: the app's own users
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
/// use hallpass::{Unavailable, UserSource, token::Claims};
///
/// struct Member { nickname: String }
/// struct Members(HashMap<String, Arc<Member>>);
///
/// impl UserSource for Members {
///     type User = Member;
///
///     async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
///         Ok(self.0.get(&claims.sub).cloned())
///     }
/// }
/// ```
pub trait UserSource: Send + Sync + 'static {
    /// The app's user, as handlers get it.
    type User: Send + Sync + 'static;

    /// What can be told without waiting. Defaults to nothing: every user is asked for.
    fn cached(&self, claims: &Claims) -> CachedUser<Self::User> {
        let _ = claims;
        CachedUser::NotCached
    }

    /// The user behind verified claims; `None` refuses the token as revoked.
    ///
    /// # Errors
    /// [`Unavailable`] when it cannot be known now; the caller gets a 503.
    fn find(&self, claims: &Claims) -> impl Future<Output = Result<Option<Arc<Self::User>>, Unavailable>>;
}

/// A [`UserSource`] whose futures are boxed, so that a guard can hold any.
pub(super) trait DynUsers<U>: Send + Sync {
    fn cached(&self, claims: &Claims) -> CachedUser<U>;
    fn find<'a>(&'a self, claims: &'a Claims) -> LocalBoxFuture<'a, Result<Option<Arc<U>>, Unavailable>>;
}

impl<S: UserSource> DynUsers<S::User> for S {
    fn cached(&self, claims: &Claims) -> CachedUser<S::User> {
        UserSource::cached(self, claims)
    }

    fn find<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> LocalBoxFuture<'a, Result<Option<Arc<S::User>>, Unavailable>> {
        Box::pin(UserSource::find(self, claims))
    }
}

/// The source that reads no user: what the claims say is who is asking.
///
/// # Example: what a guard does without more
/// ```
/// let guard = hallpass::testing::Mint::new().builder().users(hallpass::guard::FromClaims).build()?;
/// # Ok::<(), hallpass::GuardError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct FromClaims;

impl UserSource for FromClaims {
    type User = User;

    fn cached(&self, claims: &Claims) -> CachedUser<User> {
        CachedUser::Found(Arc::new(User {
            id: claims.sub.clone(),
            email: claims.email.clone().unwrap_or_default(),
            name: None,
            roles: claims.roles.clone(),
            created_at: None,
            last_login_at: None,
        }))
    }

    async fn find(&self, claims: &Claims) -> Result<Option<Arc<User>>, Unavailable> {
        match UserSource::cached(self, claims) {
            CachedUser::Found(user) => Ok(Some(user)),
            CachedUser::Gone | CachedUser::NotCached => Ok(None),
        }
    }
}

/// A look for more keys, as [`KeySource::refresh`] begins it.
pub type KeyRefresh = Pin<Box<dyn Future<Output = Result<(), Unavailable>>>>;

/// Where verifying keys come from.
///
/// # Example: keys that are exchanged while requests go on
/// ```
/// use std::sync::Arc;
/// use arc_swap::ArcSwap;
/// use hallpass::Guard;
/// use hallpass::token::Keyring;
///
/// # let (first, second) = (hallpass::testing::Mint::new().jwks(), hallpass::testing::Mint::new().jwks());
/// let keys = Arc::new(ArcSwap::from_pointee(Keyring::from_jwks(&first)?));
/// let guard = Guard::builder().keys(keys.clone()).issuer("i").audience("a").build()?;
/// keys.store(Arc::new(Keyring::from_jwks(&second)?)); // the guard goes by these from now on
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait KeySource: Send + Sync + 'static {
    /// The keys in force now. Called for each request, so it must not wait.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] when there are none that may still be trusted.
    fn keys(&self) -> Result<Arc<Keyring>, Refusal>;

    /// Told that a token names a key that the ring does not have: a source that can look for more begins to, or does so
    /// while what it returns is waited for. Strangers choose what their tokens name, so it must be cheap, and look only
    /// so often.
    ///
    /// The middleware waits for what is returned, 2 s at most, and then judges the token once more; where it is
    /// [`Unavailable`], the caller gets a 503. Extractors refuse it at once. Defaults to `None`: there are no more keys to
    /// be had.
    fn refresh(&self) -> Option<KeyRefresh> {
        None
    }
}

/// Keys that somebody else exchanges while requests go on, such as the server when it rotates.
impl KeySource for ArcSwap<Keyring> {
    fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        Ok(self.load_full())
    }
}
