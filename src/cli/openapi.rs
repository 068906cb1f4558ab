//! `hallpass openapi`: prints the OpenAPI document as it is, as a Postman collection, or as a page.

mod markdown;
mod postman;

use serde_json::Value;

use super::CommandError;
use super::output::print_line;
use crate::server::http::openapi;

/// The output formats.
#[derive(Debug, clap::Args)]
pub(super) struct OpenapiArgs {
    /// Print a Postman collection (v2.1): each request, and a run of checks
    #[arg(long)]
    postman: bool,
    /// Print a page in Markdown
    #[arg(long, conflicts_with = "postman")]
    markdown: bool,
}

pub(super) fn run(args: &OpenapiArgs) -> Result<(), CommandError> {
    let text = if args.postman {
        format!("{:#}", postman::collection(&document()))
    } else if args.markdown {
        markdown::page(&document())
    } else {
        openapi::json().to_owned()
    };
    print_line(format_args!("{}", text.trim_end()))
}

fn document() -> Value {
    serde_json::from_str(openapi::json()).expect("our own document is JSON")
}

/// Returns the operations of a document: chapter, path, method and description, in the order of the chapters.
fn operations(document: &Value) -> Vec<(&str, &str, &str, &Value)> {
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
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mut entries: Vec<_> =
        value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
    entries.sort_by_key(|(name, _)| *name);
    entries.into_iter()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns the examples of a media type, each with its name.
fn examples(content: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let one = content.get("example").map(|example| ("", example));
    one.into_iter().chain(entries(&content["examples"]).map(|(name, example)| (name, &example["value"])))
}
