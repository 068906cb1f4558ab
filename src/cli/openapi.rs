//! `hallpass openapi`: what there is to ask, for programs and for people.

use std::io::Write as _;

use super::Failed;
use crate::server::openapi;

/// What to print, and how.
#[derive(Debug, clap::Args)]
pub(super) struct OpenapiArgs {}

pub(super) fn run(_: &OpenapiArgs) -> Result<(), Failed> {
    // A reader that has gone, as with `| head`, wants no more.
    let _ = writeln!(std::io::stdout().lock(), "{}", openapi::json());
    Ok(())
}
