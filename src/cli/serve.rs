//! `hallpass serve`: ask for the passphrase, unseal the keys, listen.

use clap::Args;

use super::out::say;
use super::secret::KeySource;
use super::unlock::unlock;
use super::{Common, Failed, block_on, log, open_store, signals, user};
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;
use crate::server::config::Settings;
use crate::server::keys::vault::Vault;
use crate::server::store::Store;
use crate::server::{AuthServer, bind};

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
            user::offer_first(&terminal, &UserAdmin::new(store.clone(), Clock::system()), &settings).await?;
        } else if UserAdmin::new(store.clone(), Clock::system()).has_no_users().await? {
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
    let server = AuthServer::open(settings, store, vault, Clock::system()).await.map_err(Failed::running)?;
    if let Some(other) = server.signing_algorithm().filter(|other| *other != algorithm) {
        ::log::warn!(
            "token.algorithm is {algorithm}, but this database signs with {other}; that stays until the key is rotated"
        );
    }
    let running = bind(&server).map_err(Failed::running)?;
    super::wiping::secrets_are_gone();
    // Where the passphrase came from there, it is still to be had there, by whoever gets at the descriptor.
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
    // That nobody can read it is no reason not to serve.
    if say(format_args!("listening on {url}")).is_err() {
        ::log::warn!("listening on {url}, which standard output does not take");
    }
    greet(&url);
    running.until(server, stop).await.map_err(Failed::running)
}
