//! The OpenAPI 3.1 document: what every route takes and answers, for programs and for people.
//!
//! Each file of [`routes`] describes its operations beside its handlers, in the words of this file. Schemas are
//! derived from the types that are really read and written, and every failure is written as the server writes it, so
//! that neither can drift; the integration tests hold the rest against every answer they get. OPTIONS, HEAD and what
//! every path does alike (404, 405) are said once, in the document's own description.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Content, ContentBuilder, HeaderBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApi,
    OpenApiBuilder, Paths, Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::error::ApiError;
use super::{cookie, routes};
use crate::guard::openapi::SECURITY_SCHEME;
use crate::guard::{Refusal, answer};
use crate::http::{Failure, Fields};
use crate::token::TokenError;

/// The e-mail address of every example.
pub(crate) const EMAIL: &str = "ada@example.com";
/// The password of every example.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// A time in every example.
pub(crate) const TIME: &str = "2026-01-31T09:30:00Z";
/// A session, in every example.
pub(crate) const SESSION: &str = "01a20856-390a-7613-b291-9f86fb9e0788";

/// The security scheme of the cookie that carries a refresh token.
const COOKIE_SCHEME: &str = "cookie";

const ABOUT: &str = "\
Stateless token authentication: sign in, and show the token with every request.

- JSON in, JSON out. Success is `{\"data\": …}`; failure is `{\"code\", \"message\", \"error\"}`, where `code` is the status, \
`message` is for a person and `error` is the stable name for a program. A 422 adds `fields`. Times are RFC 3339 in UTC, \
durations are seconds. Unknown fields of a request are ignored.
- The token goes into `Authorization: Bearer <token>`, never into a URL. Every 401 has a `WWW-Authenticate` (RFC 6750).
- Every answer has an `X-Request-Id`: the request's own, when it is 1 to 128 of `A-Z a-z 0-9 - _ .`.
- A path works with and without a slash at its end. HEAD works where GET does. OPTIONS answers 204 with `Allow`, or is a CORS \
preflight. Any other method is a 405 `method_not_allowed` with `Allow`, an unknown path a 404 `not_found`; under \
`/user` a stranger gets the 401 first.";

/// The document's chapters, in reading order.
const TAGS: &[(&str, &str)] = &[
    ("Sign-in", "Where accounts are made, and tokens issued, renewed and ended."),
    ("Account", "What users see and change of themselves."),
    ("Sessions", "Where a user is signed in."),
    ("Service", "Keys, health, and this document."),
];

/// The whole document, for an app that shows it beside its own.
///
/// # Example
/// ```
/// let document = hallpass::server::openapi::document();
/// assert!(document.paths.get_path_item("/auth/login").is_some());
/// ```
pub fn document() -> OpenApi {
    let operations = routes::auth::operations()
        .into_iter()
        .chain(routes::user::operations())
        .chain(routes::well_known::operations())
        .chain(routes::health::operations())
        .chain(routes::docs::operations());
    let mut paths = Paths::new();
    let mut components = Components::new();
    Failure::name_in(&mut components);
    components.add_security_scheme(
        SECURITY_SCHEME,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some("The `token` of a sign-in."))
                .build(),
        ),
    );
    components.add_security_scheme(
        COOKIE_SCHEME,
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            cookie::NAME,
            "The refresh token of a session that began with `\"cookie\": true`; needs `X-Hallpass: 1` beside it.",
        ))),
    );
    for operation in operations {
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

/// The document as it is served and printed: JSON, indented.
pub fn json() -> &'static str {
    static JSON: LazyLock<String> =
        LazyLock::new(|| document().to_pretty_json().expect("a document of texts and numbers is JSON"));
    &JSON
}

/// One operation, as a file of routes describes it.
pub(crate) struct Operation {
    method: HttpMethod,
    path: &'static str,
    builder: OperationBuilder,
    /// By status: how each success looks.
    successes: BTreeMap<u16, ResponseBuilder>,
    failures: Vec<Failure>,
    /// Schemas that were named on the way.
    named: Vec<fn(&mut Components)>,
}

