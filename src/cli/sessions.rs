//! `hallpass sessions`: ends all sessions of all users. It needs no passphrase. A running server applies it within two
//! seconds.

use clap::{Args, Subcommand};

use super::common::{Common, with_store};
use super::error::CommandError;
use super::output::print_line;
use crate::clock::Clock;
use crate::server::accounts::UserAdmin;

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// End all sessions of all users: everybody must sign in again
    End(EndArgs),
}

#[derive(Debug, Args)]
pub(super) struct EndArgs {
    /// Required. To end the sessions of one user, use hallpass user passwd or hallpass user disable
    #[arg(long, required = true)]
    all: bool,
}

pub(super) fn run(common: &Common, command: &SessionsCommand) -> Result<(), CommandError> {
    let SessionsCommand::End(EndArgs { all: _ }) = command;
    with_store(common, async |store, _| {
        let users = UserAdmin::new(store.clone(), Clock::system()).end_all_sessions().await?;
        print_line(format_args!("all sessions of {users} users have ended; everybody must sign in again"))
    })
}
