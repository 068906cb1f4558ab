//! Policies in a handler's signature: roles, and a recent sign-in.
//!
//! Roles are read from the user, never from the token.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::admission::Admission;
use super::extract::{AuthUser, admission};
use super::guard::Guard;
use super::refusal::Refusal;
use super::refused::Refused;
use super::source::User;
use crate::token::Claims;

/// A user type with roles.
///
/// # Example: the app's own user type
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
    /// Returns whether the user has the role `name`.
    fn has_role(&self, name: &str) -> bool;
}

impl HasRoles for User {
    fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role == name)
    }
}

/// A role, as a type.
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
    /// The name of the role.
    const NAME: &'static str;
}

/// A requirement that the user must meet: [`Role`], [`AnyOf`], [`AllOf`], [`SignedInWithin`], or a type of the app's
/// own.
///
/// # Example
/// ```
/// use chrono::{DateTime, Utc};
/// use hallpass::{AuthUser, Policy, Refusal, Require, User};
///
/// struct Employee;
///
/// impl Policy<User> for Employee {
///     fn judge(user: &AuthUser, _now: DateTime<Utc>) -> Result<(), Refusal> {
///         if user.email.ends_with("@example.com") { Ok(()) } else { Err(Refusal::RoleMissing) }
///     }
/// }
///
/// async fn canteen(user: Require<Employee>) -> String {
///     format!("today's menu, {}", user.email)
/// }
/// ```
pub trait Policy<U>: 'static {
    /// Checks whether `user` meets the requirement at the time `now`.
    ///
    /// # Errors
    /// The reason why the request is refused.
    fn judge(user: &AuthUser<U>, now: DateTime<Utc>) -> Result<(), Refusal>;
}

/// Requires the role `R`.
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

/// Requires at least one of the policies in a tuple of two to four, such as `AnyOf<(Role<Admin>, Role<Editor>)>`.
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

/// Requires every policy in a tuple of two to four, such as `AllOf<(Role<Admin>, SignedInWithin<10>)>`.
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

/// Requires a sign-in at most `MINUTES` minutes ago (RFC 9470).
///
/// The sign-in is the claim `auth_time`, or else the beginning of the session. A refreshed token keeps it.
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
        if user.has_role(R::NAME) { Ok(()) } else { Err(Refusal::RoleMissing) }
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

/// Returns the time of the sign-in of `claims`: `auth_time` if the issuer sets it (OpenID Connect Core §2), or
/// else the time in a `sid` that is a UUIDv7 (RFC 9562 §5.7), as this crate's server makes it.
fn signed_in_at(claims: &Claims) -> Option<DateTime<Utc>> {
    if let Some(at) = claims.authenticated_at() {
        return Some(at);
    }
    let (seconds, nanos) = Uuid::try_parse(claims.sid.as_deref()?).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

macro_rules! tuples {
    ($($policy:ident)+) => {
        impl<U, $($policy: Policy<U>),+> Policy<U> for AnyOf<($($policy,)+)> {
            fn judge(user: &AuthUser<U>, now: DateTime<Utc>) -> Result<(), Refusal> {
                let results = [$($policy::judge(user, now)),+];
                results.into_iter().reduce(|any, next| any.or(next)).unwrap_or(Ok(()))
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

/// A user who meets the policy `P`. It dereferences to the [`AuthUser`].
///
/// # Example: only for admins
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
    /// Returns the user, without the policy.
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
        admission(request, |decision, request| Self::judged(decision?, request))
    }
}

impl<P: Policy<U>, U: Send + Sync + 'static> Require<P, U> {
    fn judged(user: AuthUser<U>, request: &HttpRequest) -> Result<Self, Refused> {
        let authenticator = Guard::<U>::of(request)?.authenticator;
        match P::judge(&user, authenticator.clock.now()) {
            Ok(()) => Ok(Self { user, policy: PhantomData }),
            Err(refusal) => Err(authenticator.refuse(refusal, request)),
        }
    }
}
