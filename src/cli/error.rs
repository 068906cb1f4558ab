//! Errors of commands: one line for the operator, and an exit status.

use std::fmt::Display;

use crate::server::config::ConfigError;
use crate::server::error::Error;
use crate::server::keys::KeysError;
use crate::server::store::StoreError;

/// The reason why a command failed: the line that the operator sees (none if it is empty), and the exit status.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) message: String,
    pub(super) status: u8,
}

impl CommandError {
    /// An error while running: exit status 1.
    pub(super) fn running(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 1 }
    }

    /// Wrong usage or configuration: exit status 2.
    pub(super) fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 2 }
    }

    /// A wrong passphrase: exit status 3.
    pub(super) fn passphrase(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 3 }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::running(error)
    }
}

impl From<KeysError> for CommandError {
    fn from(error: KeysError) -> Self {
        Self::running(error)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::running(error)
    }
}
