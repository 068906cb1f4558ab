//! `hallpass config`: prints the current settings, and the source of each.

use super::common::{Common, load};
use super::error::CommandError;
use super::output::print_line;

pub(super) fn run(common: &Common) -> Result<(), CommandError> {
    let loaded = load(common, None)?;
    for (field, value, origin) in loaded.report() {
        let value = if value.is_empty() { "(not set)" } else { &value };
        print_line(format_args!("{:<24} = {value:<32} # {origin}", field.name))?;
    }
    Ok(())
}
