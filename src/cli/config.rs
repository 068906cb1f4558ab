//! `hallpass config`: prints the current settings, and the source of each.

use serde_json::{Value, json};

use super::columns::Columns;
use super::common::{Common, load};
use super::error::CommandError;
use super::output::{plain_json, print_line};

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// Print a JSON array: name, value, origin, default, help
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, args: &ConfigArgs) -> Result<(), CommandError> {
    let loaded = load(common, None)?;
    if args.json {
        let settings: Vec<Value> = loaded
            .report()
            .map(|(field, value, origin)| {
                json!({
                    "name": field.name,
                    "value": Some(value).filter(|value| !value.is_empty()),
                    "origin": origin.to_string(),
                    "default": Some(field.default).filter(|text| !text.is_empty()),
                    "help": field.help,
                })
            })
            .collect();
        return print_line(format_args!("{}", plain_json(&format!("{:#}", json!(settings)))));
    }
    let row = |(name, value, origin): (&str, String, String)| {
        let value = if value.is_empty() { "(not set)".to_owned() } else { value };
        vec![name.to_owned(), format!("= {value}"), format!("# {origin}")]
    };
    let rows = loaded.report().map(|(field, value, origin)| row((field.name, value, origin.to_string())));
    Columns::default().print(&rows.collect::<Vec<_>>())
}
