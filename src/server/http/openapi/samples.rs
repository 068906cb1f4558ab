//! The values of the document's examples.

use serde_json::{Value, json};

/// The e-mail address of every example.
pub(crate) const EMAIL: &str = "ada@example.com";
/// The password of every example.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// A time in every example.
pub(crate) const TIME: &str = "2026-01-31T09:30:00Z";
/// A session, in every example.
pub(crate) const SESSION: &str = "01a20856-390a-7613-b291-9f86fb9e0788";

/// The challenge of a sign-in that waits for its second factor.
pub(crate) const CHALLENGE: &str = "hpc_an-opaque-text-good-for-300-seconds";

/// The user of every example.
pub(crate) fn a_user() -> Value {
    json!({
        "id": "01a20856-390a-7613-b291-9f86fb9e0787",
        "email": EMAIL,
        "email_verified": true,
        "name": "Ada Lovelace",
        "roles": ["editor"],
        "second_factors": [],
        "created_at": TIME,
        "last_login_at": TIME,
    })
}

/// The session of every example.
pub(crate) fn a_session() -> Value {
    json!({
        "id": SESSION,
        "created_at": TIME,
        "last_seen_at": TIME,
        "expires_at": "2026-03-02T09:30:00Z",
        "user_agent": "curl/8.14.1",
        "ip": "192.0.2.7",
        "current": true,
    })
}

/// The tokens of every example.
pub(crate) fn some_tokens(message: &str) -> Value {
    json!({
        "message": message,
        "token": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMWEyMDg1NiJ9.c2lnbmF0dXJl",
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "aHAx-an-opaque-text-good-once",
        "refresh_expires_in": 604_800,
        "user": a_user(),
    })
}
