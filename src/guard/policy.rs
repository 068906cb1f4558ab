//! What a handler asks of its user beyond a name: roles and a recent sign-in, written in its signature.
//!
//! Roles are the user's, as its source tells them, never the token's.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::admission::Admission;
use super::extract::AuthUser;
use super::guard::Guard;
use super::refusal::Refusal;
use super::refused::Refused;
use super::source::User;
use crate::token::Claims;

/// A user that has roles.
///
/// # Example: roles of the app's own user
/// ```
/// use hallpass::HasRoles;
///
/// struct Member { rank: u8 }
///
/// impl HasRoles for Member {
///     fn has_role(&self, name: &str) -> bool {
///         name == "officer" && self.rank > 3
///     }
/// }
/// ```
pub trait HasRoles {
    /// Whether the user has the role `name`.
    fn has_role(&self, name: &str) -> bool;
}

impl HasRoles for User {
    fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role == name)
    }
}

/// The name of a role, as a type.
///
/// # Example
/// ```
/// struct Admin;
///
/// impl hallpass::RoleName for Admin {
///     const NAME: &'static str = "admin";
/// }
/// ```
pub trait RoleName: 'static {
    /// The role as the users have it.
    const NAME: &'static str;
}

/// A demand on a caller. [`Role`], [`AnyOf`], [`AllOf`] and [`SignedInWithin`] are demands; so is whatever
/// an app implements this for, such as its own role type.
///
/// # Example
/// ```
/// use chrono::{DateTime, Utc};
/// use hallpass::{AuthUser, Policy, Refusal, Require, User};
///
/// struct OfTheHouse;
///
/// impl Policy<User> for OfTheHouse {
///     fn judge(user: &AuthUser, _now: DateTime<Utc>) -> Result<(), Refusal> {
///         match user.email.ends_with("@example.com") {
///             true => Ok(()),
///             false => Err(Refusal::RoleMissing),
///         }
///     }
/// }
///
/// async fn canteen(user: Require<OfTheHouse>) -> String {
///     format!("today's menu, {}", user.email)
/// }
/// ```
pub trait Policy<U>: 'static {
    /// Whether `user` meets the demand at the time `now`.
    ///
    /// # Errors
    /// The reason for turning the caller away.
    fn judge(user: &AuthUser<U>, now: DateTime<Utc>) -> Result<(), Refusal>;
}

/// Asks for the one role `R`.
///
/// # Example
/// ```
/// # struct Admin;
/// # impl hallpass::RoleName for Admin { const NAME: &'static str = "admin"; }
/// use hallpass::{Require, Role};
///
/// async fn shut_down(_admin: Require<Role<Admin>>) {}
/// ```
#[derive(Debug)]
pub struct Role<R>(PhantomData<R>);

/// Asks for at least one of the demands of a tuple, such as `AnyOf<(Role<Admin>, Role<Editor>)>`.
///
/// # Example
/// ```
/// # struct Admin;
/// # impl hallpass::RoleName for Admin { const NAME: &'static str = "admin"; }
/// # struct Editor;
/// # impl hallpass::RoleName for Editor { const NAME: &'static str = "editor"; }
/// use hallpass::{AnyOf, Require, Role};
///
/// async fn drafts(_user: Require<AnyOf<(Role<Admin>, Role<Editor>)>>) {}
/// ```
#[derive(Debug)]
pub struct AnyOf<T>(PhantomData<T>);

/// Asks for every demand of a tuple, such as `AllOf<(Role<Admin>, SignedInWithin<10>)>`.
///
/// # Example
/// ```
/// # struct Admin;
/// # impl hallpass::RoleName for Admin { const NAME: &'static str = "admin"; }
/// use hallpass::{AllOf, Require, Role, SignedInWithin};
///
/// async fn shut_down(_admin: Require<AllOf<(Role<Admin>, SignedInWithin<10>)>>) {}
/// ```
#[derive(Debug)]
pub struct AllOf<T>(PhantomData<T>);

/// Asks for a sign-in at most so many minutes ago (RFC 9470). The time of the sign-in is the session's
/// beginning, which a refreshed token keeps.
///
/// # Example
/// ```
/// use hallpass::{Require, SignedInWithin};
///
/// async fn change_address(_user: Require<SignedInWithin<10>>) {}
/// ```
#[derive(Debug)]
pub struct SignedInWithin<const MINUTES: u32>;

