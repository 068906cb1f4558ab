//! The errors that keep a mail, or all of them, from being sent.

/// Settings or texts with which no mail can be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// A text cannot be used; the message begins with its file and line.
    #[error("the texts of mails cannot be used: {0}")]
    Template(String),
    /// The settings are not enough, or a file of theirs cannot be read.
    #[error("{0}")]
    Settings(String),
}

/// The reason why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendError {
    /// In words, with what the mail server answered.
    pub(super) reason: String,
    /// The mail server refuses this mail for good.
    pub(super) is_final: bool,
}
