//! Fuzz targets: files of users.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use super::user_file::{Exported, UserReader, UserWriter};
use crate::server::accounts::{NewUser, parse_email, parse_name, parse_roles};
use crate::server::credentials::check_stored;

/// The longest reason for a refused line, in bytes.
const LONGEST_REASON: usize = 600;

/// The lines of a file are users with acceptable fields, who read the same when they are exported; or they are refused
/// with a short reason in one line.
pub fn import(bytes: &[u8]) {
    let Some(users) = users_of(bytes) else { return };
    for user in &users {
        assert_eq!(parse_email(&user.email).as_ref(), Ok(&user.email));
        assert!(user.name.as_ref().is_none_or(|name| parse_name(name).as_ref() == Ok(name)));
        assert_eq!(parse_roles(&user.roles).as_ref(), Ok(&user.roles));
        assert!(user.password_hash.as_ref().is_none_or(|hash| check_stored(hash).is_ok()));
        assert!(!user.email_is_verified, "nobody vouches for the address");
    }
    for as_json in [true, false] {
        let mut file = Vec::new();
        let mut writer = UserWriter::new(as_json, &mut file).unwrap();
        for NewUser { email, name, roles, password_hash, .. } in &users {
            let (name, password_hash) = (name.as_deref(), password_hash.as_deref());
            writer.write(&Exported { email, name, roles: roles.join(";"), password_hash }).unwrap();
        }
        writer.flush().unwrap();
        drop(writer);
        if users.is_empty() {
            continue;
        }
        let again = users_of(&file).unwrap();
        assert_eq!(format!("{again:?}"), format!("{users:?}"), "as JSON: {as_json}");
    }
}

/// Returns the users that a file adds; `None` where it is no such file.
fn users_of(bytes: &[u8]) -> Option<Vec<NewUser>> {
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    let mut reader = match UserReader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => {
            assert!(is_short_line(&error.message), "{error:?}");
            return None;
        }
    };
    let (mut users, mut count) = (vec![], 0);
    while let Some((number, user)) = reader.next().unwrap_or_else(|error| panic!("{error:?}")) {
        count += 1;
        assert!((1..=lines).contains(&number) && count <= lines, "line {number} of {lines}");
        match user {
            Ok(user) => users.push(user),
            Err(reason) => assert!(is_short_line(&reason), "{reason:?}"),
        }
    }
    Some(users)
}

fn is_short_line(text: &str) -> bool {
    text.len() <= LONGEST_REASON && !text.chars().any(char::is_control)
}
