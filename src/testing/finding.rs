//! The findings of an audit.

use std::fmt;

use actix_web::http::StatusCode;

use super::app_routes::METHODS_ARE_KNOWN;

/// A finding of an [`Audit`](super::Audit). Its text names the route and says what is wrong.
///
/// # Example
/// ```
/// use hallpass::testing::Finding;
///
/// let finding = Finding::NotNeeded { route: "GET /about".to_owned() };
/// assert_eq!(finding.to_string(), "GET /about: needs no entry on the allow-list; remove it");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A request without a token got another response than 401, and the route is not on the allow-list.
    Answered {
        /// The route; without a method if every method of the path got this response.
        route: String,
        /// The status of the response.
        status: StatusCode,
        /// The path of the request.
        path: String,
    },
    /// A route that is to ask for more than a genuine token did not refuse one that is not enough; see
    /// [`Audit::step_up`](super::Audit::step_up).
    NotSteppedUp {
        /// The route.
        route: String,
        /// The status of the response.
        status: StatusCode,
        /// The path of the request.
        path: String,
    },
    /// The app has a route that is missing from the list given to [`Audit::routes`](super::Audit::routes).
    NotListed {
        /// The route.
        route: String,
    },
    /// The list or a sample names a route that the app does not have.
    NotThere {
        /// The route.
        route: String,
    },
    /// An entry of the allow-list allows nothing: the route answers 401, or does not exist.
    NotNeeded {
        /// The entry.
        route: String,
    },
    /// The audit knows no path that matches this pattern, and sent no request to it.
    NotAsked {
        /// The path's pattern.
        route: String,
    },
    /// The app has no routes, or none are known.
    NoRoutes,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { route, status, path } => write!(f, "{route}: answered {status} to {path}, not 401"),
            Self::NotSteppedUp { route, status, path } => {
                write!(f, "{route}: answered {status} to {path}, not the 401 that asks to sign in again")
            }
            Self::NotListed { route } => write!(f, "{route}: missing from the list of routes"),
            Self::NotThere { route } => write!(f, "{route}: the app has no such route"),
            Self::NotNeeded { route } => write!(f, "{route}: needs no entry on the allow-list; remove it"),
            Self::NotAsked { route } => {
                write!(f, "{route}: no path is known that matches; add .sample({route:?}, \"/…\")")
            }
            Self::NoRoutes if METHODS_ARE_KNOWN => f.write_str("the app has no routes"),
            Self::NoRoutes => f.write_str(
                "no routes are known; add .routes([\"GET /…\"]) with every route of the app, or turn on the feature \
                 testing-introspection",
            ),
        }
    }
}
