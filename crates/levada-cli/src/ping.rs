//! `levada ping`: whether a server answers, as an exit code; for health checks without a shell.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use redis::{ConnectionLike as _, Value};

use crate::say::{self, Server};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  the server answers, if only that it wants a password
  1  it cannot be reached, recovers, or does not answer
  2  wrong arguments";

#[derive(Args)]
pub(crate) struct Given {
    #[command(flatten)]
    server: Server,
}

/// Asks once. A server that recovers is connected to and does not answer.
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let answer = match connection.req_packed_command(&redis::cmd("PING").get_packed_command())? {
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or("")),
        Value::SimpleString(text) => text,
        other => format!("{other:?}"),
    };
    let line = match given.server.json {
        true => serde_json::json!({ "answer": answer }).to_string(),
        false => say::shown(answer.as_bytes()),
    };
    say::is_heard(writeln!(std::io::stdout(), "{line}"))?;
    Ok(ExitCode::SUCCESS)
}
