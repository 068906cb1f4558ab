//! From a text to a mail (RFC 5322). No text of a client is in it but the recipient's address, which was checked.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use uuid::Uuid;

use super::templates::Rendered;

/// A mail, ready to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
}

/// Says that no person wrote it, so that nobody's absence notice answers (RFC 3834 §5).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Reads the sender of the settings.
///
/// # Errors
/// What is wrong with it.
pub(super) fn sender(text: &str) -> Result<Mailbox, String> {
    let sender: Mailbox = text.parse().map_err(|error| format!("mail.from is {text:?}: {error}"))?;
    // Not every mail server takes others (RFC 6531).
    if !sender.email.to_string().is_ascii() {
        return Err(format!("mail.from is {text:?}: an address in ASCII is accepted"));
    }
    Ok(sender)
}

/// Makes the mail with this id. A second try has the same `Message-ID`, by which the recipient's mail program can tell
/// that they are one.
///
/// # Errors
/// What is wrong with the recipient's address.
pub(super) fn message(
    from: &Mailbox,
    recipient: &str,
    id: Uuid,
    at: DateTime<Utc>,
    text: Rendered,
) -> Result<Outgoing, String> {
    let to = recipient.parse().map_err(|error| format!("the address is not accepted: {error}"))?;
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(text.subject)
        .date(SystemTime::from(at))
        .message_id(Some(format!("<{}@{}>", id.simple(), from.email.domain())))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(text.text, text.html))
        .map_err(|error| error.to_string())?;
    Ok(Outgoing { envelope: message.envelope().clone(), bytes: message.formatted() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered() -> Rendered {
        Rendered {
            subject: "Grüße".into(),
            text: "Hello\n.\nhttps://app.example/#/reset?token=abc\n".into(),
            html: "<p>Hello</p>".into(),
        }
    }

    #[test]
    fn a_mail_says_that_no_person_wrote_it_and_keeps_its_id_in_every_try() {
        let from = sender("Example <no-reply@example.org>").unwrap();
        let (id, at) = (Uuid::from_u128(7), DateTime::from_timestamp(1_900_000_000, 0).unwrap());
        let mail = message(&from, "ada@example.com", id, at, rendered()).unwrap();
        let text = String::from_utf8(mail.bytes).unwrap();
        for line in [
            "From: Example <no-reply@example.org>\r\n",
            "To: ada@example.com\r\n",
            "Message-ID: <00000000000000000000000000000007@example.org>\r\n",
            "Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(!text.contains("Grüße"), "a header is ASCII");
        assert_eq!(mail.envelope.to()[0].to_string(), "ada@example.com");
    }

    #[test]
    fn an_address_that_would_be_more_than_one_is_refused() {
        let from = sender("no-reply@example.org").unwrap();
        let at = DateTime::from_timestamp(0, 0).unwrap();
        for address in [
            "",
            "nobody",
            "ada@example.com, eve@example.com",
            "Ada <ada@example.com>",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@example.com>\r\nRCPT TO:<eve@example.com",
        ] {
            assert!(message(&from, address, Uuid::nil(), at, rendered()).is_err(), "{address:?}");
        }
    }
}
