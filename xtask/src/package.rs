//! `cargo xtask package`: the binary as a Debian package, a wheel, a package of npm and a tar file
//! with an installer, and a list of what it is made of.
//!
//! The same binary and the same commit give the same bytes: entries are sorted, times are those of
//! the commit (`SOURCE_DATE_EPOCH` wins), owners are root. `--check` builds everything twice to
//! see that, installs each into a directory of its own and runs what was installed.

mod archive;
mod check;
mod container;
mod deb;
mod manifests;
mod npm;
mod parts;
mod sbom;
mod schemas;
mod systemd;
mod tarball;
mod tree;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::parts::Parts;
use crate::ci::{self, Outcome};
use crate::{peers, workspace};

/// What can be made.
const KINDS: [&str; 5] = ["deb", "pip", "npm", "tar", "sbom"];

/// What is asked for on the command line.
#[derive(Debug, Default)]
struct Options {
    kinds: Vec<&'static str>,
    /// A binary that is there; else it is built.
    binary: Option<PathBuf>,
    /// For what machine it is built; else for the one that builds.
    target: Option<String>,
    check: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--target" => options.target = Some(value()?.clone()),
                "--check" => options.check = true,
                "all" => options.kinds.extend(KINDS),
                kind => match KINDS.into_iter().find(|known| *known == kind) {
                    Some(kind) => options.kinds.push(kind),
                    None => bail!("{kind:?} is none of {}, all", KINDS.join(", ")),
                },
            }
        }
        if options.kinds.is_empty() {
            options.kinds.extend(KINDS);
        }
        Ok(options)
    }
}

/// What of it is for any Linux, and so has a static binary unless a target is named.
const STATIC: [&str; 1] = ["tar"];

/// Packages that have the same binary.
#[derive(Debug)]
struct Batch {
    parts: Parts,
    kinds: Vec<&'static str>,
}

/// Makes packages in `target/package`, or checks all of them.
pub fn run(arguments: &[String]) -> Result<Outcome> {
    let options = Options::parse(arguments)?;
    if options.check && !peers::has("dpkg-deb") {
        return ci::lacking("dpkg-deb is not installed");
    }
    let batches = gather(&options)?;
    let place = workspace::target_dir().join("package");
    let made = make(&batches, &place)?;
    for path in &made {
        println!("{} ({} KiB)", path.display(), fs::metadata(path)?.len() >> 10);
    }
    match options.check {
        true => check::run(&batches, &made),
        false => Ok(Outcome::Passed),
    }
}

/// The stage of `ci`: all of it, from the release binary that other stages build too.
pub fn stage() -> Result<Outcome> {
    run(&["all".to_owned(), "--check".to_owned()])
}

/// The binaries that are asked for, each with what goes with it.
fn gather(options: &Options) -> Result<Vec<Batch>> {
    let kinds = if options.check { &KINDS[..] } else { &options.kinds };
    let of = |target: Option<&str>, kinds: Vec<&'static str>| -> Result<Batch> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => build(options, target)?,
        };
        Ok(Batch { parts: Parts::gather(&binary, target)?, kinds })
    };
    if options.target.is_some() || options.binary.is_some() {
        return Ok(vec![of(options.target.as_deref(), kinds.to_vec())?]);
    }
    let target = static_target()?;
    let (mut statics, mut others): (Vec<_>, Vec<_>) =
        kinds.iter().partition(|kind| STATIC.contains(kind));
    if let Err(error) = workspace::add_target(&target) {
        let why = format!("no static binary: {error:#}");
        ci::lacking(&why)?;
        println!("SKIPPED: {why}");
        others.append(&mut statics);
    }
    let mut batches = Vec::new();
    if !others.is_empty() {
        batches.push(of(None, others)?);
    }
    if !statics.is_empty() {
        // The list of what it is made of is another one.
        let sbom = kinds.iter().copied().filter(|kind| *kind == "sbom");
        batches.push(of(Some(&target), statics.into_iter().chain(sbom).collect())?);
    }
    Ok(batches)
}

/// The target for static binaries for processors like this one.
fn static_target() -> Result<String> {
    let host = parts::host()?;
    let processor = host.split('-').next().context("a target names its processor")?;
    Ok(format!("{processor}-unknown-linux-musl"))
}

/// Builds the binary; answers where it is.
fn build(options: &Options, target: Option<&str>) -> Result<PathBuf> {
    // A check asks for no more than the binary that other stages of CI build.
    let profile = if options.check { "release" } else { "dist" };
    // This machine's own target, when it is named, is a target like any other to Cargo, which would
    // give functions other names than the recording has.
    let host = parts::host()?;
    let target = target.filter(|target| *target != host);
    workspace::build_levada(profile, target, &["--locked"])
}

/// Makes all packages in a directory; answers their files, and writes their sums.
fn make(batches: &[Batch], place: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(place)?;
    let mut made = Vec::new();
    for Batch { parts, kinds } in batches {
        for kind in kinds {
            let path = match *kind {
                "deb" => deb::make(parts, place)?,
                "pip" => wheel::make(parts, place)?,
                "npm" => npm::make(parts, place)?,
                "tar" => tarball::make(parts, place)?,
                _ => sbom::make(parts, place)?,
            };
            made.push(path);
        }
    }
    made.sort();
    let sum = |path: &PathBuf| -> Result<String> {
        let name = path.file_name().context("it is a file")?.to_string_lossy();
        Ok(format!("{}  {name}\n", archive::sha256_hex(&fs::read(path)?)))
    };
    let sums: String = made.iter().map(sum).collect::<Result<_>>()?;
    fs::write(place.join("SHA256SUMS"), sums)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_options_are_told_apart() {
        let parse = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            Options::parse(&words)
        };
        assert_eq!(parse("").unwrap().kinds, KINDS);
        let options = parse("deb --binary b --check").unwrap();
        assert_eq!((options.kinds, options.check), (vec!["deb"], true));
        assert!(parse("rpm").is_err() && parse("--binary").is_err());
    }

    #[test]
    fn what_names_the_version_names_this_one() {
        let version = parts::VERSION;
        for (path, words) in [
            ("packaging/install.sh", format!("\nversion={version}\n")),
            ("packaging/container/Containerfile", format!(" levada:{version}\n")),
            ("deploy/kubernetes/levada.yaml", format!("image: levada:{version}\n")),
            ("docs/operate/kubernetes.md", format!("-t levada:{version} .")),
            ("docs/operate/install.md", format!("./levada_{version}_amd64.deb")),
        ] {
            let text = fs::read_to_string(workspace::root().join(path)).unwrap();
            assert!(text.contains(&words), "{path} does not say {words:?}");
        }
    }
}
