//! What may be an e-mail address, a name and a role, and how a user is made. No HTTP, no SQL.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Desk;
use super::error::ApiError;
use super::events::{Client, Event, EventKind};
use super::password::{Password, Strength};
use super::sessions;
use super::sign_in::{self, Prepared, SignedIn};
use super::store::{PasswordChange, UserRow};
use crate::guard::User;
use crate::http::Fields;
use crate::token::Claims;

/// The longest e-mail address (RFC 5321 §4.5.3.1).
pub const MAX_EMAIL_BYTES: usize = 254;

/// The most roles a user has.
pub const MAX_ROLES: usize = 32;

/// The address under which a user is kept and found: trimmed, and in ASCII lower case.
///
/// # Errors
/// The reason, and what is accepted: a plausible address of printable ASCII of at most 254 bytes
/// (RFC 5321 §4.5.3.1). Whether it reaches anybody, only a mail can tell.
pub fn parse_email(text: &str) -> Result<String, String> {
    let email = text.trim().to_ascii_lowercase();
    if email.is_empty() {
        return Err("is required".into());
    }
    if email.len() > MAX_EMAIL_BYTES {
        return Err(format!("is longer than {MAX_EMAIL_BYTES} bytes"));
    }
    let plausible = email.bytes().all(|byte| byte.is_ascii_graphic())
        && !email.bytes().any(|byte| b"\"(),:;<>[\\]".contains(&byte))
        && email.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && !local.contains('@')
                && domain.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                })
        });
    match plausible {
        true => Ok(email),
        false => Err("is not an e-mail address like ada@example.com, in plain ASCII".into()),
    }
}

/// The name as given.
///
/// # Errors
/// The reason, and what is accepted: 1 to 200 characters, no control characters.
pub fn parse_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("is empty; leave it out or give 1 to 200 characters".into()),
        chars if chars > 200 => Err("is longer than 200 characters".into()),
        _ if text.chars().any(char::is_control) => Err("holds a control character".into()),
        _ => Ok(text.to_owned()),
    }
}

/// The roles, sorted, each once.
///
/// # Errors
/// The reason, and what is accepted: at most 32 of `[a-z0-9][a-z0-9_.-]{0,31}`.
pub fn parse_roles(texts: &[String]) -> Result<Vec<String>, String> {
    for role in texts {
        let plain = role
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte));
        if !plain || role.is_empty() || role.len() > 32 || role.starts_with(['_', '.', '-']) {
            return Err(format!(
                "{role:?} is no role: 1 to 32 of a-z 0-9 _ . - are accepted, a letter or digit first"
            ));
        }
    }
    let mut roles = texts.to_vec();
    roles.sort();
    roles.dedup();
    match roles.len() {
        0..=MAX_ROLES => Ok(roles),
        count => Err(format!("{count} are too many; at most {MAX_ROLES} are accepted")),
    }
}

/// A user who signs in by the password behind `password_hash`, made at `now`.
pub fn new_user(
    email: String,
    name: Option<String>,
    roles: Vec<String>,
    password_hash: String,
    now: DateTime<Utc>,
) -> UserRow {
    UserRow {
        id: Uuid::now_v7(),
        email,
        name,
        roles,
        password_hash: Some(password_hash),
        disabled_at: None,
        created_at: now,
        last_login_at: None,
    }
}

/// How good `password` would be for the user with this `email`.
///
/// # Errors
/// [`ApiError::TooManyAttempts`], [`ApiError::Overloaded`].
pub async fn strength(
    desk: &Desk,
    password: &Password,
    email: &str,
    client: &Client,
) -> Result<Strength, ApiError> {
    let _place = desk.throttle().admit_judgement(client.counted_address())?;
    Ok(desk.hasher().judge(password, email, desk.settings().password.min_length).await?)
}

