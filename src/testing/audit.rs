//! The audit: every route of an app is asked as a stranger would ask, and names itself if it answers.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error};

use super::routes::{self, METHODS_ARE_KNOWN};
use super::sample;

/// The methods that every path is asked with (RFC 9110 §9, RFC 5789), whichever its routes name: a path may have
/// a route for one method beside a route for any.
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

/// What no `Query` and no `Json` or `Form` parses.
const QUERY: &str = "%FF=%FF&=%";
const BODY: &[u8] = b"{not json";

/// Asks every route of an app as a stranger would, with a malformed path, query and body, and names each that
/// answers anything but 401.
///
/// Routes are written `GET /notes/{id}`: a method, and the path's pattern as the app has it, scopes included. A
/// pattern alone stands for every method of it.
///
/// What is asked: each path with every method of RFC 9110 and PATCH, whichever its routes name. Where a path
/// leaves something open, once with nonsense there (`/notes/%FF`) and once with what fits (`/notes/1`). Handlers
/// that do answer strangers do what they do: give the audit an app that may be spoilt.
///
/// What is named: every answer but 401, be it a 200, a 400 that shows a body was parsed before the verdict, a 500,
/// or, **from a route that is there**, a 404 or 405: a route that the audit did not get through to was not
/// audited. Host and header guards are satisfied by [`header`](Self::header). For a method that no route
/// of the path asks for, 404 and 405 say that nothing is there, and pass. OPTIONS is a method like any other here:
/// [`Protect`](crate::Protect) lets it through, so a handler for OPTIONS, or for any method, has to refuse
/// strangers itself.
///
/// What has no route is asked too: a default service is written `/api/*` for that of the scope `/api`, `/*` for the
/// app's own, and may answer 401, 404 and 405.
///
/// Not seen: a service whose guards let none of the audit's requests through, where another on the same path refuses
/// them.
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
///     .route("/notes/{id}", web::get().to(|_: AuthUser, _: web::Path<u32>| async { "and this only users" }));
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
}

/// A method, or any, and a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    method: Option<Method>,
    path: String,
}

impl Route {
    #[track_caller]
    fn parse(text: &str) -> Self {
        let (method, path) = match text.split_once(' ') {
            _ if text.starts_with('/') => (None, text),
            Some((method, path)) => (Some(Method::from_bytes(method.as_bytes())), path),
            None => (None, text),
        };
        match method.transpose() {
            Ok(method) if path.starts_with('/') => Self { method, path: path.to_owned() },
            _ => panic!("{text:?} is no route; one like \"GET /notes\" is accepted, and a path alone"),
        }
    }

    fn covers(&self, method: &Method, path: &str) -> bool {
        self.path == path && self.method.as_ref().is_none_or(|own| own == method)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// Something that an [`Audit`] found. Its text names the route and says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A stranger got another answer than 401, and the allow-list does not have the route.
    Answered {
        /// The route; without a method when every method of the path was answered so.
        route: String,
        /// The answer.
        status: StatusCode,
        /// The path that was asked for.
        path: String,
    },
    /// The app has a route that the list given by [`Audit::routes`] leaves out.
    NotListed {
        /// The route.
        route: String,
    },
    /// The list or a sample names a route that the app does not have.
    NotThere {
        /// The route.
        route: String,
    },
    /// The allow-list has a route that needs no allowing: it refuses strangers, or is not there at all.
    NotNeeded {
        /// The entry.
        route: String,
    },
    /// The audit has no path for this pattern, and could not ask.
    NotAsked {
        /// The path's pattern.
        route: String,
    },
    /// There was nothing to ask.
    NoRoutes,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { route, status, path } => write!(f, "{route}: answered {status} to {path}, not 401"),
            Self::NotListed { route } => write!(f, "{route}: the app has it, the list of routes leaves it out"),
            Self::NotThere { route } => write!(f, "{route}: the audit was told of it, the app does not have it"),
            Self::NotNeeded { route } => {
                write!(f, "{route}: on the allow-list, which it does not need, or not there; drop the entry")
            }
            Self::NotAsked { route } => {
                write!(f, "{route}: nothing known to the audit matches this pattern; add .sample({route:?}, \"/…\")")
            }
            Self::NoRoutes if METHODS_ARE_KNOWN => f.write_str("the app has no routes"),
            Self::NoRoutes => f.write_str(
                "no routes are known; add .routes([\"GET /…\"]) with all that the app has, or turn on the feature \
                 testing-introspection",
            ),
        }
    }
}

