//! All paths. One file a scope, with thin handlers; what they share stands here.

pub mod auth;
mod body;
mod client;
pub mod console;
pub mod docs;
pub mod health;
pub mod metrics;
mod pages;
pub mod user;
pub mod well_known;

use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderValue, SET_COOKIE};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::guard::{AuthUser, User};
use crate::http::Fields;
use crate::server::error::ApiError;
use crate::server::password::{Password, check_presented, check_shape};
use crate::server::sign_in::SignedIn;
use crate::server::{Desk, accounts, cookie};

/// A path and the methods it takes, with and without its trailing slash. HEAD works where GET does,
/// OPTIONS answers 204, every other method 405, both with `Allow` (RFC 9110 §9.3.7, §15.5.6).
pub(crate) fn endpoint(path: &str, methods: impl IntoIterator<Item = (Method, Route)>) -> Resource {
    let path = path.trim_end_matches('/');
    let mut resource = web::resource([path.to_owned(), format!("{path}/")]);
    let mut allow = Vec::new();
    for (method, route) in methods {
        allow.push(method.to_string());
        resource = resource.route(if method == Method::GET {
            allow.push(Method::HEAD.to_string());
            route.guard(guard::Any(guard::Get()).or(guard::Head()))
        } else {
            route.guard(guard::Method(method))
        });
    }
    allow.push(Method::OPTIONS.to_string());
    let allow = HeaderValue::from_str(&allow.join(", ")).expect("method names are header characters");
    resource.default_service(web::to(move |request: HttpRequest| {
        let mut response = match *request.method() {
            Method::OPTIONS => HttpResponse::NoContent().finish(),
            _ => HttpResponse::MethodNotAllowed().finish(),
        };
        response.headers_mut().insert(ALLOW, allow.clone());
        std::future::ready(response)
    }))
}

/// The id under which the store knows the user who asks.
pub(crate) fn user_id(user: &AuthUser) -> Result<Uuid, ApiError> {
    Uuid::try_parse(&user.id).map_err(|_| ApiError::Internal("the id of a stored user is no UUID".into()))
}

/// `{"data": …}`, never kept by a cache: whatever our routes tell is about one user.
pub(crate) fn data(value: impl Serialize) -> HttpResponse {
    #[derive(Serialize)]
    struct Data<T> {
        data: T,
    }
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .json(Data { data: value })
}

/// The same for something that was just made.
pub(crate) fn created(value: impl Serialize) -> HttpResponse {
    let mut response = data(value);
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// The tokens of a session that begins or goes on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens<'a> {
    message: &'static str,
    /// The access token.
    token: &'a str,
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: i64,
    /// Good once. Absent where it travels in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    refresh_token: Option<&'a str>,
    /// Seconds that the refresh token lives.
    refresh_expires_in: i64,
    user: &'a User,
}

/// What a session that begins or goes on is answered with (RFC 6749 §5.1). The refresh token is in the body or
/// in the cookie, never in both.
pub(crate) fn tokens(message: &'static str, signed_in: SignedIn) -> HttpResponse {
    let SignedIn { token, expires_in, refresh, user } = signed_in;
    let refresh_token = refresh.token.to_text();
    let mut response = data(Tokens {
        message,
        token: &token,
        token_type: "Bearer",
        expires_in: expires_in.num_seconds(),
        refresh_token: Some(refresh_token.as_str()).filter(|_| !refresh.by_cookie),
        refresh_expires_in: refresh.expires_in.num_seconds(),
        user: &user,
    });
    if refresh.by_cookie {
        response.headers_mut().append(SET_COOKIE, cookie::carrying(&refresh));
    }
    response
}

/// 204, and the cookie taken away where the session that ended was by cookie.
pub(crate) fn ended(by_cookie: bool) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    if by_cookie {
        response.headers_mut().append(SET_COOKIE, cookie::cleared());
    }
    response
}

/// The fields of a request, checked one by one; what was wrong with each is told all at once.
#[derive(Default)]
pub(crate) struct Checked(Fields);

impl Checked {
    /// A field that `check` takes. One that it does not is noted, and stands as nothing until
    /// [`verdict`](Self::verdict) refuses the request.
    fn take<T: Default>(&mut self, field: &'static str, check: Result<T, String>) -> T {
        check.unwrap_or_else(|reason| {
            self.0.entry(field).or_default().push(reason);
            T::default()
        })
    }

    pub(crate) fn email(&mut self, given: Option<String>) -> String {
        self.take("email", accounts::parse_email(given.as_deref().unwrap_or_default()))
    }

    pub(crate) fn name(&mut self, given: Option<String>) -> String {
        let name = given.ok_or_else(|| "is required".to_owned());
        self.take("name", name.and_then(|name| accounts::parse_name(&name)))
    }

    /// A password that somebody claims to have.
    pub(crate) fn presented(&mut self, field: &'static str, given: Option<Password>) -> Password {
        let password = given.unwrap_or_default();
        self.take(field, check_presented(&password).map(|()| password))
    }

    /// A password that is to become that of the user with this `email`; how common it is, is asked later, since
    /// that takes time.
    pub(crate) fn new_password(
        &mut self,
        field: &'static str,
        given: Option<Password>,
        email: &str,
        desk: &Desk,
    ) -> Password {
        let password = given.unwrap_or_default();
        let verdict = check_shape(&password, email, desk.settings().password.min_length);
        self.take(field, verdict.map(|()| password))
    }

    /// # Errors
    /// [`ApiError::ValidationFailed`] with every field that was not acceptable.
    pub(crate) fn verdict(self) -> Result<(), ApiError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(ApiError::ValidationFailed(self.0)),
        }
    }
}