/// Refuses a new password that is among the common ones.
async fn check_uncommon(
    desk: &Desk,
    field: &'static str,
    password: &Password,
    email: &str,
) -> Result<(), ApiError> {
    let strength = desk.hasher().judge(password, email, desk.settings().password.min_length).await?;
    match strength.reason {
        None => Ok(()),
        Some(reason) => Err(ApiError::ValidationFailed(Fields::from([(field, vec![reason])]))),
    }
}

/// Makes an account for whoever asks. `email`, `name` and the shape of `password` have been checked.
///
/// # Errors
/// [`ApiError::RegistrationClosed`], [`ApiError::ValidationFailed`] for a common password, [`ApiError::TooManyAttempts`], [`ApiError::EmailTaken`] (of two at once, one gets it),
/// [`ApiError::Overloaded`], [`ApiError::Unavailable`].
pub async fn register(
    desk: &Desk,
    email: String,
    password: &Password,
    name: Option<String>,
    client: &Client,
) -> Result<User, ApiError> {
    if !desk.settings().registration.open {
        return Err(ApiError::RegistrationClosed);
    }
    desk.throttle().admit_registration(desk.store(), client.counted_address(), desk.clock().now()).await?;
    check_uncommon(desk, "password", password, &email).await?;
    let hash = desk.hasher().hash(password).await?;
    let row = new_user(email, name, vec![], hash, desk.clock().now());
    let event = Event::new(EventKind::UserAdded, row.created_at).user(row.id).by(client);
    desk.store().insert_user(&row, &event).await?;
    Ok(row.into())
}

/// Gives the user another name; the user as changed.
///
/// # Errors
/// [`ApiError::Unavailable`]; [`ApiError::Gone`] when the user was deleted meanwhile.
pub async fn rename(desk: &Desk, id: Uuid, name: &str, client: &Client) -> Result<User, ApiError> {
    let event = Event::new(EventKind::UserRenamed, desk.clock().now()).user(id).by(client);
    if !desk.store().set_name(id, Some(name), &event).await? {
        return Err(desk.gone());
    }
    desk.catch_up().await?;
    desk.store().user(id).await?.map(User::from).ok_or_else(|| desk.gone())
}

/// Gives the user another password, ends every session and begins a new one, all at once; by cookie if the
/// session that asks is.
///
/// # Errors
/// [`ApiError::ValidationFailed`] for a common password; [`ApiError::PasswordWrong`] when `current` is not the password;
/// [`ApiError::TooManyAttempts`], [`ApiError::Overloaded`],
/// [`ApiError::Unavailable`]; [`ApiError::Gone`] when the user was deleted or disabled meanwhile.
pub async fn change_password(
    desk: &Desk,
    id: Uuid,
    claims: &Claims,
    current: &Password,
    new: &Password,
    client: &Client,
) -> Result<SignedIn, ApiError> {
    let place = desk.throttle().admit_judgement(client.counted_address())?;
    check_uncommon(desk, "new_password", new, claims.email.as_deref().unwrap_or_default()).await?;
    drop(place);
    let mut row = confirmed(desk, id, current, client).await?;
    let by_cookie = sessions::is_by_cookie(desk, claims).await?;
    let hash = desk.hasher().hash(new).await?;
    loop {
        let Prepared { session, refresh } = sign_in::prepare(desk, &row, &hash, client, by_cookie)?;
        let change =
            PasswordChange { old_hash: row.password_hash.as_deref(), new_hash: &hash, session: &session };
        let event =
            Event::new(EventKind::PasswordChanged, session.at).user(id).session(session.id).by(client);
        if desk.store().change_password(&change, &event).await? {
            return sign_in::signed_in(desk, row, &session, refresh).await;
        }
        row = still_confirmed(desk, row, current).await?;
    }
}

