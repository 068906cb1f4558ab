//! Guarded handlers in the app's own OpenAPI document: the security scheme, and the responses to refusals. Feature
//! `openapi`, for documents made with [`utoipa`].

use std::collections::BTreeMap;

use actix_web::http::header::AUTHORIZATION;
use serde_json::json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify};

use super::credential::Scheme;
use super::guard::Guard;
use super::refused::Refused;

/// The name of the guard's security scheme in an OpenAPI document.
///
/// # Example: a handler with a lock
/// ```
/// # use hallpass::{AuthUser, Refused};
/// use utoipa::OpenApi;
///
/// #[utoipa::path(get, path = "/notes", security(("hallpass" = [])), responses((status = 200, body = str), Refused))]
/// async fn notes(user: AuthUser) -> String {
///     format!("the notes of {}", user.email)
/// }
///
/// #[derive(OpenApi)]
/// #[openapi(paths(notes))]
/// struct Document;
///
/// let json = serde_json::to_value(Document::openapi())?;
/// assert!(json["paths"]["/notes"]["get"]["security"][0][hallpass::guard::SECURITY_SCHEME].is_array());
/// # Ok::<(), serde_json::Error>(())
/// ```
pub const SECURITY_SCHEME: &str = "hallpass";

impl<U: Send + Sync + 'static> Guard<U> {
    /// Returns the description of how requests carry this guard's tokens (OpenAPI 3.1 §4.8.27): a scheme in
    /// `Authorization`, or another header.
    ///
    /// # Example
    /// ```
    /// let guard = hallpass::testing::Mint::new().guard();
    /// let json = serde_json::to_value(guard.security_scheme())?;
    /// assert_eq!((&json["type"], &json["scheme"]), (&"http".into(), &"bearer".into()));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn security_scheme(&self) -> SecurityScheme {
        match &self.authenticator.scheme {
            Scheme::Named { name, .. }
                if self.authenticator.header == AUTHORIZATION && name.eq_ignore_ascii_case("bearer") =>
            {
                let mut http = Http::new(HttpAuthScheme::Bearer);
                http.bearer_format = Some("JWT".to_owned());
                SecurityScheme::Http(http)
            }
            Scheme::Named { name, .. } => {
                let text = format!("`{name}`, a space, and the token");
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                    self.authenticator.header.as_str(),
                    &text,
                )))
            }
            Scheme::Whole => {
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(self.authenticator.header.as_str())))
            }
        }
    }
}

/// Adds the guard's security scheme to a document, under the name [`SECURITY_SCHEME`].
///
/// # Example: a lock on one of two handlers
/// ```
/// use hallpass::{AuthUser, Guard, Refused};
/// use utoipa::{Modify, OpenApi};
///
/// #[utoipa::path(get, path = "/about", responses((status = 200, body = str)))]
/// async fn about() -> &'static str {
///     "anybody may read this"
/// }
///
/// #[utoipa::path(get, path = "/notes", security(("hallpass" = [])), responses((status = 200, body = str), Refused))]
/// async fn notes(user: AuthUser) -> String {
///     format!("the notes of {}", user.email)
/// }
///
/// #[derive(OpenApi)]
/// #[openapi(paths(about, notes))]
/// struct Document;
///
/// # let guard = Guard::builder()
/// #     .shared_secret(b"thirty-two bytes, or rather more of them")
/// #     .issuer("https://id.example")
/// #     .audience("https://api.example")
/// #     .build()?;
/// let mut document = Document::openapi();
/// guard.modify(&mut document);
///
/// let json = serde_json::to_value(&document)?;
/// assert_eq!(json["components"]["securitySchemes"]["hallpass"]["scheme"], "bearer");
/// assert!(json["paths"]["/notes"]["get"]["responses"]["401"].is_object());
/// assert!(json["paths"]["/about"]["get"].get("security").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<U: Send + Sync + 'static> Modify for Guard<U> {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme(SECURITY_SCHEME, self.security_scheme());
    }
}

/// The responses to refusals: 401, 403 and 503, each with an example.
impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let table = [
            ("401", "The token is missing or not valid", "401 Unauthorized Access", "token_missing"),
            ("403", "The user lacks a role", "your account lacks the role that this needs", "role_missing"),
            (
                "503",
                "The source of users or keys does not answer",
                "the service cannot answer now; try again soon",
                "unavailable",
            ),
        ];
        table
            .into_iter()
            .map(|(status, description, message, error)| {
                let code: u16 = status.parse().expect("a status is a number");
                let example = json!({"code": code, "message": message, "error": error});
                let content = ContentBuilder::new().example(Some(example)).build();
                let response = ResponseBuilder::new()
                    .description(description)
                    .content("application/json", content)
                    .build();
                (status.to_owned(), response.into())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(
        change: impl FnOnce(super::super::GuardBuilder<crate::User>) -> super::super::GuardBuilder<crate::User>,
    ) -> serde_json::Value {
        let builder = Guard::builder().shared_secret(&[7; 32]).issuer("i").audience("a");
        serde_json::to_value(change(builder).build().unwrap().security_scheme()).unwrap()
    }

    #[test]
    fn the_document_describes_how_this_guard_reads_its_token() {
        assert_eq!(scheme(|guard| guard), json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}));
        assert_eq!(
            scheme(|guard| guard.header("X-API-Key").without_scheme()),
            json!({"type": "apiKey", "in": "header", "name": "x-api-key"})
        );
        assert_eq!(
            scheme(|guard| guard.scheme("Token")),
            json!({
                "type": "apiKey", "in": "header", "name": "authorization",
                "description": "`Token`, a space, and the token"
            })
        );
    }

    #[test]
    fn the_example_responses_are_those_of_a_guard() {
        use crate::guard::{Refusal, answer};

        let responses = serde_json::to_value(Refused::responses()).unwrap();
        let challenge = answer::Challenge::new("Bearer", "x").unwrap();
        for refusal in [Refusal::TokenMissing, Refusal::RoleMissing, Refusal::Unavailable] {
            let status = answer::status(refusal).as_u16().to_string();
            let example = &responses[&status]["content"]["application/json"]["example"];
            assert_eq!(
                *example,
                serde_json::to_value(answer::failure(refusal, &challenge)).unwrap(),
                "{refusal}"
            );
        }
    }
}
