//! `hallpass user`: users, without the passphrase and beside a running server, which hears of each change
//! within two seconds.

use clap::Subcommand;
use serde_json::json;

use super::out::{print, say};
use super::secret::read_standard_input;
use super::terminal::Terminal;
use super::{Common, Failed, with_store};
use crate::clock::{Clock, rfc3339};
use crate::server::accounts::{NewUser, UserAdmin, parse_email, parse_name, parse_roles};
use crate::server::config::Settings;
use crate::server::credentials::{Hasher, Password, check_new};
use crate::server::error::Error;
use crate::server::model::UserRecord;

/// Users read at a time, so that a list of any length takes little memory.
const PAGE: u32 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is asked for on the terminal
    Add {
        /// The address to sign in with
        email: String,
        /// The name to show
        #[arg(long)]
        name: Option<String>,
        /// A role; may be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users by address
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one user
    Show {
        /// The user's address
        email: String,
    },
    /// Give a user a new password; every token of the user is dead then
    Passwd {
        /// The user's address
        email: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Refuse a user from now on; every token of the user is dead then
    Disable {
        /// The user's address
        email: String,
    },
    /// Let a disabled user sign in again
    Enable {
        /// The user's address
        email: String,
    },
    /// Add the users of a file: CSV (email,name,roles,password_hash) or JSON lines of the same names
    Import {
        /// The file
        file: std::path::PathBuf,
    },
    /// Write all users to standard output, as import reads them
    Export {
        /// As JSON lines instead of CSV
        #[arg(long)]
        json: bool,
    },
    /// Delete a user for good
    Delete {
        /// The user's address
        email: String,
        /// Without asking
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(common: &Common, command: UserCommand) -> Result<(), Failed> {
    with_store(common, async |store, settings| {
        execute(&UserAdmin::new(store.clone(), Clock::system()), settings, command).await
    })
}

async fn execute(users: &UserAdmin, settings: &Settings, command: UserCommand) -> Result<(), Failed> {
    match command {
        UserCommand::Add { email, name, roles, password_stdin } => {
            let email = acceptable("EMAIL", parse_email(&email))?;
            let name = name.map(|name| acceptable("--name", parse_name(&name))).transpose()?;
            let roles = acceptable("--role", parse_roles(&roles))?;
            if users.find(&email).await?.is_some() {
                return Err(taken(&email));
            }
            let password = new_password(&email, settings, password_stdin)?;
            let user = add(users, settings, email, name, roles, &password).await?;
            say(format_args!("added {} ({})", user.email, user.id))?;
        }
        UserCommand::List { json } => list(users, json).await?,
        UserCommand::Show { email } => {
            let user = find(users, &email).await?;
            say(format_args!("{}", serde_json::to_string_pretty(&shown(&user)).map_err(Failed::running)?))?;
        }
        UserCommand::Passwd { email, password_stdin } => {
            let user = find(users, &email).await?;
            let password = new_password(&user.email, settings, password_stdin)?;
            let hash = hash(settings, &password).await?;
            users.set_password(user.id, &hash).await.map_err(gone(&user))?;
            say(format_args!("{} has a new password; every earlier token is dead", user.email))?;
        }
        UserCommand::Disable { email } => {
            let user = find(users, &email).await?;
            users.disable(user.id).await.map_err(gone(&user))?;
            say(format_args!("{} is disabled; every token is dead", user.email))?;
        }
        UserCommand::Enable { email } => {
            let user = find(users, &email).await?;
            users.enable(user.id).await.map_err(gone(&user))?;
            say(format_args!("{} may sign in again", user.email))?;
        }
        UserCommand::Import { file } => super::import::import(users, &file).await?,
        UserCommand::Export { json } => super::import::export(users, json).await?,
        UserCommand::Delete { email, yes } => {
            let user = find(users, &email).await?;
            if !yes && !confirm_delete(&user)? {
                return Err(Failed::running(format!("{} was not deleted", user.email)));
            }
            users.delete(user.id).await.map_err(gone(&user))?;
            say(format_args!("{} is deleted", user.email))?;
        }
    }
    Ok(())
}

/// On a terminal with no users yet: offers to make the first, with the role `admin`.
pub(super) async fn offer_first(
    terminal: &Terminal,
    users: &UserAdmin,
    settings: &Settings,
) -> Result<(), Failed> {
    terminal.say("There are no users yet.");
    let email = loop {
        let typed = terminal
            .ask_line("E-mail of the first one, an admin (leave empty to skip)")
            .map_err(Failed::usage)?;
        if typed.trim().is_empty() {
            terminal.say("Skipped. Later: hallpass user add EMAIL --role admin");
            return Ok(());
        }
        match parse_email(&typed) {
            Ok(email) => break email,
            Err(reason) => terminal.say(&format!("The address {reason}.")),
        }
    };
    let password = ask_password(terminal, &email, settings)?;
    let user = add(users, settings, email, None, vec!["admin".into()], &password).await?;
    terminal.say(&format!("Added {}, an admin.", user.email));
    Ok(())
}

async fn add(
    users: &UserAdmin,
    settings: &Settings,
    email: String,
    name: Option<String>,
    roles: Vec<String>,
    password: &Password,
) -> Result<UserRecord, Failed> {
    let password_hash = Some(hash(settings, password).await?);
    let user = NewUser { email: email.clone(), name, roles, password_hash };
    users.add(user).await.map_err(|error| match error {
        Error::EmailTaken => taken(&email),
        other => other.into(),
    })
}

async fn hash(settings: &Settings, password: &Password) -> Result<String, Failed> {
    let hasher = Hasher::start(1, 1, settings.password.bcrypt_cost).map_err(Failed::running)?;
    hasher.hash(password).await.map_err(Failed::running)
}

fn new_password(email: &str, settings: &Settings, from_stdin: bool) -> Result<Password, Failed> {
    if from_stdin {
        let password = Password::from(read_standard_input().map_err(Failed::usage)?);
        acceptable("the password", check_new(&password, email, settings.password.min_length))?;
        return Ok(password);
    }
    let terminal = Terminal::open().map_err(|_| {
        Failed::usage("there is no terminal to type the password on; give it with --password-stdin")
    })?;
    ask_password(&terminal, email, settings)
}

fn ask_password(terminal: &Terminal, email: &str, settings: &Settings) -> Result<Password, Failed> {
    let judge = |typed: &secrecy::SecretString| {
        check_new(&Password::from(typed.clone()), email, settings.password.min_length)
            .map_err(|reason| format!("The password {reason}."))
    };
    terminal
        .ask_hidden_twice(&format!("Password for {email}"), "The same again", judge)
        .map(Password::from)
        .map_err(Failed::usage)
}

fn confirm_delete(user: &UserRecord) -> Result<bool, Failed> {
    let terminal =
        Terminal::open().map_err(|_| Failed::usage("there is no terminal to ask on; confirm with --yes"))?;
    terminal.confirm(&format!("Delete {} for good?", user.email)).map_err(Failed::usage)
}

async fn list(users: &UserAdmin, as_json: bool) -> Result<(), Failed> {
    let mut after = String::new();
    let mut separator = "[\n";
    loop {
        let page = users.page(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.email);
        for user in &page {
            if as_json {
                print(format_args!("{separator}{}", shown(user)))?;
                separator = ",\n";
            } else {
                say(format_args!(
                    "{:<32} {:<24} {:<20} {:<9} {}",
                    user.email,
                    user.name.as_deref().unwrap_or("-"),
                    if user.roles.is_empty() { "-".into() } else { user.roles.join(",") },
                    if user.disabled_at.is_some() { "disabled" } else { "enabled" },
                    user.last_login_at.map_or_else(|| "never signed in".into(), rfc3339),
                ))?;
            }
        }
    }
    match (as_json, after.is_empty()) {
        (true, true) => say(format_args!("[]")),
        (true, false) => say(format_args!("\n]")),
        (false, true) => say(format_args!("no users yet; hallpass user add EMAIL makes one")),
        (false, false) => Ok(()),
    }
}

/// All that may be shown of a user: everything but the hash.
fn shown(user: &UserRecord) -> serde_json::Value {
    json!({
        "id": user.id.to_string(),
        "email": user.email,
        "name": user.name,
        "roles": user.roles,
        "disabled": user.disabled_at.is_some(),
        "created_at": rfc3339(user.created_at),
        "last_login_at": user.last_login_at.map(rfc3339),
    })
}

pub(super) async fn find(users: &UserAdmin, email: &str) -> Result<UserRecord, Failed> {
    let email = acceptable("EMAIL", parse_email(email))?;
    let unknown = || Failed::running(format!("there is no user {email}; hallpass user list shows all"));
    users.find(&email).await?.ok_or_else(unknown)
}

/// Explains that the user was deleted after it was found.
fn gone(user: &UserRecord) -> impl FnOnce(Error) -> Failed + use<'_> {
    |error| match error {
        Error::NotFound => Failed::running(format!("{} was deleted meanwhile", user.email)),
        other => other.into(),
    }
}

fn taken(email: &str) -> Failed {
    Failed::running(format!("{email} is a user already; hallpass user passwd {email} gives a new password"))
}

fn acceptable<T>(what: &str, verdict: Result<T, String>) -> Result<T, Failed> {
    verdict.map_err(|reason| Failed::usage(format!("{what} {reason}")))
}
