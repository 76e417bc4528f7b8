//! `facade`: event log, task queue, notification and request-reply behind one interface, and the
//! way there from publish and subscribe, and from one system to another.

mod demo;
mod from_channel;
mod log;
mod messaging;
mod near;
mod needs;
mod patience;
mod second;
mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "facade", about = "Log, queue, notification and request behind one interface")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything, and compare.
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let Command::Demo(args) = Cli::parse().command;
    stage::exit("facade", demo::run(&args))
}
