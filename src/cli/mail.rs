//! `hallpass mail`: sends a mail to try the settings, and lists the mails that wait. It needs no passphrase.

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::common::{Common, block_on, with_store};
use super::error::CommandError;
use super::log;
use super::output::{plain, plain_json, print_line};
use crate::clock::{Clock, rfc3339};
use crate::server::accounts::parse_email;
use crate::server::mail::send_test;
use crate::server::model::WaitingMail;

/// Mails read at a time, so that a list of any length takes little memory.
const PAGE: u32 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum MailCommand {
    /// Send a mail now, and print what the mail server answers
    Test {
        /// The address to send it to
        address: String,
    },
    /// List the mails that wait, and why
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, command: &MailCommand) -> Result<(), CommandError> {
    match command {
        MailCommand::Test { address } => {
            let recipient = parse_email(address)
                .map_err(|reason| CommandError::usage(format!("ADDRESS {}: it {reason}", plain(address))))?;
            let settings = common.settings(None)?;
            log::start(settings.log.format);
            let answer = block_on(send_test(&settings, &recipient, Clock::system().now()));
            let answer = answer.map_err(|error| {
                CommandError::running(format!("no mail was sent: {}", plain(&error.to_string())))
            })?;
            print_line(format_args!("sent to {recipient}: {}", plain(&answer)))
        }
        MailCommand::List(ListArgs { json }) => with_store(common, async |store, _| {
            let mut after = Uuid::nil();
            loop {
                let page = store.read(async |connection| connection.waiting_mails(after, PAGE).await).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = last.id;
                for mail in &page {
                    print_mail(mail, *json)?;
                }
            }
        }),
    }
}

/// Prints a mail that waits. Its token stays sealed.
fn print_mail(mail: &WaitingMail, as_json: bool) -> Result<(), CommandError> {
    let (created, next) = (rfc3339(mail.created_at), rfc3339(mail.next_try_at));
    if as_json {
        let line = json!({
            "id": mail.id,
            "kind": mail.kind,
            "recipient": mail.recipient,
            "created_at": created,
            "tries": mail.tries,
            "next_try_at": next,
            "last_error": mail.last_error,
        });
        return print_line(format_args!("{}", plain_json(&line.to_string())));
    }
    let reason = mail.last_error.as_deref().map_or("not tried yet".into(), plain);
    print_line(format_args!(
        "{created}  {:<16}  {}  tries {}, next {next}: {reason}",
        mail.kind,
        plain(&mail.recipient),
        mail.tries
    ))
}
