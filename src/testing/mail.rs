//! The mails that a server has written to a folder (`mail.url = "file:///a/folder"`), as values.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A mail, read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail {
    /// The header fields in their order: name and value, unfolded, as they were sent.
    pub headers: Vec<(String, String)>,
    /// The plain text, with line ends of one character.
    pub text: String,
    /// The HTML.
    pub html: String,
}

/// Returns the mails in a folder, in the order in which they were caused.
///
/// # Errors
/// The system's error when the folder or a mail in it cannot be read.
///
/// # Example
/// ```
/// let folder = tempfile::tempdir()?;
/// assert!(hallpass::testing::mails_in(folder.path())?.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn mails_in(folder: impl AsRef<Path>) -> std::io::Result<Vec<Mail>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    // The names begin with the time.
    paths.sort();
    paths.iter().map(|path| Ok(Mail::parse(&String::from_utf8_lossy(&std::fs::read(path)?)))).collect()
}

impl Mail {
    /// Reads a mail (RFC 5322, RFC 2045) as this server writes it: one part, or a plain and an HTML one.
    ///
    /// # Example: the link in a mail
    /// ```
    /// use hallpass::testing::Mail;
    ///
    /// let mail = Mail::parse("To: ada@example.com\r\n\r\nhttps://app.example/#/reset?token=abc\r\n");
    /// assert_eq!(mail.to(), "ada@example.com");
    /// assert_eq!(mail.link(), Some("https://app.example/#/reset?token=abc"));
    /// assert_eq!(mail.token(), Some("abc"));
    /// ```
    pub fn parse(source: &str) -> Self {
        let source = source.replace("\r\n", "\n");
        let (headers, body) = entity(&source);
        let mut mail = Self { headers, text: String::new(), html: String::new() };
        let boundary = mail
            .header("Content-Type")
            .and_then(|value| value.split_once("boundary="))
            .map(|(_, rest)| rest.trim_start_matches('"').split('"').next().unwrap_or_default().to_owned());
        let Some(boundary) = boundary else {
            mail.text = decoded(&mail.headers, body);
            return mail;
        };
        for part in body.split(&format!("--{boundary}")).skip(1) {
            let (headers, body) = entity(part.strip_prefix('\n').unwrap_or(part));
            let kind = find(&headers, "Content-Type").unwrap_or_default().to_owned();
            if kind.starts_with("text/plain") {
                mail.text = decoded(&headers, body);
            } else if kind.starts_with("text/html") {
                mail.html = decoded(&headers, body);
            }
        }
        mail
    }

    /// Returns the value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Returns the recipient.
    pub fn to(&self) -> &str {
        self.header("To").unwrap_or_default()
    }

    /// Returns the subject, decoded (RFC 2047).
    pub fn subject(&self) -> String {
        let value = self.header("Subject").unwrap_or_default();
        let words = value.split_whitespace().map(|word| {
            let encoded = word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?="));
            let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
            (bytes.is_some(), bytes.map_or(word.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into()))
        });
        let mut subject = String::new();
        let mut was_encoded = true;
        for (is_encoded, word) in words {
            // The space between two encoded words is no part of them.
            if !(subject.is_empty() || was_encoded && is_encoded) {
                subject.push(' ');
            }
            subject.push_str(&word);
            was_encoded = is_encoded;
        }
        subject
    }

    /// Returns the link in the text.
    pub fn link(&self) -> Option<&str> {
        self.text.lines().find(|line| line.starts_with("https://") || line.starts_with("http://"))
    }

    /// Returns the token in the link.
    pub fn token(&self) -> Option<&str> {
        self.link()?.split_once("token=").map(|(_, token)| token)
    }

    /// Returns the six digits beside a sign-in link.
    pub fn code(&self) -> Option<&str> {
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        self.text.lines().map(str::trim).find(is_code)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Splits header fields, unfolded, and the body.
fn entity(source: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = source.split_once("\n\n").unwrap_or((source, ""));
    let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
    let fields = unfolded.lines().filter_map(|line| line.split_once(':'));
    (fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(), body)
}

/// Returns a body as text (RFC 2045 §6).
fn decoded(headers: &[(String, String)], body: &str) -> String {
    match find(headers, "Content-Transfer-Encoding").unwrap_or_default() {
        "quoted-printable" => quoted_printable(body),
        "base64" => {
            let digits: String = body.split_whitespace().collect();
            let bytes = STANDARD.decode(digits).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
        }
        _ => body.to_owned(),
    }
}

fn quoted_printable(body: &str) -> String {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((&byte, following)) = rest.split_first() {
        let escaped = following.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'=' => {
                bytes.push(value);
                rest = &following[2..];
            }
            _ => {
                bytes.push(byte);
                rest = following;
            }
        }
    }
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_of_a_mail_are_decoded() {
        let mail = Mail::parse(
            "Subject: =?utf-8?b?R3LDvMOfZQ==?= =?utf-8?b?ISE=?= now\r\nTo: ada@example.com\r\n\
             Content-Type: multipart/alternative;\r\n boundary=\"b\"\r\n\r\n\
             --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             Gr=C3=BC=C3=9Fe =3D a long=\r\n line\r\n    123456\r\n\r\n\
             --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+\r\n--b--\r\n",
        );
        assert_eq!(mail.subject(), "Grüße!! now");
        assert_eq!(mail.text, "Grüße = a long line\n    123456\n\n");
        assert_eq!((mail.html.as_str(), mail.code(), mail.link()), ("<p>", Some("123456"), None));
    }
}
