//! `hallpass sessions`: ends the sessions of everybody. It needs no passphrase. A running server applies it within two
//! seconds.

use clap::{Args, Subcommand};

use super::common::{Common, with_store};
use super::error::CommandError;
use super::output::print_line;
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// End every session of every user: everybody has to sign in again
    End(EndArgs),
}

#[derive(Debug, Args)]
pub(super) struct EndArgs {
    /// Of every user; hallpass user disable and passwd end those of one
    #[arg(long, required = true)]
    all: bool,
}

pub(super) fn run(common: &Common, command: &SessionsCommand) -> Result<(), CommandError> {
    let SessionsCommand::End(EndArgs { all: _ }) = command;
    with_store(common, async |store, _| {
        let users = UserAdmin::new(store.clone(), Clock::system()).end_all_sessions().await?;
        print_line(format_args!("every session of {users} users has ended; everybody has to sign in again"))
    })
}
