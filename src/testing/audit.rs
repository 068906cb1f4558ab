//! The audit: sends requests without a token to every route of an app, and reports each that is not refused; and requests with
//! a token that is not enough to the routes that ask for more.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, HttpMessage};

use super::app_routes::{AppRoutes, METHODS_ARE_KNOWN};
use super::finding::Finding;
use super::responses::{KnownMethods, Response, Responses};
use super::route::Route;
use super::sample;
use crate::guard::OptionsAnswered;

/// A query that `Query` does not parse.
const QUERY: &str = "%FF=%FF&=%";
/// A body that neither `Json` nor `Form` parses.
const BODY: &[u8] = b"{not json";

/// Sends requests without a token to every route of an app, and reports each that answers anything but 401.
///
/// Routes are written `GET /notes/{id}`: a method, and the path's pattern as the app has it, scopes included. A
/// pattern alone stands for every method.
///
/// # Requests
/// Each path is asked with every method of RFC 9110 and PATCH, whatever its routes name, with a malformed query and
/// body. A path with parameters is asked twice: with a malformed value (`/notes/%FF`) and with one that fits
/// (`/notes/1`). A handler that does not refuse the request runs: give the audit an app whose data may be lost.
///
/// # Findings
/// Every response but 401 is reported: a 200, a 400 that shows that a body was parsed before the caller was
/// authenticated, a 500, and, **from a route that exists**, a 404 or 405, since the audit did not reach that route.
/// Satisfy host and header guards with [`header`](Self::header). For a method without a route, 404 and 405 pass.
///
/// OPTIONS is a method like any other here. Where [`Protect`](crate::Protect) answers it, no handler runs; elsewhere a
/// handler for OPTIONS, or for any method, has to refuse the request itself.
///
/// Default services are asked too. `/api/*` stands for that of the scope `/api`, `/*` for that of the app; they may
/// answer 401, 404 and 405.
///
/// # Limits
/// A service is not reached if its guards reject all requests of the audit while another service on the same path
/// refuses them.
///
/// # Example: without introspection, a list of routes
/// ```
/// use actix_web::{App, web};
/// use hallpass::AuthUser;
/// use hallpass::testing::{Audit, Mint};
///
/// # actix_rt::System::new().block_on(async {
/// let app = App::new()
///     .app_data(Mint::new().guard())
///     .route("/about", web::get().to(|| async { "anybody may read this" }))
///     .route("/notes/{id}", web::get().to(|_: AuthUser, _: web::Path<u32>| async { "only users may read this" }));
///
/// Audit::new().routes(["GET /about", "GET /notes/{id}"]).allow(["GET /about"]).assert_all_guarded(app).await;
/// # });
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "an audit finds nothing until it is given an app"]
pub struct Audit {
    routes: Option<Vec<Route>>,
    allowed: Vec<Route>,
    headers: Vec<(HeaderName, HeaderValue)>,
    samples: BTreeMap<String, String>,
    step_up: Vec<StepUp>,
}

/// A route that asks for more than a genuine token, and a token that is not enough.
#[derive(Debug, Clone)]
struct StepUp {
    route: Route,
    bearer: (HeaderName, String),
}

/// A part of the app that answers requests.
struct Target<'a> {
    /// The path's pattern, or `/api/*` for the default service of the scope `/api`.
    pattern: String,
    kind: TargetKind<'a>,
}

enum TargetKind<'a> {
    Path {
        known: KnownMethods,
        /// The routes of this path on the list.
        listed: Vec<&'a Route>,
    },
    DefaultService {
        scope: &'a str,
    },
}

