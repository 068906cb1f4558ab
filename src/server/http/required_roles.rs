//! Roles whose users must have a second factor (`second_factor.required_roles`). Before such a user has one, the guard lets
//! them do what adding one takes, see themselves and sign out.

use std::sync::Arc;

use actix_web::http::Method;

use crate::guard::{CachedUser, GuardBuilder, Refusal, User, UserSource};
use crate::server::state::State;

/// Makes the guard refuse users with one of `roles` and without a second factor, at this server's routes and at an app's own.
pub(in crate::server) fn require_second_factor(
    builder: GuardBuilder<User>,
    roles: &[String],
    state: &Arc<State>,
) -> GuardBuilder<User> {
    if roles.is_empty() {
        return builder;
    }
    let (roles, users): (Arc<[String]>, _) = (roles.into(), Arc::clone(state.users()));
    builder.verify_token(move |claims, request| {
        let (roles, users) = (Arc::clone(&roles), Arc::clone(&users));
        async move {
            if is_open(request.method(), request.path()) {
                return Ok(());
            }
            let user = match users.cached(&claims) {
                CachedUser::Found(user) => Some(user),
                CachedUser::Gone => None,
                CachedUser::NotCached => users.find(&claims).await.map_err(|_| Refusal::Unavailable)?,
            };
            let lacks_one = user.is_some_and(|user| {
                user.second_factors.is_empty() && user.roles.iter().any(|role| roles.contains(role))
            });
            if lacks_one { Err(Refusal::SecondFactorUnenrolled) } else { Ok(()) }
        }
    })
}

/// Tells whether a request is one that a user without a second factor needs. Paths are compared without decoding: another
/// spelling of an open path is not open.
fn is_open(method: &Method, path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    match path {
        "/user" => matches!(*method, Method::GET | Method::HEAD),
        "/user/totp"
        | "/user/totp/confirm"
        | "/user/recovery-codes"
        | "/auth/logout"
        | "/auth/logout-all" => true,
        _ => path == "/user/passkeys" || path.starts_with("/user/passkeys/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_adding_a_second_factor_takes_is_open() {
        let open = [
            (Method::GET, "/user/"),
            (Method::HEAD, "/user"),
            (Method::POST, "/user/totp"),
            (Method::POST, "/user/totp/confirm/"),
            (Method::POST, "/user/passkeys/options"),
            (Method::POST, "/auth/logout-all"),
        ];
        for (method, path) in open {
            assert!(is_open(&method, path), "{method} {path}");
        }
        let closed = [
            (Method::PATCH, "/user/"),
            (Method::DELETE, "/user"),
            (Method::GET, "/user/sessions"),
            (Method::GET, "/user//"),
            (Method::GET, "/user/%74otp"),
            (Method::GET, "/user/totp-export"),
            (Method::GET, "/auth/verify"),
            (Method::GET, "/admin/users"),
            (Method::GET, "/"),
            (Method::GET, "/notes/user/totp"),
        ];
        for (method, path) in closed {
            assert!(!is_open(&method, path), "{method} {path}");
        }
    }
}
