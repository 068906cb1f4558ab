//! The settings: one row for each, in `settings!` below.
//!
//! A row is the only place that names a setting. The field of [`Settings`] and its documentation, the default, the
//! check, the name in files and in the environment and the line of `hallpass config` come from it; tests compare
//! `.env.example`, `config/default.toml` and `docs/settings.md` with it.
//!
//! | file | what it owns |
//! |---|---|
//! | `values` | how a value is written as text, read and checked |
//! | `mail_url` | the URL of the mail server |
//! | `advice` | which settings deserve a warning at start |
//! | `profile` | sets of settings by name |
//! | `load` | files, environment and flags: which of them sets what |

mod advice;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod load;
mod mail_url;
mod profile;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::token::Algorithm;

pub use load::{ConfigError, Loaded, Origin, Sources, variable_name};
pub use mail_url::{MailServer, MailTls, MailUrl};
use values::{
    ADDRESS, ALGORITHM, BOOL, COLOUR, COUNT, Days, ExactOrigins, FilePath, Format, HEADER_NAME, HOST,
    LANGUAGE, LINK_BASE, LOG_FORMAT, MAIL_URL, Millis, NAME, Networks, Optional, Origins, PUBLIC_URL, REALM,
    Roles, SCHEMA, SENDER, Seconds, Threads, Url, VERIFICATION, Whole, default_of, is_list,
};
pub use values::{DatabaseUrl, LogFormat, Verification, seconds};

/// The name of a setting within its section: that of the field, unless the row gives another.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Writes the settings out as [`Settings`], its sections and [`FIELDS`]. A row is
///
/// ```text
/// /// meaning and unit, as one line
/// field as "key": Type = "default", format;
/// ```
///
/// `as "key"` is left out where the key is the field's name; the default is left out where there is none, or where it
/// is found out at start. The default is text, read as that of a file is. The format is one of [`values`].
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $help:literal])+
                $field:ident $(as $key:literal)?: $type:ty $(= $default:literal)?, $format:expr;
            )+
        }
    )+) => {
        /// The settings in force.
        #[derive(Debug, Clone, PartialEq, Default)]
        #[non_exhaustive]
        pub struct Settings {
            $(
                #[doc = concat!("`", stringify!($section), ".*`:", $($about),+)]
                pub $section: $Section,
            )+
        }

        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq)]
            #[non_exhaustive]
            pub struct $Section {
                $(
                    #[doc = concat!(
                        "`", stringify!($section), ".", key!($field $($key)?), "`:", $($help,)+ "."
                        $(, " Defaults to `", $default, "`.")?
                    )]
                    pub $field: $type,
                )+
            }

            impl Default for $Section {
                /// The built-in defaults, and what is found out at start.
                fn default() -> Self {
                    Self { $($field: default_of(&$format, concat!($($default)?)),)+ }
                }
            }
        )+

        /// Every setting, in the order in which they are listed.
        pub const FIELDS: &[Field] = &[$($(
            Field {
                name: concat!(stringify!($section), ".", key!($field $($key)?)),
                default: concat!($($default)?),
                help: concat!($($help),+).trim_ascii(),
                is_list: is_list::<$type, _>(&$format),
                set: |settings, text| {
                    settings.$section.$field = $format.parse(text)?;
                    Ok(())
                },
                show: |settings| $format.show(&settings.$section.$field),
            },
        )+)+];
    };
}

