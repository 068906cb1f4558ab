//! `hallpass completions` and `hallpass man`: what shells and readers of manuals need, from the definitions of the
//! commands themselves.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::error::CommandError;
use super::output::print;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shells,
}

/// The shells that we know.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shells {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder for the pages: one a command, in section 1
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Prints the script that completes the commands and flags of `Commands`.
pub(super) fn complete<Commands: CommandFactory>(args: &CompletionsArgs) -> Result<(), CommandError> {
    let shell = match args.shell {
        Shells::Bash => Shell::Bash,
        Shells::Zsh => Shell::Zsh,
        Shells::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Commands::command(), "hallpass", &mut script);
    print(format_args!("{}", String::from_utf8_lossy(&script)))
}

/// Writes the manual pages of `Commands`.
pub(super) fn write_pages<Commands: CommandFactory>(args: &ManArgs) -> Result<(), CommandError> {
    let failed =
        |error| CommandError::running(format!("{} cannot be written: {error}", args.folder.display()));
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    let mut command = Commands::command();
    command.build();
    write_page(&command, "hallpass", &args.folder).map_err(failed)
}

fn write_page(command: &clap::Command, name: &str, folder: &Path) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone()).title(name.to_uppercase());
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(folder.join(format!("{name}.1")), text)?;
    let own =
        command.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    own.into_iter().try_for_each(|inner| write_page(inner, &format!("{name}-{}", inner.get_name()), folder))
}
