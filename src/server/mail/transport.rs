//! Where mails go, by the settings: to the mail server, or to a folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::TlsParameters;
use uuid::Uuid;

use super::error::{MailError, SendError};
use super::message::Outgoing;
use super::smtp::{Encryption, Sent, Smtp};
use crate::server::config::{self, MailServer, MailTls, MailUrl};

/// The way that mails take.
#[derive(Debug)]
pub(super) enum Transport {
    Smtp(Box<Smtp>),
    Folder(PathBuf),
}

impl Transport {
    /// Reads the settings. Nothing is connected.
    ///
    /// # Errors
    /// [`MailError`] for a file that cannot be read, and for certificates that cannot be.
    pub(super) fn open(url: &MailUrl, settings: &config::Mail) -> Result<Self, MailError> {
        match url {
            MailUrl::Folder(path) | MailUrl::Shown(path) => {
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
        let encryption = match server.tls {
            MailTls::None => Encryption::None,
            MailTls::StartTls => Encryption::StartTls(parameters()?),
            MailTls::Implicit => Encryption::Implicit(parameters()?),
        };
        let credentials = match (&server.user, &settings.password_file) {
            (Some(user), Some(path)) => Some(Credentials::new(user.clone(), password(path)?)),
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
            (None, None) => None,
        };
        let (host, port, timeout) = (server.host.clone(), server.port, settings.timeout);
        Ok(Self::Smtp(Box::new(Smtp { host, port, encryption, credentials, timeout })))
    }

    /// Connects and signs in, or writes a file that is deleted at once. Returns the name of the mail server or folder.
    pub(super) async fn probe(&self) -> Result<String, SendError> {
        match self {
            Self::Smtp(server) => {
                let reason = |error: SendError| format!("{}:{}: {}", server.host, server.port, error.reason);
                let probed = server.probe().await;
                probed.map_err(|error| SendError { reason: reason(error), is_final: false })?;
                Ok(format!("{}:{}", server.host, server.port))
            }
            Self::Folder(folder) => match tempfile::NamedTempFile::new_in(folder) {
                Ok(_) => Ok(format!("the folder {}", folder.display())),
                Err(error) => {
                    let reason = format!("the folder {} cannot be written: {error}", folder.display());
                    Err(SendError { reason, is_final: false })
                }
            },
        }
    }

    /// Sends a mail.
    pub(super) async fn send(&self, mail: Outgoing, (id, at): (Uuid, DateTime<Utc>)) -> Sent {
        match self {
            Self::Smtp(server) => server.send(&mail).await,
            Self::Folder(folder) => {
                let folder = folder.clone();
                // The same name in every try, so that one mail is one file; the time sorts them.
                let name = format!("{}-{}.eml", at.format("%Y%m%dT%H%M%S%.3fZ"), id.simple());
                let written = tokio::task::spawn_blocking(move || write(&folder, &name, &mail.bytes)).await;
                let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
                let failure =
                    |error| SendError { reason: format!("it cannot be written: {error}"), is_final: false };
                written.map_err(failure).into()
            }
        }
    }
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
