//! The OpenAPI 3.1 document, assembled from the operations of all routes.

use std::sync::LazyLock;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths};

use super::operation::{COOKIE_SCHEME, Named, TAGS};
use crate::guard::openapi::SECURITY_SCHEME;
use crate::http::Failure;
use crate::server::http::{cookie, routes};

const ABOUT: &str = "\
Stateless token authentication: sign in, and send the token with every request.

- JSON in, JSON out. Success is `{\"data\": …}`; failure is `{\"code\", \"message\", \"error\"}`, where `code` is the status, \
`message` is for people and `error` is a stable name for programs. A 422 adds `fields`. Times are RFC 3339 in UTC, \
durations are seconds. Unknown fields of a request are ignored.
- Send the token in `Authorization: Bearer <token>`, never in a URL. Every 401 has a `WWW-Authenticate` header (RFC 6750).
- Every response has an `X-Request-Id`: that of the request, if it consists of 1 to 128 of `A-Z a-z 0-9 - _ .`.
- Every path works with and without a trailing slash. HEAD works wherever GET does. OPTIONS gets 204 with `Allow`, or the \
response to a CORS preflight. Any other method gets 405 `method_not_allowed` with `Allow`, and an unknown path 404 `not_found`. Under \
`/user`, a request without a valid token gets 401 instead.";

/// Returns the whole document, for an app that shows it together with its own.
///
/// # Example
/// ```
/// let document = hallpass::server::http::openapi::document();
/// assert!(document.paths.get_path_item("/auth/login").is_some());
/// ```
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut components = Components::new();
    Failure::name_in(&mut components);
    components.add_security_scheme(
        SECURITY_SCHEME,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some("The `token` that a sign-in returns."))
                .build(),
        ),
    );
    components.add_security_scheme(
        COOKIE_SCHEME,
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            cookie::NAME,
            "The refresh token of a session that began with `\"cookie\": true`. Send the header `X-Hallpass: 1` too.",
        ))),
    );
    for operation in routes::operations() {
        operation.write(&mut paths, &mut components);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Hallpass")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .license(Some(
                    LicenseBuilder::new()
                        .name("MIT OR Apache-2.0")
                        .identifier(Some("MIT OR Apache-2.0"))
                        .build(),
                ))
                .build(),
        )
        .tags(Some(
            TAGS.iter().map(|(name, text)| TagBuilder::new().name(*name).description(Some(*text)).build()),
        ))
        .paths(paths)
        .components(Some(components))
        .build()
}

/// Returns the document as it is served and printed: JSON, indented.
pub fn json() -> &'static str {
    static JSON: LazyLock<String> =
        LazyLock::new(|| document().to_pretty_json().expect("a document of texts and numbers is JSON"));
    &JSON
}
