//! Files of users: JSON lines or CSV, one user a line, with their roles and password hashes.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::error::CommandError;
use crate::server::accounts::{NewUser, parse_email, parse_name, parse_roles};
use crate::server::credentials::check_stored;

/// The longest line of JSON, in bytes.
const MAX_LINE: u64 = 65_536;

/// The characters of an unknown column's name that are shown.
const SHOWN_CHARS: usize = 40;

/// A line of the file, not checked yet.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Line {
    email: Option<String>,
    name: Option<String>,
    roles: Option<Roles>,
    password_hash: Option<String>,
}

/// Roles, as text separated by `;` or as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Roles {
    Text(String),
    List(Vec<String>),
}

/// A reader of either format.
pub(super) enum UserReader<R: BufRead> {
    Csv(Box<csv::DeserializeRecordsIntoIter<R, Line>>),
    Json { reader: R, number: u64 },
}

/// The number of a line, and its user or why it is refused.
pub(super) type NumberedUser = (u64, Result<NewUser, String>);

impl<R: BufRead> UserReader<R> {
    /// Reads JSON lines if the first character is `{`, otherwise CSV with a header.
    ///
    /// # Errors
    /// [`CommandError`] if the reader fails, or for a header that is not of such a file.
    pub(super) fn new(mut reader: R) -> Result<Self, CommandError> {
        let unreadable = |error| CommandError::running(format!("line 1 cannot be read: {error}"));
        if reader.fill_buf().map_err(unreadable)?.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        if reader.fill_buf().map_err(unreadable)?.first() == Some(&b'{') {
            return Ok(Self::Json { reader, number: 0 });
        }
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(reader);
        let headers = reader.headers().map_err(|error| CommandError::usage(format!("not CSV: {error}")))?;
        if !headers.iter().any(|name| name == "email") {
            return Err(CommandError::usage(
                "the first line has no column email; use the header email,name,roles,password_hash, or JSON lines",
            ));
        }
        if let Some(unknown) =
            headers.iter().find(|name| !["email", "name", "roles", "password_hash"].contains(name))
        {
            let unknown: String = unknown.chars().take(SHOWN_CHARS).collect();
            return Err(CommandError::usage(format!(
                "the column {unknown:?} is unknown; email, name, roles and password_hash are accepted"
            )));
        }
        Ok(Self::Csv(Box::new(reader.into_deserialize())))
    }

    /// Returns the next user; `None` at the end.
    ///
    /// # Errors
    /// [`CommandError`] if the reader fails.
    pub(super) fn next(&mut self) -> Result<Option<NumberedUser>, CommandError> {
        match self {
            Self::Csv(records) => {
                let line = records.reader().position().line();
                let Some(record) = records.next() else { return Ok(None) };
                // This position is where the previous record ended; that of an error is more exact.
                let at =
                    record.as_ref().err().and_then(csv::Error::position).map_or(line, csv::Position::line);
                Ok(Some((at, record.map_err(|error| reason(&error)).and_then(user))))
            }
            Self::Json { reader, number } => loop {
                *number += 1;
                let mut bytes = Vec::new();
                let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
                let unreadable =
                    |error| CommandError::running(format!("line {number} cannot be read: {error}"));
                match read.map_err(unreadable)? {
                    0 => return Ok(None),
                    read if read as u64 == MAX_LINE && bytes.last() != Some(&b'\n') => {
                        reader.skip_until(b'\n').map_err(CommandError::running)?;
                        return Ok(Some((*number, Err(format!("is longer than {MAX_LINE} bytes")))));
                    }
                    _ if bytes.trim_ascii().is_empty() => {}
                    _ => {
                        let line = serde_json::from_slice(&bytes).map_err(|error| {
                            if error.is_data() { "has a field of the wrong type" } else { "is not JSON" }
                                .to_owned()
                        });
                        return Ok(Some((*number, line.and_then(user))));
                    }
                }
            },
        }
    }
}

/// Checks the fields of a line. The error names the field, and never repeats a hash.
fn user(line: Line) -> Result<NewUser, String> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let email =
        parse_email(line.email.as_deref().unwrap_or_default()).map_err(|reason| format!("email {reason}"))?;
    let name = given(line.name)
        .map(|name| parse_name(&name))
        .transpose()
        .map_err(|reason| format!("name {reason}"))?;
    let roles = match line.roles {
        None => vec![],
        Some(Roles::List(list)) => list,
        Some(Roles::Text(text)) => {
            text.split(';').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect()
        }
    };
    let roles = parse_roles(&roles).map_err(|reason| format!("roles: {reason}"))?;
    let hash = given(line.password_hash);
    hash.as_deref().map_or(Ok(()), check_stored).map_err(|reason| format!("password_hash {reason}"))?;
    Ok(NewUser { email, name, roles, password_hash: hash, ..NewUser::default() })
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".into(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} columns, and the header has {expected_len}")
        }
        csv::ErrorKind::Deserialize { .. } => "cannot be read".into(),
        _ => "is not CSV".into(),
    }
}

/// A user as a line of an export.
#[derive(Serialize)]
pub(super) struct Exported<'a> {
    pub(super) email: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) roles: String,
    pub(super) password_hash: Option<&'a str>,
}

/// A writer of either format.
pub(super) enum UserWriter<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(W),
}

impl<W: Write> UserWriter<W> {
    pub(super) fn new(as_json: bool, out: W) -> std::io::Result<Self> {
        if as_json {
            return Ok(Self::Json(out));
        }
        let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        csv.write_record(["email", "name", "roles", "password_hash"])?;
        Ok(Self::Csv(Box::new(csv)))
    }

    pub(super) fn write(&mut self, line: &Exported<'_>) -> std::io::Result<()> {
        match self {
            Self::Csv(csv) => Ok(csv.serialize(line)?),
            Self::Json(out) => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            }
        }
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Csv(csv) => csv.flush(),
            Self::Json(out) => out.flush(),
        }
    }
}
