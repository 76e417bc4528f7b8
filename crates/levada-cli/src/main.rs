//! The one binary: `levada serve` runs the server, the other subcommands are for people.

mod descriptors;
mod serve;
mod settings;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Redis Streams that keep what they accepted.
#[derive(Parser)]
#[command(version, name = "levada", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server until SIGTERM, SIGINT or SHUTDOWN.
    Serve(settings::Given),
    /// Prints the settings in force, as a file that --config can read.
    Config(settings::Given),
    /// Checks a data directory that no server has open.
    #[command(after_help = verify::EXIT_CODES)]
    Verify(verify::Given),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(given) => given.resolve().and_then(|settings| serve::run(&settings)),
        Command::Config(given) => given.resolve().map(|settings| print!("{settings}")),
        Command::Verify(given) => return verify::run(&given),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("levada: {error:#}");
            ExitCode::FAILURE
        }
    }
}