impl Audit {
    /// An audit of routes that actix-web's introspection tells, that allows none to answer strangers.
    pub fn new() -> Self {
        Self::default()
    }

    /// All routes of the app, those on the allow-list too. Required without the feature `testing-introspection`.
    ///
    /// An audit fails by the name of every route that the list leaves out, and of every one that the app does not
    /// have. Without introspection actix tells the paths but no methods: a method that is left out beside
    /// another on the same path shows by its answer, except where all methods are refused alike, as under
    /// [`Protect`](crate::Protect).
    ///
    /// # Panics
    /// When one of them is not written as `GET /notes` or `/notes`.
    #[track_caller]
    pub fn routes<R: AsRef<str>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        let known = self.routes.get_or_insert_default();
        for route in routes {
            known.push(Route::parse(route.as_ref()));
        }
        self
    }

    /// Routes that may answer strangers. One that does not, or is not there, fails the audit too.
    ///
    /// # Panics
    /// When one of them is not written as `GET /about` or `/about`.
    #[track_caller]
    pub fn allow<R: AsRef<str>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        for route in routes {
            self.allowed.push(Route::parse(route.as_ref()));
        }
        self
    }

    /// A header of every request, for routes behind a guard that asks for it. An app whose services tell hosts
    /// apart is audited once for each.
    ///
    /// # Panics
    /// When they are no name and value of a header.
    ///
    /// # Example: for a scope with a `Host` guard
    /// ```
    /// # use hallpass::testing::Audit;
    /// let audit = Audit::new().header("host", "api.example");
    /// ```
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse(), value.parse()) {
            (Ok(name), Ok(value)) => self.headers.push((name, value)),
            _ => panic!("{name:?} and {value:?} are no name and value of a header"),
        }
        self
    }

    /// The path that is asked for in place of the audit's own, where these do not match the pattern or make no
    /// sense to it.
    ///
    /// # Panics
    /// When `path` is none.
    ///
    /// # Example: an unusual expression
    /// ```
    /// # use hallpass::testing::Audit;
    /// let audit = Audit::new().sample("/orders/{number:[A-Z]{3}-[0-9]{5}}", "/orders/ABC-12345");
    /// ```
    #[track_caller]
    pub fn sample(mut self, pattern: &str, path: &str) -> Self {
        let is_path = path.starts_with('/') && path.parse::<actix_web::http::Uri>().is_ok();
        assert!(is_path, "{path:?} is no path; one that begins with a slash is accepted");
        self.samples.insert(pattern.to_owned(), path.to_owned());
        self
    }

    /// All that is wrong, by route.
    ///
    /// # Panics
    /// Without the feature `testing-introspection`, when this version of actix-web keeps its resource map in a
    /// way that is not known here.
    ///
    /// # Example: what a forgotten guard looks like
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
        let seen = Rc::new(OnceCell::new());
        let has_route = Rc::new(Cell::new(false));
        let (told, has) = (Rc::clone(&seen), Rc::clone(&has_route));
        // Outermost, so that whatever a middleware of the app does with the request, its routes are seen.
        let app = init_service(app.wrap_fn(move |request, service| {
            told.get_or_init(|| routes::of(&request));
            has.set(request.resource_map().has_resource(request.match_info().unprocessed()));
            service.call(request)
        }))
        .await;
        let ask = async |method: &Method, path: &str| {
            let request = self.request(method, path).to_request();
            match app.call(request).await {
                Ok(response) => Answer::new(method, path, response.status(), response.headers()),
                // As the server would answer it.
                Err(error) => {
                    let response = error.error_response();
                    Answer::new(method, path, response.status(), response.headers())
                }
            }
        };
        let visit = async |route: String, paths: Vec<String>, known: Known| {
            let mut answers = Vec::new();
            for method in known.and_usual() {
                for path in &paths {
                    answers.push(ask(&method, path).await);
                }
            }
            Place { route, known, answers }
        };

        ask(&Method::OPTIONS, "/").await;
        let there = seen.get().cloned().unwrap_or_default();
        if there.paths.is_empty() || (self.routes.is_none() && !METHODS_ARE_KNOWN) {
            return vec![Finding::NoRoutes];
        }
        let mut findings = Vec::new();
        let mut needed = BTreeSet::new();

        for (pattern, methods) in &there.paths {
            let listed: Vec<_> =
                self.routes.iter().flatten().filter(|route| route.path == *pattern).collect();
            let Some(paths) = self.paths(pattern) else {
                findings.push(Finding::NotAsked { route: pattern.clone() });
                continue;
            };
            let known = match METHODS_ARE_KNOWN {
                true => Known::told(methods),
                false => Known::listed(&listed),
            };
            let place = visit(pattern.clone(), paths, known).await;
            if self.routes.is_some() {
                findings.extend(place.differences(&listed));
            }
            findings.extend(place.unrefused(&self.allowed, &mut needed));
        }

        let scopes = there.scopes.iter().map(String::as_str).chain([""]);
        let rests: BTreeMap<String, &str> = scopes.map(|scope| (format!("{scope}/*"), scope)).collect();
        for (rest, scope) in &rests {
            let Some(candidates) = self.paths_without_route(scope, rest) else {
                findings.push(Finding::NotAsked { route: rest.clone() });
                continue;
            };
            let mut paths = Vec::new();
            for path in candidates {
                ask(&Method::OPTIONS, &path).await;
                if !has_route.get() {
                    paths.push(path);
                }
            }
            let place = visit(rest.clone(), paths, Known::These(Vec::new())).await;
            findings.extend(place.unrefused(&self.allowed, &mut needed));
        }

        let told = self.routes.iter().flatten().filter(|route| !there.paths.contains_key(&route.path));
        findings.extend(told.map(|route| Finding::NotThere { route: route.to_string() }));
        let is_there = |pattern: &String| there.paths.contains_key(pattern) || rests.contains_key(pattern);
        let sampled = self.samples.keys().filter(|pattern| !is_there(pattern));
        findings.extend(sampled.map(|pattern| Finding::NotThere { route: pattern.clone() }));
        let unneeded = self.allowed.iter().enumerate().filter(|(at, _)| !needed.contains(at));
        findings.extend(unneeded.map(|(_, route)| Finding::NotNeeded { route: route.to_string() }));
        findings
    }

    /// Fails unless [`findings`](Self::findings) finds nothing.
    ///
    /// # Panics
    /// With every finding, one a line; also as [`findings`](Self::findings).
    ///
    /// # Example: a forgotten guard fails by its name
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
        // A future's panic would name this file, which tells nobody which test it was.
        let caller = Location::caller();
        async move {
            let findings = self.findings(app).await;
            if !findings.is_empty() {
                let lines: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
                panic!("the audit at {caller} found:{lines}");
            }
        }
    }

    /// A stranger's request.
    fn request(&self, method: &Method, path: &str) -> TestRequest {
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = TestRequest::default()
            .method(method.clone())
            .uri(&format!("{path}{separator}{QUERY}"))
            .insert_header((CONTENT_TYPE, "application/json"))
            .set_payload(BODY);
        self.headers.iter().cloned().fold(request, TestRequest::insert_header)
    }

    /// The paths to ask for at a pattern; `None` when none is known.
    fn paths(&self, pattern: &str) -> Option<Vec<String>> {
        match self.samples.get(pattern) {
            Some(path) => Some(vec![path.clone()]),
            None => sample::paths(pattern),
        }
    }

    /// Paths of a scope that probably have no route; `None` when the scope's own pattern cannot be filled.
    fn paths_without_route(&self, scope: &str, rest: &str) -> Option<Vec<String>> {
        if let Some(path) = self.samples.get(rest) {
            return Some(vec![path.clone()]);
        }
        // The second is for where the first is taken, by a `/{page}` or the like.
        let [near, far] =
            ["/no-such-route", "/no/such/route"].map(|path| sample::paths(&format!("{scope}{path}")));
        Some([near?, far?].concat())
    }
}

