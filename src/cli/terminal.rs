//! Prompts, drawn on the terminal itself whatever is redirected.
//!
//! dialoguer reads a hidden line from standard input where that is a terminal, through a buffer of the
//! standard library that lives as long as the process and is never wiped. So while a prompt runs,
//! descriptor 0 is the null device; dialoguer then opens the terminal afresh, and its buffer goes with the
//! prompt, wiped by the allocator (see [`wiping`](super::wiping)).

use std::fs::File;
use std::os::fd::OwnedFd;

use dialoguer::console::Term;
use dialoguer::{Confirm, Input, Password};
use secrecy::{ExposeSecret, SecretString};

use super::signals::PromptOn;
use super::wiping::Wiping;

const TERMINAL: &str = "/dev/tty";

/// The terminal that the process belongs to.
#[derive(Debug)]
pub(super) struct Terminal {
    device: File,
    term: Term,
}

/// There is no terminal to ask on.
#[derive(Debug, thiserror::Error)]
#[error("there is no terminal to ask on")]
pub(super) struct NoTerminal;

/// What ends a prompt without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TerminalError {
    /// The end of input, or Enter alone.
    #[error("nothing was typed; run it again, or see --help for how to give it without a terminal")]
    Nothing,
    /// The terminal failed.
    #[error("the terminal cannot be asked: {0}")]
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
    /// [`NoTerminal`] where the process has none, as under a service manager.
    pub(super) fn open() -> Result<Self, NoTerminal> {
        let open = || -> std::io::Result<Self> {
            let device = File::options().read(true).write(true).open(TERMINAL)?;
            let term = Term::read_write_pair(device.try_clone()?, device.try_clone()?);
            Ok(Self { device, term })
        };
        open().map_err(|_| NoTerminal)
    }

    /// Shows a line.
    pub(super) fn say(&self, line: &str) {
        // A terminal that has gone is noticed by the next question.
        let _ = self.term.write_line(line);
    }

    /// Asks for a line that is not shown.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub(super) fn ask_hidden(&self, prompt: &str) -> Result<SecretString, TerminalError> {
        let _wiping = Wiping::begin();
        let typed = self.prompt(|term| {
            // Without this dialoguer would ask for ever at the end of input.
            Password::new().with_prompt(prompt).allow_empty_password(true).report(false).interact_on(term)
        })?;
        let typed = SecretString::from(typed);
        match typed.expose_secret().is_empty() {
            true => Err(TerminalError::Nothing),
            false => Ok(typed),
        }
    }

    /// Asks for a new secret until `judge` takes it and it is typed twice alike.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub(super) fn ask_hidden_twice(
        &self,
        prompt: &str,
        again: &str,
        judge: impl Fn(&SecretString) -> Result<(), String>,
    ) -> Result<SecretString, TerminalError> {
        loop {
            let typed = self.ask_hidden(prompt)?;
            if let Err(reason) = judge(&typed) {
                self.say(&reason);
            } else if self.ask_hidden(again)?.expose_secret() == typed.expose_secret() {
                return Ok(typed);
            } else {
                self.say("The two differ; once more.");
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
        let _on = PromptOn::begin(&self.device)?;
        let _input = NullInput::begin()?;
        Ok(ask(&self.term)?)
    }
}

/// While it lives, descriptor 0 is the null device.
struct NullInput(Option<OwnedFd>);

impl NullInput {
    fn begin() -> std::io::Result<Self> {
        // Nothing to keep where standard input is closed.
        let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok();
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self(before))
    }
}

impl Drop for NullInput {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // It was a good descriptor a moment ago; if not now, the null device stays, which is harmless.
            let _ = rustix::stdio::dup2_stdin(before);
        }
    }
}
