//! The parts of the OpenAPI document, as the other formats read them.

use serde_json::{Value, json};

use crate::server::http::openapi;

pub(super) fn document() -> Value {
    serde_json::from_str(openapi::json()).expect("our own document is JSON")
}

/// Returns the operations of a document: chapter, path, method and description, in the order of the chapters.
pub(super) fn operations(document: &Value) -> Vec<(&str, &str, &str, &Value)> {
    let chapters: Vec<_> = list(&document["tags"]).filter_map(|tag| tag["name"].as_str()).collect();
    let mut operations: Vec<_> = entries(&document["paths"])
        .flat_map(|(path, item)| entries(item).map(move |(method, operation)| (path, method, operation)))
        .map(|(path, method, operation)| {
            (operation["tags"][0].as_str().unwrap_or_default(), path, method, operation)
        })
        .collect();
    operations.sort_by_key(|(chapter, ..)| chapters.iter().position(|known| known == chapter));
    operations
}

/// Returns the entries of an object, sorted by name; none for any other value.
pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mut entries: Vec<_> =
        value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
    entries.sort_by_key(|(name, _)| *name);
    entries.into_iter()
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns the examples of a media type, each with its name.
pub(super) fn examples(content: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let one = content.get("example").map(|example| ("", example));
    one.into_iter().chain(entries(&content["examples"]).map(|(name, example)| (name, &example["value"])))
}

/// Returns an example body with variables in place of the account's own values. Sent as it is, it deletes nobody.
pub(super) fn own_body(path: &str, method: &str, example: &Value) -> Value {
    let mut body = example.clone();
    for (field, variable) in [
        ("email", "{{email}}"),
        ("password", "{{password}}"),
        ("current_password", "{{password}}"),
        ("new_password", "{{new_password}}"),
        ("refresh_token", "{{refresh_token}}"),
        ("token", "{{mail_token}}"),
    ] {
        if let Some(value) = body.get_mut(field) {
            *value = json!(variable);
        }
    }
    if (path, method) == ("/user/", "delete") {
        body["password"] = json!("");
    }
    body
}
