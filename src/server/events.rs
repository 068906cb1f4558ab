//! The record of what happened: who signed in, failed to, refreshed, left, changed what, and from where. One
//! row each, and the same in the log. What was typed is never in it: people type passwords where an address
//! belongs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Utc};
use log::{Level, Record};
use uuid::Uuid;

use crate::http::RequestId;

/// Who asks: from where, and with which program, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The address; see `server.trusted_proxies`.
    pub address: Option<IpAddr>,
    /// `User-Agent`, at most 256 characters of it.
    pub user_agent: Option<String>,
}

impl Client {
    /// The address to count tries by. Without a socket there is only a test.
    pub fn counted_address(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: EventKind,
    /// To whom; nobody where an address typed belongs to nobody.
    pub user: Option<Uuid>,
    /// In which session.
    pub session: Option<Uuid>,
    /// From where; nowhere where the operator did it at the command line.
    pub address: Option<IpAddr>,
    /// In which request.
    pub request: Option<String>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name in the record and in the log.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Somebody signed in.
    SignedIn = "signed_in",
    /// A password was wrong, or belongs to nobody, or to a disabled user.
    SignInFailed = "sign_in_failed",
    /// A session got new tokens.
    Refreshed = "refreshed",
    /// A refresh token came once more, too late to be a mishap: its session was ended.
    RefreshReused = "refresh_reused",
    /// A session was ended by its own token.
    SignedOut = "signed_out",
    /// All sessions of a user were ended.
    SignedOutEverywhere = "signed_out_everywhere",
    /// A session was ended from another.
    SessionEnded = "session_ended",
    /// A user was made.
    UserAdded = "user_added",
    /// Users were imported.
    UsersImported = "users_imported",
    /// A user has another name.
    UserRenamed = "user_renamed",
    /// A user has another password, and no earlier session.
    PasswordChanged = "password_changed",
    /// A user was disabled.
    UserDisabled = "user_disabled",
    /// A user was enabled again.
    UserEnabled = "user_enabled",
    /// A user was deleted.
    UserDeleted = "user_deleted",
    /// A new signing key was made.
    KeyAdded = "key_added",
    /// A signing key was revoked, and every token it signed.
    KeyRevoked = "key_revoked",
    /// A retired signing key was dropped, since its last token has expired.
    KeyDropped = "key_dropped",
    /// The passphrase was changed.
    PassphraseChanged = "passphrase_changed",
}

impl Event {
    /// Something that happens now, in the request that is being served, if one is.
    pub fn new(kind: EventKind, at: DateTime<Utc>) -> Self {
        let request = RequestId::current().map(|id| id.as_str().to_owned());
        Self { at, kind, user: None, session: None, address: None, request }
    }

    /// To this user.
    #[must_use]
    pub fn user(mut self, id: Uuid) -> Self {
        self.user = Some(id);
        self
    }

    /// In this session.
    #[must_use]
    pub fn session(mut self, id: Uuid) -> Self {
        self.session = Some(id);
        self
    }

    /// By this client.
    #[must_use]
    pub fn by(mut self, client: &Client) -> Self {
        self.address = client.address;
        self
    }

    /// Writes it to the log, with its fields as fields.
    pub(super) fn log(&self) {
        let fields = self.fields();
        let mut record = Record::builder();
        record.level(Level::Info).target(module_path!()).key_values(&fields);
        log::logger().log(&record.args(format_args!("{}", self.kind)).build());
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let fields = [
            ("user", self.user.map(|id| id.to_string())),
            ("session", self.session.map(|id| id.to_string())),
            ("address", self.address.map(|address| address.to_string())),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
