//! The HTTP response to a refusal: status, challenge and JSON body. Nothing else maps refusals to HTTP.
//!
//! | refusal | status | `error` | challenge (RFC 6750 §3, §3.1) |
//! |---|---|---|---|
//! | `TokenMissing` | 401 | `token_missing` | the scheme alone: nothing was presented, so no error is named |
//! | `TokenInvalid`, `CredentialAmbiguous` | 401 | `token_invalid` | `error="invalid_token"` |
//! | `TokenExpired` | 401 | `token_expired` | `error="invalid_token"` |
//! | `TokenRevoked` | 401 | `token_revoked` | `error="invalid_token"` |
//! | `Application` | 401 | the app's own | `error="invalid_token"` |
//! | `SignInStale` | 401 | `sign_in_stale` | `error="insufficient_user_authentication"` (RFC 9470 §3) |
//! | `RoleMissing` | 403 | `role_missing` | `error="insufficient_scope"` |
//! | `Unavailable` | 503 | `unavailable` | none |
//! | `NotConfigured` | 500 | `internal` | none; the log names the missing line |

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::refusal::Refusal;
use crate::http::{DEFAULT_CHALLENGE, Failure, UNAUTHORIZED_MESSAGE};

/// The challenges with one scheme and realm (RFC 9110 §11.6.1), validated and written once.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    plain: HeaderValue,
    invalid: HeaderValue,
    ambiguous: HeaderValue,
    expired: HeaderValue,
    revoked: HeaderValue,
    application: HeaderValue,
    stale: HeaderValue,
    role: HeaderValue,
}

impl Challenge {
    /// A challenge with `scheme` and `realm`.
    ///
    /// # Errors
    /// A sentence for the developer, if one of them is not valid in a header.
    pub(crate) fn new(scheme: &str, realm: &str) -> Result<Self, &'static str> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_token) {
            return Err(
                "the scheme must be one word of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 §5.6.2)",
            );
        }
        if realm.is_empty()
            || !realm.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte))
        {
            return Err("the realm must be printable ASCII without quotation marks and backslashes");
        }
        HeaderValue::from_str(&format!("{scheme} realm=\"{realm}\""))
            .map(Self::of_plain)
            .map_err(|_| "the scheme and the realm are not valid in a header")
    }

    /// The challenge with the default scheme and realm.
    pub(crate) fn bearer() -> Self {
        Self::of_plain(HeaderValue::from_static(DEFAULT_CHALLENGE))
    }

    /// The challenge that names no error: no credential was presented, or the route checks credentials itself.
    pub(crate) fn plain(&self) -> HeaderValue {
        self.plain.clone()
    }

    fn of_plain(plain: HeaderValue) -> Self {
        let with = |error: &str, description: &str| {
            let text = plain.to_str().unwrap_or("Bearer");
            HeaderValue::from_str(&format!("{text}, error=\"{error}\", error_description=\"{description}\""))
                .unwrap_or_else(|_| plain.clone())
        };
        let invalid = |description| with("invalid_token", description);
        Self {
            invalid: invalid("The token is malformed, forged or for someone else"),
            ambiguous: invalid("More than one credential was presented"),
            expired: invalid("The token has expired"),
            revoked: invalid("The token was revoked"),
            application: invalid("The token is not accepted here"),
            stale: with("insufficient_user_authentication", "The sign-in is too long ago; sign in again"),
            role: with("insufficient_scope", "The user lacks the role"),
            plain,
        }
    }

    /// The challenge of the response to `refusal`, if that response has one.
    pub(crate) fn of(&self, refusal: Refusal) -> Option<HeaderValue> {
        let challenge = match refusal {
            Refusal::TokenMissing => &self.plain,
            Refusal::TokenInvalid(_) => &self.invalid,
            Refusal::CredentialAmbiguous => &self.ambiguous,
            Refusal::TokenExpired => &self.expired,
            Refusal::TokenRevoked => &self.revoked,
            Refusal::Application(_) => &self.application,
            Refusal::SignInStale => &self.stale,
            Refusal::RoleMissing => &self.role,
            Refusal::Unavailable | Refusal::NotConfigured => return None,
        };
        Some(challenge.clone())
    }
}

/// The status of the response to `refusal`.
pub(crate) fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::TokenMissing
        | Refusal::TokenInvalid(_)
        | Refusal::CredentialAmbiguous
        | Refusal::TokenExpired
        | Refusal::TokenRevoked
        | Refusal::SignInStale
        | Refusal::Application(_) => StatusCode::UNAUTHORIZED,
        Refusal::RoleMissing => StatusCode::FORBIDDEN,
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NotConfigured => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The response to `refusal`: status, challenge and body.
pub(crate) fn failure(refusal: Refusal, challenge: &Challenge) -> Failure {
    let status = status(refusal);
    let failure = match status {
        StatusCode::UNAUTHORIZED => Failure::new(status, refusal.code(), UNAUTHORIZED_MESSAGE),
        StatusCode::FORBIDDEN => {
            Failure::new(status, refusal.code(), "your account lacks the role that this needs")
        }
        _ => Failure::of_status(status),
    };
    match challenge.of(refusal) {
        Some(value) => failure.with_header(WWW_AUTHENTICATE, value),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenError;

    #[test]
    fn each_refusal_has_its_status_slug_and_challenge() {
        let challenge = Challenge::new("Bearer", "Authentication Required").unwrap();
        let plain = r#"Bearer realm="Authentication Required""#;
        let table = [
            (Refusal::TokenMissing, 401, "token_missing", Some("")),
            (Refusal::TokenInvalid(TokenError::Malformed), 401, "token_invalid", Some("invalid_token")),
            (Refusal::CredentialAmbiguous, 401, "token_invalid", Some("invalid_token")),
            (Refusal::TokenExpired, 401, "token_expired", Some("invalid_token")),
            (Refusal::TokenRevoked, 401, "token_revoked", Some("invalid_token")),
            (Refusal::Application("too_young"), 401, "too_young", Some("invalid_token")),
            (Refusal::SignInStale, 401, "sign_in_stale", Some("insufficient_user_authentication")),
            (Refusal::RoleMissing, 403, "role_missing", Some("insufficient_scope")),
            (Refusal::Unavailable, 503, "unavailable", None),
            (Refusal::NotConfigured, 500, "internal", None),
        ];
        for (refusal, status, slug, error) in table {
            let response = failure(refusal, &challenge).response();
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            assert_eq!(failure(refusal, &challenge).error(), slug);
            let header = response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
            match error {
                None => assert_eq!(header, None, "{refusal:?}"),
                Some("") => assert_eq!(header, Some(plain), "{refusal:?}"),
                Some(error) => {
                    let expected = format!("{plain}, error=\"{error}\", error_description=\"");
                    assert!(header.unwrap().starts_with(&expected), "{refusal:?}: {header:?}");
                }
            }
        }
    }

    #[test]
    fn a_realm_or_scheme_that_is_not_valid_in_a_header_is_refused_with_a_reason() {
        for (scheme, realm) in [
            ("", "x"),
            ("two words", "x"),
            ("Bearer", ""),
            ("Bearer", "a\"b"),
            ("Bearer", "ü"),
            ("Bearer", "a\nb"),
        ] {
            assert!(Challenge::new(scheme, realm).is_err(), "{scheme:?} {realm:?}");
        }
    }
}
