//! `hallpass events`: prints the event log. It needs no passphrase, and works beside a running server.

use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use clap::Args;
use serde_json::json;

use super::columns::Columns;
use super::common::{Common, with_store};
use super::error::CommandError;
use super::output::{plain_json, print_line};
use super::user::find;
use crate::clock::{Clock, rfc3339};
use crate::server::accounts::UserAdmin;
use crate::server::model::{EventFilter, RecordedEvent};
use crate::server::store::Store;

/// Events read at a time, so that a log of any length takes little memory.
const PAGE: u32 = 500;

/// How often `--follow` looks for new events.
const FOLLOW_EVERY: StdDuration = StdDuration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only events of this user
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// Only events since this time: 2026-01-31T09:30:00Z, 2026-01-31, or 90s, 15m, 12h, 7d ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Continue with new events, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, args: &EventsArgs) -> Result<(), CommandError> {
    let since = match &args.since {
        Some(text) => parse_since(text, Clock::system().now()).map_err(CommandError::usage)?,
        None => DateTime::UNIX_EPOCH,
    };
    with_store(common, async |store, _| show(store, args, since).await)
}

async fn show(store: &Store, args: &EventsArgs, since: DateTime<Utc>) -> Result<(), CommandError> {
    let user = match &args.user {
        Some(email) => {
            let users = UserAdmin::new(store.clone(), Clock::system());
            Some(find(&users, email).await?.id)
        }
        None => None,
    };
    let mut seen = 0;
    let mut columns = Columns::default();
    loop {
        let filter = EventFilter { user, since, after: seen, limit: PAGE };
        let page = store.read(async |connection| connection.events(&filter).await).await?;
        let is_last = page.len() < PAGE as usize;
        seen = page.last().map_or(seen, |recorded| recorded.number);
        if args.json {
            for recorded in &page {
                print_line(format_args!("{}", plain_json(&as_json(recorded))))?;
            }
        } else {
            columns.print(&page.iter().map(as_row).collect::<Vec<_>>())?;
        }
        if is_last && !args.follow {
            return Ok(());
        }
        if is_last {
            actix_rt::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

fn as_row(RecordedEvent { event, email, .. }: &RecordedEvent) -> Vec<String> {
    let id = event.user.map(|id| id.to_string());
    let fields = [
        ("user", email.clone().or(id)),
        ("session", event.session.map(|id| id.to_string())),
        ("address", event.address.map(|address| address.to_string())),
        ("request_id", event.request.clone()),
    ];
    let details = event.details.iter().map(|(name, value)| (name.as_str(), value.to_string()));
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(details);
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
    vec![rfc3339(event.at), event.kind.to_string(), fields.join(" ")]
}

fn as_json(RecordedEvent { event, email, .. }: &RecordedEvent) -> String {
    json!({
        "at": rfc3339(event.at),
        "kind": event.kind,
        "user_id": event.user.map(|id| id.to_string()),
        "email": email,
        "session_id": event.session.map(|id| id.to_string()),
        "address": event.address.map(|address| address.to_string()),
        "request_id": event.request,
        "details": event.details,
    })
    .to_string()
}

/// Returns the time that `text` means at `now`.
fn parse_since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let ago = text.char_indices().last().and_then(|(end, unit)| {
        let count = text[..end].parse::<u32>().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        now.checked_sub_signed(Duration::seconds(i64::from(count) * seconds))
    });
    ago.ok_or_else(|| {
        format!(
            "--since {text:?} is not a time; 2026-01-31T09:30:00Z, 2026-01-31, 90s, 15m, 12h or 7d is accepted"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_timestamp_a_day_or_an_age() {
        let now = "2026-02-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z"),
            ("2026-01-31T09:30:00+01:00", "2026-01-31T08:30:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("90s", "2026-02-01T11:58:30Z"),
            ("15m", "2026-02-01T11:45:00Z"),
            ("12h", "2026-02-01T00:00:00Z"),
            ("7d", "2026-01-25T12:00:00Z"),
        ] {
            assert_eq!(parse_since(text, now).map(rfc3339), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "yesterday", "7", "7w", "-7d", "4294967295d", "d", "é"] {
            assert!(parse_since(text, now).is_err_and(|reason| reason.contains("12h or 7d")), "{text}");
        }
    }
}
