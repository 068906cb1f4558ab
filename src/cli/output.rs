//! Output: results on standard output, messages on standard error. If either cannot be written, nothing panics.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

use super::error::CommandError;

/// The exit status of a command whose reader has gone, as with `| head`: that of a process which SIGPIPE ends, 128 +
/// 13.
const SIGPIPE_STATUS: u8 = 141;

/// Writes a line to standard output and flushes it.
///
/// # Errors
/// [`CommandError`] if it cannot be written; its message is empty if the reader has gone.
pub(super) fn print_line(line: Arguments<'_>) -> Result<(), CommandError> {
    print(format_args!("{line}\n")).map_err(|mut error| {
        // The command has done its work; its result still reaches the operator, on standard error.
        if !error.message.is_empty() {
            error.message = format!("{}; the line was: {:.300}", error.message, line.to_string());
        }
        error
    })
}

/// Writes text to standard output and flushes it.
///
/// # Errors
/// [`CommandError`] if it cannot be written; its message is empty if the reader has gone.
pub(super) fn print(text: Arguments<'_>) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).map_err(output_error)
}

/// Returns a text in which characters that turn or break the line, or that cannot be seen, are written as their
/// numbers.
pub(super) fn plain(text: &str) -> String {
    escape(text, |character| format!("\\u{{{:x}}}", u32::from(character)))
}

/// Returns JSON in which such characters are written as JSON's own escapes: the value stays the same.
pub(super) fn plain_json(json: &str) -> String {
    // What is broken on purpose are the lines between values.
    escape(json, |character| match character {
        '\n' => "\n".to_owned(),
        other => format!("\\u{:04x}", u32::from(other)),
    })
}

fn escape(text: &str, write: impl Fn(char) -> String) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            character if character.is_control() => escaped += &write(character),
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {
                escaped += &write(character);
            }
            character => escaped.push(character),
        }
        escaped
    })
}

/// Writes a line to standard error. A failure is ignored: there is nowhere left to report it.
pub(super) fn eprint_line(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Returns the error of a command whose standard output cannot be written.
pub(super) fn output_error(error: std::io::Error) -> CommandError {
    match error.kind() {
        ErrorKind::BrokenPipe => CommandError { message: String::new(), status: SIGPIPE_STATUS },
        _ => CommandError::running(format!("standard output cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_turn_or_break_the_line_are_written_as_numbers() {
        assert_eq!(
            plain("a\u{202e}b\u{2028}c\nd\u{1b}e\u{85}"),
            "a\\u{202e}b\\u{2028}c\\u{a}d\\u{1b}e\\u{85}"
        );
        assert_eq!(plain("Ärger 👩\u{200d}🚀"), "Ärger 👩\u{200d}🚀");
        let value = serde_json::json!({"name": "a\u{202e}\u{2028}\n"});
        let json = plain_json(&format!("{value:#}"));
        assert_eq!(json, "{\n  \"name\": \"a\\u202e\\u2028\\n\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }
}