/// The methods that the routes of a path are known to ask for.
#[derive(Debug)]
enum Known {
    These(Vec<Method>),
    /// At least one asks for none, and takes any.
    All,
}

impl Known {
    /// What introspection tells.
    fn told(methods: &[Method]) -> Self {
        match methods.is_empty() {
            true => Self::All,
            false => Self::These(methods.to_vec()),
        }
    }

    /// What the list says.
    fn listed(routes: &[&Route]) -> Self {
        routes.iter().map(|route| route.method.clone()).collect::<Option<_>>().map_or(Self::All, Self::These)
    }

    fn contains(&self, method: &Method) -> bool {
        match self {
            Self::These(methods) => methods.contains(method),
            Self::All => true,
        }
    }

    /// All that a path is asked with.
    fn and_usual(&self) -> Vec<Method> {
        let mut methods = METHODS.to_vec();
        if let Self::These(known) = self {
            methods.extend(known.iter().filter(|method| !METHODS.contains(method)).cloned());
        }
        methods.push(nobodys_method());
        methods
    }
}

/// A method that no app has a route for: what a path answers to it, it answers to any method.
fn nobodys_method() -> Method {
    Method::from_bytes(b"AUDIT").expect("capital letters are a method")
}

/// What came back.
#[derive(Debug)]
struct Answer {
    method: Method,
    path: String,
    status: StatusCode,
    /// The methods that a 405 says there are (RFC 9110 §15.5.6).
    allow: Vec<Method>,
}