impl Audit {
    /// An audit of the routes that actix-web's introspection reports, with an empty allow-list.
    ///
    /// # Example
    /// ```
    /// let audit = hallpass::testing::Audit::new().allow(["GET /about"]);
    /// # let _ = audit;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds routes to the list of all routes of the app, including those on the allow-list. Required without the
    /// feature `testing-introspection`.
    ///
    /// The audit reports every route that is missing from the list, and every one on it that the app does not have.
    /// Without introspection, actix names the paths of an app but not their methods. A method that is missing beside
    /// another of the same path is then seen by its response, unless all methods are refused alike, as under
    /// [`Protect`](crate::Protect).
    ///
    /// # Panics
    /// If one of them is not written like `GET /notes` or `/notes`.
    ///
    /// # Example
    /// ```
    /// # use hallpass::testing::Audit;
    /// let audit = Audit::new().routes(["GET /notes", "POST /notes", "/files/{name}"]);
    /// # let _ = audit;
    /// ```
    #[track_caller]
    pub fn routes<R: AsRef<str>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        let listed = self.routes.get_or_insert_default();
        for route in routes {
            listed.push(Route::parse(route.as_ref()));
        }
        self
    }

    /// Adds routes to the allow-list: they may answer requests without a token. The audit reports an entry whose route
    /// answers 401, or does not exist.
    ///
    /// # Panics
    /// If one of them is not written like `GET /about` or `/about`.
    ///
    /// # Example
    /// ```
    /// # use hallpass::testing::Audit;
    /// let audit = Audit::new().allow(["GET /about", "/files/{name}"]);
    /// # let _ = audit;
    /// ```
    #[track_caller]
    pub fn allow<R: AsRef<str>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        for route in routes {
            self.allowed.push(Route::parse(route.as_ref()));
        }
        self
    }

    /// Adds a header to every request, for routes behind a guard that asks for it. Audit an app with several hosts once
    /// for each.
    ///
    /// # Panics
    /// If they are not a valid name and value of a header.
    ///
    /// # Example: for a scope with a `Host` guard
    /// ```
    /// # use hallpass::testing::Audit;
    /// let audit = Audit::new().header("host", "api.example");
    /// # let _ = audit;
    /// ```
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse(), value.parse()) {
            (Ok(name), Ok(value)) => self.headers.push((name, value)),
            _ => panic!("{name:?} and {value:?} are not a valid name and value of a header"),
        }
        self
    }

    /// Sets the path to request for `pattern`, where the audit's own paths do not match it or make no sense.
    ///
    /// # Panics
    /// If `path` is not a path that begins with a slash.
    ///
    /// # Example: an unusual expression
    /// ```
    /// # use hallpass::testing::Audit;
    /// let audit = Audit::new().sample("/orders/{number:[A-Z]{3}-[0-9]{5}}", "/orders/ABC-12345");
    /// # let _ = audit;
    /// ```
    #[track_caller]
    pub fn sample(mut self, pattern: &str, path: &str) -> Self {
        let is_path = path.starts_with('/') && path.parse::<actix_web::http::Uri>().is_ok();
        assert!(is_path, "{path:?} is not a path; one that begins with a slash is accepted");
        self.samples.insert(pattern.to_owned(), path.to_owned());
        self
    }

    /// Adds routes that ask for more than a genuine token: a second factor, or a sign-in that is not long ago
    /// ([`SecondFactor`](crate::SecondFactor), [`SignedInWithin`](crate::SignedInWithin)). Each is also asked with `bearer`,
    /// the genuine token of a user who signed in long ago and by password alone.
    ///
    /// Every response is reported but the challenge of RFC 9470 §3: 401 with `error="insufficient_user_authentication"`.
    /// The handlers of routes that do not ask for more run.
    ///
    /// # Panics
    /// If one of the routes is not written like `DELETE /account`: a pattern alone is not enough here.
    ///
    /// # Example: a route that forgot its policy
    /// ```
    /// use actix_web::{App, web};
    /// use chrono::Duration;
    /// use hallpass::testing::{Audit, Mint};
    /// use hallpass::{AuthUser, Require, SignedInWithin};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let mint = Mint::new();
    /// let app = App::new()
    ///     .app_data(mint.guard())
    ///     .route("/account", web::delete().to(|_: Require<SignedInWithin<10>>| async { "deleted" }))
    ///     .route("/keys", web::post().to(|_: AuthUser| async { "made" }));
    ///
    /// let routes = ["DELETE /account", "POST /keys"];
    /// let old = mint.token_for("ada").signed_in_ago(Duration::hours(1)).bearer();
    /// let findings = Audit::new().routes(routes).step_up(old, routes).findings(app).await;
    /// assert_eq!(findings.len(), 1);
    /// assert_eq!(findings[0].to_string(), "POST /keys: answered 200 OK to /keys, not the 401 that asks to sign in again");
    /// # });
    /// ```
    #[track_caller]
    pub fn step_up<R: AsRef<str>>(
        mut self,
        bearer: (HeaderName, String),
        routes: impl IntoIterator<Item = R>,
    ) -> Self {
        for route in routes {
            let route = Route::parse(route.as_ref());
            assert!(route.method.is_some(), "\"{route}\" names no method; \"DELETE {route}\" does");
            self.step_up.push(StepUp { route, bearer: bearer.clone() });
        }
        self
    }

    /// Runs the audit and returns its findings, by route.
    ///
    /// # Panics
    /// Without the feature `testing-introspection`, if this version of actix-web prints its resource map in an unknown
    /// format.
    ///
    /// # Example: a handler that takes no user
    /// ```
    /// use actix_web::{App, web};
    /// use hallpass::testing::Audit;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new().route("/notes", web::get().to(|| async { "secret" }));
    /// let findings = Audit::new().routes(["GET /notes"]).findings(app).await;
    /// assert_eq!(findings.len(), 1);
    /// assert_eq!(findings[0].to_string(), "GET /notes: answered 200 OK to /notes, not 401");
    /// # });
    /// ```
    pub async fn findings<T, B>(&self, app: App<T>) -> Vec<Finding>
    where
        T: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<B>,
                Error = Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        let app_routes = Rc::new(OnceCell::new());
        let has_route = Rc::new(Cell::new(false));
        let (seen_routes, seen_route) = (Rc::clone(&app_routes), Rc::clone(&has_route));
        // Outermost, so that it sees every request, whatever the app's own middleware does.
        let app = init_service(app.wrap_fn(move |request, service| {
            seen_routes.get_or_init(|| AppRoutes::of(&request));
            seen_route.set(request.resource_map().has_resource(request.match_info().unprocessed()));
            service.call(request)
        }))
        .await;
        let send = async |request: TestRequest| {
            match app.call(request.to_request()).await {
                Ok(response) => {
                    let is_answered = response.request().extensions().contains::<OptionsAnswered>();
                    (response.status(), response.headers().clone(), is_answered)
                }
                Err(error) => {
                    // The response that the server would make of it.
                    let response = error.error_response();
                    (response.status(), response.headers().clone(), false)
                }
            }
        };
        let ask = async |method: &Method, path: &str| {
            let (status, headers, is_answered) = send(self.request(method, path)).await;
            if !is_answered {
                return Some(Response::new(method, path, status, &headers));
            }
            // The guard has answered for every path, and no handler has run. A preflight passes, so it may reach a 405
            // that names the methods of the route.
            let preflight = self.request(method, path).insert_header((ORIGIN, "https://audit.example"));
            let preflight = preflight.insert_header((ACCESS_CONTROL_REQUEST_METHOD, "GET"));
            let (status, headers, _) = send(preflight).await;
            (status == StatusCode::METHOD_NOT_ALLOWED).then(|| Response::new(method, path, status, &headers))
        };

        ask(&Method::OPTIONS, "/").await;
        let app_routes = app_routes.get().cloned().unwrap_or_default();
        if app_routes.paths.is_empty() || (self.routes.is_none() && !METHODS_ARE_KNOWN) {
            return vec![Finding::NoRoutes];
        }
        let targets = self.targets(&app_routes);
        let not_there = self.not_there(&targets);
        let mut findings = Vec::new();
        let mut used_entries = BTreeSet::new();
        for Target { pattern, kind } in targets {
            let Some(mut paths) = self.paths(&pattern, &kind) else {
                findings.push(Finding::NotAsked { route: pattern });
                continue;
            };
            let (known, listed) = match kind {
                TargetKind::Path { known, listed } => (known, self.routes.is_some().then_some(listed)),
                TargetKind::DefaultService { .. } => {
                    let mut without_route = Vec::new();
                    for path in paths {
                        ask(&Method::OPTIONS, &path).await;
                        if !has_route.get() {
                            without_route.push(path);
                        }
                    }
                    paths = without_route;
                    (KnownMethods::These(Vec::new()), None)
                }
            };
            let mut all = Vec::new();
            for method in known.to_ask() {
                for path in &paths {
                    all.extend(ask(&method, path).await);
                }
            }
            let responses = Responses { pattern, known, all };
            findings.extend(listed.into_iter().flat_map(|listed| responses.differences(&listed)));
            findings.extend(responses.not_refused(&self.allowed, &mut used_entries));
        }
        findings.extend(not_there);
        for StepUp { route, bearer } in &self.step_up {
            let method = route.method.as_ref().expect("step_up accepts no route without one");
            // Where there is none, that is reported already.
            let is_there = app_routes.paths.contains_key(&route.pattern);
            for path in self.paths_of(&route.pattern).filter(|_| is_there).unwrap_or_default() {
                let request = self.request(method, &path).insert_header(bearer.clone());
                let (status, headers, _) = send(request).await;
                if !is_step_up(status, &headers) {
                    findings.push(Finding::NotSteppedUp { route: route.to_string(), status, path });
                    break;
                }
            }
        }
        let unused = self.allowed.iter().enumerate().filter(|(index, _)| !used_entries.contains(index));
        findings.extend(unused.map(|(_, entry)| Finding::NotNeeded { route: entry.to_string() }));
        findings
    }

    /// Runs the audit, and panics unless it finds nothing.
    ///
    /// # Panics
    /// With every finding, one a line; and as [`findings`](Self::findings) does.
    ///
    /// # Example: a handler that takes no user
    /// ```should_panic
    /// use actix_web::{App, web};
    /// use hallpass::testing::Audit;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new().route("/notes", web::get().to(|| async { "secret" }));
    /// Audit::new().routes(["GET /notes"]).assert_all_guarded(app).await;
    /// # });
    /// ```
    #[track_caller]
    pub fn assert_all_guarded<T, B>(self, app: App<T>) -> impl Future<Output = ()>
    where
        T: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<B>,
                Error = Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        // A panic inside the future names this file, not the test.
        let caller = Location::caller();
        async move {
            let findings = self.findings(app).await;
            if !findings.is_empty() {
                let lines: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
                panic!("the audit at {caller} found:{lines}");
            }
        }
    }

    /// All that the audit asks: every path of the app, and the default service of every scope and of the app.
    fn targets<'a>(&'a self, app: &'a AppRoutes) -> Vec<Target<'a>> {
        let paths = app.paths.iter().map(|(pattern, methods)| {
            let listed: Vec<_> =
                self.routes.iter().flatten().filter(|route| route.pattern == *pattern).collect();
            let known = if METHODS_ARE_KNOWN {
                KnownMethods::introspected(methods)
            } else {
                KnownMethods::listed(&listed)
            };
            Target { pattern: pattern.clone(), kind: TargetKind::Path { known, listed } }
        });
        let scopes: BTreeSet<_> = app.scopes.iter().map(String::as_str).chain([""]).collect();
        let default_services = scopes.into_iter().map(|scope| Target {
            pattern: format!("{scope}/*"),
            kind: TargetKind::DefaultService { scope },
        });
        paths.chain(default_services).collect()
    }

    /// Entries of the list, and samples, whose pattern the app does not have.
    fn not_there(&self, targets: &[Target<'_>]) -> Vec<Finding> {
        let is_path = |pattern: &str| {
            targets
                .iter()
                .any(|target| target.pattern == pattern && matches!(target.kind, TargetKind::Path { .. }))
        };
        let is_target = |pattern: &str| targets.iter().any(|target| target.pattern == pattern);
        let step_up = self.step_up.iter().map(|step| &step.route);
        let listed = self.routes.iter().flatten().chain(step_up).filter(|route| !is_path(&route.pattern));
        let sampled = self.samples.keys().filter(|pattern| !is_target(pattern));
        listed
            .map(ToString::to_string)
            .chain(sampled.cloned())
            .map(|route| Finding::NotThere { route })
            .collect()
    }

    /// The paths to request at a target; `None` if no path is known that matches.
    fn paths(&self, pattern: &str, kind: &TargetKind<'_>) -> Option<Vec<String>> {
        match kind {
            TargetKind::DefaultService { scope } if !self.samples.contains_key(pattern) => {
                // The second is for scopes where the first matches a route, such as `/{page}`.
                let [near, far] =
                    ["/no-such-route", "/no/such/route"].map(|path| sample::paths(&format!("{scope}{path}")));
                Some([near?, far?].concat())
            }
            _ => self.paths_of(pattern),
        }
    }

    /// The paths to request for a pattern; `None` if no path is known that matches.
    fn paths_of(&self, pattern: &str) -> Option<Vec<String>> {
        self.samples.get(pattern).map(|path| vec![path.clone()]).or_else(|| sample::paths(pattern))
    }

    /// A request without a token, with a malformed query and body.
    fn request(&self, method: &Method, path: &str) -> TestRequest {
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = TestRequest::default()
            .method(method.clone())
            .uri(&format!("{path}{separator}{QUERY}"))
            .insert_header((CONTENT_TYPE, "application/json"))
            .set_payload(BODY);
        self.headers.iter().cloned().fold(request, TestRequest::insert_header)
    }
}