impl<U: HasRoles, R: RoleName> Policy<U> for Role<R> {
    fn judge(user: &AuthUser<U>, _: DateTime<Utc>) -> Result<(), Refusal> {
        match user.has_role(R::NAME) {
            true => Ok(()),
            false => Err(Refusal::RoleMissing),
        }
    }
}

impl<U, const MINUTES: u32> Policy<U> for SignedInWithin<MINUTES> {
    fn judge(user: &AuthUser<U>, now: DateTime<Utc>) -> Result<(), Refusal> {
        match signed_in_at(user.claims()) {
            Some(then) if now - then <= Duration::minutes(i64::from(MINUTES)) => Ok(()),
            _ => Err(Refusal::SignInStale),
        }
    }
}

/// When the session behind `claims` began: `auth_time` where the issuer tells it (OpenID Connect Core §2),
/// else the time within a `sid` that is a UUIDv7 (RFC 9562 §5.7), as our own server's are.
fn signed_in_at(claims: &Claims) -> Option<DateTime<Utc>> {
    #[derive(serde::Deserialize)]
    struct AuthTime {
        auth_time: Option<i64>,
    }
    let told = claims.custom::<AuthTime>().ok().and_then(|claims| claims.auth_time);
    if let Some(seconds) = told {
        return DateTime::from_timestamp(seconds, 0);
    }
    let (seconds, nanos) = Uuid::try_parse(claims.sid.as_deref()?).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

macro_rules! tuples {
    ($($policy:ident)+) => {
        impl<U, $($policy: Policy<U>),+> Policy<U> for AnyOf<($($policy,)+)> {
            fn judge(user: &AuthUser<U>, now: DateTime<Utc>) -> Result<(), Refusal> {
                let verdicts = [$($policy::judge(user, now)),+];
                verdicts.into_iter().reduce(|any, next| any.or(next)).unwrap_or(Ok(()))
            }
        }

        impl<U, $($policy: Policy<U>),+> Policy<U> for AllOf<($($policy,)+)> {
            fn judge(user: &AuthUser<U>, now: DateTime<Utc>) -> Result<(), Refusal> {
                $($policy::judge(user, now)?;)+
                Ok(())
            }
        }
    };
}

tuples! { A B }
tuples! { A B C }
tuples! { A B C D }

/// A user who meets the demand `P`; it dereferences to the [`AuthUser`].
///
/// # Example: for admins alone
/// ```
/// use hallpass::{Require, Role, RoleName};
///
/// struct Admin;
/// impl RoleName for Admin {
///     const NAME: &'static str = "admin";
/// }
///
/// async fn shut_down(admin: Require<Role<Admin>>) -> String {
///     format!("as you wish, {}", admin.email)
/// }
/// ```
pub struct Require<P, U = User> {
    user: AuthUser<U>,
    policy: PhantomData<P>,
}

impl<P, U> Require<P, U> {
    /// The user, freed of the demand that was met.
    ///
    /// # Example
    /// ```
    /// use hallpass::{AuthUser, Require, SignedInWithin};
    ///
    /// async fn keep(user: Require<SignedInWithin<10>>) {
    ///     let _user: AuthUser = user.into_user();
    /// }
    /// ```
    pub fn into_user(self) -> AuthUser<U> {
        self.user
    }
}

impl<P, U> Deref for Require<P, U> {
    type Target = AuthUser<U>;

    fn deref(&self) -> &AuthUser<U> {
        &self.user
    }
}

impl<P, U: fmt::Debug> fmt::Debug for Require<P, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Require").field(&self.user).finish()
    }
}

impl<P: Policy<U>, U: Send + Sync + 'static> FromRequest for Require<P, U> {
    type Error = Refused;
    type Future = Admission<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Admission::new(async move {
            let user = AuthUser::of(&request).await?;
            let authenticator = Guard::<U>::of(&request)?.authenticator;
            match P::judge(&user, authenticator.clock.now()) {
                Ok(()) => Ok(Self { user, policy: PhantomData }),
                Err(refusal) => Err(authenticator.refuse(refusal, &request)),
            }
        })
    }
}
