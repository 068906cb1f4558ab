//! The passphrase, given or typed, and the vault that it unseals.

use secrecy::SecretString;

use super::error::CommandError;
use super::secret::PassphraseSource;
use super::terminal::Terminal;
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;
use crate::server::config::{Settings, seconds};
use crate::server::keys::installation;
use crate::server::keys::judge_new_passphrase;
use crate::server::keys::vault::{Vault, VaultError};
use crate::server::model::SealedInstallation;
use crate::server::store::Store;

/// The number of attempts to type the passphrase.
const MAX_ATTEMPTS: u32 = 3;

/// A vault that was unsealed for a server.
pub(super) struct Unlocked {
    pub(super) vault: Vault,
    /// The terminal on which the passphrase was typed, if it was.
    pub(super) terminal: Option<Terminal>,
    pub(super) has_no_users: bool,
}

/// A vault that was unsealed for a change of the keys.
pub(super) struct Existing {
    pub(super) vault: Vault,
    pub(super) installation: SealedInstallation,
    pub(super) passphrase: SecretString,
    /// The terminal on which the passphrase was typed, if it was.
    pub(super) terminal: Option<Terminal>,
}

/// The place that the passphrase comes from.
enum PassphrasePrompt {
    /// A flag or the environment gave it.
    Given(SecretString),
    /// The operator types it on this terminal.
    Typed(Terminal),
}

impl PassphrasePrompt {
    fn new(source: &PassphraseSource) -> Result<Self, CommandError> {
        if let Some(given) = source.read()? {
            return Ok(Self::Given(given));
        }
        Terminal::open().map(Self::Typed).map_err(|_| {
            CommandError::usage(
                "there is no terminal to type the passphrase on; give it with --key-stdin, --key-file FILE or --key-fd N",
            )
        })
    }

    fn into_terminal(self) -> Option<Terminal> {
        match self {
            Self::Given(_) => None,
            Self::Typed(terminal) => Some(terminal),
        }
    }

    /// Returns a strong passphrase for a new database.
    fn new_passphrase(&self) -> Result<SecretString, CommandError> {
        let check = |typed: &SecretString| judge_new_passphrase(typed).map_err(|weak| weak.to_string());
        match self {
            Self::Given(passphrase) => {
                check(passphrase).map_err(CommandError::usage)?;
                Ok(passphrase.clone())
            }
            Self::Typed(terminal) => {
                terminal.print_line(
                    "This database is new. Choose a passphrase: it encrypts the signing keys and the password hashes, and you \
                     type it at each start. Nobody can recover it: without it every user has to choose a new password.",
                );
                terminal
                    .ask_hidden_twice("New passphrase", "Repeat the passphrase", check)
                    .map_err(CommandError::usage)
            }
        }
    }

    /// Unseals the vault, with `passphrase` in the first attempt if it is known. Returns the passphrase too.
    fn unseal_vault(
        &self,
        installation: &SealedInstallation,
        passphrase: Option<SecretString>,
    ) -> Result<(Vault, SecretString), CommandError> {
        let unseal = |passphrase: &SecretString| match Vault::unseal(installation, passphrase) {
            Ok(vault) => Ok(Some(vault)),
            Err(VaultError::WrongPassphrase) => Ok(None),
            Err(other) => Err(CommandError::running(other)),
        };
        let wrong = || CommandError::passphrase(VaultError::WrongPassphrase);
        let terminal = match self {
            Self::Given(given) => {
                return unseal(given)?.map(|vault| (vault, given.clone())).ok_or_else(wrong);
            }
            Self::Typed(terminal) => terminal,
        };
        let mut known = passphrase;
        for left in (0..MAX_ATTEMPTS).rev() {
            let passphrase = match known.take() {
                Some(known) => known,
                None => terminal.ask_hidden("Passphrase").map_err(CommandError::usage)?,
            };
            if let Some(vault) = unseal(&passphrase)? {
                return Ok((vault, passphrase));
            }
            if left > 0 {
                let attempts = if left == 1 { "attempt" } else { "attempts" };
                terminal.print_line(&format!(
                    "That is not the passphrase of this database; {left} {attempts} left."
                ));
            }
        }
        Err(wrong())
    }
}

/// Unseals the vault of a database. Creates the installation if the database is new.
///
/// # Errors
/// [`CommandError`] if there is no passphrase, or if it is weak or wrong; if the database cannot be used.
pub(super) async fn unlock(
    store: &Store,
    source: &PassphraseSource,
    settings: &Settings,
) -> Result<Unlocked, CommandError> {
    let prompt = PassphrasePrompt::new(source)?;
    let vault = match read_installation(store).await? {
        Some(installation) => prompt.unseal_vault(&installation, None)?.0,
        None => create(store, &prompt, settings).await?,
    };
    let has_no_users = UserAdmin::new(store.clone(), Clock::system()).has_no_users().await?;
    Ok(Unlocked { vault, has_no_users, terminal: prompt.into_terminal() })
}

/// Unseals the vault of a database that a server has used before.
///
/// # Errors
/// [`CommandError`] if the database has no keys yet; if the passphrase is wrong; if the database cannot be used.
pub(super) async fn unlock_existing(
    store: &Store,
    source: &PassphraseSource,
) -> Result<Existing, CommandError> {
    let installation = read_installation(store).await?.ok_or_else(no_keys)?;
    let prompt = PassphrasePrompt::new(source)?;
    let (vault, passphrase) = prompt.unseal_vault(&installation, None)?;
    let earlier = store.read(async |connection| connection.earlier_keys().await).await?;
    vault.add_earlier(&earlier).map_err(CommandError::running)?;
    Ok(Existing { vault, installation, passphrase, terminal: prompt.into_terminal() })
}

/// Unseals the vault of a database, as [`unlock_existing`]. Returns `None`, and asks for nothing, if no server has used the
/// database yet.
pub(super) async fn unlock_if_sealed(
    store: &Store,
    source: &PassphraseSource,
) -> Result<Option<Vault>, CommandError> {
    match read_installation(store).await? {
        Some(_) => Ok(Some(unlock_existing(store, source).await?.vault)),
        None => Ok(None),
    }
}

/// Returns the error of a command that needs keys, on a database without any.
pub(super) fn no_keys() -> CommandError {
    CommandError::running("this database has no keys yet; hallpass serve creates them at its first start")
}

/// Creates the installation of a new database.
async fn create(
    store: &Store,
    prompt: &PassphrasePrompt,
    settings: &Settings,
) -> Result<Vault, CommandError> {
    let passphrase = prompt.new_passphrase()?;
    let (algorithm, lifetime) = (settings.token.algorithm, seconds(settings.token.lifetime));
    let now = Clock::system().now();
    if let Some(vault) = installation::create(store, &passphrase, algorithm, lifetime, now).await? {
        return Ok(vault);
    }
    // Another process was first. It may have been given the same passphrase.
    let installation = read_installation(store).await?.ok_or_else(no_keys)?;
    Ok(prompt.unseal_vault(&installation, Some(passphrase))?.0)
}

pub(super) async fn read_installation(store: &Store) -> Result<Option<SealedInstallation>, CommandError> {
    Ok(store.read(async |connection| connection.installation().await).await?)
}
