//! `levada import`: brings streams and strings from a Redis that runs, or from its RDB file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::transfer::{self, Options};

/// Where from, where to.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Import {
    /// The server that has the data: redis://[user:password@]HOST[:PORT][/DB].
    #[arg(long, value_name = "URL", group = "source")]
    from: Option<String>,
    /// A dump of a Redis, instead of the server.
    #[arg(long, value_name = "FILE", group = "source", conflicts_with_all = ["jobs", "keep_open"])]
    rdb: Option<PathBuf>,
    /// The Levada that takes them, in the databases in which they were.
    #[arg(long, env = "LEVADA_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "redis://127.0.0.1:6379")]
    to: String,
    #[command(flatten)]
    options: Options,
}

/// Imports, compares, reports. An error where the work could not be ended.
pub(crate) fn run(import: &Import) -> Result<ExitCode> {
    match (&import.rdb, &import.from) {
        (Some(path), _) => transfer::run_file(path, &import.to, &import.options),
        (None, Some(from)) => transfer::run(from, &import.to, &import.options),
        (None, None) => anyhow::bail!("say where from: --from or --rdb"),
    }
}
