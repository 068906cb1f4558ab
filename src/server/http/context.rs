//! The parts of the server, for its handlers.

use std::sync::Arc;

use crate::clock::Clock;
use crate::guard::Guard;
use crate::server::accounts::{Accounts, Directory, UserAdmin};
use crate::server::config;
use crate::server::events::{EventLog, Statistics};
use crate::server::http::readiness::Readiness;
use crate::server::http::watched::Watched;
use crate::server::keys::SigningKeys;
use crate::server::sessions::Sessions;
use crate::server::state::{ServerKeys, State};

/// The parts of the server that handlers use. Each handler takes the one that it needs.
#[derive(Debug, Clone)]
pub(in crate::server) struct Context {
    pub guard: Guard,
    pub accounts: Accounts,
    pub users: UserAdmin,
    pub directory: Directory,
    pub events: EventLog,
    pub statistics: Statistics,
    pub watched: Watched,
    pub sessions: Sessions,
    pub keys: Arc<SigningKeys>,
    pub server_keys: Arc<ServerKeys>,
    pub state: Arc<State>,
    pub clock: Clock,
    pub readiness: Arc<Readiness>,
    /// The claim `iss` of every token.
    pub issuer: String,
    pub settings: config::Server,
}
