//! All paths. One file a scope, with thin handlers; what they share stands here.

pub mod auth;
mod body;
pub mod health;
pub mod user;
pub mod well_known;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};
use serde::Serialize;

/// A path and the methods it takes, with and without its trailing slash. HEAD works where GET does,
/// OPTIONS answers 204, every other method 405, both with `Allow` (RFC 9110 §9.3.7, §15.5.6).
pub(crate) fn endpoint(path: &str, methods: impl IntoIterator<Item = (Method, Route)>) -> Resource {
    let path = path.trim_end_matches('/');
    let mut resource = web::resource([path.to_owned(), format!("{path}/")]);
    let mut allow = Vec::new();
    for (method, route) in methods {
        allow.push(method.to_string());
        let matches: Box<dyn guard::Guard> = if method == Method::GET {
            allow.push(Method::HEAD.to_string());
            Box::new(guard::Any(guard::Get()).or(guard::Head()))
        } else {
            Box::new(guard::Method(method))
        };
        resource = resource.route(route.guard(OneOf(matches)));
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

/// A boxed guard as a guard.
struct OneOf(Box<dyn guard::Guard>);

impl guard::Guard for OneOf {
    fn check(&self, context: &guard::GuardContext<'_>) -> bool {
        self.0.check(context)
    }
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
