//! `hallpass serve`: asks for the passphrase, decrypts the keys and starts the server.

use std::sync::Arc;

use clap::Args;
use tokio::sync::mpsc::UnboundedReceiver;

use super::common::{Common, block_on, open_store};
use super::error::CommandError;
use super::output::print_line;
use super::secret::PassphraseSource;
use super::unlock::{Unlocked, read_installation, unlock};
use super::{log, service, signals, user};
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;
use crate::server::config::Settings;
use crate::server::credentials::check_passkeys;
use crate::server::keys::PasswordHashes;
use crate::server::keys::vault::Vault;
use crate::server::mail;
use crate::server::store::Store;
use crate::server::{AuthServer, Reload, Running, Sockets, Taken, bind_on};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<String>,
    /// Take the sockets and the decrypted key over from the running server (server.control_socket), which then stops
    #[arg(long, conflicts_with = "key_source")]
    takeover: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl ServeArgs {
    pub(super) fn is_given(&self) -> bool {
        self.bind.is_some() || self.takeover || self.passphrase.is_given()
    }
}

/// The inputs of a start, besides the settings.
#[derive(Default)]
pub(super) struct Start {
    /// Sockets that are open already.
    pub(super) sockets: Sockets,
    /// The server that this one replaces.
    pub(super) taken: Option<Taken>,
    /// Reads the settings again, for SIGHUP.
    pub(super) reread: Option<Box<dyn Fn() -> Result<Settings, CommandError>>>,
    /// Somebody else prints where the server listens.
    pub(super) is_silent: bool,
}

pub(super) fn run(common: &Common, args: &ServeArgs, sockets: Sockets) -> Result<(), CommandError> {
    let settings = common.settings(args.bind.as_deref())?;
    log::start(settings.log.format);
    for warning in settings.warnings() {
        ::log::warn!("{warning}");
    }
    mail::check(&settings).map_err(CommandError::usage)?;
    if let Some(warning) = check_passkeys(&settings).map_err(CommandError::usage)? {
        ::log::warn!("{warning}");
    }
    let (reread_from, bind) = (common.clone(), args.bind.clone());
    let reread = move || reread_from.settings(bind.as_deref());
    let mut start = Start { sockets, reread: Some(Box::new(reread)), ..Start::default() };
    block_on(async {
        let store = open_store(&settings).await?;
        if args.takeover {
            let vault = take_over(&settings, &store, &mut start).await?;
            return listen(settings, store, vault.into(), start, |_| Ok(())).await;
        }
        let Unlocked { vault, terminal, has_no_users } = unlock(&store, &args.passphrase, &settings).await?;
        let vault = Arc::new(vault);
        if let Some(terminal) = terminal.filter(|_| has_no_users) {
            let users = UserAdmin::new(store.clone(), Clock::system());
            let users = users.sealing(PasswordHashes::new(Arc::clone(&vault)));
            user::offer_first(&terminal, &users, &settings).await?;
        } else if has_no_users {
            ::log::warn!("there are no users yet; hallpass user add EMAIL --role admin adds one");
        }
        listen(settings, store, vault, start, |_| Ok(())).await
    })
}

/// Takes the running server over. Returns the vault that it has unsealed.
async fn take_over(settings: &Settings, store: &Store, start: &mut Start) -> Result<Vault, CommandError> {
    let path = settings.server.control_socket.as_deref().ok_or_else(|| {
        CommandError::usage("--takeover needs server.control_socket, the same as that of the running server")
    })?;
    let mut taken = Taken::from(path).map_err(CommandError::running)?;
    let installation = read_installation(store).await?.map(|installation| installation.id);
    if installation != Some(taken.vault.id()) {
        return Err(CommandError::usage(
            "the running server has another installation; give this one the same database",
        ));
    }
    start.sockets = std::mem::take(&mut taken.sockets);
    let vault = taken.vault.share();
    start.taken = Some(taken);
    Ok(vault)
}

