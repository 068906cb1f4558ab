//! `hallpass demo`: one command, nothing to prepare, nothing left behind.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::out::say;
use super::serve::listen;
use super::{Failed, block_on, log};
use crate::clock::Clock;
use crate::server::accounts::{NewUser, UserAdmin};
use crate::server::config::{DatabaseUrl, Settings, seconds};
use crate::server::credentials::{Hasher, Password};
use crate::server::keys::installation;
use crate::server::store::Store;

const EMAIL: &str = "demo@example.com";

pub(super) fn run() -> Result<(), Failed> {
    let mut settings = Settings::default();
    settings.server.bind = loopback();
    log::start(settings.log.format);
    let folder = tempfile::Builder::new().prefix("hallpass-demo-").tempdir().map_err(|error| {
        Failed::running(format!("no temporary folder can be made: {error}; TMPDIR names another place"))
    })?;
    settings.database.url = DatabaseUrl::Sqlite(folder.path().join("demo.db"));
    let outcome = block_on(async {
        let store = Store::open(&settings.database).await?;
        let key: SecretString = random().as_str().into();
        let (algorithm, lifetime) = (settings.token.algorithm, seconds(settings.token.lifetime));
        let vault = installation::create(&store, &key, algorithm, lifetime, Clock::system().now())
            .await?
            .ok_or_else(|| Failed::running("another process uses the demo's database"))?;
        let word = random();
        let hasher = Hasher::start(1, 1, settings.password.bcrypt_cost).map_err(Failed::running)?;
        let hash = hasher.hash(&Password::from(word.as_str())).await.map_err(Failed::running)?;
        let user = NewUser {
            email: EMAIL.into(),
            name: Some("Demo".into()),
            roles: vec![],
            password_hash: Some(hash),
        };
        UserAdmin::new(store.clone(), Clock::system()).add(user).await?;
        listen(settings, store, vault, |url| introduce(url, &word)).await
    });
    // Removed by name, not left to a destructor: an error here is worth a line.
    let left = folder.path().to_owned();
    folder.close().map_err(|error| {
        Failed::running(format!("{} could not be removed: {error}; remove it by hand", left.display()))
    })?;
    outcome
}

/// The usual port, if it is free.
fn loopback() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// 32 characters that nobody guesses.
fn random() -> Zeroizing<String> {
    Zeroizing::new(Uuid::new_v4().simple().to_string())
}

fn introduce(url: &str, password: &str) {
    // Who cannot read it can stop the demo.
    let _ = say(format_args!(
        r#"
A demo: everything is thrown away when you press Ctrl-C.
The user is {EMAIL}, the password {password}. Sign in at {url}, or paste into another terminal:

curl -i {url}/user/
TOKEN=$(curl -s {url}/auth/login -H 'Content-Type: application/json' -d '{{"email":"{EMAIL}","password":"{password}"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -i {url}/user/ -H "Authorization: Bearer $TOKEN"
"#
    ));
}
