//! `levada backup` and `levada restore`: copies of a data directory, once or followed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use levada_engine::disk::file::FileDisk;
use levada_engine::store::local::backup::{Backup, Round};
use levada_engine::{Error, ErrorKind};

use crate::progress::{Progress, Unit};
use crate::watched::{self, Watched};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  the copy has all that was there when the command began
  1  not done: no data directory, a copy of another one, a device that fails or is full
  2  wrong arguments
  3  what is to be copied is damaged: `levada verify` says where";

#[derive(Args)]
pub(crate) struct Given {
    /// The data directory; a server may be using it.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The copy: an empty or missing directory, or an earlier copy, which gets what is new.
    #[arg(value_name = "COPY")]
    copy: PathBuf,
    /// Go on until stopped, so that the copy stays behind by little.
    #[arg(long)]
    follow: bool,
    /// Milliseconds between two looks.
    #[arg(long, value_name = "MS", default_value_t = 1000, requires = "follow")]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=86_400_000))]
    every_ms: u64,
    /// Print a JSON object for each round that copied something.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Restored {
    /// The copy; it may be one that is followed.
    #[arg(value_name = "COPY")]
    copy: PathBuf,
    /// The new data directory: empty or missing.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Copies, once or for good.
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let progress = reading(&given.directory, given.json);
    let source = Watched::new(FileDisk::open_beside(&given.directory)?, &progress);
    let mut backup = Backup::new(source, FileDisk::open(&given.copy)?);
    let (mut first, mut told) = (true, String::new());
    loop {
        let round = backup.round();
        // Rounds behind the first are short.
        progress.end();
        match round {
            Ok(round) => {
                if first || round.bytes > 0 {
                    tell(round, given.json);
                }
                first = false;
                told.clear();
            }
            Err(error) if !given.follow || error.kind == ErrorKind::Conflict => {
                return failed(error);
            }
            // The copy is as it was, and what could not be copied now may be later: a server that
            // is about to make its directory, a disk that is full. It is said once.
            Err(error) => {
                if error.message != told {
                    eprintln!("levada: {error}");
                    told = error.message;
                }
            }
        }
        if !given.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(given.every_ms));
    }
}

/// Makes a data directory of a copy, which stays as it is.
pub(crate) fn restore(given: &Restored) -> Result<ExitCode> {
    let shown = given.directory.display();
    if given.directory.exists() {
        let mut entries = given.directory.read_dir().with_context(|| format!("{shown}"))?;
        ensure!(entries.next().is_none(), "{shown} is not empty: restore into an empty directory");
    }
    let progress = reading(&given.copy, given.json);
    let source = Watched::new(FileDisk::open_beside(&given.copy)?, &progress);
    let round = Backup::new(source, FileDisk::open(&given.directory)?).round();
    progress.end();
    match round {
        Ok(round) => {
            tell(round, given.json);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => failed(error),
    }
}

/// A bar for what is read of a directory.
fn reading(directory: &Path, json: bool) -> Progress {
    let progress = Progress::new(Unit::Bytes, json);
    progress.found(watched::bytes(directory));
    progress.at(&directory.display().to_string());
    progress
}

fn failed(error: Error) -> Result<ExitCode> {
    if error.kind == ErrorKind::Corrupt {
        eprintln!("levada: {error}");
        return Ok(ExitCode::from(3));
    }
    Err(error.into())
}

fn tell(round: Round, json: bool) {
    let Round { lsn, now_ms, blocks, batches, bytes } = round;
    match json {
        true => println!(
            "{}",
            serde_json::json!({
                "batch": lsn, "time_ms": now_ms, "blocks": blocks, "batches": batches,
                "bytes": bytes,
            })
        ),
        false => println!(
            "{blocks} blocks and {batches} batches copied, {bytes} bytes; the copy ends with \
             batch {lsn} of {now_ms} ms"
        ),
    }
}
