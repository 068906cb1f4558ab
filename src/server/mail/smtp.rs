//! The conversation with a mail server (RFC 5321): one connection a mail.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Severity;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::error::SendError;
use super::message::Outgoing;

/// How long a mail server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A mail server.
pub(super) struct Smtp {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    /// For one mail, from the connection to the answer.
    pub(super) timeout: Duration,
}

/// How the connection is encrypted.
pub(super) enum Encryption {
    None,
    StartTls(TlsParameters),
    Implicit(TlsParameters),
}

impl Smtp {
    /// Sends a mail.
    pub(super) async fn send(&self, mail: &Outgoing) -> Sent {
        let sent = tokio::time::timeout(self.timeout, async {
            let mut connection = self.connect().await?;
            let outcome = hand_over(&mut connection, mail).await;
            Ok(Sent { outcome, connection: Some(connection) })
        });
        let sent = sent.await.unwrap_or_else(|_| Err(self.timed_out()));
        sent.unwrap_or_else(|error| Err(error).into())
    }

    /// Connects and signs in, and leaves.
    pub(super) async fn probe(&self) -> Result<(), SendError> {
        let connected = tokio::time::timeout(self.timeout, self.connect()).await;
        let mut connection = connected.unwrap_or_else(|_| Err(self.timed_out()))?;
        let _ = tokio::time::timeout(GOODBYE, connection.abort()).await;
        Ok(())
    }

    fn timed_out(&self) -> SendError {
        let reason = format!("no answer within {} s (mail.timeout_s)", self.timeout.as_secs());
        SendError { reason, is_final: false }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let hello = ClientId::default();
        let mut connection = match &self.encryption {
            Encryption::Implicit(parameters) => {
                let (place, parameters) = ((&*self.host, self.port), Some(parameters.clone()));
                AsyncSmtpConnection::connect_tokio1(place, Some(self.timeout), &hello, parameters, None)
                    .await?
            }
            Encryption::None | Encryption::StartTls(_) => {
                let stream = TcpStream::connect((&*self.host, self.port)).await?;
                AsyncSmtpConnection::connect_with_transport(Box::new(Lines(stream)), &hello).await?
            }
        };
        if let Encryption::StartTls(parameters) = &self.encryption {
            connection.starttls(parameters.clone(), &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// A mail that the server has taken or not.
pub(super) struct Sent {
    /// What the mail server answered.
    pub(super) outcome: Result<String, SendError>,
    connection: Option<AsyncSmtpConnection>,
}

impl Sent {
    /// Says goodbye to the mail server. The outcome is to be stored before: it stands whatever becomes of the connection,
    /// and a server that dies until then sends the mail again.
    pub(super) async fn close(self) {
        if let Some(mut connection) = self.connection {
            let _ = tokio::time::timeout(GOODBYE, connection.abort()).await;
        }
    }
}

impl From<Result<String, SendError>> for Sent {
    fn from(outcome: Result<String, SendError>) -> Self {
        Self { outcome, connection: None }
    }
}

/// Sends the mail. `AsyncSmtpConnection::send` would wait for a goodbye before it tells why a mail was refused.
async fn hand_over(connection: &mut AsyncSmtpConnection, mail: &Outgoing) -> Result<String, SendError> {
    // About the sender, and not about this mail.
    connection.command(Mail::new(mail.envelope.from().cloned(), vec![])).await?;
    for recipient in mail.envelope.to() {
        connection.command(Rcpt::new(recipient.clone(), vec![])).await.map_err(of_mail)?;
    }
    connection.command(Data).await.map_err(of_mail)?;
    let answer = connection.message(&mail.bytes).await.map_err(of_mail)?;
    let text = format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "));
    // Lettre takes 3xx for success too, and has then lost count of the answers.
    match answer.code().severity {
        Severity::PositiveCompletion => Ok(text),
        _ => Err(SendError { reason: format!("not an answer to a mail: {text}"), is_final: false }),
    }
}

/// The failure of a command about the recipient or the mail. It is final for 550 to 559, which are about the mailbox or
/// the mail (RFC 5321 §4.2.3), and for 501, about the address. Others of 5xx may be mended while the mail waits.
fn of_mail(error: Error) -> SendError {
    let status = error.status().map(u16::from);
    let is_final = status.is_some_and(|status| status == 501 || (550..=559).contains(&status));
    SendError { is_final, ..error.into() }
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        Self { reason: causes(&error), is_final: false }
    }
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        Self { reason: format!("no connection: {error}"), is_final: false }
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

/// A connection that is read a line at a time. Lettre reads ahead, and takes what follows the answer to STARTTLS for
/// answers on the encrypted connection, so that whoever can alter the connection could answer in the server's place.
/// Read like this, such bytes are left for the TLS handshake, which fails.
#[derive(Debug)]
struct Lines(TcpStream);

impl AsyncRead for Lines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ahead = [0; 1024];
        let mut ahead = ReadBuf::new(&mut ahead);
        ready!(self.0.poll_peek(context, &mut ahead))?;
        let ahead = ahead.filled();
        let line = ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len(), |end| end + 1);
        let line = line.min(buffer.remaining());
        if line == 0 {
            // The end.
            return Poll::Ready(Ok(()));
        }
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(line));
        ready!(Pin::new(&mut self.0).poll_read(context, &mut piece))?;
        let read = piece.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Lines {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
