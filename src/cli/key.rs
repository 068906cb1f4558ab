//! `hallpass key`: signing keys and the passphrase, beside a running server, which hears of each change within
//! two seconds.

use clap::Subcommand;
use serde_json::json;

use super::out::say;
use super::secret::KeySource;
use super::terminal::Terminal;
use super::unlock::{Existing, unlock_existing};
use super::{Common, Failed, with_store};
use crate::clock::{Clock, rfc3339};
use crate::server::config::{Settings, seconds};
use crate::server::keys::installation;
use crate::server::keys::rotation::{self, Plan, Reason, Revoked, Rotated, State, states};
use crate::server::keys::vault::judge_new_passphrase;
use crate::server::model::{SealedKey, StoredKey};
use crate::server::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Say whether the passphrase is right and every key unseals
    Check {
        #[command(flatten)]
        key: KeySource,
    },
    /// List the signing keys: which signs, which is next, which is retired
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make a new signing key; what the old one signed stays good until it expires
    Rotate {
        /// Say what would happen, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Where the newest key is of a later time than the clock tells: the clock is right, and was ahead then
        #[arg(long)]
        trust_clock: bool,
        #[command(flatten)]
        key: KeySource,
    },
    /// Kill a signing key and every token that it signed, at once
    Revoke {
        /// The key's name, as hallpass key list shows it; it may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Change the passphrase; no token dies of it. With --key-stdin: the current one, then the new one, a line each
    Passphrase {
        #[command(flatten)]
        key: KeySource,
    },
}

pub(super) fn run(common: &Common, command: KeyCommand) -> Result<(), Failed> {
    with_store(common, async |store, settings| execute(store, settings, command).await)
}

async fn execute(store: &Store, settings: &Settings, command: KeyCommand) -> Result<(), Failed> {
    match command {
        KeyCommand::Check { key } => {
            let Existing { vault, .. } = unlock_existing(store, &key).await?;
            let count = rotation::check(store, &vault).await?;
            say(format_args!("the passphrase is right; {} unsealed", counted(count)))?;
        }
        KeyCommand::List { json } => list(store, settings, json).await?,
        KeyCommand::Rotate { dry_run: true, trust_clock, .. } => {
            foretell(store, settings, trust_clock).await?
        }
        KeyCommand::Rotate { dry_run: false, trust_clock, key } => {
            let Existing { vault, .. } = unlock_existing(store, &key).await?;
            let reason = Reason::Requested { trust_clock };
            match rotation::rotate(store, &vault, settings, &Clock::system(), reason).await? {
                Rotated::Made(made) => say(format_args!(
                    "{} ({}) is published; it signs from {}",
                    made.kid,
                    made.algorithm,
                    rfc3339(made.signs_from)
                ))?,
                Rotated::Waiting(key) => say(format_args!(
                    "none was made: {} was made already, and signs from {}",
                    key.kid,
                    rfc3339(key.signs_from)
                ))?,
            }
        }
        KeyCommand::Revoke { kid } => revoke(store, &kid).await?,
        KeyCommand::Passphrase { key } => {
            let Existing { vault, installation, terminal } = unlock_existing(store, &key).await?;
            let new = new_passphrase(&key, terminal)?;
            let now = Clock::system().now();
            installation::change_passphrase(store, &vault, &installation, &new, now).await?;
            say(format_args!(
                "the passphrase is changed; running servers go on, and ask for the new one at their next start"
            ))?;
        }
    }
    Ok(())
}

fn new_passphrase(source: &KeySource, terminal: Option<Terminal>) -> Result<secrecy::SecretString, Failed> {
    let judge = |typed: &secrecy::SecretString| judge_new_passphrase(typed).map_err(|weak| weak.to_string());
    let new = match (source.read_next()?, terminal) {
        (Some(given), _) => given,
        // The current one came from a file or descriptor; the new one is typed.
        (None, terminal) => {
            let terminal = terminal.map_or_else(Terminal::open, Ok).map_err(|_| {
                Failed::usage("there is no terminal to type the new passphrase on; give both with --key-stdin, a line each")
            })?;
            terminal.ask_hidden_twice("New passphrase", "The same again", judge).map_err(Failed::usage)?
        }
    };
    judge(&new).map_err(Failed::usage)?;
    Ok(new)
}

