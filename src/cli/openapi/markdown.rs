//! The OpenAPI document as a page in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::document::{entries, examples, list, operations};

/// Returns the page.
pub(super) fn page(document: &Value) -> String {
    let mut page = String::from(
        "# The API\n\nGenerated from the OpenAPI document with `hallpass openapi --markdown >docs/api.md`. A running server has the \
         document at `/openapi.json`, and shows it at `/docs`.\n\n",
    );
    page.push_str(text(&document["info"]["description"]));
    page.push('\n');
    let operations = operations(document);
    for tag in list(&document["tags"]) {
        let _ = write!(page, "\n## {}\n\n{}\n", text(&tag["name"]), text(&tag["description"]));
        for (_, path, method, operation) in operations.iter().filter(|(tagged, ..)| tag["name"] == *tagged) {
            describe(&mut page, path, method, operation);
        }
    }
    page.push_str("\n## Failures\n\n| status | `error` | example of `message` |\n|---|---|---|\n");
    let failures: BTreeMap<_, _> = operations
        .iter()
        .flat_map(|(.., operation)| entries(&operation["responses"]))
        .filter(|(status, _)| *status >= "400")
        .flat_map(|(status, response)| {
            let alike = examples(&response["content"]["application/json"]);
            alike.map(move |(slug, body)| ((status, slug), text(&body["message"])))
        })
        .collect();
    for ((status, slug), message) in failures {
        let _ = writeln!(page, "| {status} | `{slug}` | {message} |");
    }
    page.push_str("\n## Schemas\n");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        let _ = write!(page, "\n### {name}\n\n");
        if let Some(text) = schema["description"].as_str() {
            let _ = write!(page, "{text}\n\n");
        }
        page.push_str("| field | type | |\n|---|---|---|\n");
        for (field, property) in entries(&schema["properties"]) {
            let is_required = list(&schema["required"]).any(|required| required == field);
            let optional = if is_required { "" } else { ", optional" };
            let about = text(&property["description"]).replace('\n', " ").replace('|', "\\|");
            let _ = writeln!(page, "| `{field}` | {}{optional} | {about} |", type_of(property));
        }
    }
    page
}

fn describe(page: &mut String, path: &str, method: &str, operation: &Value) {
    let method = method.to_uppercase();
    let _ = write!(page, "\n### {}\n\n`{method} {path}`", text(&operation["summary"]));
    let schemes: Vec<_> =
        list(&operation["security"]).map(|one| entries(one).map(|(name, _)| name).next()).collect();
    let needs = match schemes.as_slice() {
        [] => String::new(),
        [Some("hallpass")] => ", with a token".to_owned(),
        several => {
            let ways: Vec<_> = several
                .iter()
                .map(|scheme| match scheme {
                    None => "the body".to_owned(),
                    Some("hallpass") => "a token".to_owned(),
                    Some(other) => format!("the {other}"),
                })
                .collect();
            format!(", with {}", ways.join(" or "))
        }
    };
    let _ = write!(page, "{needs}\n\n");
    if let Some(text) = operation["description"].as_str() {
        let _ = write!(page, "{text}\n\n");
    }
    let parameters: Vec<_> = list(&operation["parameters"]).filter(|one| one["in"] == "query").collect();
    if !parameters.is_empty() {
        page.push_str("| parameter | type | |\n|---|---|---|\n");
        for parameter in parameters {
            let (name, about) = (text(&parameter["name"]), text(&parameter["description"]));
            let _ = writeln!(page, "| `{name}` | {} | {about} |", type_of(&parameter["schema"]));
        }
        page.push('\n');
    }
    let body = &operation["requestBody"]["content"]["application/json"];
    if let Some((_, example)) = examples(body).next() {
        let _ = write!(page, "```json\n{example}\n```\n\n");
    }
    let mut failures = Vec::new();
    for (status, response) in entries(&operation["responses"]) {
        if status >= "400" {
            let slugs =
                examples(&response["content"]["application/json"]).map(|(slug, _)| format!("`{slug}`"));
            failures.push(format!("{status} {}", slugs.collect::<Vec<_>>().join(", ")));
            continue;
        }
        let _ = write!(page, "**{status}** {}", text(&response["description"]));
        let headers: Vec<_> = entries(&response["headers"]).map(|(name, _)| format!("`{name}`")).collect();
        if !headers.is_empty() {
            let _ = write!(page, ", with {}", headers.join(", "));
        }
        page.push_str("\n\n");
        for (media_type, content) in entries(&response["content"]) {
            if let Some((_, example)) = examples(content).next()
                && media_type.ends_with("json")
            {
                let _ = write!(page, "```json\n{example:#}\n```\n\n");
            }
        }
    }
    if !failures.is_empty() {
        let _ = writeln!(page, "Fails with {}.", failures.join("; "));
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Describes the type of a schema in a few words.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let names: Vec<_> = match &schema["type"] {
        Value::Array(several) => several.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let name = names.join(" or ");
    match (name.as_str(), schema["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&schema["additionalProperties"]))
        }
        (_, Some(format @ ("uuid" | "date-time"))) => format!("{name} ({format})"),
        _ => name,
    }
}
