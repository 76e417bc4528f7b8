//! `cargo xtask package`: the binary as a Debian package, a wheel, a package of npm and a tar file
//! with an installer, and a list of what it is made of.
//!
//! The same binary and the same commit give the same bytes: entries are sorted, times are those of
//! the commit (`SOURCE_DATE_EPOCH` wins), owners are root. `--check` builds everything twice to
//! see that, installs each into a directory of its own and runs what was installed.

mod archive;
mod check;
mod deb;
mod manifests;
mod npm;
mod parts;
mod sbom;
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

/// Makes packages in `target/package`, or checks all of them.
pub fn run(arguments: &[String]) -> Result<Outcome> {
    let options = Options::parse(arguments)?;
    if options.check && !peers::has("dpkg-deb") {
        return ci::lacking("dpkg-deb is not installed");
    }
    let binary = if let Some(binary) = &options.binary {
        binary.clone()
    } else {
        // A check asks for no more than the binary that other stages of CI build.
        let profile = if options.check { "release" } else { "dist" };
        build(profile, options.target.as_deref())?
    };
    let parts = Parts::gather(&binary, options.target.as_deref())?;
    let place = workspace::target_dir().join("package");
    let kinds = if options.check { &KINDS[..] } else { &options.kinds };
    let made = make(&parts, kinds, &place)?;
    for path in &made {
        println!("{} ({} KiB)", path.display(), fs::metadata(path)?.len() >> 10);
    }
    match options.check {
        true => check::run(&parts, &made),
        false => Ok(Outcome::Passed),
    }
}

/// The stage of `ci`: all of it, from the release binary that other stages build too.
pub fn stage() -> Result<Outcome> {
    run(&["all".to_owned(), "--check".to_owned()])
}

/// Builds the binary; answers where it is.
fn build(profile: &str, target: Option<&str>) -> Result<PathBuf> {
    let target = target.map_or(Vec::new(), |target| vec!["--target", target]);
    workspace::build_levada(profile, &[&["--locked"], &target[..]].concat())
}

/// Makes packages of these kinds in a directory; answers their files, and writes their sums.
fn make(parts: &Parts, kinds: &[&str], place: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(place)?;
    let mut made = Vec::new();
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
