//! The tar file for every other system, with what `packaging/install.sh` puts into place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::archive;
use super::parts::{self, Parts, VERSION};
use super::tree::Tree;

/// Makes `levada-VERSION-TARGET.tar.gz`.
pub(super) fn make(parts: &Parts, place: &Path) -> Result<PathBuf> {
    let name = format!("levada-{VERSION}-{}", parts.target);
    let path = place.join(format!("{name}.tar.gz"));
    let mut tree = Tree::default();
    tree.program(format!("{name}/levada"), parts.binary.clone());
    for (page, text) in &parts.man {
        tree.file(format!("{name}/man/{page}"), text.clone());
    }
    for (shell, text) in &parts.completions {
        tree.file(format!("{name}/completions/levada.{shell}"), text.clone());
    }
    for (document, text) in Parts::documents()? {
        tree.file(format!("{name}/{document}"), text);
    }
    tree.file(format!("{name}/levada.toml"), parts::template("levada.toml")?);
    tree.file(format!("{name}/levada.service"), parts::template("systemd/levada.service")?);
    tree.file(format!("{name}/sbom.cdx.json"), parts.sbom.clone());
    fs::write(&path, archive::tar_gz(&tree, parts.epoch)?)?;
    Ok(path)
}
