//! The passphrase, asked for or given, and the vault that it opens.

use secrecy::SecretString;

use super::Failed;
use super::secret::KeySource;
use super::terminal::Terminal;
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;
use crate::server::config::{Settings, seconds};
use crate::server::keys::installation;
use crate::server::keys::vault::{Vault, VaultError, judge_new_passphrase};
use crate::server::model::SealedInstallation;
use crate::server::store::Store;

/// How often a typed passphrase may be wrong.
const TRIES: u32 = 3;

/// A vault that was opened, and how.
pub(super) struct Unlocked {
    pub(super) vault: Vault,
    /// The terminal on which the passphrase was typed, if it was.
    pub(super) terminal: Option<Terminal>,
    /// There are no users yet.
    pub(super) is_new: bool,
}

/// How the passphrase is come by.
struct Asking {
    given: Option<SecretString>,
    terminal: Option<Terminal>,
}

impl Asking {
    fn of(source: &KeySource) -> Result<Self, Failed> {
        let given = source.read()?;
        let terminal = match given {
            Some(_) => None,
            None => Some(Terminal::open().map_err(|_| {
                Failed::usage("there is no terminal to type the passphrase on; give it with --key-stdin, --key-file FILE or --key-fd N")
            })?),
        };
        Ok(Self { given, terminal })
    }

    fn ask(&self) -> Result<SecretString, Failed> {
        match (&self.given, &self.terminal) {
            (Some(given), _) => Ok(given.clone()),
            (None, Some(terminal)) => terminal.ask_hidden("Passphrase").map_err(Failed::usage),
            (None, None) => unreachable!("without a given passphrase there is a terminal"),
        }
    }

    /// Opens the vault with a passphrase that is `known` or asked for.
    fn open(
        &self,
        installation: &SealedInstallation,
        mut known: Option<SecretString>,
    ) -> Result<Vault, Failed> {
        let tries = if self.terminal.is_some() { TRIES } else { 1 };
        for left in (0..tries).rev() {
            let passphrase = known.take().map_or_else(|| self.ask(), Ok)?;
            match Vault::open(installation, &passphrase) {
                Ok(vault) => return Ok(vault),
                Err(VaultError::WrongPassphrase) if left > 0 => {
                    if let Some(terminal) = &self.terminal {
                        terminal.say(&format!(
                            "That is not the passphrase of this database; {left} more {}.",
                            if left == 1 { "try" } else { "tries" }
                        ));
                    }
                }
                Err(VaultError::WrongPassphrase) => {
                    return Err(Failed::passphrase(VaultError::WrongPassphrase));
                }
                Err(other) => return Err(Failed::running(other)),
            }
        }
        unreachable!("the last try returns")
    }
}

/// Opens the vault of a database, which is founded where it is new.
pub(super) async fn unlock(
    store: &Store,
    source: &KeySource,
    settings: &Settings,
) -> Result<Unlocked, Failed> {
    let users = UserAdmin::new(store.clone(), Clock::system());
    let asking = Asking::of(source)?;
    let mut known = None;
    if read_installation(store).await?.is_none() {
        let passphrase = match &asking.terminal {
            None => asking.ask()?,
            Some(terminal) => {
                terminal.say("This database is new. Its keys will be sealed under a passphrase that you choose now and type at each start. Nobody can recover it.");
                terminal
                    .ask_hidden_twice("New passphrase", "The same again", |typed| {
                        judge_new_passphrase(typed).map_err(|weak| weak.to_string())
                    })
                    .map_err(Failed::usage)?
            }
        };
        judge_new_passphrase(&passphrase).map_err(Failed::usage)?;
        let (algorithm, lifetime) = (settings.token.algorithm, seconds(settings.token.lifetime));
        let now = Clock::system().now();
        if let Some(vault) = installation::create(store, &passphrase, algorithm, lifetime, now).await? {
            return Ok(Unlocked { vault, is_new: users.has_no_users().await?, terminal: asking.terminal });
        }
        // Another process founded it meanwhile; it may well have been given the same passphrase.
        known = Some(passphrase);
    }

    let installation = read_installation(store)
        .await?
        .ok_or_else(|| Failed::running("the installation vanished from the database"))?;
    let vault = asking.open(&installation, known)?;
    Ok(Unlocked { vault, is_new: users.has_no_users().await?, terminal: asking.terminal })
}

/// A vault that was opened, its seal, and the terminal on which the passphrase was typed, if it was.
pub(super) struct Existing {
    pub(super) vault: Vault,
    pub(super) installation: SealedInstallation,
    pub(super) terminal: Option<Terminal>,
}

/// Opens the vault of a database that a server has founded before.
pub(super) async fn unlock_existing(store: &Store, source: &KeySource) -> Result<Existing, Failed> {
    let installation = read_installation(store).await?.ok_or_else(|| {
        Failed::running("this database has no keys yet; hallpass serve makes them at its first start")
    })?;
    let asking = Asking::of(source)?;
    let vault = asking.open(&installation, None)?;
    Ok(Existing { vault, installation, terminal: asking.terminal })
}

async fn read_installation(store: &Store) -> Result<Option<SealedInstallation>, Failed> {
    Ok(store.read(async |connection| connection.installation().await).await?)
}
