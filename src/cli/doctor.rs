//! `hallpass doctor`: looks at everything that usually goes wrong, and says what to do.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::Duration;

use super::columns::Columns;
use super::common::{Common, block_on, open_store};
use super::error::CommandError;
use super::health::ask;
use super::output::plain;
use crate::clock::{Clock, rfc3339};
use crate::server::accounts::{Directory, UserAdmin, UserSearch};
use crate::server::certificate_end;
use crate::server::config::{DatabaseUrl, Settings};
use crate::server::credentials::check_passkeys;
use crate::server::keys::rotation::{self, Reason};
use crate::server::mail::probe;
use crate::server::model::EventPage;
use crate::server::store::{Store, StoreError};

/// The events that tell whether all clients seem to have one address.
const RECENT: u32 = 200;

/// From so many on, one address is no coincidence.
const MANY: usize = 20;

/// How far a clock may be behind what it has dated.
const CLOCK_DIFFERS: Duration = Duration::seconds(60);

/// How long before it expires a certificate should have been renewed. Let's Encrypt's clients renew 30 days before.
const RENEWAL: Duration = Duration::days(14);

/// How long a mail may wait: the mail server may be down for a while.
const LONG: Duration = Duration::hours(1);

/// One line of the result.
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Advice,
    Problem,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, verdict: Verdict, subject: &'static str, text: impl Into<String>) {
        self.0.push(Finding { subject, verdict, text: text.into() });
    }
}

/// Prints the findings, problems last. Fails if there are any.
pub(super) fn run(common: &Common) -> Result<(), CommandError> {
    let settings = common.settings(None)?;
    let mut found = Findings::default();
    check_settings(&settings, &mut found);
    let is_there = check_files(&settings, &mut found);
    if is_there {
        block_on(async {
            match open_store(&settings).await {
                Ok(store) => {
                    if let Err(error) = check_database(&store, &settings, &mut found).await {
                        found.add(Verdict::Problem, "database", format!("it cannot be read: {error}"));
                    }
                    store.close().await;
                }
                Err(error) => found.add(Verdict::Problem, "database", error.message),
            }
        });
    }
    check_certificate(&settings, &mut found);
    check_mail(&settings, &mut found);
    check_server(&settings, &mut found);
    let problems = found.0.iter().filter(|it| it.verdict == Verdict::Problem).count();
    found.0.sort_by_key(|it| it.verdict == Verdict::Problem);
    let row = |Finding { subject, verdict, text }: &Finding| {
        let verdict = match verdict {
            Verdict::Good => "good",
            Verdict::Advice => "advice",
            Verdict::Problem => "problem",
        };
        vec![verdict.to_owned(), (*subject).to_owned(), text.clone()]
    };
    Columns::default().print(&found.0.iter().map(row).collect::<Vec<_>>())?;
    match problems {
        0 => Ok(()),
        1 => Err(CommandError::running("one problem; the last line says what to do")),
        count => Err(CommandError::running(format!("{count} problems; the last lines say what to do"))),
    }
}

fn check_settings(settings: &Settings, found: &mut Findings) {
    let warnings = settings.warnings();
    if warnings.is_empty() {
        found.add(Verdict::Good, "settings", "all are acceptable, and none is risky");
    }
    for warning in warnings {
        found.add(Verdict::Advice, "settings", warning);
    }
    match check_passkeys(settings) {
        Ok(None) => {}
        Ok(Some(warning)) => found.add(Verdict::Advice, "passkeys", warning),
        Err(error) => found.add(Verdict::Problem, "passkeys", error.to_string()),
    }
}

/// Checks the files of the settings. Returns whether there is a database to open; a missing one is not made here.
fn check_files(settings: &Settings, found: &mut Findings) -> bool {
    if let Some(file) = &settings.database.password_file {
        check_private("database.password_file", file, found);
    }
    if let Some(file) = &settings.server.tls_key {
        check_private("server.tls_key", file, found);
    }
    if let Some(file) = &settings.mail.password_file {
        check_private("mail.password_file", file, found);
    }
    match &settings.database.url {
        DatabaseUrl::Sqlite(file) if !file.exists() => {
            let text = format!("{} does not exist yet; hallpass serve makes it", file.display());
            found.add(Verdict::Advice, "database", text);
            false
        }
        DatabaseUrl::Sqlite(file) => {
            check_private("database.url", file, found);
            true
        }
        _ => true,
    }
}

/// Checks that nobody else can read a file.
fn check_private(setting: &str, file: &Path, found: &mut Findings) {
    let name = file.display();
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.mode() & 0o007 != 0 => found.add(
            Verdict::Problem,
            "permissions",
            format!(
                "{setting}: {name} has mode {:04o}, which gives everybody access; chmod 600 it",
                metadata.mode() & 0o777
            ),
        ),
        Ok(_) => found.add(Verdict::Good, "permissions", format!("{name} is closed to others")),
        Err(error) => {
            found.add(Verdict::Problem, "permissions", format!("{setting}: {name} cannot be read: {error}"));
        }
    }
}

