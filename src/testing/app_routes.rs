//! The routes of an app, read from actix-web itself.
//!
//! With the feature `testing-introspection` they come from actix-web's introspection, with their methods. Without it
//! they come from the resource map that every app has for generating URLs: all paths, but no methods.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;

/// The routes of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AppRoutes {
    /// Path patterns, each with the methods of its routes. The list is empty if a route takes any method, or if the
    /// methods are not known.
    pub paths: BTreeMap<String, Vec<Method>>,
    /// The path prefix of each scope, without the empty one of the app itself.
    pub scopes: BTreeSet<String>,
}

/// Set if [`AppRoutes::of`] finds out the methods, and not only the paths.
pub(super) const METHODS_ARE_KNOWN: bool = cfg!(feature = "testing-introspection");

impl AppRoutes {
    /// Reads the routes of the app that `request` was sent to.
    #[cfg(feature = "testing-introspection")]
    pub(super) fn of(request: &ServiceRequest) -> Self {
        use actix_web::introspection::{IntrospectionNode, IntrospectionTree, ResourceType};

        fn walk(node: &IntrospectionNode, routes: &mut AppRoutes) {
            if matches!(node.kind, ResourceType::Resource) {
                routes.paths.insert(node.full_path.clone(), node.methods.clone());
            }
            // The tree has a node for each piece of a path; only those that were registered have patterns. A scope with
            // a resource of the same path is shown as a resource.
            if !node.patterns.is_empty()
                && (!node.children.is_empty() || matches!(node.kind, ResourceType::Scope))
            {
                routes.scopes.insert(node.full_path.clone());
            }
            for child in &node.children {
                walk(child, routes);
            }
        }

        let tree = request
            .app_data::<actix_web::web::Data<IntrospectionTree>>()
            .expect("with its introspection on, actix-web gives every app its tree");
        let mut routes = Self::default();
        walk(&tree.root, &mut routes);
        // A scope without a path of its own.
        routes.scopes.remove("/");
        routes
    }

    /// Reads the routes of the app that `request` was sent to.
    #[cfg(not(feature = "testing-introspection"))]
    pub(super) fn of(request: &ServiceRequest) -> Self {
        let map = format!("{:#?}", request.resource_map());
        resource_map::read(&map).expect(
            "this version of actix-web prints its resource map in an unknown format; turn on the feature \
             testing-introspection",
        )
    }
}

/// Reads the paths from the `Debug` output of a [`ResourceMap`](actix_web::dev::ResourceMap), which has no other way to
/// list them. Anything unexpected is an error and never skipped, so that no audit passes on a part of the app.
#[cfg(any(test, not(feature = "testing-introspection")))]
mod resource_map {
    use super::AppRoutes;

