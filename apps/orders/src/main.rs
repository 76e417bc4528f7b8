//! `orders`: an order is placed; payment, inventory, shipping, a deadline and the figures follow.
//!
//! Five groups read one stream, each all of it. The demo starts this same binary again as the shop
//! and kills it: `kill -9` is only a proof when it hits a process of its own.

mod analytics;
mod compare;
mod deadline;
mod decision;
mod demo;
mod event;
mod flow;
mod inventory;
mod outside;
mod payment;
mod plan;
mod redrive;
mod serve;
mod shipping;
mod shop;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "orders", about = "An order's way through five groups of one stream")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything: the shop, its kill, the dead letters, the comparison.
    Demo(demo::Args),
    /// Take orders, with all groups in this process.
    Serve(serve::Args),
    /// Mend the issuer that does not answer, and give its payments back.
    Redrive(redrive::Args),
    /// Show where the orders of a server stand.
    Watch(serve::WatchArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => run(serve::run(&args)).map(|()| true),
        Command::Redrive(args) => run(redrive::run(&args)).map(|()| true),
        Command::Watch(args) => run(serve::watch(&args)).map(|()| true),
    };
    stage::exit("orders", outcome)
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
