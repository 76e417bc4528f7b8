//! The package for Debian and what is made of it: built by dpkg-deb, which sorts, takes times from
//! `SOURCE_DATE_EPOCH` and makes root the owner of everything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::archive;
use super::parts::{self, MAINTAINER, Parts, SUMMARY, VERSION};
use super::tree::Tree;

/// Makes `levada_VERSION_ARCH.deb`.
pub(super) fn make(parts: &Parts, place: &Path) -> Result<PathBuf> {
    let [processor, ..] = parts.processor()?;
    let path = place.join(format!("levada_{VERSION}_{processor}.deb"));
    let work = stage::Directory::new("levada-deb")?;
    let root = work.path().join("root");
    contents(parts)?.write(&root)?;
    parts::output(
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", parts.epoch.to_string())
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([&root, &path]),
    )?;
    work.remove()?;
    Ok(path)
}

fn contents(parts: &Parts) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.program("usr/bin/levada", parts.binary.clone());
    let unit = parts::template("systemd/levada.service")?;
    tree.file("lib/systemd/system/levada.service", unit);
    tree.file("etc/levada/levada.toml", parts::template("levada.toml")?);
    for (name, page) in &parts.man {
        tree.file(format!("usr/share/man/man1/{name}.gz"), archive::gzip(page)?);
    }
    for (shell, text) in &parts.completions {
        let path = match *shell {
            "bash" => "usr/share/bash-completion/completions/levada",
            "zsh" => "usr/share/zsh/vendor-completions/_levada",
            _ => "usr/share/fish/vendor_completions.d/levada.fish",
        };
        tree.file(path, text.clone());
    }
    tree.file("usr/share/doc/levada/copyright", parts::template("debian/copyright")?);
    tree.file("usr/share/doc/levada/sbom.cdx.json", parts.sbom.clone());
    let bytes: usize = tree.0.values().map(|item| item.bytes.len()).sum();
    tree.file("DEBIAN/control", control(parts, bytes)?);
    tree.file("DEBIAN/conffiles", "/etc/levada/levada.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        tree.program(format!("DEBIAN/{script}"), parts::template(&format!("debian/{script}"))?);
    }
    Ok(tree)
}

/// The fields that dpkg reads.
fn control(parts: &Parts, bytes: usize) -> Result<String> {
    let [processor, ..] = parts.processor()?;
    let mut depends = "adduser".to_owned();
    if let Some((major, minor)) = parts.glibc {
        write!(depends, ", libc6 (>= {major}.{minor}), libgcc-s1")?;
    }
    Ok(format!(
        "Package: levada\nVersion: {VERSION}\nArchitecture: {processor}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {}\nDepends: {depends}\nSuggests: redis-tools\nSection: database\n\
         Priority: optional\nDescription: {SUMMARY}\n \
         One binary that speaks the Redis protocol: every client of Redis Streams works\n \
         unchanged, an acknowledged entry is on disk, and streams may be far larger than\n \
         memory.\n",
        bytes.div_ceil(1024)
    ))
}
