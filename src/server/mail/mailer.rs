//! The worker: sends what is due. Of several servers one sends a mail: it moves the next try ahead in the database,
//! where nobody else has done so. A mail is deleted once the mail server has taken it, so one whose server dies in
//! between is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, Duration, Utc};
use futures_util::StreamExt;
use lettre::message::Mailbox;
use uuid::Uuid;

use super::error::{MailError, SendError};
use super::message::{Outgoing, message, sender};
use super::outbox::Prepared;
use super::templates::{Rendered, Templates, Variables};
use super::token::MailTokens;
use super::transport::Transport;
use crate::clock::Clock;
use crate::log_limit::LogLimit;
use crate::server::config::{MailTls, MailUrl, Settings, seconds};
use crate::server::error::Error;
use crate::server::model::{Event, EventKind, MailKind, WaitingMail};
use crate::server::store::{Store, StoreError};

/// Mails read at a time, and sent at the same time.
const BATCH: u32 = 20;
const AT_ONCE: usize = 4;

/// The pause after the first failure. It doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::minutes(1);
const LONGEST_PAUSE: Duration = Duration::hours(1);

/// A mail that was not sent after this time and so many tries is given up. Time alone does not tell: the clock may have stepped
/// ahead, or no server have run.
const GIVEN_UP_AFTER: Duration = Duration::days(1);
const LEAST_TRIES: u32 = 10;

/// How much longer than `mail.timeout_s` a mail stays claimed: until the mail server has said goodbye, and the outcome is
/// stored.
const LEASE_MARGIN: Duration = Duration::seconds(10);

/// A next try further ahead was set by a clock that has stepped back since.
const FURTHEST: Duration = Duration::hours(2);

static FAILURES: LogLimit = LogLimit::new("a mail was not sent");

/// Sends mails. Clones share what was counted.
#[derive(Debug, Clone)]
pub struct Mailer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    tokens: MailTokens,
    sending: Sending,
    templates: Templates,
    lease: Duration,
    outcomes: Counters,
}

/// The way to the mail server, and what all mails have in common.
#[derive(Debug)]
struct Sending {
    transport: Transport,
    from: Mailbox,
    link_base: String,
    host: String,
    /// The log shows the link of each mail.
    shows_links: bool,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    delayed: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicI64,
    oldest: AtomicI64,
}

/// What became of the mails that this server has tried, and what waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Taken by the mail server.
    pub sent: u64,
    /// Tries that failed and will be repeated.
    pub delayed: u64,
    /// Given up.
    pub failed: u64,
    /// Mails that wait, when they were counted last.
    pub waiting: i64,
    /// The seconds for which the oldest of them has waited.
    pub oldest_secs: i64,
}

/// The outcome of claiming a mail.
enum Claim {
    /// Another server sends it.
    Lost,
    /// Nobody needs it any more; it was deleted.
    Unwanted,
    Send(Box<Prepared>),
}

impl Sending {
    fn open(settings: &Settings, url: &MailUrl) -> Result<Self, MailError> {
        let is_local = match url {
            MailUrl::Folder(_) | MailUrl::Shown(_) => true,
            MailUrl::Smtp(server) => server.tls == MailTls::None,
        };
        let from = match &settings.mail.from {
            Some(from) => from,
            None if is_local => "Hallpass <hallpass@localhost>",
            None => {
                return Err(MailError::Settings(
                    "mail.from is not set; give the sender of the mails, like Example <no-reply@example.com>"
                        .into(),
                ));
            }
        };
        let bind = settings.server.bind;
        let link_base = match (&settings.mail.link_base, &settings.server.public_url) {
            (Some(base), _) => base.clone(),
            (None, Some(console)) => format!("{console}/"),
            (None, None) if bind.ip().to_canonical().is_loopback() => format!("http://{bind}/"),
            (None, None) => {
                return Err(MailError::Settings(
                    "mail.link_base is not set; give the address of the front end that links lead to, like \
                     https://app.example.com/"
                        .into(),
                ));
            }
        };
        let host = link_base.split('/').nth(2).unwrap_or_default().to_owned();
        Ok(Self {
            transport: Transport::open(url, &settings.mail)?,
            from: sender(from).map_err(MailError::Settings)?,
            link_base,
            host,
            shows_links: matches!(url, MailUrl::Shown(_)),
        })
    }
}

