//! Mails: their tokens, their texts, and the worker that sends them.
//!
//! Whoever causes a mail adds it to the outbox, in the transaction that causes it ([`NewMail`](super::model::NewMail),
//! `tx.insert_mail`). The worker looks up what the mail needs, makes its token and sends it.
//!
//! | file | what it owns |
//! |---|---|
//! | `token` | tokens and codes in mails: made, sealed, compared |
//! | `templates` | the texts, built in or the operator's |
//! | `message` | from a text to a mail (RFC 5322) |
//! | `transport` | where mails go, by the settings: to the mail server, or to a folder |
//! | `smtp` | the conversation with the mail server |
//! | `outbox` | what a mail that is due needs: its user, its token |
//! | `mailer` | the worker: what is due, claimed, sent, delayed or given up |

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod mailer;
mod message;
mod outbox;
mod smtp;
mod templates;
mod token;
mod transport;

pub use error::MailError;
pub use mailer::{Mailer, Outcomes};
pub(crate) use mailer::{check, probe, send_test};
pub(crate) use token::{MailTokens, digest, random_token, to_hex};
