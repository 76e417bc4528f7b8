//! `levada export`: takes streams and strings to another server.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::transfer::{self, Options};

/// Where from, where to.
#[derive(Args)]
pub(crate) struct Export {
    /// The Levada that has the data.
    #[arg(long, env = "LEVADA_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "redis://127.0.0.1:6379")]
    from: String,
    /// The server that takes them: redis://[user:password@]HOST[:PORT][/DB].
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    options: Options,
}

/// Exports, compares, reports. An error where the work could not be ended.
pub(crate) fn run(export: &Export) -> Result<ExitCode> {
    transfer::run(&export.from, &export.to, &export.options)
}