async fn check_database(store: &Store, settings: &Settings, found: &mut Findings) -> Result<(), StoreError> {
    let clock = Clock::system();
    let now = clock.now();
    found.add(Verdict::Good, "database", format!("{} answers", settings.database.url));

    let keys = store.read(async |connection| connection.signing_keys().await).await?;
    match keys.last() {
        None => found.add(Verdict::Advice, "keys", "there are none yet; hallpass serve makes the first"),
        Some(newest) => {
            match rotation::plan(&keys, settings, now, Reason::Requested { trust_clock: false }) {
                Ok(_) => {
                    let age = (now - newest.sealed.created_at).num_days();
                    found.add(Verdict::Good, "keys", format!("the newest is {age} days old"));
                }
                Err(error) => found.add(Verdict::Problem, "keys", error.to_string()),
            }
        }
    }

    let recent = EventPage { limit: RECENT, ..EventPage::default() };
    let events = store.read(async |connection| connection.events_page(&recent).await).await?;
    let newest = events.iter().map(|recorded| recorded.event.at).max();
    match newest.filter(|at| *at > now + CLOCK_DIFFERS) {
        Some(at) => found.add(
            Verdict::Problem,
            "clock",
            format!(
                "it says {}, but an event is of {}; set it, for example with NTP",
                rfc3339(now),
                rfc3339(at)
            ),
        ),
        None => found.add(Verdict::Good, "clock", format!("it says {}", rfc3339(now))),
    }
    let addresses: Vec<_> = events.iter().filter_map(|recorded| recorded.event.address).collect();
    let is_one = addresses.len() >= MANY && addresses.iter().all(|address| *address == addresses[0]);
    if is_one && settings.server.trusted_proxies.is_empty() {
        found.add(
            Verdict::Problem,
            "proxy",
            format!(
                "the last {} events came from {}: if that is a reverse proxy, all clients share its rate limits; set \
                 server.trusted_proxies to it",
                addresses.len(),
                addresses[0]
            ),
        );
    }

    check_outbox(store, found).await?;
    let users = UserAdmin::new(store.clone(), clock);
    let directory = Directory::new(store.clone());
    let admins =
        UserSearch { role: Some("admin".into()), disabled: Some(false), limit: 1, ..UserSearch::default() };
    if users.has_no_users().await? {
        found.add(
            Verdict::Advice,
            "users",
            "there are none yet; hallpass user add EMAIL --role admin adds one",
        );
    } else if directory.search(&admins).await?.is_empty() {
        found.add(
            Verdict::Advice,
            "users",
            "nobody has the role admin, so nobody sees the console's pages for admins",
        );
    } else {
        found.add(Verdict::Good, "users", "somebody has the role admin");
    }
    Ok(())
}

fn check_certificate(settings: &Settings, found: &mut Findings) {
    let now = Clock::system().now();
    match certificate_end(&settings.server) {
        // Without TLS; the warnings about settings tell where that is a risk.
        Ok(None) => {}
        Ok(Some(end)) if end <= now => {
            let text = format!("the certificate expired at {}; renew it", rfc3339(end));
            found.add(Verdict::Problem, "tls", text);
        }
        Ok(Some(end)) if end <= now + RENEWAL => {
            let text = format!("the certificate expires at {}; renew it soon", rfc3339(end));
            found.add(Verdict::Advice, "tls", text);
        }
        Ok(Some(end)) => {
            found.add(Verdict::Good, "tls", format!("the certificate is valid until {}", rfc3339(end)));
        }
        Err(error) => found.add(Verdict::Problem, "tls", error.to_string()),
    }
}

/// Connects to the mail server, and signs in there. No mail is sent.
fn check_mail(settings: &Settings, found: &mut Findings) {
    match block_on(probe(settings)) {
        Ok(Some(target)) => found.add(Verdict::Good, "mail", plain(&target)),
        Ok(None) => found.add(Verdict::Good, "mail", "off, since mail.url is not set"),
        Err(error) => found.add(Verdict::Problem, "mail", plain(&error.to_string())),
    }
}

/// Checks that no mail has been waiting for long.
async fn check_outbox(store: &Store, found: &mut Findings) -> Result<(), StoreError> {
    let (count, oldest) = store.read(async |connection| connection.count_mails().await).await?;
    let waited = oldest.map(|oldest| Clock::system().now() - oldest);
    if let Some(waited) = waited.filter(|waited| *waited > LONG) {
        let text = format!(
            "mails are waiting: {count}, the oldest for {} hours; hallpass mail list says why",
            waited.num_hours()
        );
        found.add(Verdict::Problem, "mail", text);
    }
    Ok(())
}

fn check_server(settings: &Settings, found: &mut Findings) {
    match ask(settings) {
        Ok(state) => found.add(Verdict::Good, "server", state),
        // Before the first start, say.
        Err(error) if error.message.starts_with("no server answers") => {
            found.add(Verdict::Advice, "server", format!("{}; hallpass serve starts one", error.message));
        }
        Err(error) => found.add(Verdict::Problem, "server", error.message),
    }
}