settings! {
    /// The socket, and the requests that come in through it.
    server: Server {
        /// address and port to listen on; port 0 picks a free one
        bind: SocketAddr = "127.0.0.1:8080", ADDRESS;
        /// number of threads that serve requests; if not set, the number of cores
        workers: usize, Threads(1, 512);
        /// largest accepted request body, in bytes
        max_body_bytes: usize = "65536", Whole(1_024, 16_777_216);
        /// largest accepted request head, in bytes
        max_head_bytes: usize = "16384", Whole(1_024, 131_072);
        /// the most headers of a request
        max_headers: usize = "64", Whole(8, 96);
        /// how long a client may take for a TLS handshake and for the head of its first request, in seconds
        head_time as "head_s": Duration = "5", Seconds(1, 120);
        /// how long a request's body may take to arrive, in seconds
        body_time as "body_s": Duration = "15", Seconds(1, 600);
        /// how long a request may take from its first byte to its answer, in seconds
        request_time as "request_s": Duration = "60", Seconds(5, 3_600);
        /// how long a connection may wait for its next request, or leave an answer unread, in seconds
        idle_time as "idle_s": Duration = "15", Seconds(1, 3_600);
        /// how long requests in flight may take to finish when the server stops, in seconds
        shutdown_time as "shutdown_s": Duration = "30", Seconds(1, 600);
        /// the most connections
        connections: usize = "10000", Whole(16, 1_000_000);
        /// the most connections from one address (IPv6: from one /64) that is no trusted proxy
        connections_per_address: usize = "1000", Whole(1, 1_000_000);
        /// file with the certificate and its chain (PEM), for TLS; if not set, off
        tls_cert: Option<PathBuf>, Optional(FilePath);
        /// file with the certificate's private key (PEM)
        tls_key: Option<PathBuf>, Optional(FilePath);
        /// address and port on which plain HTTP is sent to HTTPS; if not set, off
        http_redirect_bind: Option<SocketAddr>, Optional(ADDRESS);
        /// Unix socket at which another process of this user can take over (hallpass serve --takeover); if not set, off
        control_socket: Option<PathBuf>, Optional(FilePath);
        /// URL at which clients reach this server: its scheme and its host; if not set, found out from requests
        public_url: Option<String>, Optional(PUBLIC_URL);
        /// address and port of GET /metrics; if not set, off
        metrics_bind: Option<SocketAddr>, Optional(ADDRESS);
        /// origins allowed by CORS, exactly as browsers name them, separated by commas; * allows any, without cookies
        cors_origins: Vec<String>, Origins;
        /// reverse proxies trusted to name the client's address: addresses and networks, separated by commas
        trusted_proxies: Vec<IpNet>, Networks;
        /// header in which a trusted proxy names the client's address
        forwarded_header: String = "X-Forwarded-For", HEADER_NAME;
        /// whether the console, a web page for users, is at /
        console: bool = "true", BOOL;
        /// whether the API's description is at /docs and /openapi.json
        docs: bool = "true", BOOL;
    }
    /// The database.
    database: Database {
        /// sqlite://relative.db or sqlite:///absolute.db, created if missing; or postgres://user@host/database
        url: DatabaseUrl = "sqlite://hallpass.db", Url;
        /// PostgreSQL: maximum number of connections of this process
        pool: u32 = "10", Whole(2, 1_000);
        /// PostgreSQL: whether the URL is that of a pooler in transaction mode, such as PgBouncer
        pooler: bool = "false", BOOL;
        /// PostgreSQL: the schema of the tables, created if missing
        schema: String = "hallpass", SCHEMA;
        /// PostgreSQL: a file whose first line is the password
        password_file: Option<PathBuf>, Optional(FilePath);
        /// how long known tokens are still accepted while the database does not answer, in seconds
        stale_after as "stale_after_s": Duration = "60", Seconds(1, 3_600);
    }
    /// Access tokens.
    token: Token {
        /// algorithm of new signing keys: EdDSA, ES256 or HS256; read at the first start and at each key rotation
        algorithm: Algorithm = "EdDSA", ALGORITHM;
        /// lifetime of an access token, in seconds
        lifetime as "lifetime_s": Duration = "3600", Seconds(1, 86_400);
        /// claim iss; if not set, urn:uuid: followed by the installation's ID
        issuer: Option<String>, Optional(NAME);
        /// claim aud; if not set, the issuer
        audience: Option<String>, Optional(NAME);
        /// how long after its exp a token is still accepted, in seconds
        leeway as "leeway_s": Duration = "0", Seconds(0, 300);
        /// realm in the WWW-Authenticate header of a 401
        realm: String = "Authentication Required", REALM;
        /// whether a token without a scheme is accepted in the Authorization header
        accept_bare: bool = "true", BOOL;
    }
    /// Signing keys.
    key: Key {
        /// how long a new signing key is published before it signs, in seconds
        publish_ahead as "publish_ahead_s": Duration = "5", Seconds(5, 86_400);
        /// days after which running servers rotate the signing key; 0 means never
        rotate_every_days: u32 = "0", Whole(0, 3_650);
    }
    /// Passwords.
    password: Password {
        /// bcrypt cost; each step doubles the work
        bcrypt_cost: u32 = "12", Whole(4, 18);
        /// minimum length of a password, in characters
        min_length: usize = "8", Whole(8, 256);
        /// whether Unicode in passwords is normalised to NFC before it is counted and hashed
        nfc: bool = "false", BOOL;
        /// longest time that a check of an imported hash may keep a core busy, in seconds
        import_max as "import_max_s": Duration = "5", Seconds(1, 600);
        /// how many passwords may wait to be hashed
        queue: usize = "64", Whole(1, 65_536);
    }
    /// Registration.
    registration: Registration {
        /// whether anybody may register
        open: bool = "true", BOOL;
        /// off, optional or required: whether a new account's address is verified by mail; without mail.url it is off
        verify: Verification = "optional", VERIFICATION;
    }
    /// Mail: verification, password resets, changes of address, invitations.
    mail: Mail {
        /// smtp://user@host:587, smtps://user@host, or file:///a/folder for development; without it there is no mail
        url: Option<MailUrl>, Optional(MAIL_URL);
        /// a file whose first line is the password of the mail server
        password_file: Option<PathBuf>, Optional(FilePath);
        /// sender of every mail, like Example <no-reply@example.com>; required unless the mail server is on the loopback
        from: Option<String>, Optional(SENDER);
        /// address that links begin with, before #/reset?token=…; the console, at server.public_url or server.bind, if not set
        link_base: Option<String>, Optional(LINK_BASE);
        /// a folder with texts that replace the built-in ones
        templates: Option<PathBuf>, Optional(FilePath);
        /// language of mails to people whose browsers ask for none that there is
        language: String = "en", LANGUAGE;
        /// how long a link to reset a password works, in seconds
        reset_lifetime as "reset_lifetime_s": Duration = "3600", Seconds(60, 86_400);
        /// how long a link to verify or change an address works, and an invitation, in seconds
        verify_lifetime as "verify_lifetime_s": Duration = "86400", Seconds(60, 2_592_000);
        /// longest time to hand one mail to the mail server, in seconds
        timeout as "timeout_s": Duration = "60", Seconds(1, 600);
    }
    /// Sign-in links by mail.
    link: Link {
        /// whether people can sign in with a link or code by mail; without mail.url they cannot
        on: bool = "false", BOOL;
        /// how long a sign-in link and its code work, in seconds
        lifetime as "lifetime_s": Duration = "600", Seconds(60, 86_400);
    }
    /// Rate limits for sign-in, registration and refresh; see [`RateLimiter`](super::RateLimiter).
    throttle: Throttle {
        /// whether attempts to sign in and to register are counted and delayed
        on: bool = "true", BOOL;
        /// longest delay, in seconds
        max_delay as "max_delay_s": Duration = "900", Seconds(1, 86_400);
        /// delay before a 429, or a 503 of the full hashing queue, is sent, in milliseconds
        refusal_delay as "refusal_delay_ms": Duration = "250", Millis(0, 10_000);
        /// failures on an account before delays begin, from IP addresses that have not signed in to it
        account_free: u32 = "5", COUNT;
        /// attempts on an account per day, from IP addresses that have not signed in to it
        account_per_day: u32 = "100", COUNT;
        /// concurrent attempts on an account
        account_in_flight: usize = "5", Whole(1, 1_000);
        /// failures on an account before delays begin, from an IP address that has signed in to it
        known_free: u32 = "10", COUNT;
        /// failures from an IP address before delays begin, over all accounts
        address_free: u32 = "30", COUNT;
        /// registrations per hour from an IP address
        registrations_per_hour: u32 = "100", COUNT;
        /// password ratings per hour from an IP address, including changes of a password
        estimates_per_hour: u32 = "600", COUNT;
        /// refreshes per hour of a session, and failed refreshes per hour from an IP address
        refreshes_per_hour: u32 = "3600", COUNT;
        /// changes per hour of an account by its user: the name, and ending other sessions
        writes_per_hour: u32 = "300", COUNT;
        /// mails that an address may ask for per hour
        mails_per_hour: u32 = "30", COUNT;
        /// mails per hour to one recipient, whoever asks
        mails_per_recipient: u32 = "5", COUNT;
    }
    /// Sessions and their refresh tokens.
    session: Session {
        /// how long after its first use a refresh token still returns the same next token, in seconds
        reuse_grace as "reuse_grace_s": Duration = "10", Seconds(0, 60);
        /// how long a session lasts without a refresh, in seconds
        idle_lifetime as "idle_lifetime_s": Duration = "1209600", Seconds(60, 31_536_000);
        /// how long a session lasts in total, in seconds
        refresh_lifetime as "refresh_lifetime_s": Duration = "7776000", Seconds(60, 315_360_000);
        /// maximum number of sessions of a user; a further sign-in ends the oldest
        per_user: u32 = "100", Whole(1, 10_000);
    }
    /// Second factors.
    second_factor: SecondFactor {
        /// how long ago a user may have signed in to change their second factors, in seconds
        fresh as "fresh_s": Duration = "600", Seconds(60, 86_400);
        /// how many steps of 30 seconds the clock of an authenticator app may be wrong, either way
        totp_skew: u32 = "1", Whole(0, 10);
        /// roles whose users must have a second factor, separated by commas; before they do, only adding one is allowed
        required_roles: Vec<String>, Roles;
        /// name that authenticator apps show beside the code
        issuer: String = "Hallpass", NAME;
    }
    /// Passkeys.
    passkey: Passkey {
        /// host name that passkeys are made for, like example.com; that of server.public_url if not set, or localhost
        rp_id: Option<String>, Optional(HOST);
        /// origins whose pages may use passkeys, separated by commas; server.public_url if not set, or https:// and passkey.rp_id
        origins: Vec<String>, ExactOrigins;
    }
    /// The event log.
    events: Events {
        /// how long events are kept, in days
        keep as "keep_days": Duration = "90", Days(1, 3_650);
    }
    /// The look of the console, and where it sends people.
    console: Console {
        /// the product's name on the console's pages
        name: String = "Hallpass", NAME;
        /// file of the logo on the console's pages: SVG, PNG or WebP, square, at most 256 KiB; read at start
        logo: Option<PathBuf>, Optional(FilePath);
        /// colour of the console's buttons and links, as #rrggbb
        accent: Option<String>, Optional(COLOUR);
        /// origins to which the console may send people after sign-in (#/sign-in?continue=URL), separated by commas
        continue_origins: Vec<String>, ExactOrigins;
    }
    /// The log on standard error.
    log: Log {
        /// format of log lines: text or json
        format: LogFormat = "text", LOG_FORMAT;
    }
}

