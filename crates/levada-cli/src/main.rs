//! The one binary: `levada serve` runs the server, the other subcommands are for people.

mod backup;
mod bench;
mod dashboard;
mod descriptors;
mod export;
mod import;
mod janitor;
mod lag;
mod letters;
mod log;
mod pages;
mod ping;
mod say;
mod serve;
mod settings;
mod supervisor;
mod tail;
mod transfer;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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
    /// Prints the settings in force, as a file that --config can read, or as JSON.
    Config(Shown),
    /// Asks a server whether it answers; the exit code says so.
    #[command(after_help = ping::EXIT_CODES)]
    Ping(ping::Given),
    /// Shows how far every group is behind.
    #[command(after_help = lag::EXIT_CODES)]
    Lag(lag::Given),
    /// Shows the last entries of a stream, and those that come.
    Tail(tail::Given),
    /// Shows the dead letters of a group, gives them back, or throws them away.
    #[command(subcommand, after_help = letters::EXIT_CODES)]
    Dlq(letters::Verb),
    /// Serves the dashboard of a server, Levada or a plain Redis, to browsers.
    Dashboard(dashboard::Given),
    /// Copies streams with their groups, and strings, from a Redis into Levada, and compares.
    #[command(after_help = transfer::EXIT_CODES)]
    Import(import::Import),
    /// Copies streams with their groups, and strings, from Levada into a Redis, and compares.
    #[command(after_help = transfer::EXIT_CODES)]
    Export(export::Export),
    /// Loads a server and says how fast it answered; --url takes any that speaks RESP.
    Bench(bench::Bench),
    /// Trims streams of a Redis or Valkey below what every group has acknowledged, and reports.
    #[command(after_help = janitor::EXIT_CODES)]
    Janitor(janitor::Given),
    /// Copies a data directory, also one that a server is using, or brings a copy up to date.
    #[command(after_help = backup::EXIT_CODES)]
    Backup(backup::Given),
    /// Makes a data directory of such a copy.
    #[command(after_help = backup::EXIT_CODES)]
    Restore(backup::Restored),
    /// Checks a data directory that no server has open.
    #[command(after_help = verify::EXIT_CODES)]
    Verify(verify::Given),
    /// Prints completions for a shell.
    Completions(pages::Completions),
    /// Writes manual pages into a directory.
    Man(pages::Man),
}

#[derive(clap::Args)]
struct Shown {
    #[command(flatten)]
    given: settings::Given,
    /// Print a JSON object, without comments.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(given) => given.resolve().map(|settings| serve::run(&settings)),
        Command::Config(Shown { given, json }) => given.resolve().and_then(|settings| {
            let text = match json {
                true => format!("{}\n", settings.to_json()?),
                false => settings.to_string(),
            };
            say::is_heard(std::io::stdout().write_all(text.as_bytes()))?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Ping(given) => ping::run(&given),
        Command::Lag(given) => lag::run(&given),
        Command::Tail(given) => tail::run(&given),
        Command::Dlq(verb) => letters::run(&verb),
        Command::Dashboard(given) => dashboard::run(&given),
        Command::Completions(given) => pages::complete(&given, &mut Arguments::command()),
        Command::Man(given) => pages::write(&given, &Arguments::command()),
        Command::Import(import) => import::run(&import),
        Command::Export(export) => export::run(&export),
        Command::Bench(bench) => bench::run(&bench).map(|()| ExitCode::SUCCESS),
        Command::Janitor(given) => janitor::run(&given),
        Command::Backup(given) => backup::run(&given),
        Command::Restore(given) => backup::restore(&given),
        Command::Verify(given) => return verify::run(&given),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let text = say::causes(&error);
            eprintln!("levada: {text}");
            if let Some(hint) = say::hint(&text) {
                eprintln!("        {hint}");
            }
            ExitCode::from(if say::is_argument(&error) { 2 } else { 1 })
        }
    }
}
