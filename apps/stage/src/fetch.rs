//! What is taken from a package registry, once.
//!
//! Each thing is asked for by package name and exact version. It is made under another name and
//! renamed when whole, so an interrupted fetch leaves nothing half done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The file `member` (`package/data/x.json`) of an npm package (`name@version`), kept in the
/// directory `cache`. It needs `npm` and `tar`.
pub fn from_npm(cache: &Path, package: &str, member: &str) -> Result<PathBuf> {
    let dir = once(cache, &package.replace('/', "-"), |dir| {
        let mut npm = Command::new("npm");
        let archive = run(npm.args(["pack", "--silent", package]).current_dir(dir))?;
        let archive = archive.lines().last().context("npm pack names no archive")?.trim();
        run(Command::new("tar").args(["-xzf", archive, member]).current_dir(dir))?;
        Ok(fs::remove_file(dir.join(archive))?)
    })?;
    Ok(dir.join(member))
}

/// Makes the directory `name` in `cache` with `fill`, unless it is there.
pub fn once(cache: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = cache.join(name);
    if !dir.exists() {
        println!("fetching {name}");
        let partial = cache.join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&partial)?;
        fill(&partial).with_context(|| format!("cannot fetch {name}"))?;
        fs::rename(&partial, &dir)?;
    }
    Ok(dir)
}

/// Runs a program to its end and answers what it printed; what it complained of is the error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed, {}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[test]
    fn what_is_there_is_not_fetched_and_half_a_fetch_is_not_there() {
        let cache = Directory::new("stage-fetch").unwrap();
        let fails = once(cache.path(), "it", |_| anyhow::bail!("the line broke"));
        assert!(format!("{:#}", fails.unwrap_err()).ends_with("cannot fetch it: the line broke"));
        let fill = |dir: &Path| Ok(fs::write(dir.join("file"), "whole")?);
        let made = once(cache.path(), "it", fill).unwrap();
        assert_eq!(fs::read_to_string(made.join("file")).unwrap(), "whole");
        once(cache.path(), "it", |_| anyhow::bail!("it is there")).unwrap();
        cache.remove().unwrap();
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let told = run(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        assert!(told.to_string().ends_with("no\n"), "{told}");
    }
}
