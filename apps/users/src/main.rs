//! `users`: who registers gets a profile and a mail; the stream of what happened is the truth.
//!
//! One stream is kept for ever and replayed, from the beginning or from a time; another is a queue
//! of work that holds only what is to be done. The demo starts this same binary again as the
//! application and kills it: `kill -9` is only a proof when it hits a process of its own.

mod compare;
mod demo;
mod event;
mod mailer;
mod plan;
mod profiles;
mod serve;
mod show;
mod sink;
mod state;
mod welcome;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "users", about = "Registration by events, and state by replay")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything: a mail system that is down, a kill, the comparison.
    Demo(demo::Args),
    /// Take registrations, with all groups in this process.
    Serve(serve::Args),
    /// Show all accounts, as they are or as they were.
    State(show::StateArgs),
    /// Show what was done to an account.
    Audit(show::AuditArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => run(serve::run(&args)).map(|()| true),
        Command::State(args) => run(show::state(&args)).map(|()| true),
        Command::Audit(args) => run(show::audit(&args)).map(|()| true),
    };
    stage::exit("users", outcome)
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
