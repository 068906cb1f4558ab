//! Prompts on the terminal itself, even if standard input or output is redirected.
//!
//! If standard input is a terminal, dialoguer reads a hidden line through the standard library's buffer, which lives as
//! long as the process and is never wiped. So during a prompt, descriptor 0 is the null device. dialoguer then opens
//! the terminal itself, with a buffer that is freed after the prompt, and the allocator wipes it (see
//! [`wiping`](super::wiping)).

use std::fs::File;
use std::os::fd::OwnedFd;

use dialoguer::console::Term;
use dialoguer::{Confirm, Input, Password};
use secrecy::{ExposeSecret, SecretString};

use super::signals::RestoreOnSignal;
use super::wiping::Wiping;

const TERMINAL: &str = "/dev/tty";

/// The controlling terminal of the process.
#[derive(Debug)]
pub(super) struct Terminal {
    device: File,
    term: Term,
}

/// The process has no terminal.
#[derive(Debug, thiserror::Error)]
#[error("there is no terminal to ask on")]
pub(super) struct NoTerminal;

/// The reason why a prompt ended without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TerminalError {
    /// The end of input, or Enter alone.
    #[error("nothing was typed; run the command again, or see --help for how to answer without a terminal")]
    Nothing,
    /// The terminal failed.
    #[error("the terminal cannot be used: {0}")]
    Broken(#[from] std::io::Error),
}

impl From<dialoguer::Error> for TerminalError {
    fn from(error: dialoguer::Error) -> Self {
        let dialoguer::Error::IO(error) = error;
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Nothing,
            _ => Self::Broken(error),
        }
    }
}

impl Terminal {
    /// Opens the controlling terminal.
    ///
    /// # Errors
    /// [`NoTerminal`] if the process has none, as under a service manager.
    pub(super) fn open() -> Result<Self, NoTerminal> {
        let open = || -> std::io::Result<Self> {
            let device = File::options().read(true).write(true).open(TERMINAL)?;
            let term = Term::read_write_pair(device.try_clone()?, device.try_clone()?);
            Ok(Self { device, term })
        };
        open().map_err(|_| NoTerminal)
    }

    /// Prints a line.
    pub(super) fn print_line(&self, line: &str) {
        // If the terminal is gone, the next prompt fails.
        let _ = self.term.write_line(line);
    }

    /// Asks for a line without echo.
    ///
    /// # Errors
    /// [`TerminalError`], also for an empty line.
    pub(super) fn ask_hidden(&self, prompt: &str) -> Result<SecretString, TerminalError> {
        let _wiping = Wiping::begin();
        let typed = self.prompt(|term| {
            // Otherwise dialoguer would ask for ever at the end of input.
            Password::new().with_prompt(prompt).allow_empty_password(true).report(false).interact_on(term)
        })?;
        let typed = SecretString::from(typed);
        if typed.expose_secret().is_empty() { Err(TerminalError::Nothing) } else { Ok(typed) }
    }

    /// Asks for a new secret, until `check` accepts it and it was typed the same twice.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub(super) fn ask_hidden_twice(
        &self,
        prompt: &str,
        repeat_prompt: &str,
        check: impl Fn(&SecretString) -> Result<(), String>,
    ) -> Result<SecretString, TerminalError> {
        loop {
            let typed = self.ask_hidden(prompt)?;
            if let Err(reason) = check(&typed) {
                self.print_line(&reason);
            } else if self.ask_hidden(repeat_prompt)?.expose_secret() == typed.expose_secret() {
                return Ok(typed);
            } else {
                self.print_line("The two are not the same. Try again.");
            }
        }
    }

    /// Asks for a line, which may be empty.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub(super) fn ask_line(&self, prompt: &str) -> Result<String, TerminalError> {
        self.prompt(|term| {
            Input::<String>::new().with_prompt(prompt).allow_empty(true).interact_text_on(term)
        })
    }

    /// Asks for yes or no; Enter alone is no.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub(super) fn confirm(&self, question: &str) -> Result<bool, TerminalError> {
        self.prompt(|term| Confirm::new().with_prompt(question).default(false).interact_on(term))
    }

    fn prompt<T>(&self, ask: impl FnOnce(&Term) -> dialoguer::Result<T>) -> Result<T, TerminalError> {
        let _restore = RestoreOnSignal::begin(&self.device)?;
        let _input = NullInput::begin()?;
        Ok(ask(&self.term)?)
    }
}

/// Makes descriptor 0 the null device, until it is dropped.
struct NullInput(Option<OwnedFd>);

impl NullInput {
    fn begin() -> std::io::Result<Self> {
        // If standard input is closed, there is nothing to restore.
        let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok();
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self(before))
    }
}

impl Drop for NullInput {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // If this fails, the null device stays, which does no harm.
            let _ = rustix::stdio::dup2_stdin(before);
        }
    }
}
