//! `clicks`: a URL shortener that counts. The redirect answers and hands the click to a stream;
//! two groups read it, each seeing every click: one counts, the other enriches and keeps rows.
//!
//! The demo starts this same binary again as the service: `kill -9` is only a proof when it hits
//! a process of its own.

mod api;
mod click;
mod client;
mod demo;
mod enrich;
mod fold;
mod groups;
mod ledger;
mod links;
mod live;
mod load;
mod record;
mod run;
mod serve;
mod status;
mod store;
mod target;
#[cfg(test)]
mod tests;
mod visitor;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "clicks", about = "A URL shortener with click analytics")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service until SIGTERM.
    Serve(Box<serve::Args>),
    /// Run the service under load, kill it, and compare its counts with what it served.
    Demo(demo::Args),
    /// Measure redirects: recording nothing, through the stream, and synchronously.
    Load(load::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args).await.map(|()| true),
        Command::Demo(args) => demo::run(&args).await,
        Command::Load(args) => load::run(&args).await.map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("clicks: {error:#}");
            ExitCode::FAILURE
        }
    }
}
