//! `hallpass demo`: a temporary server with a demo user. It deletes everything when it ends.
//!
//! Settings come from flags and from the environment, and from no file: a demo is the same in every folder. The
//! database is always its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::common::{block_on, environment};
use super::error::CommandError;
use super::log;
use super::output::{plain_json, print, print_line};
use super::serve::{Start, listen};
use crate::clock::Clock;
use crate::server::accounts::{NewUser, UserAdmin, parse_email, parse_roles};
use crate::server::config::{self, DatabaseUrl, Loaded, MailUrl, Settings, Sources, seconds};
use crate::server::credentials::{Hasher, Origin, Password};
use crate::server::keys::vault::Vault;
use crate::server::keys::{PasswordHashes, installation};
use crate::server::store::Store;

const EMAIL: &str = "demo@example.com";

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// Address and port to listen on; 127.0.0.1:8080 if that is free, else a free port of 127.0.0.1
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<String>,
    /// The e-mail address of the demo user
    #[arg(long, value_name = "EMAIL", default_value = EMAIL)]
    user: String,
    /// A role of the demo user; can be given several times. The role admin opens the console's pages for admins
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Origins of front ends that may use the server, separated by commas; * allows any, without cookies
    #[arg(long, value_name = "ORIGINS")]
    cors: Option<String>,
    /// Print one line of JSON instead of text: url, email, password, roles, database
    #[arg(long)]
    json: bool,
}

/// Variables, and beginnings of variables, that belong to a real server: its files, database, key and socket, and the
/// mail that it sends.
const NOT_TAKEN: [&str; 5] = [
    "HALLPASS_ENV",
    "HALLPASS_KEY",
    "HALLPASS_DATABASE__",
    "HALLPASS_MAIL__",
    "HALLPASS_SERVER__CONTROL_SOCKET",
];

/// Returns the settings of the flags and the environment, and whether they say where to listen.
fn settings(args: &DemoArgs) -> Result<(Settings, bool), CommandError> {
    let is_real = |name: &str| {
        NOT_TAKEN.iter().any(|not| name == *not || (not.ends_with("__") && name.starts_with(not)))
    };
    let is_taken = |name: &str| name.starts_with("HALLPASS_") && !is_real(name);
    let flag = |flag, name, value: &Option<String>| value.clone().map(|value| (flag, name, value));
    let sources = Sources {
        // Nowhere, so that no file counts.
        folder: "/nonexistent".into(),
        config_file: None,
        environment: environment().filter(|(name, _)| is_taken(name)).collect(),
        flags: [flag("--bind", "server.bind", &args.bind), flag("--cors", "server.cors_origins", &args.cors)]
            .into_iter()
            .flatten()
            .collect(),
    };
    let loaded = Loaded::from(&sources)?;
    let is_set = |name| {
        loaded.report().any(|(field, _, origin)| field.name == name && *origin != config::Origin::Default)
    };
    let (is_bound, has_link) = (is_set("server.bind"), is_set("link.on"));
    let mut settings = loaded.into_settings();
    if !has_link {
        // Off elsewhere; a demo has everything that can be tried.
        settings.link.on = true;
    }
    Ok((settings, is_bound))
}

