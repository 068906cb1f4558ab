//! `/admin/events` and `/admin/stats`. The scope is in `admin`.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::{Clock, serialize_rfc3339};
use crate::guard::{Require, Role};
use crate::server::accounts::Admin;
use crate::server::events::{EventLog, Series, Statistics, StatisticsError, Step, Totals};
use crate::server::http::ApiError;
use crate::server::http::openapi::{EMAIL, Operation, SESSION, TIME};
use crate::server::http::query::Parameters;
use crate::server::http::responses::data;
use crate::server::http::watched::{ServerFigures, Watched};
use crate::server::model::{EventPage, RecordedEvent};

/// The time that statistics show unless `since` is given.
const SHOWN: Duration = Duration::hours(24);

/// The longest time that is shown by the hour unless `step` is given.
const BY_HOUR: Duration = Duration::days(7);

/// Returns the operations of these routes.
pub(super) fn operations() -> Vec<Operation> {
    let admin = |path, id, summary| Operation::new("Admin", Method::GET, path, id, summary).with_role();
    let time = || json!({"type": "string", "format": "date-time"});
    vec![
        admin("/admin/events", "listEvents", "List the events")
            .text("Newest first. An event must match all given filters. For the next page, pass `next_cursor` as `cursor`. A newer server may have recorded kinds that this one does not know.")
            .parameter("user", "Events about the user with this id", json!({"type": "string", "format": "uuid"}))
            .parameter("kind", "Events of this kind, for example `sign_in_failed`", json!({"type": "string"}))
            .parameter("since", "Events at this time or later", time())
            .parameter("until", "Events before this time", time())
            .parameter("limit", "The maximum number of events", json!({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}))
            .parameter("cursor", "The `next_cursor` of the previous page", json!({"type": "string"}))
            .gives::<EventList>(200, "A page of events", json!({"events": [an_event()], "next_cursor": "4711"})),
        admin("/admin/stats", "showStatistics", "Show the statistics")
            .text("The number of events in each step, also where it is 0, and the numbers of users and sessions, which are at most a minute old. Counts are kept for 400 days.")
            .parameter("since", "The beginning; by default 24 hours before `until`", time())
            .parameter("until", "The end; by default now", time())
            .parameter("step", "The time between two points; by default `hour` for up to a week, otherwise `day`", json!({"type": "string", "enum": ["hour", "day"]}))
            .gives::<Stats>(200, "The statistics", json!({
                "series": {
                    "sign_ins": [{"at": TIME, "count": 40}],
                    "sign_ins_failed": [{"at": TIME, "count": 2}],
                    "refreshes": [{"at": TIME, "count": 300}],
                    "registrations": [{"at": TIME, "count": 1}],
                },
                "totals": {"users": 1200, "users_disabled": 3, "sessions": 800, "second_factors": 0},
                "server": {
                    "passwords_waiting": 0,
                    "passwords_shed": 0,
                    "delayed": 12,
                    "signing_keys": 2,
                    "signing_key_age_s": 604_800,
                },
            })),
    ]
}

pub(super) fn an_event() -> Value {
    json!({
        "id": 4711,
        "at": TIME,
        "kind": "user_renamed",
        "user_id": "01a20856-390a-7613-b291-9f86fb9e0787",
        "email": EMAIL,
        "session_id": SESSION,
        "ip": "192.0.2.7",
        "request_id": "3f0c4a52-6f0b-4b0e-8f0e-0a5f3f1c9a77",
        "by": "01a20856-390a-7613-b291-9f86fb9e0789",
        "details": {"from": "Ada", "to": "Ada Lovelace"},
    })
}

/// A recorded event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct ListedEvent {
    /// Later events have higher numbers.
    id: i64,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    at: DateTime<Utc>,
    kind: String,
    /// The user whom the event is about.
    #[schema(required, value_type = Option<String>, format = "uuid")]
    user_id: Option<Uuid>,
    /// The user's present e-mail address; null if the user was deleted.
    #[schema(required)]
    email: Option<String>,
    #[schema(required, value_type = Option<String>, format = "uuid")]
    session_id: Option<Uuid>,
    /// The client's IP address; null for the command line.
    #[schema(required)]
    ip: Option<String>,
    #[schema(required)]
    request_id: Option<String>,
    /// The id of the admin who caused the event.
    #[schema(required)]
    by: Option<String>,
    /// Further details, for example the old value in `from` and the new one in `to`.
    #[schema(value_type = Object)]
    details: serde_json::Map<String, Value>,
}

impl From<RecordedEvent> for ListedEvent {
    fn from(RecordedEvent { number, event, email }: RecordedEvent) -> Self {
        let mut details = event.details;
        let by = details.remove("by");
        Self {
            id: number,
            at: event.at,
            kind: event.kind,
            user_id: event.user,
            email,
            session_id: event.session,
            ip: event.address.map(|address| address.to_string()),
            request_id: event.request,
            by: by.and_then(|by| by.as_str().map(str::to_owned)),
            details,
        }
    }
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
struct EventList {
    events: Vec<ListedEvent>,
    /// For the next page; null if this is the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

pub(super) async fn list_events(
    _admin: Require<Role<Admin>>,
    log: web::Data<EventLog>,
    parameters: Parameters,
) -> Result<HttpResponse, ApiError> {
    let limit = parameters.limit(50)?;
    let kind = |text: &str| {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        text.bytes().all(is_name).then(|| text.to_owned())
    };
    let cursor = |text: &str| text.parse().ok().filter(|number: &i64| *number > 0);
    let page = EventPage {
        user: parameters
            .checked("user", "the id of a user is accepted", |text| Uuid::try_parse(text).ok())?,
        kind: parameters.checked("kind", "a name like sign_in_failed is accepted", kind)?,
        since: parameters.time("since")?,
        until: parameters.time("until")?,
        before: parameters.checked("cursor", "a next_cursor is accepted", cursor)?,
        // One more tells whether there is a next page.
        limit: limit + 1,
    };
    let mut events = log.page(&page).await?;
    let has_more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next_cursor = events.last().filter(|_| has_more).map(|event| event.number.to_string());
    Ok(data(EventList { events: events.into_iter().map(ListedEvent::from).collect(), next_cursor }))
}

/// The statistics.
#[derive(Debug, Serialize, ToSchema)]
struct Stats {
    series: Series,
    totals: Totals,
    server: ServerFigures,
}

pub(super) async fn show_statistics(
    _admin: Require<Role<Admin>>,
    statistics: web::Data<Statistics>,
    watched: web::Data<Watched>,
    clock: web::Data<Clock>,
    parameters: Parameters,
) -> Result<HttpResponse, ApiError> {
    let step = |text: &str| match text {
        "hour" => Some(Step::Hour),
        "day" => Some(Step::Day),
        _ => None,
    };
    let (since, until) = (parameters.time("since")?, parameters.time("until")?);
    let step = parameters.checked("step", "hour or day is accepted", step)?;
    let until = until.unwrap_or_else(|| clock.now());
    let since = since.unwrap_or(until - SHOWN);
    let step = step.unwrap_or(if until - since > BY_HOUR { Step::Day } else { Step::Hour });
    let series = statistics.series(since, until, step).await.map_err(|error| match error {
        StatisticsError::Store(error) => error.into(),
        out_of_range => ApiError::RequestInvalid(format!("since is not acceptable: {out_of_range}").into()),
    })?;
    let server = watched.figures(clock.now());
    Ok(data(Stats { series, totals: statistics.totals().await?, server }))
}
