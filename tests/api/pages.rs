//! The files that browsers load: the console and its client. `tests/browser` tests what they do, in a browser.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use hallpass::server::config::Settings;
use hallpass::server::model::EventKind;

use crate::app::{Reply, TestApp};

/// Returns the paths that a page or a script loads, from its text.
fn loaded(reply: &Reply) -> BTreeSet<String> {
    let text = reply.text();
    let mut found = BTreeSet::new();
    for before in ["src=\"/", "href=\"/", "from '/", "from './"] {
        let folder = if before.ends_with("./") { "/console/" } else { "/" };
        for rest in text.split(before).skip(1) {
            found.insert(format!("{folder}{}", rest.split(['"', '\'']).next().unwrap()));
        }
    }
    found
}

#[actix_rt::test]
async fn every_file_that_the_console_loads_has_its_media_type() {
    let app = TestApp::new().await;
    let mut seen = BTreeSet::new();
    let mut to_load = vec!["/".to_owned()];
    while let Some(path) = to_load.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let reply = app.get(&path).send().await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let expected = match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(reply.header("content-type"), Some(expected), "{path}");
        to_load.extend(loaded(&reply).into_iter().filter(|path| path != "/docs"));
    }
    for expected in ["/console/console.css", "/console/main.js", "/console/dom.js", "/client/hallpass.js"] {
        assert!(seen.contains(expected), "{expected} is not loaded: {seen:?}");
    }
    let own = std::fs::read_dir("web/console").unwrap().count();
    assert_eq!(seen.len(), own + 1, "each file of the console and the client, the page under another name");
}

#[actix_rt::test]
async fn the_console_runs_its_own_scripts_and_nothing_inline() {
    let app = TestApp::new().await;
    for path in ["/", "/console/main.js", "/console/console.css"] {
        let reply = app.get(path).send().await;
        let policy = reply.header("content-security-policy").unwrap();
        let directives: BTreeSet<_> = policy.split("; ").collect();
        for expected in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(directives.contains(expected), "{path}: {policy}");
        }
        // QR codes are images in `data:` URLs; nothing else comes from one.
        let from_elsewhere = policy.replace("img-src 'self' data:", "");
        assert!(!from_elsewhere.contains("unsafe") && !from_elsewhere.contains("data:"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
    }
    let page = app.get("/").send().await.text();
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("</script><"), "{page}");
}

#[actix_rt::test]
async fn the_client_and_its_declarations_are_served_with_and_without_the_console() {
    for console in [true, false] {
        let app = TestApp::with(|settings: &mut Settings| settings.server.console = console).await;
        let script = app.get("/client/hallpass.js").send().await;
        assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert!(script.text().contains("export function createHallpass"));
        let types = app.get("/client/hallpass.d.ts").send().await;
        assert_eq!(types.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(types.text().contains("export declare function createHallpass"));
        app.get("/client/other.js").send().await.expect_failure(404, "not_found", "another file");

        let expected = if console { StatusCode::OK } else { StatusCode::NOT_FOUND };
        for path in ["/", "/console/main.js"] {
            assert_eq!(app.get(path).send().await.status, expected, "{path}, server.console = {console}");
        }
    }
}

#[actix_rt::test]
async fn a_cached_file_is_not_sent_again() {
    let app = TestApp::new().await;
    for path in ["/", "/console/main.js", "/client/hallpass.js", "/docs", "/docs/swagger-ui-bundle.js"] {
        let first = app.get(path).send().await;
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path} has no tag")).to_owned();
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}: a cache asks");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"another\", {tag}"), "*".to_owned()] {
            let again = app.get(path).header("if-none-match", &known).send().await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}, {known}");
            assert!(again.body.is_empty(), "{path}, {known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()), "{path}, {known}");
        }
        for known in ["\"another\"", "not a tag"] {
            let again = app.get(path).header("if-none-match", known).send().await;
            assert_eq!(again.body, first.body, "{path}, {known}");
        }
    }
}

