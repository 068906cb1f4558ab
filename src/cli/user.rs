//! `hallpass user`: manages users. Only an export of password hashes needs the passphrase. A running server applies each change within two seconds.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::columns::Columns;
use super::common::{Common, with_store};
use super::error::CommandError;
use super::import::Hashes;
use super::output::{plain_json, print, print_line};
use super::secret::{PassphraseSource, read_standard_input};
use super::terminal::Terminal;
use super::unlock::unlock_if_sealed;
use crate::clock::{Clock, rfc3339};
use crate::server::accounts::{
    Directory, NewUser, UserAdmin, UserSearch, parse_email, parse_name, parse_roles,
};
use crate::server::config::Settings;
use crate::server::credentials::{Hasher, Origin, Password, PasswordRules, check_new};
use crate::server::error::Error;
use crate::server::keys::PasswordHashes;
use crate::server::model::UserRecord;
use crate::server::store::Store;

/// Users read at a time, so that a list of any length takes little memory.
const PAGE: u32 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; it asks for the password on the terminal
    Add {
        /// The e-mail address to sign in with
        email: String,
        /// The display name
        #[arg(long)]
        name: Option<String>,
        /// A role; can be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Send an invitation to choose a password, by mail; the user is added if missing
    Invite {
        /// The e-mail address
        email: String,
        /// The display name
        #[arg(long)]
        name: Option<String>,
        /// A role; can be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// List all users, sorted by address; with a filter, the matching users, newest first
    List {
        /// Only users with a word in the address or name that begins with TEXT
        #[arg(long, value_name = "TEXT")]
        q: Option<String>,
        /// Only users with this role
        #[arg(long)]
        role: Option<String>,
        /// Only disabled users
        #[arg(long, conflicts_with = "enabled")]
        disabled: bool,
        /// Only users who are not disabled
        #[arg(long)]
        enabled: bool,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one user
    Show {
        /// The user's e-mail address
        email: String,
    },
    /// Set a new password; every token of the user is invalidated
    Passwd {
        /// The user's e-mail address
        email: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Disable a user; every token of the user is invalidated
    Disable {
        /// The user's e-mail address
        email: String,
        /// Disable even the last admin
        #[arg(long)]
        force: bool,
    },
    /// Let a disabled user sign in again
    Enable {
        /// The user's e-mail address
        email: String,
    },
    /// Add the users of a file: CSV (email,name,roles,password_hash) or JSON lines with the same names
    Import {
        /// The file
        file: std::path::PathBuf,
    },
    /// Write all users to standard output, in a format that import reads; it asks for the passphrase, which unseals the hashes
    Export {
        /// Write JSON lines instead of CSV
        #[arg(long)]
        json: bool,
        /// Leave the password hashes out, and ask for no passphrase
        #[arg(long, conflicts_with = "key_source")]
        without_hashes: bool,
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
    /// Remove every second factor of a user, who has lost them; the password alone signs in again
    SecondFactor {
        /// The user's e-mail address
        email: String,
        /// Confirms that this is meant
        #[arg(long, required = true)]
        reset: bool,
    },
    /// Delete a user
    Delete {
        /// The user's e-mail address
        email: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Delete even the last admin
        #[arg(long)]
        force: bool,
        /// Also clear the events about the user: only their kind and time remain
        #[arg(long)]
        forget: bool,
    },
}

pub(super) fn run(common: &Common, command: UserCommand) -> Result<(), CommandError> {
    with_store(common, async |store, settings| {
        let users = UserAdmin::new(store.clone(), Clock::system()).telling(settings.mail.url.is_some());
        execute(store, &users, &Directory::new(store.clone()), settings, command).await
    })
}

async fn execute(
    store: &Store,
    users: &UserAdmin,
    directory: &Directory,
    settings: &Settings,
    command: UserCommand,
) -> Result<(), CommandError> {
    match command {
        UserCommand::Add { email, name, roles, password_stdin } => {
            let email = acceptable("EMAIL", parse_email(&email))?;
            let name = name.map(|name| acceptable("--name", parse_name(&name))).transpose()?;
            let roles = acceptable("--role", parse_roles(&roles))?;
            if users.find(&email).await?.is_some() {
                return Err(taken(&email));
            }
            let password = new_password(&email, name.as_deref(), settings, password_stdin)?;
            let user = add(users, settings, email, name, roles, &password).await?;
            print_line(format_args!("added {} ({})", user.email, user.id))?;
        }
        UserCommand::Invite { email, name, roles } => {
            if settings.mail.url.is_none() {
                return Err(CommandError::usage(
                    "mail.url is not set, so no invitation can be sent; see docs/mail.md, or use hallpass user add",
                ));
            }
            let email = acceptable("EMAIL", parse_email(&email))?;
            let name = name.map(|name| acceptable("--name", parse_name(&name))).transpose()?;
            let roles = acceptable("--role", parse_roles(&roles))?;
            let user = NewUser { email: email.clone(), name, roles, ..NewUser::default() };
            let user = users.invite(user).await.map_err(|error| match error {
                Error::EmailTaken => CommandError::running(format!(
                    "{email} has a password already, or is disabled; hallpass user show {email} tells"
                )),
                other => other.into(),
            })?;
            print_line(format_args!(
                "invited {} ({}); a running server sends the mail, hallpass mail list shows it until then",
                user.email, user.id
            ))?;
        }
        UserCommand::List { q, role, disabled, enabled, json } => {
            let role = role.map(|role| acceptable("--role", parse_roles(&[role]))).transpose()?;
            let search = UserSearch {
                words: q,
                role: role.and_then(|mut role| role.pop()),
                disabled: (disabled || enabled).then_some(disabled),
                limit: PAGE,
                ..UserSearch::default()
            };
            list(users, directory, search, json).await?;
        }
        UserCommand::Show { email } => {
            let user = find(users, &email).await?;
            print_line(format_args!("{}", plain_json(&format!("{:#}", to_json(&user)))))?;
        }
        UserCommand::Passwd { email, password_stdin } => {
            let user = find(users, &email).await?;
            let password = new_password(&user.email, user.name.as_deref(), settings, password_stdin)?;
            let hash = hash(settings, &password).await?;
            users.set_password(user.id, &hash).await.map_err(gone(&user))?;
            print_line(format_args!("{} has a new password; every earlier token is invalid", user.email))?;
        }
        UserCommand::Disable { email, force } => {
            let user = find(users, &email).await?;
            unless_forced(users, force).disable(user.id).await.map_err(gone(&user))?;
            print_line(format_args!("{} is disabled; every token of the user is invalid", user.email))?;
        }
        UserCommand::Enable { email } => {
            let user = find(users, &email).await?;
            users.enable(user.id).await.map_err(gone(&user))?;
            print_line(format_args!("{} can sign in again", user.email))?;
        }
        UserCommand::SecondFactor { email, reset: _ } => {
            let user = find(users, &email).await?;
            users.reset_second_factors(user.id).await.map_err(gone(&user))?;
            print_line(format_args!("{} has no second factor; the password alone signs in", user.email))?;
        }
        UserCommand::Import { file } => {
            super::import::import(users, &file, settings.password.import_max).await?;
        }
        UserCommand::Export { json, without_hashes, passphrase } => {
            let hashes = if without_hashes {
                Hashes::LeftOut
            } else {
                match unlock_if_sealed(store, &passphrase).await? {
                    Some(vault) => Hashes::Unsealed(PasswordHashes::new(Arc::new(vault))),
                    None => Hashes::AsStored,
                }
            };
            super::import::export(users, json, &hashes).await?;
        }
        UserCommand::Delete { email, yes, force, forget } => {
            let user = find(users, &email).await?;
            if !yes {
                confirm_deletion(&user)?;
            }
            unless_forced(users, force).delete(user.id, forget).await.map_err(gone(&user))?;
            print_line(format_args!("{} is deleted", user.email))?;
        }
    }
    Ok(())
}

/// Offers to add the first user, with the role `admin`.
pub(super) async fn offer_first(
    terminal: &Terminal,
    users: &UserAdmin,
    settings: &Settings,
) -> Result<(), CommandError> {
    terminal.print_line("There are no users yet.");
    let email = loop {
        let typed = terminal
            .ask_line("E-mail of the first user, an admin (leave empty to skip)")
            .map_err(CommandError::usage)?;
        if typed.trim().is_empty() {
            terminal.print_line("Skipped. To add one later: hallpass user add EMAIL --role admin");
            return Ok(());
        }
        match parse_email(&typed) {
            Ok(email) => break email,
            Err(reason) => terminal.print_line(&format!("The address {reason}.")),
        }
    };
    let password = ask_password(terminal, &email, None, settings)?;
    let user = add(users, settings, email, None, vec!["admin".into()], &password).await?;
    terminal.print_line(&format!("Added {}, an admin.", user.email));
    Ok(())
}

async fn add(
    users: &UserAdmin,
    settings: &Settings,
    email: String,
    name: Option<String>,
    roles: Vec<String>,
    password: &Password,
) -> Result<UserRecord, CommandError> {
    let password_hash = Some(hash(settings, password).await?);
    let user = NewUser { email: email.clone(), email_is_verified: true, name, roles, password_hash };
    users.add(user).await.map_err(|error| match error {
        Error::EmailTaken => taken(&email),
        other => other.into(),
    })
}

async fn hash(settings: &Settings, password: &Password) -> Result<String, CommandError> {
    let hasher = Hasher::start(1, 1, settings.password.bcrypt_cost).map_err(CommandError::running)?;
    let hasher = hasher.nfc(settings.password.nfc);
    hasher.hash(password, Origin::LOCAL).await.map_err(CommandError::running)
}

fn new_password(
    email: &str,
    name: Option<&str>,
    settings: &Settings,
    from_stdin: bool,
) -> Result<Password, CommandError> {
    if from_stdin {
        let password = Password::from(read_standard_input().map_err(CommandError::usage)?);
        let context = PasswordRules::new(settings).context(email, name);
        acceptable("the password", check_new(&password, &context))?;
        return Ok(password);
    }
    let terminal = Terminal::open().map_err(|_| {
        CommandError::usage("there is no terminal to type the password on; give it with --password-stdin")
    })?;
    ask_password(&terminal, email, name, settings)
}

fn ask_password(
    terminal: &Terminal,
    email: &str,
    name: Option<&str>,
    settings: &Settings,
) -> Result<Password, CommandError> {
    let context = PasswordRules::new(settings).context(email, name);
    let check = |typed: &secrecy::SecretString| {
        check_new(&Password::from(typed.clone()), &context)
            .map_err(|reason| format!("The password {reason}."))
    };
    terminal
        .ask_hidden_twice(&format!("Password for {email}"), "Repeat the password", check)
        .map(Password::from)
        .map_err(CommandError::usage)
}

/// Asks whether to delete the user.
///
/// # Errors
/// [`CommandError`] if the answer is no, or if there is no terminal to ask on.
fn confirm_deletion(user: &UserRecord) -> Result<(), CommandError> {
    let terminal = Terminal::open()
        .map_err(|_| CommandError::usage("there is no terminal to ask on; confirm with --yes"))?;
    let question = format!("Delete {}? This cannot be undone.", user.email);
    if terminal.confirm(&question).map_err(CommandError::usage)? {
        return Ok(());
    }
    Err(CommandError::running(format!("{} was not deleted", user.email)))
}

async fn list(
    users: &UserAdmin,
    directory: &Directory,
    mut search: UserSearch,
    as_json: bool,
) -> Result<(), CommandError> {
    let is_filtered = search.words.is_some() || search.role.is_some() || search.disabled.is_some();
    if is_filtered {
        directory.index(usize::MAX).await?;
    }
    let mut after = String::new();
    let mut separator = "[\n";
    let mut columns = Columns::default();
    loop {
        let page =
            if is_filtered { directory.search(&search).await? } else { users.page(&after, PAGE).await? };
        let Some(last) = page.last() else { break };
        after.clone_from(&last.email);
        search.before = Some(last.id);
        if as_json {
            for user in &page {
                print(format_args!("{separator}{}", plain_json(&to_json(user).to_string())))?;
                separator = ",\n";
            }
        } else {
            columns.print(&page.iter().map(as_row).collect::<Vec<_>>())?;
        }
    }
    let is_empty = after.is_empty();
    if as_json {
        print_line(format_args!("{}", if is_empty { "[]" } else { "\n]" }))
    } else if is_empty && is_filtered {
        print_line(format_args!("no user matches"))
    } else if is_empty {
        print_line(format_args!("no users yet; hallpass user add EMAIL adds one"))
    } else {
        Ok(())
    }
}

fn as_row(user: &UserRecord) -> Vec<String> {
    vec![
        user.email.clone(),
        user.name.clone().unwrap_or_else(|| "-".into()),
        if user.roles.is_empty() { "-".into() } else { user.roles.join(",") },
        if user.disabled_at.is_some() { "disabled".into() } else { "enabled".into() },
        user.last_login_at.map_or_else(|| "never signed in".into(), rfc3339),
    ]
}

/// Returns the fields of a user that may be shown: all but the password hash.
fn to_json(user: &UserRecord) -> serde_json::Value {
    json!({
        "id": user.id.to_string(),
        "email": user.email,
        "email_verified": user.email_verified_at.is_some(),
        "name": user.name,
        "roles": user.roles,
        "second_factors": user.second_factors,
        "disabled": user.disabled_at.is_some(),
        "created_at": rfc3339(user.created_at),
        "last_login_at": user.last_login_at.map(rfc3339),
    })
}

pub(super) async fn find(users: &UserAdmin, email: &str) -> Result<UserRecord, CommandError> {
    let email = acceptable("EMAIL", parse_email(email))?;
    let unknown = || CommandError::running(format!("there is no user {email}; hallpass user list shows all"));
    users.find(&email).await?.ok_or_else(unknown)
}

/// Returns the acts that refuse to leave no admin, unless that is forced.
fn unless_forced(users: &UserAdmin, force: bool) -> UserAdmin {
    if force { users.forced() } else { users.clone() }
}

/// Reports a user that was deleted after it was found.
fn gone(user: &UserRecord) -> impl FnOnce(Error) -> CommandError + use<'_> {
    |error| match error {
        Error::NotFound => CommandError::running(format!("{} was deleted meanwhile", user.email)),
        Error::LastAdmin => CommandError::running(format!(
            "{} is the last admin; give another user the role admin first, or confirm with --force",
            user.email
        )),
        other => other.into(),
    }
}

fn taken(email: &str) -> CommandError {
    CommandError::running(format!(
        "there is a user {email} already; hallpass user passwd {email} sets a new password"
    ))
}

fn acceptable<T>(what: &str, verdict: Result<T, String>) -> Result<T, CommandError> {
    verdict.map_err(|reason| CommandError::usage(format!("{what} {reason}")))
}
