//! `hallpass serve`: ask for the passphrase, unseal the keys, listen.

use clap::Args;
use secrecy::SecretString;

use super::secret::KeySource;
use super::terminal::Terminal;
use super::{Common, Failed, block_on, log, open_store, signals, user};
use crate::clock::Clock;
use crate::server::config::Settings;
use crate::server::store::Store;
use crate::server::vault::{Vault, VaultError, judge_new_passphrase};
use crate::server::{Desk, bind, new_signing_key};

/// How often a typed passphrase may be wrong.
const TRIES: u32 = 3;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 picks one
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<String>,
    #[command(flatten)]
    key: KeySource,
}

impl ServeArgs {
    pub(super) fn is_given(&self) -> bool {
        self.bind.is_some() || self.key.is_given()
    }
}

pub(super) fn run(common: &Common, args: &ServeArgs) -> Result<(), Failed> {
    let settings = common.settings(args.bind.as_deref())?;
    log::start(settings.log.format);
    block_on(async {
        let store = open_store(&settings).await?;
        let opened = unlock(&store, &args.key, &settings).await?;
        if let Some(terminal) = opened.terminal.filter(|_| opened.is_new) {
            user::offer_first(&terminal, &store, &settings).await?;
        } else if store.has_no_users().await? {
            ::log::warn!("there are no users yet: hallpass user add EMAIL --role admin");
        }
        listen(settings, store, opened.vault, |_| {}).await
    })
}

/// Serves until a signal; `greet` is told the server's URL once it accepts connections.
pub(super) async fn listen(
    settings: Settings,
    store: Store,
    vault: Vault,
    greet: impl FnOnce(&str),
) -> Result<(), Failed> {
    let algorithm = settings.token.algorithm;
    let desk = Desk::open(settings, store, vault, Clock::system()).await.map_err(Failed::running)?;
    if let Some(other) = desk.signing_algorithm().filter(|other| *other != algorithm) {
        ::log::warn!(
            "token.algorithm is {algorithm}, but this database signs with {other}; that stays until the key is rotated"
        );
    }
    let address = desk.settings().server.bind;
    let running = bind(&desk).map_err(|error| {
        Failed::running(format!(
            "{address} cannot be listened on: {error}; choose another with --bind ADDR:PORT"
        ))
    })?;
    super::wiping::secrets_are_gone();
    ::log::info!(
        "hallpass {} serves {}, issuer {}",
        env!("CARGO_PKG_VERSION"),
        desk.settings().database.url,
        desk.issuer()
    );
    let stop = signals::stop();
    let url = format!("http://{}", running.address);
    {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        // A reader of standard output that has gone is no reason not to serve.
        let _ = writeln!(out, "listening on {url}").and_then(|()| out.flush());
    }
    greet(&url);
    running.until(desk, stop).await.map_err(Failed::running)
}

/// A vault that was opened, and how.
struct Unlocked {
    vault: Vault,
    /// The terminal on which the passphrase was typed, if it was.
    terminal: Option<Terminal>,
    /// There are no users yet.
    is_new: bool,
}

async fn unlock(store: &Store, source: &KeySource, settings: &Settings) -> Result<Unlocked, Failed> {
    let given = source.read()?;
    let terminal = match given {
        Some(_) => None,
        None => Some(Terminal::open().map_err(|_| {
            Failed::usage("there is no terminal to type the passphrase on; give it with --key-stdin, --key-file FILE or --key-fd N")
        })?),
    };
    let ask = || match (&given, &terminal) {
        (Some(given), _) => Ok(given.clone()),
        (None, Some(terminal)) => terminal.ask_hidden("Passphrase").map_err(Failed::usage),
        (None, None) => unreachable!("without a given passphrase there is a terminal"),
    };

    let mut known = None;
    if store.installation().await?.is_none() {
        let passphrase = match &terminal {
            None => ask()?,
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
        if let Some(vault) = found(store, &passphrase, settings).await? {
            return Ok(Unlocked { vault, is_new: store.has_no_users().await?, terminal });
        }
        // Another process founded it meanwhile; it may well have been given the same passphrase.
        known = Some(passphrase);
    }

    let installation = store
        .installation()
        .await?
        .ok_or_else(|| Failed::running("the installation vanished from the database"))?;
    let tries = if terminal.is_some() { TRIES } else { 1 };
    for left in (0..tries).rev() {
        let passphrase = known.take().map_or_else(ask, Ok)?;
        match Vault::open(&installation, &passphrase) {
            Ok(vault) => return Ok(Unlocked { vault, is_new: store.has_no_users().await?, terminal }),
            Err(VaultError::WrongPassphrase) if left > 0 => {
                if let Some(terminal) = &terminal {
                    terminal.say(&format!(
                        "That is not the passphrase of this database; {left} more {}.",
                        if left == 1 { "try" } else { "tries" }
                    ));
                }
            }
            Err(VaultError::WrongPassphrase) => return Err(Failed::passphrase(VaultError::WrongPassphrase)),
            Err(other) => return Err(Failed::running(other)),
        }
    }
    unreachable!("the last try returns")
}

/// Founds the installation; `None` when another process was first.
pub(super) async fn found(
    store: &Store,
    passphrase: &SecretString,
    settings: &Settings,
) -> Result<Option<Vault>, Failed> {
    let now = Clock::system().now();
    let (vault, installation) = Vault::create(passphrase, now).map_err(Failed::running)?;
    let key = new_signing_key(&vault, settings.token.algorithm, now, now).map_err(Failed::running)?;
    Ok(store.found(&installation, &key).await?.then_some(vault))
}
