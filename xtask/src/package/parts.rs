//! What every package is made of: the binary, what it prints about itself, licences, and the facts
//! that package managers ask for.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::sbom;
use crate::{peers, workspace};

/// One line about it, for package managers.
pub(super) const SUMMARY: &str = "Redis Streams server that keeps what it accepted";
/// The version of all crates of the workspace.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where package managers send people who have found a fault.
pub(super) const MAINTAINER: &str = "Levada <maintainers@levada.invalid>";

/// See the module.
#[derive(Debug)]
pub(super) struct Parts {
    /// For what machine the binary is, as rustc calls it.
    pub(super) target: String,
    /// The newest symbol version of glibc that the binary asks for; `None` if it is static.
    pub(super) glibc: Option<(u32, u32)>,
    /// Seconds since 1970: what every file has as its time.
    pub(super) epoch: u64,
    /// Without what only a debugger reads.
    pub(super) binary: Vec<u8>,
    /// Pages of the manual by name, such as `levada.1`.
    pub(super) man: Vec<(String, Vec<u8>)>,
    /// Completions by shell.
    pub(super) completions: Vec<(&'static str, Vec<u8>)>,
    /// What it is made of.
    pub(super) sbom: String,
}

impl Parts {
    /// Takes a binary that runs on this machine.
    pub(super) fn gather(binary: &Path, target: Option<&str>) -> Result<Self> {
        let said = output(Command::new(binary).arg("--version"))?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        ensure!(said == format!("levada {VERSION}"), "{} is {said}", binary.display());
        let target = match target {
            Some(target) => target.to_owned(),
            None => host()?,
        };
        let work = stage::Directory::new("levada-package")?;
        let pages = work.path().join("man");
        output(Command::new(binary).arg("man").arg(&pages))?;
        let mut man = Vec::new();
        for page in fs::read_dir(&pages)? {
            let page = page?;
            man.push((page.file_name().to_string_lossy().into_owned(), fs::read(page.path())?));
        }
        man.sort();
        let complete = |shell| -> Result<(&'static str, Vec<u8>)> {
            Ok((shell, output(Command::new(binary).args(["completions", shell]))?))
        };
        let completions = ["bash", "zsh", "fish"].map(complete);
        let binary = stripped(binary, &work.path().join("stripped"))?;
        let asks = interpreter(&binary);
        let is_meant = asks.is_none() == workspace::is_static(&target);
        ensure!(is_meant, "a binary for {target} that asks for {asks:?}");
        work.remove()?;
        Ok(Self {
            glibc: asks.and_then(|_| newest_glibc(&binary)),
            epoch: epoch()?,
            man,
            completions: completions.into_iter().collect::<Result<_>>()?,
            sbom: sbom::write(&target)?,
            target,
            binary,
        })
    }

    /// The name of the processor, in the words of Debian, Python and Node.
    pub(super) fn processor(&self) -> Result<[&'static str; 3]> {
        match self.target.split('-').next() {
            Some("x86_64") => Ok(["amd64", "x86_64", "x64"]),
            Some("aarch64") => Ok(["arm64", "aarch64", "arm64"]),
            _ => bail!("no package manager here has a name for {}", self.target),
        }
    }

    /// The documents that go with the binary, by name.
    pub(super) fn documents() -> Result<Vec<(&'static str, Vec<u8>)>> {
        let read = |name| -> Result<(&'static str, Vec<u8>)> {
            Ok((name, fs::read(workspace::root().join(name)).context(name)?))
        };
        ["LICENSE-APACHE", "LICENSE-MIT", "README.md"].map(read).into_iter().collect()
    }
}

/// A file of `packaging/`.
pub(super) fn template(name: &str) -> Result<String> {
    let path = workspace::root().join("packaging").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// What a program prints. It must end well.
pub(super) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok(output.stdout)
}

/// The machine that rustc builds for by itself.
pub(super) fn host() -> Result<String> {
    let said = output(Command::new("rustc").args(["--version", "--verbose"]))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc names its host")?.to_owned())
}

/// The time of the last commit, unless the environment names another one.
fn epoch() -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().context("SOURCE_DATE_EPOCH");
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(workspace::root());
    match git.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
        }
        // A source tree without its history: the first time that every format can say.
        _ => Ok(315_532_800),
    }
}

/// A binary without what only a debugger reads; names of functions stay, for backtraces.
fn stripped(binary: &Path, to: &Path) -> Result<Vec<u8>> {
    if !peers::has("strip") {
        println!("strip is not installed: the binary goes in with its debug information");
        return Ok(fs::read(binary)?);
    }
    output(Command::new("strip").args(["--strip-debug", "-o"]).arg(to).arg(binary))?;
    Ok(fs::read(to)?)
}

/// The dynamic linker that a binary asks for (`PT_INTERP` of ELF with 64 bits); `None` if it is
/// static, and needs no library of the system.
fn interpreter(binary: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = binary.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let place = |at: usize| -> Option<usize> { number(at, 8)?.try_into().ok() };
    let (table, size, count) = (place(0x20)?, number(0x36, 2)?, number(0x38, 2)?);
    let mut heads = (0..count).map(|nth| table + usize::try_from(nth * size).unwrap_or(usize::MAX));
    let head = heads.find(|head| number(*head, 4) == Some(PT_INTERP))?;
    let (begin, length) = (place(head + 8)?, place(head + 0x20)?);
    let path = binary.get(begin..begin + length)?;
    Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned())
}

/// The highest `GLIBC_2.x` that stands anywhere in a binary. What asks for it stands among the
/// names of the dynamic linker; one that merely is mentioned makes the answer safe, not wrong.
fn newest_glibc(binary: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_2.";
    let minor = |at: &[u8]| -> Option<u32> {
        let digits = at.strip_prefix(MARK)?;
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
    };
    let places = (0..binary.len()).filter(|at| binary[*at] == b'G');
    places.filter_map(|at| minor(&binary[at..])).max().map(|minor| (2, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_binary_asks_for_is_found() {
        // This test is for the machine that it is built on, as programs are by themselves.
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        let asks = interpreter(&this).unwrap();
        assert!(asks.starts_with("/lib") && asks.contains("ld-linux"), "{asks}");
        assert_eq!(interpreter(&this[..0x40]), None);
        assert_eq!(interpreter(b""), None);
    }

    #[test]
    fn the_newest_glibc_is_found() {
        let check = |bytes: &[u8], expect| assert_eq!(newest_glibc(bytes), expect);
        check(b"..GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4\0", Some((2, 34)));
        check(b"GLIBC_PRIVATE GLIBC_2.", None);
        check(b"", None);
    }
}
