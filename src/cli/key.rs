//! `hallpass key`: manages signing keys and the passphrase. A running server applies each change within two seconds.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde_json::json;

use super::columns::Columns;
use super::common::{Common, with_store};
use super::error::CommandError;
use super::output::print_line;
use super::secret::PassphraseSource;
use super::terminal::Terminal;
use super::unlock::{Existing, no_keys, unlock_existing};
use crate::clock::{Clock, rfc3339};
use crate::server::config::{Settings, seconds};
use crate::server::keys::rekey::{self, Begun, FOLLOW, Rekeyed};
use crate::server::keys::rotation::{self, Plan, Reason, Revoked, Rotated, State, states};
use crate::server::keys::{KeysError, installation, judge_new_passphrase};
use crate::server::model::{SealedKey, StoredKey};
use crate::server::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Check that the passphrase is right and that every key decrypts
    Check {
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
    /// List the signing keys: which signs, which is next, which are retired
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make a new signing key; tokens of the old one stay valid until they expire
    Rotate {
        /// Print what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Rotate even if the newest key is dated in the future, because the clock was ahead then and is right now
        #[arg(long)]
        trust_clock: bool,
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
    /// Invalidate a signing key and every token that it signed, immediately
    Revoke {
        /// The key ID, from hallpass key list; it may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Replace the installation key, and encrypt everything anew under the new one; no token is invalidated
    ///
    /// For the day on which somebody may have seen it, in the memory of a server for example. Running servers follow within
    /// two seconds. It can be interrupted, and run again to go on.
    Rekey {
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
    /// Change the passphrase; no token is invalidated
    ///
    /// With --key-stdin, the current passphrase and the new one are read, one per line.
    Passphrase {
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
}

pub(super) fn run(common: &Common, command: KeyCommand) -> Result<(), CommandError> {
    with_store(common, async |store, settings| execute(store, settings, command).await)
}

async fn execute(store: &Store, settings: &Settings, command: KeyCommand) -> Result<(), CommandError> {
    match command {
        KeyCommand::Check { passphrase } => {
            let Existing { vault, .. } = unlock_existing(store, &passphrase).await?;
            let count = rotation::check(store, &vault).await?;
            print_line(format_args!("the passphrase is right; {}", describe_count(count)))?;
        }
        KeyCommand::List { json } => list(store, settings, json).await?,
        KeyCommand::Rotate { dry_run: true, trust_clock, .. } => {
            print_plan(store, settings, trust_clock).await?;
        }
        KeyCommand::Rotate { dry_run: false, trust_clock, passphrase } => {
            let Existing { vault, .. } = unlock_existing(store, &passphrase).await?;
            let reason = Reason::Requested { trust_clock };
            match rotation::rotate(store, &vault, settings, &Clock::system(), reason).await? {
                Rotated::Made(made) => print_line(format_args!(
                    "{} ({}) is published; it signs from {}",
                    made.kid,
                    made.algorithm,
                    rfc3339(made.signs_from)
                ))?,
                Rotated::Waiting(key) => print_line(format_args!(
                    "no key was made, because {} is already waiting; it signs from {}",
                    key.kid,
                    rfc3339(key.signs_from)
                ))?,
            }
        }
        KeyCommand::Revoke { kid } => revoke(store, &kid).await?,
        KeyCommand::Rekey { passphrase } => rekey(store, &passphrase).await?,
        KeyCommand::Passphrase { passphrase } => {
            let Existing { vault, installation, terminal, .. } = unlock_existing(store, &passphrase).await?;
            let new = new_passphrase(&passphrase, terminal)?;
            let now = Clock::system().now();
            installation::change_passphrase(store, &vault, &installation, &new, now).await?;
            print_line(format_args!(
                "the passphrase is changed; running servers continue, and need the new one at their next start"
            ))?;
        }
    }
    Ok(())
}

async fn rekey(store: &Store, source: &PassphraseSource) -> Result<(), CommandError> {
    let Existing { vault, passphrase, .. } = unlock_existing(store, source).await?;
    let (vault, clock) = (Arc::new(vault), Clock::system());
    match rekey::begin(store, &vault, &passphrase, &clock).await? {
        Begun::Replaced(generation) => print_line(format_args!(
            "the installation key is replaced (generation {generation}); running servers follow within 2 s"
        ))?,
        Begun::Continued(generation) => print_line(format_args!(
            "an earlier run was interrupted after it had replaced the installation key (generation {generation}); this one \
             goes on"
        ))?,
    }
    drop(passphrase);
    let bar = progress();
    let done = rekey::complete(store, &vault, &clock, FOLLOW, |rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    let Rekeyed { signing_keys, hashes, others } = done?;
    print_line(format_args!(
        "encrypted anew: {signing_keys} signing keys, {hashes} password hashes, {others} other secrets; no token is invalidated"
    ))
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} encrypted anew, {per_sec}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn new_passphrase(
    source: &PassphraseSource,
    terminal: Option<Terminal>,
) -> Result<SecretString, CommandError> {
    let check = |typed: &SecretString| judge_new_passphrase(typed).map_err(|weak| weak.to_string());
    if let Some(given) = source.read_next()? {
        check(&given).map_err(CommandError::usage)?;
        return Ok(given);
    }
    // Typed, even if the current one came from a file or a descriptor.
    let terminal = terminal.map_or_else(Terminal::open, Ok).map_err(|_| {
        CommandError::usage(
            "there is no terminal to type the new passphrase on; give both with --key-stdin, one per line",
        )
    })?;
    terminal.print_line(
        "Nobody can recover the new passphrase: without it every user has to choose a new password. Copies of the database \
         from before still open with the old one.",
    );
    terminal.ask_hidden_twice("New passphrase", "Repeat the passphrase", check).map_err(CommandError::usage)
}

async fn list(store: &Store, settings: &Settings, as_json: bool) -> Result<(), CommandError> {
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
        return print_line(format_args!(
            "{}",
            serde_json::to_string_pretty(&keys).map_err(CommandError::running)?
        ));
    }
    if rows.is_empty() {
        print_line(format_args!("no keys yet; hallpass serve creates the first at its first start"))?;
    }
    let cells = |(row, state): (&StoredKey, String)| {
        let SealedKey { kid, algorithm, created_at, .. } = &row.sealed;
        vec![kid.clone(), algorithm.to_string(), format!("made {}, {state}", rfc3339(*created_at))]
    };
    let rows = rows.iter().zip(states.iter().map(ToString::to_string)).map(cells);
    Columns::default().print(&rows.collect::<Vec<_>>())
}

/// Prints what a rotation would do.
async fn print_plan(store: &Store, settings: &Settings, trust_clock: bool) -> Result<(), CommandError> {
    let now = Clock::system().now();
    let mut rows = signing_keys(store).await?;
    if rows.is_empty() {
        return Err(no_keys());
    }
    if !store.read(async |connection| connection.reseals().await).await?.is_empty() {
        return Err(KeysError::RekeyUnfinished.into());
    }
    let (signs_from, redated) = match rotation::plan(&rows, settings, now, Reason::Requested { trust_clock })?
    {
        Plan::Make { signs_from, redated } => (signs_from, redated),
        Plan::Wait(key) => {
            return print_line(format_args!(
                "would make no key, because {} is already waiting; it signs from {}",
                key.kid,
                rfc3339(key.signs_from)
            ));
        }
    };
    print_line(format_args!(
        "would make a new {} key and publish it immediately; it would sign from {}",
        settings.token.algorithm,
        rfc3339(signs_from)
    ))?;
    for (key, from) in &redated {
        print_line(format_args!("{} would be dated back, to sign from {}", key.kid, rfc3339(*from)))?;
        if let Some(row) = rows.iter_mut().find(|row| row.sealed.kid == key.kid) {
            row.sealed.signs_from = *from;
        }
    }
    // The keys after the rotation.
    let made = SealedKey { kid: String::new(), signs_from, ..rows[0].sealed.clone() };
    rows.push(StoredKey { sealed: made, ..rows[0].clone() });
    for (row, state) in rows.iter().zip(states(&rows, signs_from, leeway(settings))) {
        if let State::Retired(until) = state {
            print_line(format_args!(
                "{} ({}) would be retired then, and deleted at {}",
                row.sealed.kid,
                row.sealed.algorithm,
                rfc3339(until)
            ))?;
        }
    }
    print_line(format_args!("no token would be invalidated; nothing was done"))
}

async fn revoke(store: &Store, kid: &str) -> Result<(), CommandError> {
    let revoked = rotation::revoke(store, kid, Clock::system().now()).await?;
    if revoked == Revoked::Removed {
        let rows = signing_keys(store).await?;
        let states = states(&rows, Clock::system().now(), chrono::Duration::zero());
        let signer = rows.iter().zip(states).find(|(_, state)| *state == State::Signs);
        let signer = signer.map_or("none", |(row, _)| &row.sealed.kid);
        return print_line(format_args!(
            "{kid} is revoked, and every token that it signed is invalid; {signer} signs now"
        ));
    }
    Err(CommandError::running(if revoked == Revoked::OnlyKey {
        format!("{kid} is the only key and cannot be revoked; run hallpass key rotate first")
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

fn describe_count(keys: usize) -> String {
    match keys {
        1 => "the only signing key decrypts".into(),
        count => format!("all {count} signing keys decrypt"),
    }
}
