//! `cargo xtask toolkit`: the promises of the toolkit, kept on every server there is.
//!
//! The ordinary test run keeps them on memory and on the embedded engine; here the same tests run
//! against our own binary and real servers, which are started for them on free ports: single ones,
//! one over TLS, a master behind sentinels, and a cluster. Then come those that need a real
//! Postgres, bad days, on which the tests kill programs of their own, the example programs, and
//! the tests that kill some of the servers.

mod cluster;
mod examples;
mod sentinel;
mod tls;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use stage::Postgres;

use self::cluster::Cluster;
use self::sentinel::Watched;
use self::tls::Secure;
use crate::ci::{Outcome, in_ci};
use crate::peer::Peer;
use crate::peers::{self, Version};
use crate::workspace;

/// Real servers, beside our own.
const REAL: [Version; 4] =
    [Version::Redis70, Version::Redis82, Version::Redis86, Version::Valkey91];

/// Of these also one whose user may not run scripts.
const REFUSING: [Version; 2] = [Version::Redis70, Version::Redis86];

/// That user, as options of a server; name and password are the same.
const PLAIN_USER: [&str; 8] =
    ["--user", "it-plain", "on", ">it-plain", "~*", "&*", "+@all", "-@scripting"];

/// The tests that kill servers.
const KILLING: &str = "failing_servers";

/// Those of a cluster: each gets one of its own, for nobody brings back the masters that die.
const CLUSTER_KILLING: [&str; 3] = [
    "a_master_dies_under_workers",
    "a_slot_moves_under_a_reader",
    "a_replica_that_was_cut_off_loses_what_did_not_wait",
];

/// What the tests are run on.
#[derive(Default)]
struct Servers {
    single: Vec<(String, Peer)>,
    secure: Option<Secure>,
    watched: Option<Watched>,
    cluster: Option<Cluster>,
    missing: Vec<String>,
}

/// Runs the verb: `[--server NAME] [FILTER ...]`.
pub fn run(arguments: &[String]) -> Result<Outcome> {
    let (mut only, mut filters) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--server" => only = Some(rest.next().context("--server needs a name")?.as_str()),
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            filter => filters.push(filter),
        }
    }
    let servers = Servers::start(only)?;
    let urls = servers.urls();
    let database = Postgres::start()?;
    let mut missing = servers.missing.clone();
    missing.extend(database.is_none().then(|| "postgresql-15".to_owned()));
    let missing = missing.join(", ");
    ensure!(!urls.is_empty(), "no server to keep promises on: missing {missing:?}, asked {only:?}");
    ensure!(missing.is_empty() || !in_ci(), "{missing} not installed: cargo xtask peers");
    let kept = servers.test(&urls, database.as_ref(), &filters)?;
    if !missing.is_empty() {
        println!("NOT INSTALLED, so not shown: {missing}");
    }
    ensure!(kept, "a promise of the toolkit is not kept");
    Ok(Outcome::Passed)
}

impl Servers {
    fn start(only: Option<&str>) -> Result<Self> {
        let wanted = |name: &str| only.is_none_or(|only| only == name);
        let mut servers = Self::default();
        if wanted("levada") {
            servers.single.push(("levada".to_owned(), Peer::levada()?));
        }
        for version in REAL.into_iter().filter(|it| wanted(it.name())) {
            match Peer::real(version)? {
                Some(peer) => servers.single.push((version.name().to_owned(), peer)),
                None => servers.missing.push(version.to_string()),
            }
        }
        for version in REFUSING {
            let name = format!("{}-no-scripts", version.name());
            match peers::find(version) {
                Some(program) if wanted(&name) => {
                    let peer = Peer::redis_at(&program, &PLAIN_USER)?;
                    servers.single.push((name, peer));
                }
                Some(_) => {}
                None => servers.missing.push(version.to_string()),
            }
        }
        // Debian's is built with TLS, and comes with sentinels.
        match peers::find(Version::Redis70) {
            Some(program) => {
                servers.secure = wanted("tls").then(|| Secure::start(&program)).transpose()?;
                servers.watched =
                    wanted("sentinel").then(|| Watched::start(&program)).transpose()?;
            }
            None => servers.missing.extend(["tls".to_owned(), "sentinel".to_owned()]),
        }
        match peers::find(Version::Valkey91) {
            Some(program) => {
                servers.cluster =
                    wanted("cluster").then(|| Cluster::start(&program)).transpose()?;
            }
            None => servers.missing.push("cluster".to_owned()),
        }
        Ok(servers)
    }

    fn urls(&self) -> Vec<(String, String)> {
        let url = |(name, peer): &(String, Peer)| {
            let user = if name.ends_with("no-scripts") { "it-plain:it-plain@" } else { "" };
            (name.clone(), format!("redis://{user}{}", peer.address))
        };
        let mut urls: Vec<_> = self.single.iter().map(url).collect();
        urls.extend(self.secure.iter().map(|it| ("tls".to_owned(), it.url())));
        urls.extend(self.watched.iter().map(|it| ("sentinel".to_owned(), it.url())));
        urls.extend(self.cluster.iter().map(|it| ("cluster".to_owned(), it.url())));
        urls
    }

    /// Every server with its process: tests that kill servers do it by these.
    fn processes(&self) -> String {
        let watched = self.watched.iter().flat_map(|it| &it.servers);
        let nodes = self.cluster.iter().flat_map(|it| &it.nodes);
        let row = |peer: &Peer| format!("{}={}", peer.address, peer.pid());
        watched.chain(nodes).map(row).collect::<Vec<_>>().join(" ")
    }

