//! `cargo xtask clients`: other people's client libraries against a server, through small programs
//! under tests/clients that assert what they see.
//!
//! The programs know nothing of Levada. They run against a real Redis too, which shows that it is
//! not the programs that are wrong. Libraries are installed at pinned versions into a cache outside
//! the repository. A client that cannot be installed is said loudly, and fails under `CI=true`.

mod catalogue;
mod install;
mod program;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use self::catalogue::{CLIENTS, Client};
use self::install::Installed;
use self::program::Verdict;
use crate::ci::{Outcome, PeerKind, in_ci, lacking};
use crate::peer::Peer;
use crate::peers::Version;

/// The server under test.
#[derive(Debug, Clone)]
pub enum Server {
    /// Our own binary, built for it, or a real one.
    Peer(PeerKind),
    /// A program: `levada` by its name, else taken for a `redis-server`.
    Program(PathBuf),
}

/// Runs the verb with its arguments.
pub fn run(arguments: &[String]) -> Result<()> {
    let (mut server, mut names) = (Server::Peer(PeerKind::Levada), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--server" => server = parse_server(rest.next().context("--server needs a value")?),
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            name => names.push(name.to_owned()),
        }
    }
    match matrix(&server, &names)? {
        Outcome::Passed => Ok(()),
        Outcome::Skipped(why) => {
            println!("SKIPPED: {why}");
            Ok(())
        }
    }
}

fn parse_server(value: &str) -> Server {
    match value {
        "levada" => Server::Peer(PeerKind::Levada),
        "redis" => Server::Peer(PeerKind::Real(Version::Redis70)),
        name => match Version::parse(name) {
            Ok(version) => Server::Peer(PeerKind::Real(version)),
            Err(_) => Server::Program(PathBuf::from(name)),
        },
    }
}

/// Runs the programs of the clients whose name contains one of `names`, of all if there are none,
/// and prints the table. Fails if a program failed, or under `CI=true` if a client is missing.
pub fn matrix(server: &Server, names: &[String]) -> Result<Outcome> {
    let chosen = |client: &&Client| names.is_empty() || names.iter().any(|n| client.matches(n));
    let clients: Vec<&Client> = CLIENTS.iter().filter(chosen).collect();
    ensure!(!clients.is_empty(), "no client is called {names:?}");
    let Some(peer) = start(server)? else {
        return lacking("the server is not installed: cargo xtask peers");
    };
    let mut table = Table::default();
    for client in clients {
        match install::install(client) {
            Ok(installed) => table.run(client, &installed, peer.address)?,
            Err(error) => table.miss(client, &error),
        }
    }
    println!("{}", table.text());
    if table.failed > 0 {
        println!("the server said:\n{}", peer.said());
    }
    ensure!(table.failed == 0, "{} programs failed", table.failed);
    ensure!(table.missing == 0 || !in_ci(), "{} clients are not installed", table.missing);
    Ok(Outcome::Passed)
}

/// The interpreter of an installed set of Python packages, such as `redis-py-8.1.0`.
pub fn python(requirements: &'static str) -> Result<PathBuf> {
    install::python_only(requirements)
}

/// Starts the server; `None` if no Redis is installed.
fn start(server: &Server) -> Result<Option<Peer>> {
    match server {
        Server::Peer(PeerKind::Levada) => Peer::levada().map(Some),
        Server::Peer(PeerKind::Real(version)) => Peer::real(*version),
        Server::Program(program) => Peer::program(program).map(Some),
    }
}

/// What the programs said, one row for each program.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<[String; 4]>,
    failed: usize,
    missing: usize,
}

impl Table {
    /// Runs all programs of a client, in each protocol that it speaks.
    fn run(&mut self, client: &Client, installed: &Installed, address: SocketAddr) -> Result<()> {
        for program in client.programs {
            let mut cells = [String::from("-"), String::from("-")];
            for protocol in client.protocols {
                let verdict = program::run(installed.command(program), address, *protocol)?;
                let title = format!("{} {program} RESP{protocol}", client.name);
                if let Verdict::Failed { output } = &verdict {
                    self.failed += 1;
                    println!("FAILED: {title}\n{output}");
                } else {
                    println!("{title}: {verdict}");
                }
                cells[usize::from(*protocol == 3)] = verdict.to_string();
            }
            let [two, three] = cells;
            self.rows.push([client.name.to_owned(), (*program).to_owned(), two, three]);
        }
        Ok(())
    }

    /// Notes a client that is not there.
    fn miss(&mut self, client: &Client, error: &anyhow::Error) {
        self.missing += 1;
        println!("NOT INSTALLED: {}: {error:#}", client.name);
        let dash = || "-".to_owned();
        self.rows.push([client.name.to_owned(), "NOT INSTALLED".to_owned(), dash(), dash()]);
    }

    fn text(&self) -> String {
        let row = |[client, program, two, three]: &[String; 4]| {
            format!("{client:<22} {program:<22} {two:<12} {three}")
        };
        let head = ["client", "program", "RESP2", "RESP3"].map(str::to_owned);
        let rows: Vec<String> = std::iter::once(&head).chain(&self.rows).map(row).collect();
        format!("\n{}", rows.join("\n"))
    }
}