impl Settings {
    /// Returns the names of the settings whose values differ from those of `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = |field: &&Field| (field.show)(self) != (field.show)(other);
        FIELDS.iter().filter(differs).map(|field| field.name).collect()
    }
}

/// A setting: its name, its default, and how its text is read and shown.
pub struct Field {
    /// `section.key`
    pub name: &'static str,
    /// The built-in value as text; empty where there is none, or where it is found out at start.
    pub default: &'static str,
    /// Meaning and unit, in one line.
    pub help: &'static str,
    is_list: bool,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> String,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("name", &self.name)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_reads_back_what_it_shows() {
        let defaults = Settings::default();
        for field in FIELDS {
            let shown = (field.show)(&defaults);
            assert!(field.default.is_empty() || shown == field.default, "{}: {shown}", field.name);
            let mut settings = Settings::default();
            if !shown.is_empty() {
                (field.set)(&mut settings, &shown).unwrap();
            }
            assert_eq!(settings, defaults, "{}", field.name);
        }
    }

    #[test]
    fn every_setting_has_a_name_of_its_own_and_a_line_of_help() {
        for (place, field) in FIELDS.iter().enumerate() {
            assert!(FIELDS[..place].iter().all(|other| other.name != field.name), "{}", field.name);
            assert!(!field.help.is_empty() && !field.help.contains('\n'), "{}", field.name);
        }
    }

    #[test]
    fn numbers_are_accepted_up_to_both_bounds_and_no_further() {
        for (name, accepted, refused) in [
            ("server.workers", ["1", "512"], ["0", "513"]),
            ("token.leeway_s", ["0", "300"], ["-1", "301"]),
            ("events.keep_days", ["1", "3650"], ["0", "3651"]),
            ("password.bcrypt_cost", ["4", "18"], ["3", "99999999999999999999"]),
        ] {
            let field = FIELDS.iter().find(|field| field.name == name).unwrap();
            let mut settings = Settings::default();
            for text in accepted {
                (field.set)(&mut settings, text).unwrap();
                assert_eq!((field.show)(&settings), text, "{name}");
            }
            for text in refused {
                let reason = (field.set)(&mut settings, text).unwrap_err();
                assert!(reason.contains(&format!("from {} to {}", accepted[0], accepted[1])), "{reason}");
            }
        }
    }
}