impl Operation {
    /// The operation `id`, of the chapter `tag`, by `method` at `path`.
    pub fn new(
        tag: &'static str,
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        debug_assert!(TAGS.iter().any(|(name, _)| *name == tag), "{tag} is no chapter");
        let method = match method.as_str() {
            "GET" => HttpMethod::Get,
            "POST" => HttpMethod::Post,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            other => unreachable!("no route of ours takes {other}"),
        };
        let mut builder = OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        for name in path.split(['{', '}']).skip(1).step_by(2) {
            let text = ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::Custom("uuid".into())));
            builder = builder.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(text.build()))
                    .example(Some(json!(SESSION))),
            );
        }
        Self { method, path, builder, successes: BTreeMap::new(), failures: vec![], named: vec![] }
    }

    /// More to be said, in Markdown.
    pub fn text(mut self, text: &'static str) -> Self {
        self.builder = self.builder.description(Some(text));
        self
    }

    /// Goes by an access token.
    pub fn guarded(mut self) -> Self {
        self.builder = self.builder.security(requirement(SECURITY_SCHEME));
        let challenge = answer::Challenge::bearer();
        let refusals = [
            Refusal::TokenMissing,
            Refusal::TokenInvalid(TokenError::Malformed),
            Refusal::TokenExpired,
            Refusal::TokenRevoked,
        ];
        self.failures.extend(refusals.map(|refusal| answer::failure(refusal, &challenge)));
        self.asks_database()
    }

    /// Works with the cookie too, which is of use only with the header that comes with it.
    pub fn with_cookie_too(mut self) -> Self {
        let proof = ParameterBuilder::new()
            .name("X-Hallpass")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("`1`, where the refresh token comes in the cookie"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()));
        self.builder = self
            .builder
            .security(SecurityRequirement::default())
            .security(requirement(COOKIE_SCHEME))
            .parameter(proof);
        self.fails([
            ApiError::RequestInvalid("a refresh token came in the cookie and another in the body; send one"),
            ApiError::CsrfRejected,
        ])
    }

    /// Takes a body like this `example`.
    pub fn takes<T: ToSchema>(self, example: Value) -> Self {
        self.body::<T>(example, Required::True)
    }

    /// Takes a body like this `example`, or none.
    pub fn may_take<T: ToSchema>(self, example: Value) -> Self {
        self.body::<T>(example, Required::False)
    }

    fn body<T: ToSchema>(mut self, example: Value, required: Required) -> Self {
        self.named.push(T::name_in);
        let content = ContentBuilder::new().schema(Some(reference::<T>())).example(Some(example)).build();
        self.builder = self.builder.request_body(Some(
            RequestBodyBuilder::new().content("application/json", content).required(Some(required)).build(),
        ));
        self.fails([
            ApiError::JsonMalformed("it is not JSON, at line 1 column 1".into()),
            ApiError::BodyTooLarge,
            ApiError::UnsupportedMediaType,
        ])
    }

    /// Refuses a field of the body, for a reason such as this.
    pub fn checks(self, field: &'static str, reason: &str) -> Self {
        self.fails([ApiError::ValidationFailed(Fields::from([(field, vec![reason.to_owned()])]))])
    }

    /// Answers `{"data": …}`, and `data` is like this `example`.
    pub fn gives<T: ToSchema>(self, status: u16, description: &'static str, example: Value) -> Self {
        self.gives_data::<T>(status, description, reference::<T>(), example)
    }

    /// The same with a list.
    pub fn gives_list<T: ToSchema>(self, status: u16, description: &'static str, example: Value) -> Self {
        let list = Schema::Array(utoipa::openapi::schema::Array::new(reference::<T>()));
        self.gives_data::<T>(status, description, list.into(), example)
    }

    fn gives_data<T: ToSchema>(
        mut self,
        status: u16,
        description: &'static str,
        data: RefOr<Schema>,
        example: Value,
    ) -> Self {
        self.named.push(T::name_in);
        let envelope = ObjectBuilder::new().property("data", data).required("data").build();
        let content =
            ContentBuilder::new().schema(Some(envelope)).example(Some(json!({"data": example}))).build();
        self.gives_content(status, description, "application/json", content)
    }

    /// Answers something else than data.
    pub fn gives_content(
        mut self,
        status: u16,
        description: &'static str,
        media_type: &str,
        content: Content,
    ) -> Self {
        let response = ResponseBuilder::new().description(description).content(media_type, content);
        self.successes.insert(status, response);
        self
    }

    /// Answers without a body.
    pub fn gives_nothing(mut self, description: &'static str) -> Self {
        self.successes.insert(204, ResponseBuilder::new().description(description));
        self
    }

    /// The success has this header.
    pub fn header(mut self, name: &'static str, description: &'static str, example: &str) -> Self {
        let header = header(description, example);
        self.successes = self
            .successes
            .into_iter()
            .map(|(status, it)| (status, it.header(name, header.clone())))
            .collect();
        self
    }

    /// Fails in these ways.
    pub fn fails(mut self, errors: impl IntoIterator<Item = ApiError>) -> Self {
        self.failures.extend(errors.into_iter().map(|error| error.failure()));
        self
    }

    /// Fails where the database does not answer, or we are at fault.
    pub fn asks_database(self) -> Self {
        self.fails([ApiError::Unavailable(String::new()), ApiError::Internal(String::new())])
    }

    /// Has a password hashed.
    pub fn hashes(self) -> Self {
        self.fails([ApiError::TooManyAttempts(4), ApiError::Overloaded]).asks_database()
    }

    fn write(self, paths: &mut Paths, components: &mut Components) {
        for name in self.named {
            name(components);
        }
        let mut builder = self.builder;
        for (status, response) in self.successes {
            builder = builder.response(status.to_string(), response);
        }
        let mut by_status = BTreeMap::<u16, Vec<Failure>>::new();
        for failure in self.failures {
            let alike = by_status.entry(failure.status().as_u16()).or_default();
            if alike.iter().all(|known| known.error() != failure.error()) {
                alike.push(failure);
            }
        }
        for (status, failures) in by_status {
            builder = builder.response(status.to_string(), failed(&failures));
        }
        paths.add_path_operation(self.path, vec![self.method], builder.build());
    }
}

