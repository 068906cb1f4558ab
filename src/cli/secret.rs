//! Secrets that are not typed: from standard input, a descriptor, a file or the environment. Each is the first line,
//! without its line end.

use std::cell::Cell;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::error::CommandError;
use crate::server::keys::passphrase_file::{Access, first_line, line, read_passphrase_file};

/// A function that takes over a descriptor that the process was started with, by its number.
pub(super) type TakeDescriptor = fn(RawFd) -> io::Result<OwnedFd>;

thread_local! {
    /// Set while the arguments are parsed, until one of them has named a descriptor.
    static TAKE_DESCRIPTOR: Cell<Option<TakeDescriptor>> = const { Cell::new(None) };
}

/// Runs `parse` on the arguments, one of which may name a descriptor.
pub(super) fn with_descriptors<T>(take_descriptor: TakeDescriptor, parse: impl FnOnce() -> T) -> T {
    TAKE_DESCRIPTOR.set(Some(take_descriptor));
    let parsed = parse();
    TAKE_DESCRIPTOR.set(None);
    parsed
}

/// Parses the argument of `--key-fd` and takes the descriptor over. Opening it by its name under /dev/fd would fail for
/// a socket, and for a file that was opened with more rights.
fn descriptor(number: &str) -> Result<Descriptor, String> {
    match number.parse::<RawFd>() {
        Ok(0) => rustix::stdio::stdin().try_clone_to_owned(),
        // Only one: a second number could name the descriptor that now holds the first.
        Ok(number @ 3..) => match TAKE_DESCRIPTOR.take() {
            Some(take) => take(number),
            None => return Err("one descriptor is accepted".into()),
        },
        _ => return Err("0 or a number from 3 on is accepted; 1 and 2 are for output".into()),
    }
    .map(|open| Descriptor { number: number.to_owned(), open: Arc::new(Mutex::new(Some(open))) })
    .map_err(|error| format!("it cannot be read: {error}; is it open, as in {number}< file?"))
}

/// A descriptor that the process was started with.
#[derive(Debug, Clone)]
struct Descriptor {
    number: String,
    /// Open until it was read.
    open: Arc<Mutex<Option<OwnedFd>>>,
}

impl Descriptor {
    fn read(&self) -> Result<SecretString, String> {
        let name = format!("descriptor {}", self.number);
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        first_line(open.ok_or_else(|| format!("{name} was read already"))?, &name)
    }
}

/// The flags that say where the passphrase comes from if it is not typed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PassphraseSource {
    /// Read the passphrase from the first line of standard input
    #[arg(long, group = "key_source")]
    key_stdin: bool,
    /// Read the passphrase from the first line of a file that nobody else can read
    #[arg(long, group = "key_source", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read the passphrase from the first line of an open file descriptor
    #[arg(long, group = "key_source", value_name = "N", value_parser = descriptor)]
    key_fd: Option<Descriptor>,
    /// Accept a --key-file that its group can read
    #[arg(long, requires = "key_file")]
    key_file_shared: bool,
}

impl PassphraseSource {
    pub(super) fn is_given(&self) -> bool {
        self.key_stdin || self.key_file.is_some() || self.key_fd.is_some()
    }

    /// Returns the passphrase that a flag or the environment gives; `None` if it must be typed.
    pub(super) fn read(&self) -> Result<Option<SecretString>, CommandError> {
        let secret = if self.key_stdin {
            read_standard_input()
        } else if let Some(descriptor) = &self.key_fd {
            descriptor.read()
        } else if let Some(path) = &self.key_file {
            let access = if self.key_file_shared { Access::FlagShared } else { Access::Flag };
            read_passphrase_file(path, access)
        } else if let Some(key) = std::env::var_os("HALLPASS_KEY") {
            log::warn!(
                "the passphrase comes from HALLPASS_KEY: it stays in the environment of this process, where root and the same user can read it; --key-file is safer"
            );
            let key = key.into_string().map_err(|_| "HALLPASS_KEY is not UTF-8; text is accepted".to_owned());
            key.map(Zeroizing::new).and_then(|key| line(key.as_bytes(), "HALLPASS_KEY"))
        } else {
            return Ok(None);
        };
        secret.map(Some).map_err(CommandError::usage)
    }

    /// Returns the secret on the line after the passphrase, if that came from standard input.
    pub(super) fn read_next(&self) -> Result<Option<SecretString>, CommandError> {
        self.key_stdin.then(read_standard_input).transpose().map_err(CommandError::usage)
    }
}

/// Reads the first line of standard input. What follows it stays unread, for the next reader.
pub(super) fn read_standard_input() -> Result<SecretString, String> {
    first_line(rustix::stdio::stdin(), "standard input")
}