    /// A line of `{:#?}`: its depth, and its text.
    type Line<'a> = (usize, &'a str);

    /// Reads a map's `{:#?}`; `None` if it has an unknown format.
    pub(super) fn read(map: &str) -> Option<AppRoutes> {
        let mut routes = AppRoutes::default();
        let mut lines = map.lines().map(|line| {
            let text = line.trim_start_matches(' ');
            ((line.len() - text.len()) / 4, text)
        });
        match lines.next()? {
            (0, "ResourceMap {") => node(&mut lines, 0, "", &mut routes)?,
            _ => return None,
        }
        lines.next().is_none().then_some(routes)
    }

    /// Reads the rest of a node whose first line is at `depth`. Its paths begin with `prefix`.
    fn node<'a>(
        lines: &mut impl Iterator<Item = Line<'a>>,
        depth: usize,
        prefix: &str,
        routes: &mut AppRoutes,
    ) -> Option<()> {
        let mut paths = None;
        loop {
            let (at, text) = lines.next()?;
            match text {
                "patterns: Single(" | "patterns: List(" if at == depth + 2 => {
                    paths = Some(strings(lines, at, prefix)?);
                }
                "nodes: None," if at == depth + 1 => {
                    for path in paths.take()? {
                        // A resource of the app itself may have an empty pattern, which matches "/".
                        let path = if path.is_empty() { "/".to_owned() } else { path };
                        routes.paths.insert(path, Vec::new());
                    }
                }
                "nodes: Some(" if at == depth + 1 => {
                    let [prefix] = <[String; 1]>::try_from(paths.take()?).ok()?;
                    if !prefix.is_empty() {
                        routes.scopes.insert(prefix.clone());
                    }
                    loop {
                        match lines.next()? {
                            (at, "ResourceMap {") => node(lines, at, &prefix, routes)?,
                            (at, "),") if at == depth + 1 => break,
                            (_, "[" | "]," | "[],") => {}
                            _ => return None,
                        }
                    }
                }
                // A node that ends before its `nodes` line was not understood.
                "}" | "}," if at == depth => return paths.is_none().then_some(()),
                _ => {}
            }
        }
    }

    /// Reads strings, up to the line that closes the parenthesis opened at `depth`.
    fn strings<'a>(
        lines: &mut impl Iterator<Item = Line<'a>>,
        depth: usize,
        prefix: &str,
    ) -> Option<Vec<String>> {
        let mut strings = Vec::new();
        loop {
            match lines.next()? {
                (at, "),") if at == depth => return Some(strings),
                (_, "[" | "]," | "[],") => {}
                (_, text) => {
                    let quoted = text.strip_prefix('"')?.strip_suffix("\",")?;
                    strings.push(prefix.to_owned() + &unescaped(quoted)?);
                }
            }
        }
    }

    /// Undoes the two escapes that paths need; `None` for any other.
    fn unescaped(text: &str) -> Option<String> {
        let mut plain = String::with_capacity(text.len());
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            plain.push(match letter {
                '\\' => letters.next().filter(|escaped| matches!(escaped, '\\' | '"'))?,
                letter => letter,
            });
        }
        Some(plain)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_map_in_an_unknown_format_is_not_taken_for_an_empty_one() {
            let leaf = |patterns: &str, nodes: &str| {
                format!(
                    "ResourceMap {{\n    pattern: ResourceDef {{\n        {patterns}\n    }},\n    {nodes}\n}}"
                )
            };
            let one = "patterns: Single(\n            \"/a\",\n        ),";
            assert_eq!(
                read(&leaf(one, "nodes: None,")).unwrap().paths.into_keys().collect::<Vec<_>>(),
                ["/a"]
            );
            let cases = [
                ("nothing", String::new()),
                ("another type", "Resources {\n}".to_owned()),
                ("no nodes", leaf(one, "children: None,")),
                ("no patterns", leaf("pattern: \"/a\",", "nodes: None,")),
                (
                    "patterns of another kind",
                    leaf("patterns: Single(\n            7,\n        ),", "nodes: None,"),
                ),
                (
                    "an escape",
                    leaf("patterns: Single(\n            \"/\\u{7}\",\n        ),", "nodes: None,"),
                ),
                ("other nodes", leaf(one, "nodes: Some(\n        Nodes,\n    ),")),
                ("cut off", leaf(one, "nodes: None,").trim_end_matches('}').to_owned()),
                ("something after it", leaf(one, "nodes: None,") + "\nmore"),
            ];
            for (name, map) in cases {
                assert_eq!(read(&map), None, "{name}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use actix_web::dev::Service;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, guard, web};

    use super::*;

    /// The routes of an app with about every kind of route: as `AppRoutes::of` and as `resource_map` read them.
    async fn routes() -> [AppRoutes; 2] {
        let seen = Rc::new(RefCell::new(None));
        let reader = Rc::clone(&seen);
        let to = || web::to(HttpResponse::Ok);
        let app = App::new()
            .service(
                web::resource(["/a", r#"/be"ta/{id:\d{2}}"#]).name("named").route(to().guard(guard::Get())),
            )
            .service(
                web::scope("/s").service(
                    web::scope("{t}")
                        .service(web::resource("").route(to().guard(guard::Get())))
                        .route("/", to().guard(guard::Post()))
                        .route("item/{tail:.*}", to()),
                ),
            )
            .service(
                web::scope("")
                    .guard(guard::Host("x.example"))
                    .route("/q/{tail}*", to().guard(guard::Any(guard::Get()).or(guard::Head()))),
            )
            .service(web::scope("/empty"))
            .external_resource("elsewhere", "https://example.com/{a}")
            .route("/", to().guard(guard::Get()))
            .route("/", to().guard(guard::Post()))
            .wrap_fn(move |request, service| {
                let map = format!("{:#?}", request.resource_map());
                *reader.borrow_mut() = Some([AppRoutes::of(&request), resource_map::read(&map).unwrap()]);
                service.call(request)
            });
        call_service(&init_service(app).await, TestRequest::with_uri("/nowhere").to_request()).await;
        seen.take().unwrap()
    }

    #[actix_rt::test]
    async fn every_path_of_an_app_is_known_with_introspection_and_without() {
        let expected =
            ["/", "/a", r#"/be"ta/{id:\d{2}}"#, "/q/{tail}*", "/s/{t}", "/s/{t}/", "/s/{t}/item/{tail:.*}"];
        for routes in routes().await {
            assert_eq!(routes.paths.keys().collect::<Vec<_>>(), expected);
            assert!(
                routes.scopes.iter().all(|scope| ["", "/empty", "/s", "/s/{t}"].contains(&scope.as_str()))
            );
            assert!(["/empty", "/s", "/s/{t}"].into_iter().all(|scope| routes.scopes.contains(scope)));
        }
    }

    #[cfg(feature = "testing-introspection")]
    #[actix_rt::test]
    async fn introspection_names_the_methods() {
        let [routes, _] = routes().await;
        assert_eq!(routes.paths["/"], [Method::GET, Method::POST]);
        assert_eq!(routes.paths["/q/{tail}*"], [Method::GET, Method::HEAD]);
        assert_eq!(routes.paths["/s/{t}/item/{tail:.*}"], [] as [Method; 0]);
    }
}