impl Answer {
    fn new(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap) -> Self {
        let allow = headers.get_all(ALLOW).filter_map(|value| value.to_str().ok());
        let allow = allow.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
        Self { method: method.clone(), path: path.to_owned(), status, allow: allow.collect() }
    }

    /// Whether it may say that there is no such route.
    fn is_nothing_there(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
    }
}

/// One path of the app, and all that was answered there.
#[derive(Debug)]
struct Place {
    /// The path's pattern.
    route: String,
    known: Known,
    answers: Vec<Answer>,
}

impl Place {
    /// The methods for which there must be a route of their own, as the answers tell: a 405 names them, or they
    /// are answered where a method that nobody has finds nothing.
    fn shown(&self) -> Vec<&Method> {
        let nobodys = nobodys_method();
        let is_any = |answer: &Answer| answer.method == nobodys && !answer.is_nothing_there();
        let any = self.answers.iter().any(is_any);
        let mut shown = Vec::new();
        for answer in &self.answers {
            let own = Some(&answer.method).filter(|_| !any && !answer.is_nothing_there());
            for method in answer.allow.iter().chain(own) {
                if !shown.contains(&method) {
                    shown.push(method);
                }
            }
        }
        shown
    }

    /// Where the app and the list of its routes disagree.
    fn differences(&self, listed: &[&Route]) -> Vec<Finding> {
        let mut there = self.shown();
        if let Known::These(methods) = &self.known {
            there.extend(methods.iter().filter(|method| !self.shown().contains(method)));
        }
        if there.is_empty() && listed.is_empty() {
            return vec![Finding::NotListed { route: self.route.clone() }];
        }
        let is_listed = |method: &Method| listed.iter().any(|route| route.covers(method, &self.route));
        let unlisted = there.iter().filter(|method| !is_listed(method));
        let unlisted =
            unlisted.map(|method| Finding::NotListed { route: format!("{method} {}", self.route) });
        let is_there = |method: &Method| self.known.contains(method) || there.contains(&method);
        let absent = listed.iter().filter(|route| !route.method.as_ref().is_none_or(is_there));
        unlisted.chain(absent.map(|route| Finding::NotThere { route: route.to_string() })).collect()
    }

    /// The answers other than 401 that are not `allowed`. Entries that allow one are added to `needed`.
    fn unrefused(&self, allowed: &[Route], needed: &mut BTreeSet<usize>) -> Vec<Finding> {
        let shown = self.shown();
        let nobodys = nobodys_method();
        let mut named: BTreeMap<StatusCode, Vec<&Answer>> = BTreeMap::new();
        for answer in self.answers.iter().filter(|answer| answer.status != StatusCode::UNAUTHORIZED) {
            let method = &answer.method;
            let is_route = self.known.contains(method) || shown.contains(&method);
            if *method == nobodys || (answer.is_nothing_there() && !is_route) {
                continue;
            }
            let allowing: Vec<_> =
                (0..allowed.len()).filter(|&at| allowed[at].covers(method, &self.route)).collect();
            let same = named.entry(answer.status).or_default();
            if allowing.is_empty() && !same.iter().any(|other| other.method == *method) {
                same.push(answer);
            }
            needed.extend(allowing);
        }
        let finding = |route: String, answer: &Answer| Finding::Answered {
            route,
            status: answer.status,
            path: answer.path.clone(),
        };
        let mut findings = Vec::new();
        for same in named.values() {
            match METHODS.iter().all(|method| same.iter().any(|answer| answer.method == *method)) {
                true => findings.push(finding(self.route.clone(), same[0])),
                false => findings.extend(
                    same.iter().map(|answer| finding(format!("{} {}", answer.method, self.route), answer)),
                ),
            }
        }
        findings
    }
}

/// Fails unless every route of `app` that is not `allowed` answers 401 to a stranger: an [`Audit`] of the routes
/// that actix-web's introspection tells.
///
/// # Panics
/// As [`Audit::assert_all_guarded`].
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
///             .route("/notes", web::get().to(|_: AuthUser| async { "and this only users" }));
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
