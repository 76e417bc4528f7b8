//! `levada completions` and `levada man`: made from the same declarations as the help.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use clap_complete::Shell;

use crate::say;

#[derive(Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Args)]
pub(crate) struct Man {
    /// Where the pages go; created where it is missing.
    directory: PathBuf,
}

/// Prints completions.
pub(crate) fn complete(given: &Completions, command: &mut Command) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(given.shell, command, "levada", &mut text);
    say::is_heard(std::io::Write::write_all(&mut std::io::stdout(), &text))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program, and one for each subcommand.
pub(crate) fn write(given: &Man, command: &Command) -> Result<ExitCode> {
    let directory = &given.directory;
    let cannot = || format!("cannot write pages into {}", directory.display());
    std::fs::create_dir_all(directory).with_context(cannot)?;
    clap_mangen::generate_to(command.clone(), directory).with_context(cannot)?;
    Ok(ExitCode::SUCCESS)
}
