//! `levada import`: brings streams and strings from a Redis that runs.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::transfer::{self, Options};

/// Where from, where to.
#[derive(Args)]
pub(crate) struct Import {
    /// The server that has the data: redis://[user:password@]HOST[:PORT][/DB].
    #[arg(long, value_name = "URL")]
    from: String,
    /// The Levada that takes them; a path after the port is ignored where --db says otherwise.
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    to: String,
    #[command(flatten)]
    options: Options,
}

/// Imports, compares, reports. An error where the work could not be ended.
pub(crate) fn run(import: &Import) -> Result<ExitCode> {
    transfer::run(&import.from, &import.to, &import.options)
}
