//! `hallpass openapi`: prints the OpenAPI document as it is, as a Postman collection, as a .http file, or as a page.

mod document;
mod http_file;
mod markdown;
mod postman;

use super::error::CommandError;
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
    /// Print a .http file: each request, for editors that send them
    #[arg(long, conflicts_with_all = ["postman", "markdown"])]
    http: bool,
}

pub(super) fn run(args: &OpenapiArgs) -> Result<(), CommandError> {
    let text = if args.postman {
        format!("{:#}", postman::collection(&document::document()))
    } else if args.markdown {
        markdown::page(&document::document())
    } else if args.http {
        http_file::requests(&document::document())
    } else {
        openapi::json().to_owned()
    };
    print_line(format_args!("{}", text.trim_end()))
}