/// Checks the settings and the texts of mails, before anything else is asked for.
///
/// # Errors
/// [`MailError`].
pub(crate) fn check(settings: &Settings) -> Result<(), MailError> {
    if let Some(url) = &settings.mail.url {
        Sending::open(settings, url)?;
        Templates::open(settings.mail.templates.as_deref(), &settings.mail.language)?;
    }
    Ok(())
}

/// Sends a mail that says that mails can be sent, at `now`, and returns what the mail server answered.
///
/// # Errors
/// [`MailError`]: the settings, or what the mail server answered.
pub(crate) async fn send_test(
    settings: &Settings,
    recipient: &str,
    now: DateTime<Utc>,
) -> Result<String, MailError> {
    let Some(url) = &settings.mail.url else {
        return Err(MailError::Settings("mail.url is not set; see docs/mail.md".into()));
    };
    let sending = Sending::open(settings, url)?;
    Templates::open(settings.mail.templates.as_deref(), &settings.mail.language)?;
    let text = format!("This mail was sent by hallpass mail test. Links lead to {}\n", sending.link_base);
    let rendered =
        Rendered { subject: "A test mail".into(), html: format!("<p>{}</p>\n", text.trim_end()), text };
    let id = Uuid::now_v7();
    let outgoing = message(&sending.from, recipient, id, now, rendered).map_err(MailError::Settings)?;
    let sent = sending.transport.send(outgoing, (id, now)).await;
    let outcome = sent.outcome.clone().map_err(|error| MailError::Settings(error.reason));
    sent.close().await;
    outcome
}

/// Connects to the mail server and signs in, or writes to the folder; sends nothing. Returns where mails go, their sender
/// and where links lead; `None` without `mail.url`.
///
/// # Errors
/// [`MailError`]: the settings, the texts, or what the mail server answered.
pub(crate) async fn probe(settings: &Settings) -> Result<Option<String>, MailError> {
    let Some(url) = &settings.mail.url else { return Ok(None) };
    let sending = Sending::open(settings, url)?;
    Templates::open(settings.mail.templates.as_deref(), &settings.mail.language)?;
    let target = sending.transport.probe().await.map_err(|error| MailError::Settings(error.reason))?;
    Ok(Some(format!("{target} takes mails from {}; links lead to {}", sending.from, sending.link_base)))
}

impl Mailer {
    /// Reads the settings and the texts; `None` without `mail.url`.
    ///
    /// # Errors
    /// [`MailError`].
    pub(crate) fn open(
        settings: &Settings,
        store: Store,
        tokens: MailTokens,
        clock: Clock,
    ) -> Result<Option<Self>, MailError> {
        let Some(url) = &settings.mail.url else { return Ok(None) };
        let inner = Inner {
            store,
            clock,
            tokens,
            sending: Sending::open(settings, url)?,
            templates: Templates::open(settings.mail.templates.as_deref(), &settings.mail.language)?,
            lease: seconds(settings.mail.timeout) + LEASE_MARGIN,
            outcomes: Counters::default(),
        };
        Ok(Some(Self { inner: Arc::new(inner) }))
    }

    /// Sends every mail that is due, and returns how many were tried.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used. What was not sent is still due.
    pub async fn send_due(&self) -> Result<usize, Error> {
        self.send_due_while(|| true).await
    }

