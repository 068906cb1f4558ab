//! The mail server (SMTP, RFC 5321), or a folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use uuid::Uuid;

use super::error::MailError;
use super::message::Outgoing;
use crate::server::config::{self, MailServer, MailTls, MailUrl};

/// The way that mails take.
pub(super) enum Transport {
    Smtp { smtp: AsyncSmtpTransport<Tokio1Executor>, timeout: Duration },
    Folder(PathBuf),
}

/// The reason why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendError {
    /// In words, with what the mail server answered.
    pub(super) reason: String,
    /// The mail server refuses this mail for good.
    pub(super) is_final: bool,
}

/// The answers that refuse this mail for good: 550 to 559 are about the mailbox or the mail (RFC 5321 §4.2.3), 501
/// about the address. Others of 5xx, as after a wrong password of ours, may be mended while the mail waits.
fn is_final(status: u16) -> bool {
    status == 501 || (550..=559).contains(&status)
}

impl Transport {
    /// Reads the settings. Nothing is connected.
    ///
    /// # Errors
    /// [`MailError`] for a file that cannot be read, and for certificates that cannot be.
    pub(super) fn open(url: &MailUrl, settings: &config::Mail) -> Result<Self, MailError> {
        match url {
            MailUrl::Folder(path) => {
                std::fs::create_dir_all(path).map_err(|error| {
                    MailError::Settings(format!("mail.url names the folder {}: {error}", path.display()))
                })?;
                Ok(Self::Folder(path.clone()))
            }
            MailUrl::Smtp(server) => Self::smtp(server, settings),
        }
    }

    fn smtp(server: &MailServer, settings: &config::Mail) -> Result<Self, MailError> {
        let parameters = || {
            TlsParameters::new(server.host.clone()).map_err(|error| {
                MailError::Settings(format!("TLS to {} cannot be set up: {error}", server.host))
            })
        };
        let tls = match server.tls {
            MailTls::None => Tls::None,
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::Implicit => Tls::Wrapper(parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            .timeout(Some(settings.timeout));
        match (&server.user, &settings.password_file) {
            (Some(user), Some(path)) => {
                builder = builder.credentials(Credentials::new(user.clone(), password(path)?));
            }
            (Some(_), None) => {
                return Err(MailError::Settings(
                    "mail.url names a user, and mail.password_file is not set; name the file with the password".into(),
                ));
            }
            (None, Some(_)) => {
                return Err(MailError::Settings(
                    "mail.password_file is set, and mail.url names no user, as in smtp://user@host".into(),
                ));
            }
            (None, None) => {}
        }
        Ok(Self::Smtp { smtp: builder.build(), timeout: settings.timeout })
    }

    /// Sends a mail and returns what the mail server answered.
    pub(super) async fn send(
        &self,
        mail: Outgoing,
        (id, at): (Uuid, DateTime<Utc>),
    ) -> Result<String, SendError> {
        match self {
            Self::Smtp { smtp, timeout } => {
                let sending = smtp.send_raw(&mail.envelope, &mail.bytes);
                let Ok(sent) = tokio::time::timeout(*timeout, sending).await else {
                    let reason = format!("no answer within {} s (mail.timeout_s)", timeout.as_secs());
                    return Err(SendError { reason, is_final: false });
                };
                sent.map(|answer| {
                    format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "))
                })
                .map_err(|error| {
                    let status = error.status().map(u16::from);
                    SendError { reason: causes(&error), is_final: status.is_some_and(is_final) }
                })
            }
            Self::Folder(folder) => {
                let folder = folder.clone();
                // The same name in every try, so that one mail is one file; the time sorts them.
                let name = format!("{}-{}.eml", at.format("%Y%m%dT%H%M%S%.3fZ"), id.simple());
                let written = tokio::task::spawn_blocking(move || write(&folder, &name, &mail.bytes)).await;
                let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
                written.map_err(|error| SendError {
                    reason: format!("it cannot be written: {error}"),
                    is_final: false,
                })
            }
        }
    }
}

/// Returns an error with its causes, as one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// Writes a mail to a file that its owner alone can read, which is there completely or not at all.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<String> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let path = folder.join(name);
    file.persist(&path).map_err(|error| error.error)?;
    Ok(format!("written to {}", path.display()))
}

fn password(path: &Path) -> Result<String, MailError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        MailError::Settings(format!("mail.password_file {} cannot be read: {error}", path.display()))
    })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(MailError::Settings(format!(
            "mail.password_file {} is empty; its first line is the password",
            path.display()
        )));
    }
    Ok(line.to_owned())
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Smtp { .. } => f.write_str("Smtp"),
            Self::Folder(path) => f.debug_tuple("Folder").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_given_up_only_for_what_the_server_says_about_the_mailbox_or_the_mail() {
        for (status, expected) in
            [(550, true), (553, true), (501, true), (421, false), (451, false), (535, false), (530, false)]
        {
            assert_eq!(is_final(status), expected, "{status}");
        }
    }
}