/// Deletes the user who asks, and every session. Whether the one that asked was by cookie.
///
/// # Errors
/// As [`change_password`].
pub async fn delete(
    desk: &Desk,
    id: Uuid,
    claims: &Claims,
    password: &Password,
    client: &Client,
) -> Result<bool, ApiError> {
    let mut row = confirmed(desk, id, password, client).await?;
    let by_cookie = sessions::is_by_cookie(desk, claims).await?;
    let event = Event::new(EventKind::UserDeleted, desk.clock().now()).user(id).by(client);
    while !desk.store().delete_user(id, row.password_hash.as_deref(), &event).await? {
        row = still_confirmed(desk, row, password).await?;
    }
    desk.catch_up().await?;
    Ok(by_cookie)
}

/// The user, whose password has just been typed once more: throttled as a sign-in is.
async fn confirmed(desk: &Desk, id: Uuid, password: &Password, client: &Client) -> Result<UserRow, ApiError> {
    let row =
        desk.store().user(id).await?.filter(|row| row.disabled_at.is_none()).ok_or_else(|| desk.gone())?;
    let now = desk.clock().now();
    let admitted = desk.throttle().admit(desk.store(), &row.email, client.counted_address(), now).await?;
    if !desk.hasher().verify(password, row.password_hash.as_deref()).await? {
        desk.store().record(&Event::new(EventKind::SignInFailed, now).user(id).by(client)).await?;
        return Err(ApiError::PasswordWrong);
    }
    admitted.succeeded(desk.store(), desk.clock().now()).await?;
    Ok(row)
}

/// The user of `row`, whose stored hash is another by now: of the same password, since a sign-in may have
/// brought it up to the policy's cost meanwhile.
async fn still_confirmed(desk: &Desk, row: UserRow, password: &Password) -> Result<UserRow, ApiError> {
    let now = desk.store().user(row.id).await?.filter(|now| now.disabled_at.is_none());
    let now = now.filter(|now| now.password_hash != row.password_hash).ok_or_else(|| desk.gone())?;
    match desk.hasher().verify(password, now.password_hash.as_deref()).await? {
        true => Ok(now),
        false => Err(desk.gone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_trimmed_and_in_lower_case() {
        for text in ["ada@example.com", " Ada@Example.COM ", "ADA@EXAMPLE.COM"] {
            assert_eq!(parse_email(text).as_deref(), Ok("ada@example.com"), "{text:?}");
        }
        for text in ["a@b", "o'neil+tag@mail.example.co.uk", "x_1@1.example", "root@localhost"] {
            assert_eq!(parse_email(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_plausible_address_is_refused() {
        let long_local = format!("{}@example.com", "x".repeat(65));
        let long = format!("a@{}", "x.".repeat(130));
        for text in [
            "",
            "  ",
            "ada",
            "@example.com",
            "ada@",
            "a@b@c",
            "ada@exa mple.com",
            "ada@-example.com",
            "ada@example..com",
            "adä@example.com",
            "ada@example.com\r\nBcc: x@y",
            "ada\0@example.com",
            "<ada@example.com>",
            &long_local,
            &long,
        ] {
            assert!(parse_email(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_1_to_200_characters_without_control_characters() {
        assert_eq!(parse_name("Ada Lovelace").as_deref(), Ok("Ada Lovelace"));
        assert!(parse_name(&"ä".repeat(200)).is_ok());
        for text in ["", &"ä".repeat(201), "a\nb", "a\u{7f}", "a\u{85}b"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn roles_are_sorted_and_kept_once_and_odd_ones_are_refused_by_name() {
        let roles =
            |list: &[&str]| parse_roles(&list.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>());
        assert_eq!(roles(&["editor", "admin", "editor"]), Ok(vec!["admin".into(), "editor".into()]));
        for role in ["", "Admin", "two words", "-x", ".x", "ä", &"x".repeat(33)] {
            assert!(roles(&[role]).is_err_and(|reason| reason.contains("is no role")), "{role:?}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("r{number}")).collect();
        assert!(parse_roles(&many).is_err_and(|reason| reason.contains("at most 32")));
    }
}
