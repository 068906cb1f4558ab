//! The sources of keys and users, which an app can implement.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use actix_web::web::Bytes;
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use super::refusal::Refusal;
use crate::clock::serialize_rfc3339;
use crate::token::{Claims, Keyring};

/// The user of an app without a user type of its own: the server's user, or one made from the token's claims.
///
/// It serializes as the `user` of the server's routes.
///
/// # Example
/// ```
/// async fn show(user: hallpass::AuthUser) -> String {
///     format!("{} <{}>, roles {:?}", user.name.as_deref().unwrap_or("?"), user.email, user.roles)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(description = "A user."))]
#[non_exhaustive]
pub struct User {
    /// The stable id, `sub` in the claims. A UUIDv7 if this crate's server issued the token.
    pub id: String,
    /// The e-mail address, in lower case. Empty if another issuer's token has none.
    pub email: String,
    /// True if the user proved to read the mail of that address.
    pub email_verified: bool,
    /// The display name, if the user has set one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub name: Option<String>,
    /// The roles, sorted.
    pub roles: Vec<String>,
    /// The kinds of second factors that the user has, sorted: `passkey`, `totp`. Empty if only the token's claims were
    /// read. How the user of this token signed in is in its claim `amr`.
    pub second_factors: Vec<String>,
    /// The time when the account was created. Unknown if only the token's claims were read.
    #[serde(serialize_with = "serialize_rfc3339")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>, format = DateTime))]
    pub created_at: Option<DateTime<Utc>>,
    /// The time of the last successful sign-in. Unknown if only the token's claims were read.
    #[serde(serialize_with = "serialize_rfc3339")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>, format = DateTime))]
    pub last_login_at: Option<DateTime<Utc>>,
    /// The bytes that show the user to a client.
    #[serde(skip)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub(crate) shown: Shown,
}

/// Bytes that are made of a user once. A copy of the user, which can be changed, makes its own.
#[derive(Default)]
pub(crate) struct Shown(OnceLock<Bytes>);

impl Shown {
    /// Returns the bytes, which `show` makes at the first call.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the server alone shows users"))]
    pub(crate) fn get(&self, show: impl FnOnce() -> Bytes) -> Bytes {
        self.0.get_or_init(show).clone()
    }
}

impl Clone for Shown {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing that the user's fields do not say.
impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shown {}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The error of a source of users or keys that does not answer. The client gets a 503, never a 401.
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
#[error("the source of users or keys does not answer")]
pub struct Unavailable;

/// The result of a lookup that does not wait, by [`UserSource::cached`].
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
    /// The user is in memory.
    Found(Arc<U>),
    /// There is no such user, or no longer. The token is refused as revoked.
    Gone,
    /// Not known without waiting; [`UserSource::find`] is called.
    NotCached,
}

/// A source of users: a table, another service, or the token's claims alone.
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
    /// The user type, as handlers get it.
    type User: Send + Sync + 'static;

    /// Looks the user up without waiting. Defaults to [`CachedUser::NotCached`].
    ///
    /// # Example: users that are kept in memory once they are found
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, RwLock};
    /// use hallpass::{CachedUser, Claims, Unavailable, UserSource};
    ///
    /// struct Member { nickname: String }
    /// struct Members { kept: RwLock<HashMap<String, Arc<Member>>> }
    ///
    /// impl UserSource for Members {
    ///     type User = Member;
    ///
    ///     fn cached(&self, claims: &Claims) -> CachedUser<Member> {
    ///         let kept = self.kept.read().unwrap();
    ///         kept.get(&claims.sub).cloned().map_or(CachedUser::NotCached, CachedUser::Found)
    ///     }
    ///
    ///     async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
    ///         let member = Arc::new(Member { nickname: format!("member {}", claims.sub) }); // from a table, say
    ///         self.kept.write().unwrap().insert(claims.sub.clone(), Arc::clone(&member));
    ///         Ok(Some(member))
    ///     }
    /// }
    /// ```
    fn cached(&self, claims: &Claims) -> CachedUser<Self::User> {
        let _ = claims;
        CachedUser::NotCached
    }

    /// Finds the user of verified claims. `None` refuses the token as revoked.
    ///
    /// # Errors
    /// [`Unavailable`] if the source does not answer. The client gets a 503.
    fn find(&self, claims: &Claims) -> impl Future<Output = Result<Option<Arc<Self::User>>, Unavailable>>;
}

