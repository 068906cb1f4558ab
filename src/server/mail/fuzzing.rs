//! Fuzz targets: the texts of mails.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use std::path::PathBuf;

use chrono::DateTime;
use uuid::Uuid;

use super::error::MailError;
use super::message::{message, sender};
use super::templates::{Templates, Variables};
use crate::server::model::MailKind;

/// A text of the operator's is refused at start in one line that names its file; or every mail of it has one recipient
/// and one subject of one line, whatever a client calls itself.
///
/// The input is one byte that chooses the file, and its text.
pub fn mail_template(bytes: &[u8]) {
    const NAMES: [&str; 4] = ["en/reset.jinja", "en/base.jinja", "layout.txt", "layout.html"];
    let Some((first, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let name = NAMES[usize::from(*first) % NAMES.len()];
    let file = PathBuf::from("/fuzz").join(name);
    let templates = match Templates::with(vec![(name.to_owned(), file, text.to_owned())], None, "en") {
        Ok(templates) => templates,
        Err(MailError::Template(line)) => {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(line.len() < 1_000 && line.contains("/fuzz/"), "{line:?}");
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let program = Some("<b>Firefox\r\nBcc: eve@example.com\r\n\r\n.\r\n{{ link }}");
    let variables = Variables { program, ..reset_variables() };
    // A text may compare a variable with one of its own, and then do what fails.
    let Ok(rendered) = templates.render(MailKind::Reset, &[], &variables) else { return };
    let subject = rendered.subject.clone();
    assert!(!subject.is_empty() && subject.chars().count() <= 200 && !subject.chars().any(char::is_control));
    let from = sender("Example <no-reply@example.org>").unwrap();
    let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mail = message(&from, "ada@example.com", Uuid::from_u128(7), at, rendered).unwrap();
    assert_eq!(mail.envelope.to().iter().map(ToString::to_string).collect::<Vec<_>>(), ["ada@example.com"]);
    let text = String::from_utf8_lossy(&mail.bytes);
    let head = text.split("\r\n\r\n").next().unwrap();
    let names: Vec<_> = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split_once(": ").map_or(line, |(name, _)| name))
        .collect();
    let expected =
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"];
    let sorted = |mut names: Vec<&str>| {
        names.sort_by_key(|name| name.to_ascii_lowercase());
        names.join(", ").to_ascii_lowercase()
    };
    assert_eq!(sorted(names), sorted(expected.to_vec()), "{head}");
}

/// What the mail of a reset says.
pub(super) fn reset_variables() -> Variables<'static> {
    Variables {
        link: Some("https://app.example/#/reset?token=abc&x=1".into()),
        until: Some("2026-01-31 10:30 UTC".into()),
        code: None,
        bound: false,
        host: "app.example",
        at: "2026-01-31 09:30 UTC".into(),
        address: Some("192.0.2.1"),
        program: Some("<b>Firefox</b>"),
        change: Some("second_factor_added"),
        by_admin: false,
    }
}