#[actix_rt::test]
async fn a_file_is_sent_as_the_browser_accepts_it_and_each_encoding_has_a_tag_of_its_own() {
    let app = TestApp::new().await;
    for path in ["/", "/console/main.js", "/client/hallpass.js", "/docs", "/docs/docs.js"] {
        let mut seen = BTreeSet::new();
        for (accepted, expected) in [
            ("", None),
            ("identity", None),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("br;q=0.1, gzip;q=0.9", Some("gzip")),
            ("nonsense", None),
        ] {
            let reply = app.get(path).header("accept-encoding", accepted).send().await;
            assert_eq!(reply.header("content-encoding"), expected, "{path}: {accepted}");
            assert_eq!(reply.header("vary"), Some("accept-encoding"), "{path}: a cache must not mix them up");
            seen.insert((expected, reply.header("etag").unwrap().to_owned(), reply.body.len()));
        }
        let sizes: Vec<_> = seen.iter().map(|(.., size)| *size).collect();
        assert!(sizes.len() == 3 && sizes[1] < sizes[2] && sizes[2] < sizes[0], "{path}: {seen:?}");
        let tags: BTreeSet<_> = seen.iter().map(|(_, tag, _)| tag).collect();
        assert_eq!(tags.len(), 3, "{path}: {seen:?}");
    }
}

#[actix_rt::test]
async fn the_declarations_of_the_client_name_every_error_of_the_document() {
    fn collect(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                if let (Some(slug), true) = (map.get("error"), map.contains_key("message")) {
                    found.extend(slug.as_str().map(str::to_owned));
                }
                map.values().for_each(|value| collect(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let app = TestApp::new().await;
    let mut slugs = BTreeSet::new();
    collect(&app.get("/openapi.json").send().await.json(), &mut slugs);
    assert!(slugs.len() > 15, "{slugs:?}");
    let types = app.get("/client/hallpass.d.ts").send().await.text();
    let missing: Vec<_> = slugs.iter().filter(|slug| !types.contains(&format!("| '{slug}'\n"))).collect();
    assert!(missing.is_empty(), "web/hallpass.d.ts, ErrorSlug: {missing:?} are missing");
}

#[actix_rt::test]
async fn the_look_of_the_console_is_told_and_a_logo_that_cannot_be_used_stops_the_start() {
    use hallpass::server::config::Settings;
    use hallpass::testing::TestServer;

    let folder = tempfile::tempdir().unwrap();
    let logo = folder.path().join("logo.svg");
    std::fs::write(&logo, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").unwrap();
    let app = TestApp::with(|settings: &mut Settings| {
        settings.console.name = "Museum of <Clocks>".into();
        settings.console.logo = Some(logo.clone());
        settings.console.accent = Some("#facc15".into());
        settings.console.continue_origins = vec!["https://app.example".into()];
    })
    .await;
    let look = app.get("/console/look.json").send().await;
    assert_eq!(look.header("content-type"), Some("application/json"));
    let expected = serde_json::json!({
        "name": "Museum of <Clocks>",
        "logo": true,
        "accent": "#facc15",
        "continue_origins": ["https://app.example"],
        "mail": false,
        "link": false,
    });
    assert_eq!(look.json(), expected);
    let sent = app.get("/console/logo").send().await;
    assert_eq!(sent.header("content-type"), Some("image/svg+xml; charset=utf-8"));
    let policy = sent.header("content-security-policy").unwrap();
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
    let plain = TestApp::new().await;
    assert_eq!(plain.get("/console/look.json").send().await.json()["logo"], false);
    let mailing = TestApp::with(crate::mail::every_route).await;
    let look = mailing.get("/console/look.json").send().await.json();
    assert_eq!((&look["mail"], &look["link"]), (&true.into(), &true.into()));
    plain.get("/console/logo").send().await.expect_failure(404, "not_found", "no logo");

    std::fs::write(folder.path().join("logo.txt"), "x").unwrap();
    std::fs::write(folder.path().join("large.png"), vec![0; 262_145]).unwrap();
    for (name, reason) in [
        ("logo.txt", "is not .svg, .png or .webp"),
        ("large.png", "at most 262144 are accepted"),
        ("missing.png", "cannot be read"),
    ] {
        let mut settings = Settings::default();
        settings.database = plain.database.settings.clone();
        settings.console.logo = Some(folder.path().join(name));
        let start =
            hallpass::server::AuthServer::builder().settings(settings).passphrase(TestServer::PASSPHRASE);
        let error = start.start().await.unwrap_err().to_string();
        assert!(error.starts_with("console.logo: ") && error.contains(reason), "{error}");
    }
}

#[actix_rt::test]
async fn the_console_says_what_every_kind_of_event_means() {
    let app = TestApp::new().await;
    let script = app.get("/console/admin.js").send().await.text();
    let names = EventKind::ALL.iter().map(|kind| kind.name());
    let missing: Vec<_> = names.filter(|name| !script.contains(&format!("\n  {name}: '"))).collect();
    assert!(missing.is_empty(), "web/console/admin.js, KINDS: {missing:?} are missing");
}
