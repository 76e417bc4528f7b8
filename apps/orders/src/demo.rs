//! The whole job: the shop is killed in the middle, goes on, and is compared with the plan.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use levada::Event as _;
use stage::{Directory, Process, until, until_moved};

use crate::compare;
use crate::event::{self, Unpaid};
use crate::outside::Books;

/// A step of the demo that takes longer has failed.
const STEP_MAX: Duration = Duration::from_mins(10);
/// And one in which nothing moves for so long; the shop itself watches over the later ones.
const STALL_MAX: Duration = Duration::from_mins(1);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// An empty server: `redis://HOST` of Levada, Redis or Valkey. An embedded engine unless given.
    #[arg(long)]
    url: Option<String>,
    /// Orders that are placed.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(20..))]
    orders: u64,
    /// Seconds to pay in: what are 15 minutes elsewhere.
    #[arg(long, default_value_t = 3)]
    deadline: u64,
    /// Seconds behind which another worker has the events of one that was killed.
    #[arg(long, default_value_t = 3)]
    lease: u64,
}

/// Runs it; whether everything is as it should be.
pub(crate) fn run(args: &Args) -> Result<bool> {
    Directory::during("orders", |dir| on(args, dir))
}

fn on(args: &Args, dir: &Path) -> Result<bool> {
    let embedded = || format!("embedded:{}", dir.join("data").display());
    let url = args.url.clone().unwrap_or_else(embedded);
    let books = Books::new(dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.url.is_some() {
        runtime.block_on(empty(&url))?;
    }

    println!("--- {} orders on {url}, {} s to pay", args.orders, args.deadline);
    let mut first = serve(args, &url, dir, false)?;
    until_moved("a quarter of the orders is shipped", STEP_MAX, STALL_MAX, || {
        first.check_running()?;
        let steps = books.lines("carrier")?;
        let shipped = steps.iter().filter(|(key, _)| key.starts_with("ship ")).count() as u64;
        Ok((steps.len() as u64, shipped >= args.orders / 4))
    })?;
    first.kill()?;
    println!("--- killed (-9) with {} parcels on their way", books.lines("carrier")?.len());
    settle(serve(args, &url, dir, true)?)?;

    settle(Process::start("redrive", &mut program(args, "redrive", &url, dir)?)?)?;
    settle(serve(args, &url, dir, true)?)?;
    let is_equal = runtime.block_on(async {
        let broker = event::connect(&url).await?;
        compare::everything(&broker, &books, args.orders).await
    })?;
    println!("orders: {}", if is_equal { "EQUAL" } else { "DIFFERENT" });
    Ok(is_equal)
}

/// What is there already would be counted, too.
async fn empty(url: &str) -> Result<()> {
    let broker = event::connect(url).await?;
    for stream in event::partitions(&broker).iter().map(String::as_str).chain([Unpaid::STREAM]) {
        let entries = broker.backend().len(stream).await?;
        ensure!(entries == 0, "{stream} has {entries} entries: the demo needs an empty server");
    }
    Ok(())
}

/// A process of its own: what it has open is closed when it has ended.
fn program(args: &Args, verb: &str, url: &str, dir: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([verb, "--url", url]).arg("--dir").arg(dir);
    command.args(["--orders", &args.orders.to_string()]);
    Ok(command)
}

fn serve(args: &Args, url: &str, dir: &Path, until_settled: bool) -> Result<Process> {
    let mut command = program(args, "serve", url, dir)?;
    for (name, value) in [("--deadline", args.deadline), ("--lease", args.lease)] {
        command.args([name, &value.to_string()]);
    }
    if until_settled {
        command.arg("--until-settled");
    }
    Process::start("the shop", &mut command)
}

fn settle(mut process: Process) -> Result<()> {
    until("the process has done its work", STEP_MAX, || Ok(process.finished()?.then_some(())))
}
