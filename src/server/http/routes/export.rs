//! `GET /user/export`: everything that is stored about the user. The scope is in `user`.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::admin_events::{ListedEvent, an_event};
use super::passkeys::{ListedPasskey, a_passkey};
use crate::clock::serialize_rfc3339;
use crate::guard::{AuthUser, Guard, User};
use crate::server::accounts::{Accounts, Export};
use crate::server::http::ApiError;
use crate::server::http::openapi::{Operation, SESSION, TIME, a_user};
use crate::server::http::responses::{data, user_id};
use crate::server::model::Session;

/// Returns the operation of this route.
pub(super) fn operation() -> Operation {
    Operation::new("Account", Method::GET, "/user/export", "exportUser", "Download what is stored")
        .text("Everything that the server stores about the user, except secrets such as the hash of the password.")
        .guarded()
        .gives::<ExportResponse>(
            200,
            "What is stored",
            json!({
                "user": a_user(),
                "has_password": true,
                "sessions": [{
                    "id": SESSION,
                    "created_at": TIME,
                    "refreshed_at": TIME,
                    "last_seen_at": TIME,
                    "ended_at": null,
                    "user_agent": "curl/8.14.1",
                    "ip": "192.0.2.7",
                    "methods": ["pwd"],
                }],
                "passkeys": [a_passkey()],
                "recovery_codes": 10,
                "events": [an_event()],
                "is_cut": false,
            }),
        )
}

/// Everything that is stored about a user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
struct ExportResponse {
    user: User,
    /// True if a password hash is stored.
    has_password: bool,
    /// The latest first, including ended sessions.
    sessions: Vec<StoredSession>,
    /// In the order in which they were added.
    passkeys: Vec<ListedPasskey>,
    /// The number of recovery codes that were not used.
    recovery_codes: i64,
    /// The newest first.
    events: Vec<ListedEvent>,
    /// True if there are more than 20,000 sessions or events; the oldest are then left out.
    is_cut: bool,
}

/// A stored session.
#[derive(Debug, Serialize, ToSchema)]
struct StoredSession {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    refreshed_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(required, value_type = Option<String>, format = DateTime)]
    ended_at: Option<DateTime<Utc>>,
    #[schema(required)]
    user_agent: Option<String>,
    #[schema(required)]
    ip: Option<String>,
    /// How the user signed in (RFC 8176).
    methods: Vec<String>,
}

impl From<Session> for StoredSession {
    fn from(session: Session) -> Self {
        Self {
            id: session.id,
            created_at: session.created_at,
            refreshed_at: session.refreshed_at,
            last_seen_at: session.last_seen_at,
            ended_at: session.ended_at,
            user_agent: session.client.user_agent,
            ip: session.client.address.map(|address| address.to_string()),
            methods: session.authentication.methods,
        }
    }
}

pub(super) async fn export(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    let stored = accounts.export(user_id(&user)?).await.map_err(ApiError::behind(&guard))?;
    let Export { user, sessions, events, passkeys, recovery_codes, is_cut } = stored;
    Ok(data(ExportResponse {
        has_password: user.password_hash.is_some(),
        user: user.into(),
        sessions: sessions.into_iter().map(StoredSession::from).collect(),
        passkeys: passkeys.into_iter().map(ListedPasskey::from).collect(),
        recovery_codes,
        events: events.into_iter().map(ListedEvent::from).collect(),
        is_cut,
    }))
}
