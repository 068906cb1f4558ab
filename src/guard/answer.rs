//! The HTTP response to a refusal: status, challenge and JSON body. Nothing else maps refusals to HTTP.
//!
//! | refusal | status | `error` | challenge (RFC 6750 §3, §3.1) |
//! |---|---|---|---|
//! | `TokenMissing` | 401 | `token_missing` | the scheme alone: nothing was presented, so no error is named |
//! | `TokenInvalid`, `CredentialAmbiguous` | 401 | `token_invalid` | `error="invalid_token"` |
//! | `TokenExpired` | 401 | `token_expired` | `error="invalid_token"` |
//! | `TokenRevoked` | 401 | `token_revoked` | `error="invalid_token"` |
//! | `Application` | 401 | the app's own | `error="invalid_token"` |
//! | `SignInStale` | 401 | `sign_in_stale` | `error="insufficient_user_authentication"`, `max_age` (RFC 9470 §3) |
//! | `SecondFactorMissing` | 401 | `sign_in_stale` | the same, with `acr_values="mfa"` |
//! | `SecondFactorUnenrolled` | 403 | `second_factor_unenrolled` | none: no other token would help |
//! | `RoleMissing` | 403 | `role_missing` | `error="insufficient_scope"` |
//! | `Unavailable` | 503 | `unavailable` | none |
//! | `NotConfigured` | 500 | `internal` | none; the log names the missing line |

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::refusal::Refusal;
use crate::http::{DEFAULT_CHALLENGE, Failure, UNAUTHORIZED_MESSAGE};

/// The scheme and realm of the challenges (RFC 9110 §11.6.1), validated once.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    plain: HeaderValue,
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
            .map(|plain| Self { plain })
            .map_err(|_| "the scheme and the realm are not valid in a header")
    }

    /// The challenge with the default scheme and realm.
    pub(crate) fn bearer() -> Self {
        Self { plain: HeaderValue::from_static(DEFAULT_CHALLENGE) }
    }

    /// The challenge that names no error: no credential was presented, or the route checks credentials itself.
    pub(crate) fn plain(&self) -> HeaderValue {
        self.plain.clone()
    }

    fn with_error(&self, error: &str, description: &str) -> HeaderValue {
        let plain = self.plain.to_str().unwrap_or("Bearer");
        HeaderValue::from_str(&format!("{plain}, error=\"{error}\", error_description=\"{description}\""))
            .unwrap_or_else(|_| self.plain.clone())
    }

    /// The challenge for a sign-in that is not good enough (RFC 9470 §3).
    fn with_requirement(&self, description: &str, name: &str, value: &str) -> HeaderValue {
        let plain = self.with_error("insufficient_user_authentication", description);
        let text = plain.to_str().map(|plain| format!("{plain}, {name}=\"{value}\""));
        text.ok().and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or(plain)
    }

    /// The challenge of the response to `refusal`, if that response has one.
    pub(crate) fn of(&self, refusal: Refusal) -> Option<HeaderValue> {
        let (error, description) = match refusal {
            Refusal::TokenMissing => return Some(self.plain()),
            Refusal::TokenInvalid(_) => {
                ("invalid_token", "The token is malformed, forged or for someone else")
            }
            Refusal::CredentialAmbiguous => ("invalid_token", "More than one credential was presented"),
            Refusal::TokenExpired => ("invalid_token", "The token has expired"),
            Refusal::TokenRevoked => ("invalid_token", "The token was revoked"),
            Refusal::Application(_) => ("invalid_token", "The token is not accepted here"),
            Refusal::SignInStale { max_age_secs } => {
                let description = "The sign-in is too long ago; sign in again";
                return Some(self.with_requirement(description, "max_age", &max_age_secs.to_string()));
            }
            Refusal::SecondFactorMissing => {
                let description = "The sign-in was without a second factor; sign in with one";
                return Some(self.with_requirement(description, "acr_values", "mfa"));
            }
            Refusal::RoleMissing => ("insufficient_scope", "The user lacks the role"),
            Refusal::SecondFactorUnenrolled | Refusal::Unavailable | Refusal::NotConfigured => return None,
        };
        Some(self.with_error(error, description))
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
        | Refusal::SignInStale { .. }
        | Refusal::SecondFactorMissing
        | Refusal::Application(_) => StatusCode::UNAUTHORIZED,
        Refusal::RoleMissing | Refusal::SecondFactorUnenrolled => StatusCode::FORBIDDEN,
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NotConfigured => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The message of a 403.
fn forbidden(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SecondFactorUnenrolled => "a role of your account needs a second factor; add one first",
        _ => "your account lacks the role that this needs",
    }
}

/// The response to `refusal`: status, challenge and body.
pub(crate) fn failure(refusal: Refusal, challenge: &Challenge) -> Failure {
    let status = status(refusal);
    let failure = match status {
        StatusCode::UNAUTHORIZED => Failure::new(status, refusal.code(), UNAUTHORIZED_MESSAGE),
        StatusCode::FORBIDDEN => Failure::new(status, refusal.code(), forbidden(refusal)),
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
            (
                Refusal::SignInStale { max_age_secs: 600 },
                401,
                "sign_in_stale",
                Some("insufficient_user_authentication"),
            ),
            (Refusal::SecondFactorMissing, 401, "sign_in_stale", Some("insufficient_user_authentication")),
            (Refusal::SecondFactorUnenrolled, 403, "second_factor_unenrolled", None),
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
    fn a_sign_in_that_is_not_good_enough_is_told_what_would_be() {
        let told = |refusal| Challenge::bearer().of(refusal).unwrap().to_str().unwrap().to_owned();
        assert!(told(Refusal::SignInStale { max_age_secs: 600 }).ends_with(", max_age=\"600\""));
        assert!(told(Refusal::SecondFactorMissing).ends_with(", acr_values=\"mfa\""));
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
