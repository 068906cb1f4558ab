//! One operation of the OpenAPI document. Schemas are derived from the types of requests and answers, and the examples
//! of failures are made by the code that answers, so they cannot differ from the server.

use std::collections::BTreeMap;

use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::http::{Method, StatusCode};
use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Components, Content, ContentBuilder, HeaderBuilder, HttpMethod, Paths, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::samples::{CHALLENGE, SESSION};
use crate::guard::openapi::SECURITY_SCHEME;
use crate::guard::{Refusal, answer};
use crate::http::Failure;
use crate::server::error::{Error, FieldErrors};
use crate::server::http::ApiError;
use crate::server::http::cookie::COOKIE_AND_BODY;
use crate::server::model::SecondFactorAsked;
use crate::token::TokenError;

/// The security scheme of the cookie that carries a refresh token.
pub(super) const COOKIE_SCHEME: &str = "cookie";

/// The tags of the document, in reading order.
pub(super) const TAGS: &[(&str, &str)] = &[
    ("Sign-in", "Create an account, sign in, refresh tokens, sign out."),
    ("Account", "Show, change and delete the user's own account."),
    ("Second factors", "Add and remove an authenticator app, recovery codes and passkeys."),
    ("Mail", "Reset a password, verify and change an address. Without `mail.url` these paths answer 404."),
    ("Sessions", "List and end the user's sessions."),
    ("Admin", "See and help other users. Every route needs the role `admin`."),
    ("Service", "Public keys, health checks, and this document."),
];

/// The description of one operation.
pub(crate) struct Operation {
    method: HttpMethod,
    path: &'static str,
    builder: OperationBuilder,
    /// The successes, by status.
    successes: BTreeMap<u16, ResponseBuilder>,
    failures: Vec<Failure>,
    /// The schemas that it uses.
    named: Vec<fn(&mut Components)>,
}

impl Operation {
    /// An operation with the id `id` and the tag `tag`.
    pub(crate) fn new(
        tag: &'static str,
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        debug_assert!(TAGS.iter().any(|(name, _)| *name == tag), "{tag} is not a tag");
        let method = match method.as_str() {
            "GET" => HttpMethod::Get,
            "POST" => HttpMethod::Post,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            other => unreachable!("no route has the method {other}"),
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

    /// Adds a description, in Markdown.
    pub(crate) fn text(mut self, text: &'static str) -> Self {
        self.builder = self.builder.description(Some(text));
        self
    }

    /// Accepts a parameter of the query, like this `example`.
    pub(crate) fn query(mut self, name: &'static str, description: &'static str, example: &Value) -> Self {
        let kind = if example.is_number() { Type::Integer } else { Type::String };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(kind).build()))
            .example(Some(example.clone()));
        self.builder = self.builder.parameter(parameter);
        self
    }

    /// Requires an access token, and a second factor of a user with a role that asks for one.
    pub(crate) fn guarded(mut self) -> Self {
        self.failures.push(answer::failure(Refusal::SecondFactorUnenrolled, &answer::Challenge::bearer()));
        self.guarded_before_enrolment()
    }

    /// Requires a sign-in a short time ago, with a second factor if the user has one.
    pub(crate) fn needs_fresh_sign_in(self) -> Self {
        self.fails([Error::SignInStale { max_age: chrono::Duration::seconds(600) }.into()])
    }

    /// The account may have a second factor, which is asked for then.
    pub(crate) fn may_need_second_factor(self) -> Self {
        let (challenge, methods) = (CHALLENGE.into(), vec!["totp".into(), "recovery_code".into()]);
        self.fails([Error::SecondFactorRequired(Box::new(SecondFactorAsked { challenge, methods })).into()])
    }

