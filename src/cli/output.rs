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
