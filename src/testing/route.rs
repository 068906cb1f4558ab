//! A route as the audit's lists name it: `GET /notes/{id}`, or `/notes/{id}` for every method.

use std::fmt;

use actix_web::http::Method;

/// A path pattern, with one method or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// `None` stands for every method.
    pub method: Option<Method>,
    pub pattern: String,
}

impl Route {
    #[track_caller]
    pub(super) fn parse(text: &str) -> Self {
        let (method, pattern) = match text.split_once(' ') {
            Some((method, pattern)) if !text.starts_with('/') => {
                (Some(Method::from_bytes(method.as_bytes())), pattern)
            }
            _ => (None, text),
        };
        match method.transpose() {
            Ok(method) if pattern.starts_with('/') => Self { method, pattern: pattern.to_owned() },
            _ => panic!(
                "{text:?} is not a route; \"GET /notes\" is one, and \"/notes\" stands for every method"
            ),
        }
    }

    pub(super) fn covers(&self, method: &Method, pattern: &str) -> bool {
        self.pattern == pattern && self.method.as_ref().is_none_or(|own| own == method)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.pattern),
            None => f.write_str(&self.pattern),
        }
    }
}
