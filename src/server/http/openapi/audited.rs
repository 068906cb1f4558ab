//! The routes of the server as an audit lists them (feature `testing`).

use serde_json::Value;

use super::json;
use crate::guard::openapi::SECURITY_SCHEME;
use crate::server::config::Settings;

/// The routes of files, which are not part of the API.
const FILES: [&str; 2] = ["/client/{file}", "/docs/{file}"];

/// Returns every route that `AuthServer::configure` registers, and those that do not refuse every stranger.
pub(crate) fn routes(settings: &Settings) -> (Vec<String>, Vec<String>) {
    let (has_docs, has_mail) = (settings.server.docs, settings.mail.url.is_some());
    let document: Value = serde_json::from_str(json()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("a document has paths");
    let described = paths.iter().map(|(path, methods)| (path.as_str(), Some(methods)));
    let (mut all, mut public) = (Vec::new(), Vec::new());
    for (path, methods) in described.chain(FILES.map(|path| (path, None))) {
        if !has_docs && (["/openapi.json", "/postman.json"].contains(&path) || path.starts_with("/docs")) {
            continue;
        }
        let is_mail = methods.and_then(Value::as_object).is_some_and(|methods| {
            methods
                .values()
                .any(|operation| operation["tags"].as_array().is_some_and(|tags| tags[0] == "Mail"))
        });
        if is_mail && !has_mail || path.starts_with("/auth/link") && !settings.link.on {
            continue;
        }
        // Reverse proxies ask it, and it has no OPTIONS.
        let has_options = path != "/auth/verify";
        let mut names: Vec<String> = match methods.and_then(Value::as_object) {
            Some(methods) => methods.keys().map(|method| method.to_ascii_uppercase()).collect(),
            None => vec!["GET".into()],
        };
        if names.iter().any(|name| name == "GET") {
            names.push("HEAD".into());
        }
        if has_options {
            names.push("OPTIONS".into());
        }
        let is_guarded = methods.and_then(Value::as_object).is_some_and(|methods| {
            methods.values().all(|operation| {
                operation["security"]
                    .as_array()
                    .is_some_and(|ways| matches!(&ways[..], [only] if only.get(SECURITY_SCHEME).is_some()))
            })
        });
        for path in [path.trim_end_matches('/').to_owned(), format!("{}/", path.trim_end_matches('/'))] {
            all.extend(names.iter().map(|name| format!("{name} {path}")));
            match (is_guarded, has_options) {
                (false, _) => public.push(path),
                (true, true) => public.push(format!("OPTIONS {path}")),
                (true, false) => {}
            }
        }
    }
    (all, public)
}
