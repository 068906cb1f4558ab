//! The events that are recorded: sign-ins, failures, refreshes, sign-outs and changes, with the client's address. Each
//! is one row and one line of the log. Typed text is never recorded, because people type passwords into the e-mail
//! field.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use log::{Level, Record};
use uuid::Uuid;

use super::Client;

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<K = EventKind> {
    /// The time.
    pub at: DateTime<Utc>,
    /// The kind.
    pub kind: K,
    /// The user it is about; none where the typed address has no account.
    pub user: Option<Uuid>,
    /// The session it is about.
    pub session: Option<Uuid>,
    /// The client's address; none for the command line.
    pub address: Option<IpAddr>,
    /// The request id.
    pub request: Option<String>,
    /// Further details, by name.
    pub details: serde_json::Map<String, serde_json::Value>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// The kinds of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The names of every kind, in the same order.
            pub(crate) const NAMES: &[&'static str] = &[$($name),*];

            /// Returns its name in the database and in the log.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A user signed in.
    SignedIn = "signed_in",
    /// A sign-in failed: wrong password, unknown address or disabled user.
    SignInFailed = "sign_in_failed",
    /// A password was right, and a second factor was asked for.
    SecondFactorAsked = "second_factor_asked",
    /// An answer to that was wrong, or was used before.
    SecondFactorFailed = "second_factor_failed",
    /// A recovery code was used.
    RecoveryCodeUsed = "recovery_code_used",
    /// A user added a second factor.
    SecondFactorAdded = "second_factor_added",
    /// A user removed a second factor.
    SecondFactorRemoved = "second_factor_removed",
    /// A user renamed a passkey.
    PasskeyRenamed = "passkey_renamed",
    /// The signature counter of a passkey has not grown: somebody may have copied it. The sign-in was refused.
    PasskeyCloned = "passkey_cloned",
    /// A user made new recovery codes.
    RecoveryCodesMade = "recovery_codes_made",
    /// An admin or the operator removed every second factor of a user.
    SecondFactorsReset = "second_factors_reset",
    /// A session got new tokens.
    Refreshed = "refreshed",
    /// A used refresh token was presented after the grace period: the session was ended.
    RefreshReused = "refresh_reused",
    /// A session was ended by its own token.
    SignedOut = "signed_out",
    /// All sessions of a user were ended.
    SignedOutEverywhere = "signed_out_everywhere",
    /// Every session of every user was ended.
    AllSessionsEnded = "all_sessions_ended",
    /// A session was ended from another.
    SessionEnded = "session_ended",
    /// A user was added.
    UserAdded = "user_added",
    /// Users were imported.
    UsersImported = "users_imported",
    /// A user's name was changed.
    UserRenamed = "user_renamed",
    /// A user's roles were changed.
    UserRolesChanged = "user_roles_changed",
    /// An admin said whether a user's address is verified.
    EmailVerificationSet = "email_verification_set",
    /// A user's password was changed and every earlier session ended.
    PasswordChanged = "password_changed",
    /// An admin sent a user a link to choose another password. Every session ended.
    PasswordResetAsked = "password_reset_asked",
    /// A user chose another password with a link from a mail. Every session ended.
    PasswordReset = "password_reset",
    /// A user proved to read the mail of the address.
    EmailVerified = "email_verified",
    /// Somebody tried to register with an address that has an account.
    EmailTaken = "email_taken",
    /// A user asked for another address.
    EmailChangeAsked = "email_change_asked",
    /// A user's address was changed.
    EmailChanged = "email_changed",
    /// A change of the address was taken back. Every session ended, and the password no longer works.
    EmailChangeUndone = "email_change_undone",
    /// A mail was sent.
    MailSent = "mail_sent",
    /// A mail could not be sent, and will be tried again.
    MailDelayed = "mail_delayed",
    /// A mail was given up.
    MailFailed = "mail_failed",
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
    /// A retired signing key was removed after its last token had expired.
    KeyDropped = "key_dropped",
    /// The passphrase was changed.
    PassphraseChanged = "passphrase_changed",
    /// The installation key was replaced by a new one.
    InstallationKeyReplaced = "installation_key_replaced",
}

impl Event {
    /// An event at `at`, about nobody so far.
    pub fn new(kind: EventKind, at: DateTime<Utc>) -> Self {
        Self {
            at,
            kind,
            user: None,
            session: None,
            address: None,
            request: None,
            details: Default::default(),
        }
    }

    /// Sets the user.
    #[must_use]
    pub fn user(mut self, id: Uuid) -> Self {
        self.user = Some(id);
        self
    }

    /// Sets the session.
    #[must_use]
    pub fn session(mut self, id: Uuid) -> Self {
        self.session = Some(id);
        self
    }

    /// Sets the client's address and the request id.
    #[must_use]
    pub fn by(mut self, client: &Client) -> Self {
        self.address = client.address;
        self.request.clone_from(&client.request_id);
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Writes the event to the log, its fields as key-value pairs.
    pub(in crate::server) fn log(&self) {
        let fields = self.fields();
        let mut record = Record::builder();
        record.level(Level::Info).target(module_path!()).key_values(&fields);
        log::logger().log(&record.args(format_args!("{}", self.kind)).build());
    }

    fn fields(&self) -> Vec<(&str, String)> {
        let fields = [
            ("user", self.user.map(|id| id.to_string())),
            ("session", self.session.map(|id| id.to_string())),
            ("address", self.address.map(|address| address.to_string())),
        ];
        let details = self.details.iter().map(|(name, value)| (name.as_str(), value.to_string()));
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(details).collect()
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An event as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The number; later events have higher numbers.
    pub number: i64,
    /// The event. Its kind is a text, because a newer server may have written one that this server does not know.
    pub event: Event<String>,
    /// The user's address today; none where the user was deleted.
    pub email: Option<String>,
}

/// The events to read.
#[derive(Debug, Clone, Copy)]
pub struct EventFilter {
    /// Those about this user alone.
    pub user: Option<Uuid>,
    /// Those at this time or later.
    pub since: DateTime<Utc>,
    /// Those after this number.
    pub after: i64,
    /// The most to read.
    pub limit: u32,
}

/// A page of events, the newest first. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct EventPage {
    /// About this user.
    pub user: Option<Uuid>,
    /// Of this kind.
    pub kind: Option<String>,
    /// At this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this time.
    pub until: Option<DateTime<Utc>>,
    /// Before this number.
    pub before: Option<i64>,
    /// The most events.
    pub limit: u32,
}
