//! The responses of one path, and what they tell: which methods have routes, and which of them are not refused.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::header::{ALLOW, HeaderMap};
use actix_web::http::{Method, StatusCode};

use super::finding::Finding;
use super::route::Route;

/// The methods that every path is asked with (RFC 9110 §9, RFC 5789), whatever its routes name: a path may have a
/// route for one method and another for any.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// A method that no app has a route for. A path's response to it is its response to any method.
fn unused_method() -> Method {
    Method::from_bytes(b"AUDIT").expect("capital letters are a method")
}

/// The methods that the routes of a path are known to have.
#[derive(Debug)]
pub(super) enum KnownMethods {
    These(Vec<Method>),
    /// At least one route takes any method.
    All,
}

impl KnownMethods {
    /// The methods from introspection, where an empty list stands for any.
    pub(super) fn introspected(methods: &[Method]) -> Self {
        if methods.is_empty() { Self::All } else { Self::These(methods.to_vec()) }
    }

    /// The methods of the routes on the list.
    pub(super) fn listed(routes: &[&Route]) -> Self {
        routes.iter().map(|route| route.method.clone()).collect::<Option<_>>().map_or(Self::All, Self::These)
    }

    fn contains(&self, method: &Method) -> bool {
        match self {
            Self::These(methods) => methods.contains(method),
            Self::All => true,
        }
    }

    /// Every method that the path is asked with.
    pub(super) fn to_ask(&self) -> Vec<Method> {
        let mut methods = METHODS.to_vec();
        if let Self::These(known) = self {
            methods.extend(known.iter().filter(|method| !METHODS.contains(method)).cloned());
        }
        methods.push(unused_method());
        methods
    }
}

/// The response to one request.
#[derive(Debug)]
pub(super) struct Response {
    method: Method,
    path: String,
    status: StatusCode,
    /// The methods in the `Allow` header of a 405 (RFC 9110 §15.5.6).
    allow: Vec<Method>,
}

impl Response {
    pub(super) fn new(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap) -> Self {
        let allow = headers.get_all(ALLOW).filter_map(|value| value.to_str().ok());
        let allow = allow.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
        Self { method: method.clone(), path: path.to_owned(), status, allow: allow.collect() }
    }

    /// Returns whether the response may mean that there is no such route.
    fn is_no_route(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
    }
}

/// All responses of one path pattern.
#[derive(Debug)]
pub(super) struct Responses {
    pub pattern: String,
    pub known: KnownMethods,
    pub all: Vec<Response>,
}

impl Responses {
    /// The methods that must have routes of their own: a 405 names them, or they are answered where an unused method
    /// finds nothing.
    fn evident_methods(&self) -> Vec<&Method> {
        let unused = unused_method();
        let answers_any =
            self.all.iter().any(|response| response.method == unused && !response.is_no_route());
        let mut methods = Vec::new();
        for response in &self.all {
            let own = Some(&response.method).filter(|_| !answers_any && !response.is_no_route());
            for method in response.allow.iter().chain(own) {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        }
        methods
    }

    /// The differences between the app's routes and those `listed` for this pattern.
    pub(super) fn differences(&self, listed: &[&Route]) -> Vec<Finding> {
        let mut methods = self.evident_methods();
        if let KnownMethods::These(known) = &self.known {
            methods.extend(known.iter().filter(|method| !self.evident_methods().contains(method)));
        }
        if methods.is_empty() && listed.is_empty() {
            return vec![Finding::NotListed { route: self.pattern.clone() }];
        }
        let is_listed = |method: &Method| listed.iter().any(|route| route.covers(method, &self.pattern));
        let unlisted = methods.iter().filter(|method| !is_listed(method));
        let unlisted =
            unlisted.map(|method| Finding::NotListed { route: format!("{method} {}", self.pattern) });
        let exists = |method: &Method| self.known.contains(method) || methods.contains(&method);
        let absent = listed.iter().filter(|route| !route.method.as_ref().is_none_or(exists));
        unlisted.chain(absent.map(|route| Finding::NotThere { route: route.to_string() })).collect()
    }

    /// The responses other than 401 that are not `allowed`. Adds to `used` the index of every entry that allows one.
    pub(super) fn not_refused(&self, allowed: &[Route], used: &mut BTreeSet<usize>) -> Vec<Finding> {
        let evident = self.evident_methods();
        let unused = unused_method();
        let mut by_status: BTreeMap<StatusCode, Vec<&Response>> = BTreeMap::new();
        for response in self.all.iter().filter(|response| response.status != StatusCode::UNAUTHORIZED) {
            let method = &response.method;
            let has_route = self.known.contains(method) || evident.contains(&method);
            if *method == unused || (response.is_no_route() && !has_route) {
                continue;
            }
            let allowing: Vec<_> =
                (0..allowed.len()).filter(|&index| allowed[index].covers(method, &self.pattern)).collect();
            let same = by_status.entry(response.status).or_default();
            if allowing.is_empty() && !same.iter().any(|other| other.method == *method) {
                same.push(response);
            }
            used.extend(allowing);
        }
        let finding = |route: String, response: &Response| Finding::Answered {
            route,
            status: response.status,
            path: response.path.clone(),
        };
        let mut findings = Vec::new();
        for same in by_status.values() {
            if METHODS.iter().all(|method| same.iter().any(|response| response.method == *method)) {
                findings.push(finding(self.pattern.clone(), same[0]));
            } else {
                findings.extend(
                    same.iter()
                        .map(|response| finding(format!("{} {}", response.method, self.pattern), response)),
                );
            }
        }
        findings
    }
}
