//! `hallpass demo`: a temporary server with a demo user and the default settings. It deletes everything when it ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::common::block_on;
use super::error::CommandError;
use super::log;
use super::output::print;
use super::serve::{Start, listen};
use crate::clock::Clock;
use crate::server::accounts::{NewUser, UserAdmin};
use crate::server::config::{DatabaseUrl, Settings, seconds};
use crate::server::credentials::{Hasher, Origin, Password};
use crate::server::keys::vault::Vault;
use crate::server::keys::{PasswordHashes, installation};
use crate::server::store::Store;

const EMAIL: &str = "demo@example.com";

pub(super) fn run() -> Result<(), CommandError> {
    if is_output_discarded() {
        return Err(password_unknown());
    }
    let mut settings = Settings::default();
    log::start(settings.log.format);
    let folder = tempfile::Builder::new().prefix("hallpass-demo-").tempdir().map_err(|error| {
        CommandError::running(format!(
            "no temporary folder can be created: {error}; choose another place with TMPDIR"
        ))
    })?;
    settings.database.url = DatabaseUrl::Sqlite(folder.path().join("demo.db"));
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
            email: EMAIL.into(),
            email_is_verified: true,
            name: Some("Demo".into()),
            roles: vec![],
            password_hash: Some(hash),
        };
        let hashes = PasswordHashes::new(Arc::clone(&vault));
        UserAdmin::new(store.clone(), Clock::system()).sealing(hashes).add(user).await?;
        // Chosen last, so that another process is unlikely to take the port first.
        settings.server.bind = loopback();
        listen(settings, store, vault, Start::default(), |url| introduce(url, &password)).await
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

/// Returns 32 random characters.
fn random() -> Zeroizing<String> {
    Zeroizing::new(Uuid::new_v4().simple().to_string())
}

/// Prints the demo user's password and what to try.
///
/// # Errors
/// [`CommandError`] if it cannot be written.
fn introduce(url: &str, password: &str) -> Result<(), CommandError> {
    print(format_args!(
        r#"
This is a demo: everything is deleted when you press Ctrl-C.
The user is {EMAIL}, the password {password}. Sign in at {url}, or paste this into another terminal:

curl -i {url}/user/
TOKEN=$(curl -s {url}/auth/login -H 'Content-Type: application/json' -d '{{"email":"{EMAIL}","password":"{password}"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -i {url}/user/ -H "Authorization: Bearer $TOKEN"

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
