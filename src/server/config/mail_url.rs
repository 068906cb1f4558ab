//! The URL of the mail server, or of a folder for mails.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where mails are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailUrl {
    /// A mail server.
    Smtp(MailServer),
    /// A folder: each mail is written to a file of its own. For development and tests.
    Folder(PathBuf),
    /// The same, and the log shows each link: whoever reads the log can use it. For `hallpass demo`; no text is read as this.
    Shown(PathBuf),
}

/// A mail server (RFC 5321).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailServer {
    /// The user to sign in as; none to send without a sign-in.
    pub user: Option<String>,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The encryption.
    pub tls: MailTls,
    /// The URL as it was given.
    url: String,
}

/// The encryption of the connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailTls {
    /// None: the loopback alone.
    None,
    /// STARTTLS, required (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
}

/// Asks for STARTTLS on the loopback too.
const TLS_REQUIRED: &str = "?tls=required";

const ACCEPTED: &str = "smtp://user@host:587, smtps://user@host or file:///a/folder is accepted";

impl FromStr for MailUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if url.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err(ACCEPTED.into());
        }
        let (scheme, rest) = url.split_once("://").ok_or(ACCEPTED)?;
        if scheme == "file" {
            let is_path = rest.starts_with('/') && !rest.contains(['?', '#']);
            return is_path.then(|| Self::Folder(rest.into())).ok_or_else(|| ACCEPTED.to_owned());
        }
        if !matches!(scheme, "smtp" | "smtps") {
            return Err(ACCEPTED.into());
        }
        let (rest, is_required) = rest.strip_suffix(TLS_REQUIRED).map_or((rest, false), |rest| (rest, true));
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(
                "a URL without a password is accepted; the password belongs in mail.password_file".into()
            );
        }
        if user.is_some_and(|user| user.is_empty() || user.contains(['%', '/', '?', '#'])) {
            return Err(format!("{ACCEPTED}; the user is written as it is, without percent-encoding"));
        }
        let (host, port) = host_and_port(place).ok_or(ACCEPTED)?;
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        let (tls, usual) = match scheme {
            "smtps" => (MailTls::Implicit, 465),
            _ if is_loopback && !is_required => (MailTls::None, 25),
            _ => (MailTls::StartTls, 587),
        };
        Ok(Self::Smtp(MailServer {
            user: user.map(str::to_owned),
            host,
            port: port.unwrap_or(usual),
            tls,
            url: url.to_owned(),
        }))
    }
}

/// Reads `host`, `host:port` and `[::1]:port`.
fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let end = place.find(':').unwrap_or(place.len());
            let (host, port) = place.split_at(end);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_name) {
                return None;
            }
            (host, port)
        }
    };
    let port = match port {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?),
    };
    Some((host.to_ascii_lowercase(), port))
}

impl fmt::Display for MailUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(server) => f.write_str(&server.url),
            Self::Folder(path) | Self::Shown(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starttls_is_required_everywhere_but_on_the_loopback() {
        let table = [
            ("smtp://ada@mail.example.com:2587", Some("ada"), "mail.example.com", 2587, MailTls::StartTls),
            (
                "smtp://ada@example.com@mail.example.com",
                Some("ada@example.com"),
                "mail.example.com",
                587,
                MailTls::StartTls,
            ),
            ("smtps://ada@Mail.Example.com/", Some("ada"), "mail.example.com", 465, MailTls::Implicit),
            ("smtp://127.0.0.1:2525", None, "127.0.0.1", 2525, MailTls::None),
            ("smtp://[::1]:2525", None, "::1", 2525, MailTls::None),
            ("smtp://localhost", None, "localhost", 25, MailTls::None),
            ("smtp://localhost:2525?tls=required", None, "localhost", 2525, MailTls::StartTls),
            ("smtp://10.0.0.1", None, "10.0.0.1", 587, MailTls::StartTls),
            ("smtp://localhost.example.com", None, "localhost.example.com", 587, MailTls::StartTls),
        ];
        for (url, user, host, port, tls) in table {
            let Ok(MailUrl::Smtp(server)) = url.parse() else { panic!("{url}") };
            assert_eq!(
                (server.user.as_deref(), &*server.host, server.port, server.tls),
                (user, host, port, tls),
                "{url}"
            );
            assert_eq!(MailUrl::Smtp(server).to_string(), url);
        }
        assert_eq!("file:///tmp/mails".parse(), Ok(MailUrl::Folder("/tmp/mails".into())));
    }

    #[test]
    fn a_url_that_is_not_understood_or_holds_a_password_is_refused() {
        for url in [
            "",
            "mail.example.com",
            "http://mail.example.com",
            "smtp://",
            "smtp://@mail.example.com",
            "smtp://ada%40x@mail.example.com",
            "smtp://mail.example.com:0",
            "smtp://mail.example.com:x",
            "smtp://mail.example.com/path",
            "smtp://[zz]:25",
            "smtp://mail.example.com\r\nX: y",
            "file://relative",
            "file:///folder?x",
        ] {
            assert!(url.parse::<MailUrl>().unwrap_err().contains("is accepted"), "{url:?}");
        }
        let refused = "smtp://ada:hunter2@mail.example.com".parse::<MailUrl>().unwrap_err();
        assert!(refused.contains("mail.password_file") && !refused.contains("hunter2"), "{refused}");
    }
}