/// The answer to failures of one status, each with its example.
fn failed(failures: &[Failure]) -> ResponseBuilder {
    let slugs: Vec<_> = failures.iter().map(|failure| format!("`{}`", failure.error())).collect();
    let mut content = ContentBuilder::new().schema(Some(reference::<Failure>()));
    let mut response = ResponseBuilder::new().description(slugs.join(", "));
    for failure in failures {
        let body = serde_json::to_value(failure).expect("a failure is JSON");
        let example = utoipa::openapi::example::ExampleBuilder::new()
            .summary(failure.error())
            .value(Some(body))
            .build();
        content = content.examples_from_iter([(failure.error(), example)]);
        for (name, value) in failure.headers() {
            let value = value.to_str().expect("our own headers are text");
            let (name, text) = match name.as_str() {
                "www-authenticate" => ("WWW-Authenticate", "The challenge (RFC 6750 §3)"),
                "retry-after" => ("Retry-After", "The seconds to wait"),
                other => unreachable!("no failure of ours carries {other}"),
            };
            response = response.header(name, header(text, value));
        }
    }
    response.content("application/json", content.build())
}

fn header(description: &str, example: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .description(Some(description))
        .example(Some(json!(example)))
        .build()
}

fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, Vec::<String>::new())
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// A type that stands among the document's schemas by its name.
trait Named {
    fn name_in(components: &mut Components);
}

impl<T: ToSchema> Named for T {
    fn name_in(components: &mut Components) {
        let mut schemas = vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
        T::schemas(&mut schemas);
        components.schemas.extend(schemas);
    }
}

/// The challenge of a server as it comes.
pub(crate) fn challenge() -> HeaderValue {
    answer::Challenge::bearer().plain()
}

/// The user of every example.
pub(crate) fn a_user() -> Value {
    json!({
        "id": "01a20856-390a-7613-b291-9f86fb9e0787",
        "email": EMAIL,
        "name": "Ada Lovelace",
        "roles": ["editor"],
        "created_at": TIME,
        "last_login_at": TIME,
    })
}

/// What a session that begins or goes on is answered with.
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
