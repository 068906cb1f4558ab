//! What commands say: results on standard output, remarks on standard error. Neither of the two panics where it cannot
//! be written.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

use super::Failed;

/// The exit status of a command whose reader has gone: that of one which the signal of that name ends, 128 + 13.
const SIGPIPE_STATUS: u8 = 141;

/// Says a line on standard output, at once.
///
/// # Errors
/// Where it cannot be written: silently where the reader has gone, as with `| head`.
pub(super) fn say(line: Arguments<'_>) -> Result<(), Failed> {
    print(format_args!("{line}\n")).map_err(|failed| match failed.message.is_empty() {
        true => failed,
        // What was done is done: whoever asked for it is told by the other way.
        false => {
            Failed { message: format!("{}; it says: {:.300}", failed.message, line.to_string()), ..failed }
        }
    })
}

/// Says a part of a line.
///
/// # Errors
/// As [`say`].
pub(super) fn print(text: Arguments<'_>) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).map_err(unwritten)
}

/// Says a line on standard error; where that cannot be written, nobody is left to be told.
pub(super) fn remark(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// What a command ends with when standard output cannot be written.
pub(super) fn unwritten(error: std::io::Error) -> Failed {
    match error.kind() {
        ErrorKind::BrokenPipe => Failed { message: String::new(), status: SIGPIPE_STATUS },
        _ => Failed::running(format!("standard output cannot be written: {error}")),
    }
}