    /// Whether all promises are kept that the filters name, or all.
    fn test(
        &self,
        urls: &[(String, String)],
        database: Option<&Postgres>,
        filters: &[&str],
    ) -> Result<bool> {
        let rows = urls.iter().map(|(name, url)| format!("{name}={url}"));
        let rows = rows.collect::<Vec<_>>().join(" ");
        println!("{rows}");
        let kills = |filter: &&str| filter.starts_with(KILLING);
        let mut kept = true;
        if !filters.iter().any(kills) {
            kept &= on_all(urls, &rows, filters)?;
            if let Some(database) = database {
                kept &= with_a_database(&rows, database, filters)?;
            }
            kept &= self.days(filters)?;
        }
        if filters.is_empty() {
            let ours = urls.iter().find(|(name, _)| name == "levada");
            kept &= examples::run(ours.map(|(_, url)| &**url), database)?;
        }
        if filters.is_empty() || filters.iter().any(kills) {
            kept &= self.kill(urls)?;
        }
        if !kept {
            for (name, peer) in &self.single {
                println!("{name} said:\n{}", peer.said());
            }
        }
        Ok(kept)
    }

    /// What is ignored elsewhere needs one server of its own kind, and kills some of it.
    fn kill(&self, urls: &[(String, String)]) -> Result<bool> {
        let processes = self.processes();
        let mut kept = true;
        for (name, url) in urls {
            let module = match &**name {
                "tls" | "sentinel" => format!("{KILLING}::{name}"),
                "cluster" => {
                    kept &= on_clusters_of_their_own()?;
                    continue;
                }
                _ => continue,
            };
            let environment = [("LEVADA_TEST_URL", &**url), ("LEVADA_TEST_PIDS", &processes)];
            kept &= cargo_test("it", &[&module, "--ignored", "--nocapture"], &environment)?;
        }
        Ok(kept)
    }

    /// Servers and workers that the tests start and kill by themselves.
    fn days(&self, filters: &[&str]) -> Result<bool> {
        let mut programs = Vec::new();
        for (name, _) in &self.single {
            let program: Option<PathBuf> = match &**name {
                "levada" => Some(workspace::target_dir().join("debug/levada")),
                "valkey" => peers::find(Version::Valkey91),
                _ => None,
            };
            programs.extend(program.map(|program| format!("{name}={}", program.display())));
        }
        if programs.is_empty() {
            return Ok(true);
        }
        let examples = workspace::build_examples(&["patient", "clocks"])?.display().to_string();
        let programs = programs.join(" ");
        let environment =
            [("LEVADA_TEST_PROGRAMS", &*programs), ("LEVADA_TEST_EXAMPLES", &examples)];
        cargo_test("days", &[&["--ignored"], filters].concat(), &environment)
    }
}

/// Every promise on every server: most of the time is waiting, so some servers are tried at once,
/// each by a process of its own. What needs no server is part of `cargo xtask test`.
fn on_all(urls: &[(String, String)], rows: &str, filters: &[&str]) -> Result<bool> {
    const AT_ONCE: usize = 3;
    let program = workspace::build_test("levada", "it")?;
    let names = |first: usize| {
        let some = urls.iter().skip(first).step_by(AT_ONCE).map(|(name, _)| name.as_str());
        some.collect::<Vec<_>>().join(" ")
    };
    let shares = (0..AT_ONCE.min(urls.len())).map(names);
    let running = shares.map(|names| {
        let mut tests = tests(&program, filters);
        tests.env("LEVADA_TEST_URLS", rows).env("LEVADA_TEST_ONLY", &names);
        let tests = tests.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok((names, tests.spawn()?))
    });
    let running = running.collect::<Result<Vec<_>>>()?;
    let waiting = running.into_iter().map(|(names, tests)| {
        // What a process says is read while others run: a full pipe would stop it.
        (names, std::thread::spawn(|| tests.wait_with_output()))
    });
    let mut kept = true;
    for (names, waiting) in waiting.collect::<Vec<_>>() {
        let output = waiting.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
        println!("--- {names}");
        std::io::stdout().write_all(&output.stdout)?;
        std::io::stdout().write_all(&output.stderr)?;
        kept &= output.status.success();
    }
    Ok(kept)
}

/// Effects and events in the transactions of a database.
fn with_a_database(rows: &str, database: &Postgres, filters: &[&str]) -> Result<bool> {
    let address = database.address();
    let environment = [("LEVADA_TEST_URLS", rows), ("LEVADA_TEST_POSTGRES", &address)];
    cargo_test("postgres", filters, &environment)
}

fn on_clusters_of_their_own() -> Result<bool> {
    let program = peers::find(Version::Valkey91).context("a cluster was there before")?;
    let mut kept = true;
    for promise in CLUSTER_KILLING {
        let servers = Servers { cluster: Some(Cluster::start(&program)?), ..Servers::default() };
        let (_, url) = servers.urls().remove(0);
        let environment = [("LEVADA_TEST_URL", &*url), ("LEVADA_TEST_PIDS", &servers.processes())];
        let name = format!("{KILLING}::cluster::{promise}");
        kept &= cargo_test("it", &[&name, "--exact", "--ignored", "--nocapture"], &environment)?;
    }
    Ok(kept)
}

/// Runs one of the crate's test programs.
fn cargo_test(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<bool> {
    let program = workspace::build_test("levada", program)?;
    Ok(tests(&program, arguments).envs(environment.iter().copied()).status()?.success())
}

/// One promise at a time: one of them cuts all connections of a server.
fn tests(program: &Path, arguments: &[&str]) -> Command {
    let mut tests = Command::new(program);
    tests.current_dir(workspace::root().join("crates/levada"));
    tests.args(arguments).arg("--test-threads=1");
    tests
}