/// A [`UserSource`] with boxed futures, so that a guard can hold any.
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

/// The source that makes users from the token's claims, without a lookup. The default of a guard.
///
/// # Example
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
            email_verified: claims.email_verified.unwrap_or_default(),
            name: None,
            roles: claims.roles.clone(),
            second_factors: Vec::new(),
            created_at: None,
            last_login_at: None,
            shown: Shown::default(),
        }))
    }

    async fn find(&self, claims: &Claims) -> Result<Option<Arc<User>>, Unavailable> {
        match UserSource::cached(self, claims) {
            CachedUser::Found(user) => Ok(Some(user)),
            CachedUser::Gone | CachedUser::NotCached => Ok(None),
        }
    }
}

/// The future of a refresh, from [`KeySource::refresh`].
///
/// # Example: a refresh that is done at once
/// ```
/// use hallpass::guard::KeyRefresh;
///
/// let refresh: KeyRefresh = Box::pin(async { Ok(()) });
/// # let _ = refresh;
/// ```
pub type KeyRefresh = Pin<Box<dyn Future<Output = Result<(), Unavailable>>>>;

/// A source of the keys that verify tokens.
///
/// # Example: keys that are replaced while the app runs
/// ```
/// use std::sync::Arc;
/// use arc_swap::ArcSwap;
/// use hallpass::Guard;
/// use hallpass::token::Keyring;
///
/// # let (first, second) = (hallpass::testing::Mint::new().jwks(), hallpass::testing::Mint::new().jwks());
/// let keys = Arc::new(ArcSwap::from_pointee(Keyring::from_jwks(&first)?));
/// let guard = Guard::builder().keys(keys.clone()).issuer("i").audience("a").build()?;
/// keys.store(Arc::new(Keyring::from_jwks(&second)?)); // the guard uses these from now on
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait KeySource: Send + Sync + 'static {
    /// Returns the current keys. It is called for every request, so it must not wait.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if there are no keys, or none that may still be trusted. The client gets a 503.
    fn keys(&self) -> Result<Arc<Keyring>, Refusal>;

    /// Called when a token names a key that is not among [`keys`](Self::keys). A source that can fetch newer keys
    /// starts to, or does so while the returned future is awaited. Defaults to `None`: the source has no other keys.
    ///
    /// Anyone can send a token with any key id. So this must be cheap, and must limit how often it fetches.
    ///
    /// The middleware awaits the future for at most 2 s and verifies the token again. If the future returns
    /// [`Unavailable`], the client gets a 503. Extractors do not wait: they refuse the token at once.
    ///
    /// # Example: keys that are read from a file again
    /// ```
    /// use std::sync::Arc;
    /// use arc_swap::ArcSwap;
    /// use hallpass::guard::KeyRefresh;
    /// use hallpass::token::Keyring;
    /// use hallpass::{KeySource, Refusal, Unavailable};
    ///
    /// struct KeyFile(ArcSwap<Keyring>);
    ///
    /// impl KeySource for KeyFile {
    ///     fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
    ///         Ok(self.0.load_full())
    ///     }
    ///
    ///     fn refresh(&self) -> Option<KeyRefresh> {
    ///         // At most once in 10 s, which is left out here.
    ///         let read = || Keyring::from_jwks(std::fs::read("jwks.json").ok()?).ok();
    ///         let outcome = read().map(|keys| self.0.store(Arc::new(keys))).ok_or(Unavailable);
    ///         Some(Box::pin(async move { outcome }))
    ///     }
    /// }
    /// ```
    fn refresh(&self) -> Option<KeyRefresh> {
        None
    }
}

/// Keys that the app replaces while it runs.
impl KeySource for ArcSwap<Keyring> {
    fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        Ok(self.load_full())
    }
}
