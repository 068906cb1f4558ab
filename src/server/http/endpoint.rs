//! A path and its methods.

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};

use super::measure::RouteTable;

/// Returns the resource of a path that reverse proxies ask about each request, with GET or HEAD. OPTIONS is a 405 too,
/// since a proxy that asks with its client's method would take a 204 for a yes.
pub(crate) fn endpoint_for_proxies(path: &str, answer: Route) -> Resource {
    resource(path, [(Method::GET, answer)], false)
}

/// Returns the resource of a path, with and without its trailing slash, and its methods. HEAD works where GET does,
/// OPTIONS answers 204, every other method 405, both with `Allow` (RFC 9110 §9.3.7, §15.5.6).
pub(crate) fn endpoint(path: &str, methods: impl IntoIterator<Item = (Method, Route)>) -> Resource {
    resource(path, methods, true)
}

/// Returns the resource of a path in this spelling alone, for a path that is asked for often: actix-web compares its
/// text. For a resource with several spellings, it runs a regular expression for each.
pub(crate) fn spelled(path: &str, methods: impl IntoIterator<Item = (Method, Route)>) -> Resource {
    with_methods(web::resource(path), methods, true)
}

fn resource(path: &str, methods: impl IntoIterator<Item = (Method, Route)>, has_options: bool) -> Resource {
    let path = path.trim_end_matches('/');
    with_methods(web::resource([path.to_owned(), format!("{path}/")]), methods, has_options)
}

fn with_methods(
    mut resource: Resource,
    methods: impl IntoIterator<Item = (Method, Route)>,
    has_options: bool,
) -> Resource {
    resource = resource.app_data(RouteTable::default());
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
    if has_options {
        allow.push(Method::OPTIONS.to_string());
    }
    let allow = HeaderValue::from_str(&allow.join(", ")).expect("method names are header characters");
    resource.default_service(web::to(move |request: HttpRequest| {
        let mut response = match *request.method() {
            Method::OPTIONS if has_options => HttpResponse::NoContent().finish(),
            _ => HttpResponse::MethodNotAllowed().finish(),
        };
        response.headers_mut().insert(ALLOW, allow.clone());
        std::future::ready(response)
    }))
}
