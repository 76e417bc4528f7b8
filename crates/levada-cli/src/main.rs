//! The one binary: `levada serve` runs the server, the other subcommands are for people.

mod add;
mod backup;
mod bench;
mod dashboard;
mod descriptors;
mod entry;
mod export;
mod facts;
mod groups;
mod import;
mod janitor;
mod lag;
mod letters;
mod log;
mod pages;
mod pending;
mod ping;
mod progress;
mod replay;
mod say;
mod schedule;
mod serve;
mod settings;
mod supervisor;
mod table;
mod tail;
mod transfer;
mod verify;
mod watched;
mod when;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// That of musl asks the system for each large buffer anew: ADR 23.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

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
    /// Adds an entry to a stream, or one for each JSON object on stdin, and prints the ids.
    #[command(after_help = add::EXIT_CODES)]
    Add(add::Given),
    /// Shows the last entries of a stream, and those that come.
    #[command(after_help = tail::EXIT_CODES)]
    Tail(tail::Given),
    /// Shows a part of a stream again, by ids or times; or gives it to a group again.
    #[command(after_help = replay::EXIT_CODES)]
    Replay(replay::Given),
    /// Shows the groups of streams, or their consumers.
    #[command(after_help = groups::EXIT_CODES)]
    Groups(groups::Given),
    /// Shows how far every group is behind.
    #[command(after_help = lag::EXIT_CODES)]
    Lag(lag::Given),
    /// Shows who holds which entries of a group, and for how long.
    #[command(after_help = pending::EXIT_CODES)]
    Pending(pending::Given),
    /// Shows the dead letters of a group, gives them back, or throws them away.
    #[command(subcommand, after_help = letters::EXIT_CODES)]
    Dlq(letters::Verb),
    /// Schedules an entry, shows what is scheduled, or cancels it.
    #[command(subcommand, after_help = schedule::EXIT_CODES)]
    Schedule(schedule::Verb),
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
        Command::Add(given) => add::run(&given),
        Command::Tail(given) => tail::run(&given),
        Command::Replay(given) => replay::run(&given),
        Command::Groups(given) => groups::run(&given),
        Command::Lag(given) => lag::run(&given),
        Command::Pending(given) => pending::run(&given),
        Command::Dlq(verb) => letters::run(&verb),
        Command::Schedule(verb) => schedule::run(&verb),
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
