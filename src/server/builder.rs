//! `AuthServer::builder()`: a server within one's own app, from settings in code to background tasks.

use std::path::PathBuf;

use secrecy::SecretString;

use super::auth_server::{AuthServer, OpenError};
use super::config::{ConfigError, Settings, seconds};
use super::keys::installation;
use super::keys::passphrase_file::{Access, read_passphrase_file};
use super::keys::vault::VaultError;
use super::keys::{KeysError, judge_new_passphrase, vault::Vault};
use super::run::start_background;
use super::store::Store;
use crate::clock::Clock;

/// Starts an [`AuthServer`] within an app: settings in code, a passphrase, and the background tasks.
///
/// # Example: sign-in and an app's own route in one process
/// ```no_run
/// use actix_web::{App, HttpServer, web};
/// use hallpass::AuthUser;
/// use hallpass::server::AuthServer;
/// use hallpass::server::config::Settings;
///
/// async fn notes(user: AuthUser) -> String {
///     format!("the notes of {}", user.email)
/// }
///
/// #[actix_web::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let mut settings = Settings::default();
///     settings.database.url = "sqlite://sign-in.db".parse()?;
///     settings.registration.open = false;
///     let auth = AuthServer::builder().settings(settings).passphrase_file("/etc/app/passphrase").start().await?;
///
///     let auth_of_app = auth.clone();
///     let app = move || {
///         App::new()
///             .wrap(auth_of_app.cors())
///             .wrap(auth_of_app.envelope())
///             .configure(auth_of_app.configure()) // /auth, /user, /admin and the rest
///             .route("/notes", web::get().to(notes))
///     };
///     HttpServer::new(app).bind("127.0.0.1:8080")?.run().await?;
///     auth.stop().await;
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "it does nothing before it is started"]
pub struct AuthServerBuilder {
    settings: Settings,
    passphrase: Option<Passphrase>,
    clock: Option<Clock>,
}

/// The source of the passphrase.
#[derive(Debug)]
enum Passphrase {
    Given(SecretString),
    File(PathBuf),
}

/// An error that keeps a server from starting within an app.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is not acceptable.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The passphrase is missing, cannot be read, or is too weak for a new database.
    #[error("{0}")]
    Passphrase(String),
    /// The database or the keys cannot be used. A wrong passphrase is among these.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The thread of the background tasks cannot be started.
    #[error("the thread of the background tasks cannot be started: {0}")]
    Thread(std::io::Error),
}

impl AuthServer {
    /// Starts to build a server within an app. A passphrase is required.
    pub fn builder() -> AuthServerBuilder {
        AuthServerBuilder::default()
    }
}

impl AuthServerBuilder {
    /// Sets the settings. Defaults to [`Settings::default`]; neither files nor the environment are read.
    ///
    /// The app's own `HttpServer` decides what `server.bind`, `server.workers`, `server.metrics_bind` and `log.format`
    /// decide for the binary.
    ///
    /// # Example: the settings that the binary would use in this folder
    /// ```no_run
    /// use hallpass::server::AuthServer;
    /// use hallpass::server::config::{Loaded, Sources};
    ///
    /// let sources = Sources { folder: ".".into(), environment: std::env::vars().collect(), ..Sources::default() };
    /// let builder = AuthServer::builder().settings(Loaded::from(&sources)?.into_settings());
    /// # let _ = builder;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the passphrase that unseals the keys of the database: from a secret manager, say. It is wiped once the keys
    /// are unsealed.
    ///
    /// The first start on a database chooses it: it must be strong then. Nobody can recover it, and without it every user
    /// has to choose a new password.
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = Some(Passphrase::Given(SecretString::from(passphrase.into())));
        self
    }

    /// Reads the passphrase from the first line of a file, which nobody else may be able to read. A group may where
    /// the file lies in `$CREDENTIALS_DIRECTORY`.
    pub fn passphrase_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.passphrase = Some(Passphrase::File(path.into()));
        self
    }

    /// Sets the clock. Defaults to the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the database, which is made where it is missing, unseals the keys and starts the background tasks.
    ///
    /// The tasks run until [`AuthServer::stop`], or until the last clone of the server is dropped. They need neither
    /// actix's runtime nor a particular one of tokio.
    ///
    /// # Errors
    /// [`StartError`] says what to change. A wrong passphrase is [`StartError::Open`].
    pub async fn start(self) -> Result<AuthServer, StartError> {
        let Self { settings, passphrase, clock } = self;
        settings.check()?;
        let passphrase = match passphrase {
            Some(Passphrase::Given(passphrase)) => passphrase,
            Some(Passphrase::File(path)) => {
                read_passphrase_file(&path, Access::Owner).map_err(StartError::Passphrase)?
            }
            None => {
                let advice = "a server needs the passphrase of its database: add .passphrase_file(…)";
                return Err(StartError::Passphrase(advice.into()));
            }
        };
        for warning in settings.warnings() {
            log::warn!("{warning}");
        }
        let store = Store::open(&settings.database).await.map_err(OpenError::from)?;
        let clock = clock.unwrap_or_else(Clock::system);
        let vault = unseal(&store, &passphrase, &settings, &clock).await?;
        drop(passphrase);
        let server = AuthServer::open(settings, store, vault, clock).await?;
        start_background(&server).map_err(StartError::Thread)?;
        Ok(server)
    }
}

/// Unseals the vault of `store`, which is made where the database is new.
async fn unseal(
    store: &Store,
    passphrase: &SecretString,
    settings: &Settings,
    clock: &Clock,
) -> Result<Vault, StartError> {
    let read = || store.read(async |connection| connection.installation().await);
    let mut stored = read().await.map_err(OpenError::from)?;
    if stored.is_none() {
        judge_new_passphrase(passphrase).map_err(|weak| StartError::Passphrase(weak.to_string()))?;
        let (algorithm, lifetime) = (settings.token.algorithm, seconds(settings.token.lifetime));
        let made = installation::create(store, passphrase, algorithm, lifetime, clock.now()).await;
        if let Some(vault) = made.map_err(OpenError::from)? {
            return Ok(vault);
        }
        // Another process was first.
        stored = read().await.map_err(OpenError::from)?;
    }
    let failed = |error: VaultError| StartError::Open(OpenError::Keys(KeysError::from(error)));
    let installation = stored.ok_or_else(|| failed(VaultError::WrongPassphrase))?;
    Vault::unseal(&installation, passphrase).map_err(failed)
}
