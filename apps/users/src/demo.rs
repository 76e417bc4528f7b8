//! The whole job: the mail system is down at first, the application is killed in the middle, and
//! everything is compared with the plan.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use levada::Event as _;
use stage::{Directory, Process, until, until_moved};

use crate::event::{Change, Mail};
use crate::sink::Sink;
use crate::{compare, plan, serve};

/// A step of the demo that takes longer has failed.
const STEP_MAX: Duration = Duration::from_mins(10);
/// And one in which nothing moves for so long.
const STALL_MAX: Duration = Duration::from_mins(1);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// An empty server: `redis://HOST` of Levada, Redis or Valkey. An embedded engine unless given.
    #[arg(long)]
    url: Option<String>,
    /// Users that register.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(40..))]
    users: u64,
    /// Seconds behind which another worker has the events of one that was killed.
    #[arg(long, default_value_t = 3)]
    lease: u64,
}

/// Runs it; whether everything is as it should be.
pub(crate) fn run(args: &Args) -> Result<bool> {
    Directory::during("users", |dir| on(args, dir))
}

fn on(args: &Args, dir: &Path) -> Result<bool> {
    let embedded = || format!("embedded:{}", dir.join("data").display());
    let url = args.url.clone().unwrap_or_else(embedded);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.url.is_some() {
        runtime.block_on(empty(&url))?;
    }
    let (sink, port) = runtime.block_on(Sink::start())?;
    let all = plan::requests(args.users).len();
    println!("--- {} users on {url}; the mail system is down", args.users);
    let mut first = start(args, &url, dir, port, false)?;
    until_moved(
        "half of the requests are done without a mail system",
        STEP_MAX,
        STALL_MAX,
        || {
            first.check_running()?;
            let done = stage::lines(&serve::door(dir))?.len();
            Ok((done as u64 + sink.refused(), done * 2 >= all && sink.refused() > 0))
        },
    )?;
    ensure!(sink.taken().is_empty(), "a mail came through a closed door");
    println!("--- it is up; it had refused {} connections", sink.refused());
    sink.open();
    until_moved("a quarter of the mails is there", STEP_MAX, STALL_MAX, || {
        first.check_running()?;
        let taken = sink.taken().len() as u64;
        Ok((taken, taken >= args.users / 4))
    })?;
    first.kill()?;
    println!("--- killed (-9) with {} mails sent", sink.taken().len());
    let mut second = start(args, &url, dir, port, true)?;
    until("everything is done", STEP_MAX, || Ok(second.finished()?.then_some(())))?;
    let is_equal = runtime.block_on(async {
        let broker = levada::connect(&url).await?;
        compare::everything(&broker, dir, args.users, &sink.taken()).await
    })?;
    println!("users: {}", if is_equal { "EQUAL" } else { "DIFFERENT" });
    Ok(is_equal)
}

/// What is there already would be counted, too.
async fn empty(url: &str) -> Result<()> {
    let broker = levada::connect(url).await?;
    for stream in [Change::STREAM, Mail::STREAM] {
        let entries = broker.backend().len(stream).await?;
        ensure!(entries == 0, "{stream} has {entries} entries: the demo needs an empty server");
    }
    Ok(())
}

fn start(args: &Args, url: &str, dir: &Path, port: u16, until_settled: bool) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--url", url]).arg("--dir").arg(dir);
    let numbers = [("--users", args.users), ("--smtp-port", port.into()), ("--lease", args.lease)];
    for (name, value) in numbers {
        command.args([name, &value.to_string()]);
    }
    if until_settled {
        command.arg("--until-settled");
    }
    Process::start("registration", &mut command)
}
