//! Mails that wait to be sent, and the tokens in them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Client, Digest, Event, UserRecord};

macro_rules! named {
    ($(#[$about:meta])* $Name:ident { $($(#[$doc:meta])* $item:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $Name {
            $($(#[$doc])* $item,)*
        }

        impl $Name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$item),*];

            /// Returns its name in the database.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$item => $text,)*
                }
            }

            /// Returns the one of this name; `None` if only a newer server knows it.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.name() == name)
            }
        }
    };
}

named! {
    /// The kinds of mails. The name of a kind is that of its template.
    MailKind {
        /// A link to verify the address.
        Verify = "verify",
        /// A link to choose another password.
        Reset = "reset",
        /// A link to choose the first password of an account that somebody else made.
        Invite = "invite",
        /// Somebody tried to register with an address that has an account.
        Taken = "taken",
        /// A link to make the address the account's, to the new address.
        Change = "change",
        /// Somebody asked for another address, to the old one.
        ChangeAsked = "change_asked",
        /// The address was changed, with a link that takes it back, to the old one.
        Changed = "changed",
        /// The password was changed.
        PasswordChanged = "password_changed",
        /// A second factor or a recovery code was added, removed or used.
        SecondFactors = "second_factors",
        /// A link and a code to sign in.
        Link = "link",
    }
}

named! {
    /// The purpose of a token that was sent by mail.
    MailPurpose {
        /// To verify the address.
        Verify = "verify",
        /// To choose another password.
        Reset = "reset",
        /// To choose the first password.
        Invite = "invite",
        /// To make another address the account's.
        Change = "change",
        /// To take a change of the address back.
        Undo = "undo",
        /// To sign in.
        Link = "link",
    }
}

impl MailKind {
    /// Returns the purpose of the token in the mail; `None` for a mail without one.
    pub fn purpose(self) -> Option<MailPurpose> {
        match self {
            Self::Verify => Some(MailPurpose::Verify),
            Self::Reset => Some(MailPurpose::Reset),
            Self::Invite => Some(MailPurpose::Invite),
            Self::Change => Some(MailPurpose::Change),
            Self::Changed => Some(MailPurpose::Undo),
            Self::Link => Some(MailPurpose::Link),
            Self::Taken | Self::ChangeAsked | Self::PasswordChanged | Self::SecondFactors => None,
        }
    }
}

/// A mail to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// The id.
    pub id: Uuid,
    /// The kind.
    pub kind: MailKind,
    /// Trimmed and in lower case.
    pub recipient: String,
    /// The user it is about; `None` where only an address was given, which is looked up when the mail is sent.
    pub user: Option<Uuid>,
    /// The details of the request, for the text.
    pub details: MailDetails,
    /// The time.
    pub at: DateTime<Utc>,
}

impl NewMail {
    /// Returns a mail that a request of `client` causes at `at`.
    pub fn new(
        kind: MailKind,
        recipient: &str,
        user: Option<Uuid>,
        client: &Client,
        at: DateTime<Utc>,
    ) -> Self {
        let details = MailDetails::of(client);
        Self { id: Uuid::now_v7(), kind, recipient: recipient.to_owned(), user, details, at }
    }

    /// Returns the notice to `user` of an event of their second factors, which a request of `client` caused.
    pub(crate) fn of_second_factors(event: &Event, user: &UserRecord, client: &Client) -> Self {
        let mut mail = Self::new(MailKind::SecondFactors, &user.email, Some(user.id), client, event.at);
        mail.details.change = Some(event.kind.name().to_owned());
        mail
    }
}

/// The details of the request that caused a mail. No text of a client is in it: browsers and systems are chosen
/// from a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MailDetails {
    /// The client's address; `None` for the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The browser and the system, like `Firefox, Windows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The languages that the client accepts, the best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// SHA-256 of the cookie of the browser that asked, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    /// The kind of the event that a notice is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// An admin asked, or the operator.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_admin: bool,
}

/// A mail that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingMail {
    /// The id.
    pub id: Uuid,
    /// The kind, as text: a newer server may have written one that this server does not know.
    pub kind: String,
    /// The address.
    pub recipient: String,
    /// The user it is about.
    pub user: Option<Uuid>,
    /// The details of the request, for the text.
    pub details: MailDetails,
    /// The token in it, if it has one already.
    pub token: Option<SealedToken>,
    /// The time at which it was caused.
    pub created_at: DateTime<Utc>,
    /// No server sends it before this time.
    pub next_try_at: DateTime<Utc>,
    /// The tries so far.
    pub tries: u32,
    /// The reason why the last one failed.
    pub last_error: Option<String>,
}

/// A token in a mail that waits, as it is stored beside the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedToken {
    /// SHA-256 of the token.
    pub digest: Digest,
    /// The token, sealed.
    pub sealed: Vec<u8>,
}

/// A token that was sent by mail, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailToken {
    /// SHA-256 of the token.
    pub digest: Digest,
    /// The purpose.
    pub purpose: MailPurpose,
    /// The account.
    pub user: Uuid,
    /// The address that it is about: the one to verify, the new one of a change, the old one of an undo.
    pub email: String,
    /// HMAC of the code beside a sign-in link.
    pub code: Option<Digest>,
    /// SHA-256 of the cookie of the browser that asked for a sign-in link.
    pub browser: Option<Digest>,
    /// The time at which it was made.
    pub created_at: DateTime<Utc>,
    /// The time from which it no longer works.
    pub expires_at: DateTime<Utc>,
}

impl MailDetails {
    /// Returns what a mail says about a request of `client`.
    pub fn of(client: &Client) -> Self {
        Self {
            address: client.address.map(|address| address.to_string()),
            program: client.user_agent.as_deref().and_then(program),
            languages: client.languages.clone(),
            browser: None,
            change: None,
            by_admin: false,
        }
    }
}

/// Returns the browser and the system that a `User-Agent` names, from a list: the text of a client is never in a mail.
fn program(user_agent: &str) -> Option<String> {
    // The first one that fits: browsers name others before them.
    const BROWSERS: &[(&str, &str)] = &[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    const SYSTEMS: &[(&str, &str)] = &[
        ("Windows", "Windows"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("Android", "Android"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let find = |list: &[(&str, &'static str)]| {
        list.iter().find(|(part, _)| user_agent.contains(part)).map(|(_, name)| *name)
    };
    let names: Vec<_> = [find(BROWSERS), find(SYSTEMS)].into_iter().flatten().collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_names_browsers_and_systems_of_a_list_and_no_text_of_a_client() {
        let table = [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                Some("Firefox, Linux"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36 Edg/139.0",
                Some("Edge, Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1",
                Some("Safari, iPhone"),
            ),
            ("curl/8.14.1", Some("curl")),
            ("win a prize at http://evil.example", None),
            ("Firefox/1 http://evil.example", Some("Firefox")),
        ];
        for (text, expected) in table {
            assert_eq!(program(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_read_back() {
        for kind in MailKind::ALL {
            assert_eq!(MailKind::named(kind.name()), Some(*kind));
        }
        assert_eq!(MailPurpose::named("of a newer server"), None);
    }
}
