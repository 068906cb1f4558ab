//! The errors that keep mails from being sent at all.

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