    /// Requires an access token.
    pub(crate) fn guarded_before_enrolment(mut self) -> Self {
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

    /// Requires an access token of a user with this role.
    pub(crate) fn with_role(mut self) -> Self {
        self = self.guarded();
        self.failures.push(answer::failure(Refusal::RoleMissing, &answer::Challenge::bearer()));
        self
    }

    /// Accepts this parameter in the query. `schema` is its JSON schema.
    pub(crate) fn parameter(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        let schema: Schema = serde_json::from_value(schema).expect("a schema");
        self.builder = self.builder.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(schema)),
        );
        self.fails([ApiError::RequestInvalid("limit is not acceptable: 1 to 200 is accepted".into())])
    }

    /// Accepts the refresh cookie too, with the header `X-Hallpass`.
    pub(crate) fn with_cookie_too(mut self) -> Self {
        let proof = ParameterBuilder::new()
            .name("X-Hallpass")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("`1`; required if the refresh token is sent in the cookie"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()));
        self.builder = self
            .builder
            .security(SecurityRequirement::default())
            .security(requirement(COOKIE_SCHEME))
            .parameter(proof);
        self.fails([ApiError::RequestInvalid(COOKIE_AND_BODY.into()), ApiError::CsrfRejected])
    }

    /// Requires a body like this `example`.
    pub(crate) fn takes<T: ToSchema>(self, example: Value) -> Self {
        self.body::<T>(example, Required::True)
    }

    /// Accepts a body like this `example`, or none.
    pub(crate) fn may_take<T: ToSchema>(self, example: Value) -> Self {
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

    /// Adds the error for a field of the body that is not acceptable, with this example of a reason.
    pub(crate) fn checks(self, field: &'static str, reason: &str) -> Self {
        self.fails([Error::ValidationFailed(FieldErrors::from([(field, vec![reason.to_owned()])])).into()])
    }

    /// Adds the answer `{"data": …}`, where `data` is like this `example`.
    pub(crate) fn gives<T: ToSchema>(self, status: u16, description: &'static str, example: Value) -> Self {
        self.gives_data::<T>(status, description, reference::<T>(), example)
    }

    /// Adds the answer `{"data": […]}`, a list like this `example`.
    pub(crate) fn gives_list<T: ToSchema>(
        self,
        status: u16,
        description: &'static str,
        example: Value,
    ) -> Self {
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

    /// Adds an answer of another media type.
    pub(crate) fn gives_content(
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

    /// Adds the answer 204, without a body.
    pub(crate) fn gives_nothing(mut self, description: &'static str) -> Self {
        self.successes.insert(204, ResponseBuilder::new().description(description));
        self
    }

    /// Adds a header to the success.
    pub(crate) fn header(mut self, name: &'static str, description: &'static str, example: &str) -> Self {
        let header = header(description, example);
        self.successes = self
            .successes
            .into_iter()
            .map(|(status, it)| (status, it.header(name, header.clone())))
            .collect();
        self
    }

    /// Adds these errors.
    pub(crate) fn fails(mut self, errors: impl IntoIterator<Item = ApiError>) -> Self {
        self.failures.extend(errors.into_iter().map(|error| {
            let failure = error.failure();
            // The envelope adds the challenge to every 401 that has none.
            let is_challenged = failure.headers().iter().any(|(name, _)| name == WWW_AUTHENTICATE);
            if failure.status() == StatusCode::UNAUTHORIZED && !is_challenged {
                return failure.with_header(WWW_AUTHENTICATE, answer::Challenge::bearer().plain());
            }
            failure
        }));
        self
    }

    /// Adds the errors of a route that uses the database.
    pub(crate) fn asks_database(self) -> Self {
        self.fails([Error::Unavailable(String::new()).into(), Error::Internal(String::new()).into()])
    }

    /// Adds the errors of a route that hashes a password.
    pub(crate) fn hashes(self) -> Self {
        self.fails([Error::TooManyAttempts { retry_after_secs: 4 }.into(), Error::Overloaded.into()])
            .asks_database()
    }

    pub(super) fn write(self, paths: &mut Paths, components: &mut Components) {
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

/// Returns the response of all failures of one status, each with its example.
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
                other => unreachable!("no failure has the header {other}"),
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

/// A type with a named schema.
pub(super) trait Named {
    fn name_in(components: &mut Components);
}

impl<T: ToSchema> Named for T {
    fn name_in(components: &mut Components) {
        let mut schemas = vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
        T::schemas(&mut schemas);
        components.schemas.extend(schemas);
    }
}
