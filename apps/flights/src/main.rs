//! `flights`: 200,000 real flight records through one consumer group, with a worker and the
//! server killed on the way, and an exact comparison at the end.
//!
//! The demo starts this same binary again as producer and workers: `kill -9` is only a proof
//! when it hits a process of its own.

mod aggregate;
mod client;
mod compare;
mod demo;
mod fetch;
mod ledger;
mod observe;
mod produce;
mod records;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "flights", about = "Real flight records through a consumer group")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything: server, producer, three workers, both kills, comparison.
    Demo(demo::Args),
    /// Append the records of a file to the stream, then end.
    Produce(produce::Args),
    /// Work as one consumer of the group until killed.
    Work(work::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Produce(args) => produce::run(&args).map(|()| true),
        Command::Work(args) => work::run(&args).map(|never| match never {}),
    };
    stage::exit("flights", outcome)
}