/// Serves until a signal. Once the server has its socket, its URL is printed, and `introduce` gets it; an error of that
/// ends the server.
pub(super) async fn listen(
    settings: Settings,
    store: Store,
    vault: Arc<Vault>,
    start: Start,
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
    let Start { sockets, taken, reread, is_silent } = start;
    let mut running = bind_on(&server, sockets).map_err(CommandError::running)?;
    super::wiping::secrets_are_gone();
    // If the passphrase came from standard input, it could be read there again by anybody who gets the descriptor.
    if let Ok(nothing) = std::fs::File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(nothing);
    }
    allow_descriptors(server.settings().server.connections);
    ::log::info!(
        "hallpass {} serves {}, issuer {}",
        env!("CARGO_PKG_VERSION"),
        server.settings().database.url,
        server.issuer()
    );
    if let Some(address) = running.metrics_address {
        ::log::info!("metrics at http://{address}/metrics");
    }
    if let Some(address) = running.redirect_address {
        ::log::info!("browsers at http://{address} are sent to HTTPS");
    }
    let signalled = signals::stop();
    let replaced = running.offer(&server).map_err(CommandError::running)?;
    if let Some(reread) = reread {
        // Before anybody is told that the server listens.
        let hangups = signals::hangups();
        actix_rt::spawn(reload_on_hangup(hangups, server.settings().clone(), running.reload(), reread));
    }
    let url = running.url();
    // The server is useful without this line; the log has the address too.
    if !is_silent && print_line(format_args!("listening on {url}")).is_err() {
        ::log::warn!("listening on {url}; standard output cannot be written");
    }
    if let Err(error) = introduce(&url) {
        drop(running);
        server.store().close().await;
        return Err(error);
    }
    serve(running, server, taken, signalled, replaced).await
}

/// Serves until a signal, or until another process has taken over.
async fn serve(
    running: Running,
    server: AuthServer,
    taken: Option<Taken>,
    signalled: impl Future<Output = ()> + 'static,
    replaced: impl Future<Output = ()> + 'static,
) -> Result<(), CommandError> {
    let stop = async {
        signalled.await;
        service::stopping();
    };
    // What comes before the first poll waits in the sockets.
    actix_rt::spawn(async move {
        if let Some(Err(error)) = taken.map(Taken::serving) {
            ::log::warn!("the server that was taken over is gone already: {error}");
        }
        service::ready();
        service::feed_watchdog().await;
    });
    running.until_replaced(server, stop, replaced).await.map_err(CommandError::running)
}

/// At each SIGHUP, reads again what can be read again, and logs what cannot.
async fn reload_on_hangup(
    mut hangups: UnboundedReceiver<()>,
    settings: Settings,
    reload: Reload,
    reread: Box<dyn Fn() -> Result<Settings, CommandError>>,
) {
    while hangups.recv().await.is_some() {
        service::reloading();
        let what =
            if reload.certificate() { "the certificate was read" } else { "the certificate has not changed" };
        match reread() {
            Ok(new) => match settings.differences(&new).as_slice() {
                [] => ::log::info!("SIGHUP: {what}; no setting has changed"),
                changed => ::log::warn!(
                    "SIGHUP: {what}; these settings have changed and take effect at the next start, or with --takeover: {}",
                    changed.join(", ")
                ),
            },
            Err(error) => ::log::error!("SIGHUP: {what}; the settings cannot be read: {}", error.message),
        }
        service::ready();
    }
}

/// Raises the limit of descriptors to what the system allows, and warns if that is too few for the connections.
fn allow_descriptors(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};

    /// For files, the database and the standard streams.
    const OTHERS: u64 = 100;

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused only where the limit is what it was.
    let _ = setrlimit(Resource::Nofile, limit);
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if (connections as u64).saturating_add(OTHERS) > most {
        ::log::warn!(
            "server.connections is {connections}, and this process may have {most} descriptors; raise LimitNOFILE or lower \
             the setting"
        );
    }
}
