//! Assertions on answers. Each checks everything at once, and prints the body if it fails.

use actix_web::http::StatusCode;

use crate::app::Reply;

const CHALLENGE: &str = r#"Bearer realm="Authentication Required""#;

impl Reply {
    /// A failure of the contract's shape, with this status and slug.
    #[track_caller]
    pub fn expect_failure(&self, status: u16, error: &str, what: &str) {
        let text = self.text();
        assert_eq!(self.status.as_u16(), status, "{what}: {text}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{what}: {text}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{what}: no request id");
        let body = self.json();
        assert_eq!(body["code"], status, "{what}: {text}");
        assert_eq!(body["error"], error, "{what}: {text}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {text}");
        let mut names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected: &[&str] = match status {
            422 => &["code", "error", "fields", "message"],
            401 if error == "second_factor_required" => &["challenge", "code", "error", "message", "methods"],
            _ => &["code", "error", "message"],
        };
        assert_eq!(names, expected, "{what}: {text}");
        let is_challenged = status == 401 || error == "role_missing";
        assert_eq!(self.header("www-authenticate").is_some(), is_challenged, "{what}: challenge");
    }

    /// A 401 with this slug, its message, and the challenge that belongs to it (RFC 6750 §3).
    #[track_caller]
    pub fn expect_refused(&self, error: &str, what: &str) {
        self.expect_failure(401, error, what);
        assert_eq!(self.json()["message"], "401 Unauthorized Access", "{what}");
        let challenge = self.header("www-authenticate").unwrap();
        match error {
            "token_missing" | "credentials_invalid" | "second_factor_required" | "second_factor_invalid" => {
                assert_eq!(challenge, CHALLENGE, "{what}");
            }
            _ => {
                let expected = format!("{CHALLENGE}, error=\"invalid_token\", error_description=\"");
                assert!(challenge.starts_with(&expected), "{what}: {challenge}");
            }
        }
    }

    /// Success with data that no cache may keep.
    #[track_caller]
    pub fn expect_data(&self, what: &str) -> serde_json::Value {
        assert_eq!(self.status, StatusCode::OK, "{what}: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{what}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{what}");
        self.json()["data"].take()
    }
}