    /// Sends the mails that are due. Begins no other once `goes_on` is false, and finishes those that are being sent.
    ///
    /// # Errors
    /// As for [`send_due`](Self::send_due).
    pub(crate) async fn send_due_while(&self, goes_on: impl Fn() -> bool) -> Result<usize, Error> {
        let mut tried = 0;
        loop {
            let now = self.inner.clock.now();
            let due = self
                .inner
                .store
                .read(async |connection| connection.due_mails(now, FURTHEST, BATCH).await)
                .await?;
            let count = due.len();
            let goes_on = &goes_on;
            let mut running = futures_util::stream::iter(due)
                .take_while(|_| std::future::ready(goes_on()))
                .map(|mail| async move { self.send(&mail).await })
                .buffer_unordered(AT_ONCE);
            // The failure of one does not break off the others.
            let mut failure = None;
            while let Some(outcome) = running.next().await {
                match outcome {
                    Ok(is_tried) => tried += usize::from(is_tried),
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
            if count < BATCH as usize || !goes_on() {
                return Ok(tried);
            }
        }
    }

    /// Counts the mails that wait, for [`outcomes`](Self::outcomes).
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn count_waiting(&self) -> Result<(), StoreError> {
        let Inner { store, clock, outcomes, .. } = &*self.inner;
        let (count, oldest) = store.read(async |connection| connection.count_mails().await).await?;
        outcomes.waiting.store(count, Ordering::Relaxed);
        let age = oldest.map_or(0, |oldest| (clock.now() - oldest).num_seconds().max(0));
        outcomes.oldest.store(age, Ordering::Relaxed);
        Ok(())
    }

    /// Returns what became of mails since the start, and what waits.
    pub fn outcomes(&self) -> Outcomes {
        let Counters { sent, delayed, failed, waiting, oldest } = &self.inner.outcomes;
        Outcomes {
            sent: sent.load(Ordering::Relaxed),
            delayed: delayed.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            waiting: waiting.load(Ordering::Relaxed),
            oldest_secs: oldest.load(Ordering::Relaxed),
        }
    }

    /// Sends a mail that is due, unless another server does. Returns whether the mail server was asked.
    async fn send(&self, mail: &WaitingMail) -> Result<bool, Error> {
        let Inner { store, clock, tokens, lease, .. } = &*self.inner;
        let now = clock.now();
        let Some(kind) = MailKind::named(&mail.kind) else {
            // A newer server knows it.
            let until = now + LONGEST_PAUSE;
            store.write(async |tx| tx.claim_mail(mail.id, mail.next_try_at, until).await).await?;
            return Ok(false);
        };
        let claimed = store
            .write(async |tx| {
                if !tx.claim_mail(mail.id, mail.next_try_at, now + *lease).await? {
                    return Ok(Claim::Lost);
                }
                match tokens.prepare(tx, mail, kind, now).await? {
                    Some(prepared) => Ok(Claim::Send(Box::new(prepared))),
                    None => {
                        tx.delete_mail(mail.id).await?;
                        Ok(Claim::Unwanted)
                    }
                }
            })
            .await;
        let prepared = match claimed {
            Ok(Claim::Send(prepared)) => prepared,
            Ok(Claim::Lost | Claim::Unwanted) => return Ok(false),
            // An altered row must not keep the others waiting.
            Err(Error::Internal(reason)) => {
                let error = SendError { reason, is_final: true };
                return self.failed(mail, None, &error).await.map(|()| false);
            }
            Err(error) => return Err(error),
        };
        let sent = match self.outgoing(mail, &prepared) {
            Ok(outgoing) => self.inner.sending.transport.send(outgoing, (mail.id, mail.created_at)).await,
            Err(reason) => Err(SendError { reason, is_final: true }).into(),
        };
        match &sent.outcome {
            Ok(answer) => self.sent(mail, &prepared, answer).await?,
            Err(error) => self.failed(mail, Some(&prepared), error).await?,
        }
        sent.close().await;
        Ok(true)
    }

    /// Makes the mail.
    ///
    /// # Errors
    /// Why it cannot be made, by any server with the same texts.
    fn outgoing(&self, mail: &WaitingMail, prepared: &Prepared) -> Result<Outgoing, String> {
        let Inner { sending, templates, .. } = &*self.inner;
        let Prepared { kind, secret, .. } = prepared;
        let details = &mail.details;
        let link = match (kind.purpose(), secret) {
            (Some(purpose), Some((secret, _))) => {
                Some(format!("{}#/{}?token={}", sending.link_base, purpose.name(), *secret.token))
            }
            // Whoever did not ask for this can choose another password.
            _ => Some(format!("{}#/forgot", sending.link_base)),
        };
        let variables = Variables {
            link: link.clone(),
            until: secret.as_ref().map(|(_, until)| shown(*until)).or(Some(String::new())),
            code: secret.as_ref().and_then(|(secret, _)| secret.code.as_ref()).map(|code| code.as_str()),
            bound: details.browser.is_some(),
            host: &sending.host,
            at: shown(mail.created_at),
            address: details.address.as_deref(),
            program: details.program.as_deref(),
            change: details.change.as_deref(),
            by_admin: details.by_admin,
        };
        let rendered = templates.render(*kind, &details.languages, &variables);
        let rendered = rendered.map_err(|error| error.to_string())?;
        if sending.shows_links {
            log::info!("a mail to {}: {}: {}", mail.recipient, rendered.subject, link.unwrap_or_default());
        }
        message(&sending.from, &mail.recipient, mail.id, mail.created_at, rendered)
    }

    async fn sent(&self, mail: &WaitingMail, prepared: &Prepared, answer: &str) -> Result<(), Error> {
        let Inner { store, clock, outcomes, .. } = &*self.inner;
        log::debug!("the mail {} was taken: {answer}", mail.id);
        let event = Event::new(EventKind::MailSent, clock.now()).user(prepared.user.id);
        let event = event.detail("mail", prepared.kind.name());
        store
            .write(async |tx| {
                tx.delete_mail(mail.id).await?;
                tx.record(event.clone()).await
            })
            .await?;
        outcomes.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn failed(
        &self,
        mail: &WaitingMail,
        prepared: Option<&Prepared>,
        error: &SendError,
    ) -> Result<(), Error> {
        let Inner { store, clock, outcomes, .. } = &*self.inner;
        let now = clock.now();
        let is_late = now - mail.created_at >= GIVEN_UP_AFTER && mail.tries + 1 >= LEAST_TRIES;
        let is_over = error.is_final || is_late;
        let kind = if is_over { EventKind::MailFailed } else { EventKind::MailDelayed };
        let mut event = Event::new(kind, now).detail("mail", mail.kind.as_str());
        event.user = prepared.map(|prepared| prepared.user.id).or(mail.user);
        FAILURES.log(
            log::Level::Warn,
            &format_args!("{}{}", error.reason, if is_over { "; it is given up" } else { "" }),
        );
        store
            .write(async |tx| {
                if is_over {
                    tx.delete_mail(mail.id).await?;
                } else {
                    tx.delay_mail(mail.id, now + pause(mail.tries), &error.reason).await?;
                }
                // One event for all delays of a mail.
                if is_over || mail.last_error.is_none() { tx.record(event.clone()).await } else { Ok(()) }
            })
            .await?;
        let counter = if is_over { &outcomes.failed } else { &outcomes.delayed };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Returns the pause after a try that failed, where `tries` failed before it.
fn pause(tries: u32) -> Duration {
    let steps = 2_i32.checked_pow(tries).unwrap_or(i32::MAX);
    FIRST_PAUSE.checked_mul(steps).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// Returns a time as mails show it.
fn shown(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_a_day_has_some_thirty_tries() {
        let minutes: Vec<_> = (0..8).map(|tries| pause(tries).num_minutes()).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