pub(super) fn run(args: &DemoArgs) -> Result<(), CommandError> {
    if is_output_discarded() {
        return Err(password_unknown());
    }
    let email = parse_email(&args.user)
        .map_err(|reason| CommandError::usage(format!("the address of --user {reason}")))?;
    let roles = parse_roles(&args.roles).map_err(CommandError::usage)?;
    let (mut settings, is_bound) = settings(args)?;
    log::start(settings.log.format);
    for warning in settings.warnings() {
        ::log::warn!("{warning}");
    }
    let folder = tempfile::Builder::new().prefix("hallpass-demo-").tempdir().map_err(|error| {
        CommandError::running(format!(
            "no temporary folder can be created: {error}; choose another place with TMPDIR"
        ))
    })?;
    settings.database.url = DatabaseUrl::Sqlite(folder.path().join("demo.db"));
    settings.mail.url = Some(MailUrl::Shown(folder.path().join("mails")));
    let outcome = block_on(async {
        let store = Store::open(&settings.database).await?;
        let key: SecretString = random().as_str().into();
        let (algorithm, lifetime) = (settings.token.algorithm, seconds(settings.token.lifetime));
        let vault: Arc<Vault> =
            installation::create(&store, &key, algorithm, lifetime, Clock::system().now())
                .await?
                .ok_or_else(|| CommandError::running("another process uses the demo's database"))?
                .into();
        let password = random();
        let hasher = Hasher::start(1, 1, settings.password.bcrypt_cost).map_err(CommandError::running)?;
        let hash = hasher
            .hash(&Password::from(password.as_str()), Origin::LOCAL)
            .await
            .map_err(CommandError::running)?;
        let user = NewUser {
            email: email.clone(),
            email_is_verified: true,
            name: Some("Demo".into()),
            roles: roles.clone(),
            password_hash: Some(hash),
        };
        let hashes = PasswordHashes::new(Arc::clone(&vault));
        UserAdmin::new(store.clone(), Clock::system()).sealing(hashes).add(user).await?;
        let database = settings.database.url.to_string();
        let introduce = |url: &str| {
            if args.json {
                let line = json!({
                    "url": url, "email": email, "password": password.as_str(), "roles": roles, "database": database,
                });
                return print_line(format_args!("{}", plain_json(&line.to_string())))
                    .map_err(|_| password_unknown());
            }
            introduce(url, &email, &password)
        };
        // Chosen last, so that another process is unlikely to take the port first.
        if !is_bound {
            settings.server.bind = loopback();
        }
        // The links in mails need the port before the server listens.
        if settings.server.bind.port() == 0
            && let Ok(listener) = TcpListener::bind(settings.server.bind)
        {
            settings.server.bind = listener.local_addr().unwrap_or(settings.server.bind);
        }
        if settings.server.public_url.is_none() {
            let scheme = if settings.server.tls_cert.is_some() { "https" } else { "http" };
            settings.mail.link_base = Some(format!("{scheme}://{}/", reachable(settings.server.bind)));
        }
        let start = Start { is_silent: args.json, ..Start::default() };
        listen(settings, store, vault, start, introduce).await
    });
    // Deleted here and not by a destructor, which would hide an error.
    let path = folder.path().to_owned();
    folder.close().map_err(|error| {
        CommandError::running(format!("{} could not be deleted: {error}; delete it by hand", path.display()))
    })?;
    outcome
}

/// Returns port 8080 of the loopback address if it is free, and port 0 otherwise, which picks a free one.
fn loopback() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// Returns the address at which this machine reaches a server that listens on `bind`.
fn reachable(bind: SocketAddr) -> SocketAddr {
    if bind.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, bind.port())) } else { bind }
}

/// Returns 32 random characters.
fn random() -> Zeroizing<String> {
    Zeroizing::new(Uuid::new_v4().simple().to_string())
}

/// Prints the demo user's password and what to try.
///
/// # Errors
/// [`CommandError`] if it cannot be written.
fn introduce(url: &str, email: &str, password: &str) -> Result<(), CommandError> {
    print(format_args!(
        r#"
This is a demo: everything is deleted when you press Ctrl-C.
The user is {email}, the password {password}. Sign in at {url}, or paste this into another terminal:

curl -i {url}/user/
TOKEN=$(curl -s {url}/auth/login -H 'Content-Type: application/json' -d '{{"email":"{email}","password":"{password}"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -i {url}/user/ -H "Authorization: Bearer $TOKEN"

Nothing is mailed: the log shows the link of each mail.

"#
    ))
    .map_err(|_| password_unknown())
}

fn password_unknown() -> CommandError {
    CommandError::running(
        "standard output cannot be written, so nobody would know the demo user's password; run hallpass demo in a terminal",
    )
}

/// Tells whether standard output is the null device. Rust opens that in its place if the process was started without
/// one.
fn is_output_discarded() -> bool {
    let output = std::io::stdout().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
    let null = std::fs::metadata("/dev/null");
    output.is_ok_and(|output| {
        output.file_type().is_char_device() && null.is_ok_and(|null| null.rdev() == output.rdev())
    })
}
