//! Redis 8.6.3, built from the source package of Debian's experimental suite; its tree also holds
//! the Tcl suite.
//!
//! The package comes from the mirror that this machine's own lists name, through lists of our own,
//! so that what the system knows about packages does not change.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{apt, run};

/// Directory of the tree, below the cache.
pub(super) const TREE: &str = "redis-8.6.3-jemalloc";
/// The source package.
const PACKAGE: &str = "redis=5:8.6.3-1";
/// The upstream part of it.
const TARBALL: &str = "redis_8.6.3.orig.tar.gz";
/// The suite of the package.
const SUITE: &str = "experimental";
/// Keys of Debian's archive, from the package of that name.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches, unpacks and builds; about two minutes on two cores.
pub(super) fn install(cache: &Path) -> Result<()> {
    for program in ["apt-get", "make", "cc", "tar"] {
        ensure!(super::has(program), "{program} is not installed");
    }
    // A directory appears under its name only when it is whole.
    let work = cache.join(format!("{TREE}.partial-{}", std::process::id()));
    std::fs::create_dir_all(&work)?;
    let outcome = fetch(&work).and_then(|()| build(&work)).and_then(|()| {
        std::fs::rename(work.join("tree"), cache.join(TREE)).context("the tree cannot be renamed")
    });
    let _ = std::fs::remove_dir_all(&work);
    outcome
}

/// Fetches the tarball; apt checks it by the keys of the archive.
fn fetch(work: &Path) -> Result<()> {
    let mirror = mirror()?;
    let list = work.join("sources.list");
    std::fs::write(&list, format!("deb-src [signed-by={KEYS}] {mirror} {SUITE} main\n"))?;
    let lists = work.join("lists/partial");
    std::fs::create_dir_all(&lists)?;
    std::fs::create_dir_all(work.join("cache/archives/partial"))?;
    let mut options = vec![
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::Etc::sourcelist={}", list.display()),
        format!("Dir::State::lists={}", work.join("lists").display()),
        format!("Dir::Cache={}", work.join("cache").display()),
    ];
    if apt::is_root()? {
        // Otherwise apt fetches as a user who may not write here.
        options.push("APT::Sandbox::User=root".to_owned());
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.current_dir(work).args(options.iter().flat_map(|option| ["-o", option.as_str()]));
        command
    };
    run(apt_get().arg("update"))?;
    run(apt_get().args(["source", "--download-only", PACKAGE]))?;
    Ok(())
}

/// The mirror that this machine installs its own release from.
fn mirror() -> Result<String> {
    let release = std::fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.context("/etc/os-release names no release")?.trim_matches('"');
    let listed = run(Command::new("apt-get").args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(RELEASE) $(COMPONENT) $(SITE)",
    ]))?;
    let wanted = format!("{codename} main ");
    let mirror = listed.lines().find_map(|line| line.strip_prefix(&wanted));
    Ok(mirror.with_context(|| format!("no list of packages of {codename}"))?.to_owned())
}

fn build(work: &Path) -> Result<()> {
    let tree = work.join("tree");
    std::fs::create_dir(&tree)?;
    run(Command::new("tar")
        .args(["--strip-components=1", "-xzf"])
        .arg(work.join(TARBALL))
        .arg("-C")
        .arg(&tree))?;
    println!("{TREE}: building, about three minutes");
    run(Command::new("make").arg("-C").arg(&tree).args(["-j2", "BUILD_TLS=no"]))?;
    Ok(())
}
