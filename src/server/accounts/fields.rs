//! The fields of a user: what an e-mail address, a name and a role may be. Pure.

/// The longest e-mail address (RFC 5321 §4.5.3.1).
pub(crate) const MAX_EMAIL_BYTES: usize = 254;

/// The longest role.
const MAX_ROLE_BYTES: usize = 32;

/// The most roles a user has.
pub(crate) const MAX_ROLES: usize = 32;

/// Returns the address under which a user is stored: trimmed, and in ASCII lower case.
///
/// # Errors
/// The reason, with what is accepted: a plausible address of printable ASCII of at most 254 bytes (RFC 5321 §4.5.3.1).
pub(crate) fn parse_email(text: &str) -> Result<String, String> {
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
    if !plausible {
        return Err("is not an e-mail address like ada@example.com, in plain ASCII".into());
    }
    Ok(email)
}

/// Checks a name and returns it as given.
///
/// # Errors
/// The reason, with what is accepted: 1 to 200 characters, no control characters.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("is empty; leave it out or give 1 to 200 characters".into()),
        chars if chars > 200 => Err("is longer than 200 characters".into()),
        _ if text.chars().any(char::is_control) => Err("holds a control character".into()),
        _ => Ok(text.to_owned()),
    }
}

/// Checks roles and returns them sorted, each once.
///
/// # Errors
/// The reason, with what is accepted: at most 32 of `[a-z0-9][a-z0-9_.-]{0,31}`.
pub(crate) fn parse_roles(texts: &[String]) -> Result<Vec<String>, String> {
    for role in texts {
        let plain = role
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte));
        if !plain || role.is_empty() || role.len() > MAX_ROLE_BYTES || role.starts_with(['_', '.', '-']) {
            let shown: String = role.chars().take(MAX_ROLE_BYTES + 1).collect();
            return Err(format!(
                "{shown:?} is no role: 1 to 32 of a-z 0-9 _ . - are accepted, a letter or digit first"
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
    fn an_implausible_address_is_refused() {
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
        let reason = roles(&[&"x".repeat(10_000)]).unwrap_err();
        assert!(reason.len() < 200, "it is not repeated whole: {} bytes", reason.len());
        let many: Vec<String> = (0..33).map(|number| format!("r{number}")).collect();
        assert!(parse_roles(&many).is_err_and(|reason| reason.contains("at most 32")));
    }
}
