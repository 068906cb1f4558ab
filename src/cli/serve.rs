//! `hallpass serve`: asks for the passphrase, decrypts the keys and starts the server.

use clap::Args;

use super::common::{Common, block_on, open_store};
use super::error::CommandError;
use super::output::print_line;
use super::secret::PassphraseSource;
use super::unlock::unlock;
use super::{log, signals, user};
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;
use crate::server::config::Settings;
use crate::server::keys::vault::Vault;
use crate::server::mail;
use crate::server::store::Store;
use crate::server::{AuthServer, bind};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl ServeArgs {
    pub(super) fn is_given(&self) -> bool {
        self.bind.is_some() || self.passphrase.is_given()
    }
}

pub(super) fn run(common: &Common, args: &ServeArgs) -> Result<(), CommandError> {
    let settings = common.settings(args.bind.as_deref())?;
    log::start(settings.log.format);
    for warning in settings.warnings() {
        ::log::warn!("{warning}");
    }
    mail::check(&settings).map_err(CommandError::usage)?;
    block_on(async {
        let store = open_store(&settings).await?;
        let unlocked = unlock(&store, &args.passphrase, &settings).await?;
        if let Some(terminal) = unlocked.terminal.filter(|_| unlocked.has_no_users) {
            user::offer_first(&terminal, &UserAdmin::new(store.clone(), Clock::system()), &settings).await?;
        } else if unlocked.has_no_users {
            ::log::warn!("there are no users yet; hallpass user add EMAIL --role admin adds one");
        }
        listen(settings, store, unlocked.vault, |_| Ok(())).await
    })
}

/// Serves until a signal. Once the server has its socket, `introduce` gets its URL; an error of it ends the server.
pub(super) async fn listen(
    settings: Settings,
    store: Store,
    vault: Vault,
    introduce: impl FnOnce(&str) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let algorithm = settings.token.algorithm;
    let server =
        AuthServer::open(settings, store, vault, Clock::system()).await.map_err(CommandError::running)?;
    if let Some(other) = server.signing_algorithm().filter(|other| *other != algorithm) {
        ::log::warn!(
            "token.algorithm is {algorithm}, but this database signs with {other}; run hallpass key rotate to change it"
        );
    }
    let running = bind(&server).map_err(CommandError::running)?;
    super::wiping::secrets_are_gone();
    // If the passphrase came from standard input, it could be read there again by anybody who gets the descriptor.
    if let Ok(nothing) = std::fs::File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(nothing);
    }
    ::log::info!(
        "hallpass {} serves {}, issuer {}",
        env!("CARGO_PKG_VERSION"),
        server.settings().database.url,
        server.issuer()
    );
    if let Some(address) = running.metrics_address {
        ::log::info!("metrics at http://{address}/metrics");
    }
    let stop = signals::stop();
    let url = format!("http://{}", running.address);
    // The server is useful without this line; the log has the address too.
    if print_line(format_args!("listening on {url}")).is_err() {
        ::log::warn!("listening on {url}; standard output cannot be written");
    }
    if let Err(error) = introduce(&url) {
        drop(running);
        server.store().close().await;
        return Err(error);
    }
    running.until(server, stop).await.map_err(CommandError::running)
}