/// Tells whether a response asks for another sign-in (RFC 9470 §3).
fn is_step_up(status: StatusCode, headers: &HeaderMap) -> bool {
    let asks = |challenge: &HeaderValue| {
        challenge.to_str().is_ok_and(|text| text.contains("error=\"insufficient_user_authentication\""))
    };
    status == StatusCode::UNAUTHORIZED && headers.get_all(WWW_AUTHENTICATE).any(asks)
}

/// Panics unless every route of `app` that is not `allowed` answers 401 to a request without a token.
///
/// An [`Audit`] of the routes that actix-web's introspection reports.
///
/// # Panics
/// As [`Audit::assert_all_guarded`] does.
///
/// # Example
/// ```
/// use actix_web::{App, web};
/// use hallpass::testing::{Mint, assert_all_guarded};
/// use hallpass::{AuthUser, Guard};
///
/// fn routes(guard: &Guard) -> impl FnOnce(&mut web::ServiceConfig) {
///     let guard = guard.clone();
///     move |config| {
///         config
///             .app_data(guard)
///             .route("/about", web::get().to(|| async { "anybody may read this" }))
///             .route("/notes", web::get().to(|_: AuthUser| async { "only users may read this" }));
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let app = App::new().configure(routes(&Mint::new().guard()));
/// assert_all_guarded(app, ["GET /about"]).await;
/// # });
/// ```
#[cfg(feature = "testing-introspection")]
#[track_caller]
pub fn assert_all_guarded<T, B, R: AsRef<str>>(
    app: App<T>,
    allowed: impl IntoIterator<Item = R>,
) -> impl Future<Output = ()>
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    Audit::new().allow(allowed).assert_all_guarded(app)
}
