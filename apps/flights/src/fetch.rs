//! What the demo takes from the package registries, kept under the target directory.
//! Each thing is asked for by exact version and fetched once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use stage::{once, run};

/// BSD-3-Clause. The file is the same as long as the version is.
const DATA_PACKAGE: &str = "vega-datasets@3.2.1";
const DATA_MEMBER: &str = "package/data/flights-200k.json";
const DATA_BYTES: u64 = 9_863_892;

/// Directory with the sources of the Python and Node programs.
const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// The file of flight records, out of the npm package `vega-datasets`.
pub(crate) fn flights(cache: &Path) -> Result<PathBuf> {
    let file = stage::from_npm(cache, DATA_PACKAGE, DATA_MEMBER)?;
    let bytes = File::open(&file)?.metadata()?.len();
    ensure!(bytes == DATA_BYTES, "{} has {bytes} bytes, not {DATA_BYTES}", file.display());
    Ok(file)
}

/// A Python interpreter that has the packages of `python/requirements.txt`.
pub(crate) fn python(cache: &Path) -> Result<PathBuf> {
    let requirements = Path::new(SOURCES).join("python/requirements.txt");
    // A virtual environment knows its own path, so it is not renamed but marked as whole.
    let packages = fs::read_to_string(&requirements)?;
    let venv = cache.join(format!("python-{}", packages.trim()));
    let interpreter = venv.join("bin/python");
    let whole = venv.join("whole");
    if !whole.exists() {
        println!("fetching {}", packages.trim());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(&interpreter);
        run(pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
        File::create(whole)?;
    }
    Ok(interpreter)
}

/// A directory with the Node programs and the packages of `node/package.json`.
pub(crate) fn node(cache: &Path) -> Result<PathBuf> {
    let sources = Path::new(SOURCES).join("node");
    let manifest = fs::read_to_string(sources.join("package.json"))?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let version = manifest["dependencies"]["redis"].as_str().context("no version of redis")?;
    let dir = once(cache, &format!("node-redis@{version}"), |dir| {
        fs::copy(sources.join("package.json"), dir.join("package.json"))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]);
        run(npm.current_dir(dir)).map(drop)
    })?;
    // Node looks for packages from where a module lies, so the modules go to the packages.
    for module in ["produce.mjs", "work.mjs"] {
        fs::copy(sources.join(module), dir.join(module))?;
    }
    Ok(dir)
}

/// The Python program of that name.
pub(crate) fn python_program(name: &str) -> PathBuf {
    Path::new(SOURCES).join("python").join(name)
}
