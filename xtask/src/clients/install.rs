//! Installs clients into a cache outside the repository, once for each set of pinned versions.
//!
//! An installation ends by writing its pins into a file beside it. It is used only while that file
//! says the same as the repository, so an interrupted or outdated one is made again. A lock keeps
//! two runs from installing at the same time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::catalogue::{Client, Source};
use crate::peers::{self, apt};
use crate::workspace;

/// The file that ends an installation.
const PINS: &str = "levada-pins";

/// An installed client.
#[derive(Debug)]
pub(super) enum Installed {
    /// A program that runs the scripts in a directory.
    Interpreter { program: PathBuf, scripts: PathBuf },
    /// A program that was built for it.
    Binary(PathBuf),
}

impl Installed {
    /// The command that runs one of the client's programs, still without arguments.
    pub(super) fn command(&self, program: &str) -> Command {
        match self {
            Self::Interpreter { program: interpreter, scripts } => {
                let mut command = Command::new(interpreter);
                command.arg(scripts.join(program)).env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Self::Binary(path) => Command::new(path),
        }
    }
}

/// Installs a client, unless it is there already.
pub(super) fn install(client: &Client) -> Result<Installed> {
    let (cache, _lock) = locked()?;
    match client.source {
        Source::Python(name) => python(&cache, name),
        Source::Node(name) => node(&cache, name),
        Source::Cargo(name) => cargo(&cache, name),
        Source::Go(name) => go(&cache, name),
        Source::Tool(name) => tool(name),
    }
}

/// Installs a list of requirements, unless it is there already; answers its interpreter.
pub(super) fn python_only(name: &str) -> Result<PathBuf> {
    let (cache, _lock) = locked()?;
    match python(&cache, name)? {
        Installed::Interpreter { program, .. } | Installed::Binary(program) => Ok(program),
    }
}

/// The cache, for one installer at a time.
fn locked() -> Result<(PathBuf, File)> {
    let cache = cache()?;
    let lock = File::create(cache.join("lock")).context("the lock of the cache")?;
    lock.lock().context("the lock of the cache")?;
    Ok((cache, lock))
}

/// `$XDG_CACHE_HOME/levada/clients`, made if it is absent.
fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => Path::new(&std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let cache = base.join("levada/clients");
    fs::create_dir_all(&cache).with_context(|| format!("{} cannot be made", cache.display()))?;
    Ok(cache)
}

/// A directory with the sources of programs.
fn sources(name: &str) -> PathBuf {
    workspace::root().join("tests/clients").join(name)
}

/// A virtual environment with the packages of a list of requirements.
fn python(cache: &Path, name: &str) -> Result<Installed> {
    let scripts = sources("python");
    let requirements = scripts.join(name).with_added_extension("txt");
    let directory = once(cache, name, &[&requirements], |directory| {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
        let mut pip = Command::new(directory.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
        succeed(pip.arg(&requirements))
    })?;
    Ok(Installed::Interpreter { program: directory.join("bin/python"), scripts })
}

/// A directory with the packages of a lock file. Node looks for packages from where a module lies,
/// so the programs are copied to the packages, each time.
fn node(cache: &Path, name: &str) -> Result<Installed> {
    let scripts = sources("node");
    let [manifest, lock] = ["package.json", "package-lock.json"];
    let pins = [manifest, lock].map(|file| scripts.join(name).join(file));
    let directory = once(cache, name, &[&pins[0], &pins[1]], |directory| {
        fs::copy(&pins[0], directory.join(manifest))?;
        fs::copy(&pins[1], directory.join(lock))?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        succeed(npm.current_dir(directory))
    })?;
    for script in fs::read_dir(&scripts)? {
        let script = script?;
        if script.file_type()?.is_file() {
            fs::copy(script.path(), directory.join(script.file_name()))?;
        }
    }
    Ok(Installed::Interpreter { program: "node".into(), scripts: directory })
}

/// A program of cargo, which itself knows what is fresh.
fn cargo(cache: &Path, name: &str) -> Result<Installed> {
    let target = cache.join(name);
    let mut build = workspace::cargo();
    build.args(["build", "--quiet", "--locked"]).env("CARGO_TARGET_DIR", &target);
    succeed(build.current_dir(sources(name)))?;
    Ok(Installed::Binary(target.join("debug").join(format!("levada-client-{name}"))))
}

/// Debian's packages: the compiler, and the source of the library.
const GO_PACKAGES: [&str; 2] = ["golang-go", "golang-github-gomodule-redigo-dev"];
/// Where Debian puts the source of Go libraries.
const GO_PATH: &str = "/usr/share/gocode";

/// A program of Go, built without a network from what Debian ships.
fn go(cache: &Path, name: &str) -> Result<Installed> {
    let library = Path::new(GO_PATH).join("src/github.com/gomodule/redigo");
    if !peers::has("go") || !library.exists() {
        println!("installing {}", GO_PACKAGES.join(" "));
        apt::install(&GO_PACKAGES)?;
    }
    let program = cache.join(name).join(name);
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").env("GOCACHE", cache.join("go"));
    build.env("GOPATH", GO_PATH).env("GO111MODULE", "off").env("CGO_ENABLED", "0");
    succeed(build.current_dir(sources(name)))?;
    Ok(Installed::Binary(program))
}

/// A program that must be there already.
fn tool(name: &str) -> Result<Installed> {
    succeed(Command::new(name).arg("--version"))?;
    Ok(Installed::Interpreter { program: "python3".into(), scripts: sources("python") })
}

/// The directory `name` of the cache, filled anew unless it was filled with the same pins.
fn once(
    cache: &Path,
    name: &str,
    pins: &[&Path],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = cache.join(name);
    let mut wanted = String::new();
    for pin in pins {
        wanted += &fs::read_to_string(pin).with_context(|| pin.display().to_string())?;
    }
    if fs::read_to_string(directory.join(PINS)).is_ok_and(|found| found == wanted) {
        return Ok(directory);
    }
    println!("installing {name}");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    fill(&directory)?;
    fs::write(directory.join(PINS), wanted)?;
    Ok(directory)
}

/// Runs a command to its end; its output is shown only if it fails.
fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", errors.trim_end());
    Ok(())
}