async fn list(store: &Store, settings: &Settings, as_json: bool) -> Result<(), Failed> {
    let rows = signing_keys(store).await?;
    let states = states(&rows, Clock::system().now(), leeway(settings));
    if as_json {
        let keys: Vec<_> = rows
            .iter()
            .zip(states)
            .map(|(row, state)| {
                let (state, until) = match state {
                    State::Next(_) => ("next", None),
                    State::Signs => ("signs", None),
                    State::Retired(until) => ("retired", Some(rfc3339(until))),
                };
                json!({
                    "kid": row.sealed.kid,
                    "algorithm": row.sealed.algorithm,
                    "state": state,
                    "created_at": rfc3339(row.sealed.created_at),
                    "signs_from": rfc3339(row.sealed.signs_from),
                    "dropped_at": until,
                })
            })
            .collect();
        return say(format_args!("{}", serde_json::to_string_pretty(&keys).map_err(Failed::running)?));
    }
    if rows.is_empty() {
        say(format_args!("no keys yet; hallpass serve makes the first at its first start"))?;
    }
    for (row, state) in rows.iter().zip(states) {
        say(format_args!(
            "{:<43} {:<6} made {}, {state}",
            row.sealed.kid,
            row.sealed.algorithm,
            rfc3339(row.sealed.created_at)
        ))?;
    }
    Ok(())
}

/// What a rotation would do.
async fn foretell(store: &Store, settings: &Settings, trust_clock: bool) -> Result<(), Failed> {
    let now = Clock::system().now();
    let mut rows = signing_keys(store).await?;
    if rows.is_empty() {
        return Err(Failed::running(
            "this database has no keys yet; hallpass serve makes them at its first start",
        ));
    }
    let (signs_from, redated) = match rotation::plan(&rows, settings, now, Reason::Requested { trust_clock })?
    {
        Plan::Make { signs_from, redated } => (signs_from, redated),
        Plan::Wait(key) => {
            return say(format_args!(
                "would make none: {} was made already, and signs from {}",
                key.kid,
                rfc3339(key.signs_from)
            ));
        }
    };
    say(format_args!(
        "would make a new {} key and publish it at once; it would sign from {}",
        settings.token.algorithm,
        rfc3339(signs_from)
    ))?;
    for (key, from) in &redated {
        say(format_args!("{} would be dated back, to sign from {}", key.kid, rfc3339(*from)))?;
        if let Some(row) = rows.iter_mut().find(|row| row.sealed.kid == key.kid) {
            row.sealed.signs_from = *from;
        }
    }
    // What is there then.
    let made = SealedKey { kid: String::new(), signs_from, ..rows[0].sealed.clone() };
    rows.push(StoredKey { sealed: made, ..rows[0].clone() });
    for (row, state) in rows.iter().zip(states(&rows, signs_from, leeway(settings))) {
        if let State::Retired(until) = state {
            say(format_args!(
                "{} ({}) would be retired then, and dropped at {}",
                row.sealed.kid,
                row.sealed.algorithm,
                rfc3339(until)
            ))?;
        }
    }
    say(format_args!("no token would die of it; nothing was done"))
}

async fn revoke(store: &Store, kid: &str) -> Result<(), Failed> {
    let revoked = rotation::revoke(store, kid, Clock::system().now()).await?;
    if revoked == Revoked::Removed {
        let rows = signing_keys(store).await?;
        let states = states(&rows, Clock::system().now(), chrono::Duration::zero());
        let signer = rows.iter().zip(states).find(|(_, state)| *state == State::Signs);
        let signer = signer.map_or("none", |(row, _)| &row.sealed.kid);
        return say(format_args!("{kid} is revoked, and every token that it signed; {signer} signs"));
    }
    Err(Failed::running(if revoked == Revoked::OnlyKey {
        format!(
            "{kid} is the only key, and nothing could be signed without it; hallpass key rotate first, then revoke"
        )
    } else {
        format!("there is no key {kid:?}; hallpass key list shows all")
    }))
}

async fn signing_keys(store: &Store) -> Result<Vec<StoredKey>, StoreError> {
    store.read(async |connection| connection.signing_keys().await).await
}

fn leeway(settings: &Settings) -> chrono::Duration {
    seconds(settings.token.leeway)
}

fn counted(keys: usize) -> String {
    match keys {
        1 => "the one signing key is".into(),
        count => format!("all {count} signing keys are"),
    }
}
