//! `cargo xtask peers`: the real servers that Levada is compared with, installed once outside of
//! the repository: in `$LEVADA_PEERS_DIR`, or else `levada/peers` of the user's cache directory.
//!
//! Other verbs ask [`find`] for a server's program and [`suite`] for the source tree that holds the
//! Tcl suite; they say so loudly where it answers nothing, and fail under `CI=true`. Only
//! [`install`] fetches or builds. It changes nothing outside of the cache, but that it installs
//! packages of the distribution where it runs as root. None of what it fetches may enter the
//! repository: Redis is not under a licence that would allow it.

pub(crate) mod apt;
mod programs;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// The Tcl that the suite is written for.
pub const TCLSH: &str = "tclsh8.6";

/// Programs that verbs need beside the servers, and the packages that bring them: the suite's Tcl,
/// what makes a sync fail and a disk go away, and what looks at a page, at rules for Prometheus and
/// at scripts.
const TOOLS: [(&str, &str); 6] = [
    (TCLSH, "tcl8.6"),
    ("strace", "strace"),
    ("mkfs.ext4", "e2fsprogs"),
    ("chromedriver", "chromium-driver"),
    ("promtool", "prometheus"),
    ("shellcheck", "shellcheck"),
];

/// What the toolkit's idempotency and outbox are tested with, as Debian 12 installs it.
const POSTGRES: &str = "postgresql-15";

/// Where apps/clicks keeps a row for each click; Debian 12 has 18.16.
const CLICKHOUSE: &str = "clickhouse-server";

/// A real server of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Redis 7.0, as Debian 12 installs it: the base surface.
    Redis70,
    /// Redis 8.2: KEEPREF, DELREF, ACKED, XDELEX, XACKDEL.
    Redis82,
    /// Redis 8.6: the target, and the first oracle.
    Redis86,
    /// Valkey 9.1: the surface of Redis 7.2.
    Valkey91,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::Redis70, Self::Redis82, Self::Redis86, Self::Valkey91];

    /// Reads a name from the command line.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name).with_context(|| {
            format!("unknown peer {name:?}: {}", Self::ALL.map(Self::name).join(", "))
        })
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis70 => "7.0",
            Self::Redis82 => "8.2",
            Self::Redis86 => "8.6",
            Self::Valkey91 => "valkey",
        }
    }

    /// How `--version` of the program shows the version that is meant.
    fn text(self) -> &'static str {
        match self {
            Self::Redis70 => "v=7.0.",
            Self::Redis82 => "v=8.2.",
            Self::Redis86 => "v=8.6.",
            Self::Valkey91 => "v=9.1.",
        }
    }

    /// Where the program is once it is installed.
    fn program(self, cache: &Path) -> PathBuf {
        match self {
            Self::Redis70 => PathBuf::from("redis-server"),
            Self::Redis82 => cache.join(programs::REDIS_82.path()),
            Self::Redis86 => cache.join(source::TREE).join("src/redis-server"),
            Self::Valkey91 => cache.join(programs::VALKEY_91.path()),
        }
    }

    fn install(self, cache: &Path) -> Result<()> {
        match self {
            Self::Redis70 => apt::install(&["redis-server", "redis-tools"]),
            Self::Redis82 => programs::install(cache, &programs::REDIS_82),
            Self::Redis86 => source::install(cache),
            Self::Valkey91 => programs::install(cache, &programs::VALKEY_91),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valkey91 => formatter.write_str("valkey 9.1"),
            redis => write!(formatter, "redis {}", redis.name()),
        }
    }
}

/// The program of a peer, if it is installed and of the right version.
pub fn find(version: Version) -> Option<PathBuf> {
    look(version).ok()
}

/// The source tree of Redis 8.6.3, with its `runtest`, if it was fetched.
pub fn suite() -> Option<PathBuf> {
    let tree = cache().ok()?.join(source::TREE);
    tree.join("runtest").is_file().then_some(tree)
}

/// Whether this program can be run by its name.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Installs what is missing and prints what there is. The error lists what is still lacking, each
/// with the reason; what could be installed is.
pub fn install() -> Result<()> {
    let cache = cache()?;
    std::fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
    let mut lacking = Vec::new();
    for version in Version::ALL {
        let there = look(version).or_else(|_| {
            println!("{version}: installing");
            version.install(&cache).and_then(|()| look(version))
        });
        match there {
            Ok(program) => println!("{version}: {}", program.display()),
            Err(error) => lacking.push(format!("{version}: {error:#}")),
        }
    }
    for (program, package) in TOOLS {
        if !has(program) {
            println!("{program}: installing");
            if let Err(error) = apt::install(&[package]) {
                lacking.push(format!("{program}: {error:#}"));
                continue;
            }
        }
        println!("{program}: there");
    }
    if let Err(error) = install_cargo_deny(&cache) {
        lacking.push(format!("cargo-deny: {error:#}"));
    }
    if let Err(error) = install_postgres() {
        lacking.push(format!("{POSTGRES}: {error:#}"));
    }
    if let Err(error) = install_clickhouse() {
        lacking.push(format!("{CLICKHOUSE}: {error:#}"));
    }
    ensure!(lacking.is_empty(), "lacking:\n{}", lacking.join("\n"));
    Ok(())
}

/// What `deny.toml` is checked with, if it is installed.
pub fn cargo_deny() -> Option<PathBuf> {
    let program = cache().ok()?.join(programs::CARGO_DENY.path());
    program.is_file().then_some(program)
}

fn install_cargo_deny(cache: &Path) -> Result<()> {
    if cargo_deny().is_none() {
        println!("cargo-deny: installing");
        programs::install(cache, &programs::CARGO_DENY)?;
    }
    println!("cargo-deny: {}", cargo_deny().context("the package has no cargo-deny")?.display());
    Ok(())
}

fn install_postgres() -> Result<()> {
    if stage::Postgres::installed().is_none() {
        println!("{POSTGRES}: installing");
        apt::install(&[POSTGRES, "postgresql-client-15"])?;
    }
    let programs =
        stage::Postgres::installed().context("the package has no postgres, initdb and psql")?;
    println!("{POSTGRES}: {}", programs.display());
    Ok(())
}

fn install_clickhouse() -> Result<()> {
    if stage::ClickHouse::installed().is_none() {
        println!("{CLICKHOUSE}: installing");
        apt::install(&[CLICKHOUSE])?;
    }
    let program = stage::ClickHouse::installed().context("the package has no server")?;
    println!("{CLICKHOUSE}: {}", program.display());
    Ok(())
}

/// The program of a peer, or why it cannot serve.
fn look(version: Version) -> Result<PathBuf> {
    let program = version.program(&cache()?);
    let output = Command::new(&program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !said.contains(version.text()) {
        bail!("{} is another version: {}", program.display(), said.trim());
    }
    Ok(program)
}

/// The directory that holds the peers.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(chosen) = set("LEVADA_PEERS_DIR") {
        return Ok(chosen);
    }
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(base
        .context("neither LEVADA_PEERS_DIR, XDG_CACHE_HOME nor HOME is set")?
        .join("levada/peers"))
}

/// Runs a step of an installation, quietly; its output is the error if it fails.
fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("{command:?} cannot be started"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{command:?} failed:\n{}", tail(&text(&output.stderr)));
    Ok(text(&output.stdout))
}

/// The last lines, where programs say what went wrong.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
