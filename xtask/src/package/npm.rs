//! The package for npm: the binary as its only program, for one system and processor.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use super::archive;
use super::parts::{Parts, SUMMARY, VERSION};
use super::tree::Tree;

/// Makes `levada-VERSION-linux-CPU.tgz`.
pub(super) fn make(parts: &Parts, place: &Path) -> Result<PathBuf> {
    let [_, _, processor] = parts.processor()?;
    let path = place.join(format!("levada-{VERSION}-linux-{processor}.tgz"));
    fs::write(&path, archive::tar_gz(&contents(parts, processor)?, parts.epoch)?)?;
    Ok(path)
}

fn contents(parts: &Parts, processor: &str) -> Result<Tree> {
    let mut manifest = json!({
        "name": "levada",
        "version": VERSION,
        "description": SUMMARY,
        "license": "MIT OR Apache-2.0",
        "os": ["linux"],
        "cpu": [processor],
        "bin": { "levada": "bin/levada" },
    });
    if parts.glibc.is_some() {
        manifest["libc"] = json!(["glibc"]);
    }
    let mut tree = Tree::default();
    tree.program("package/bin/levada", parts.binary.clone());
    tree.file("package/package.json", format!("{manifest:#}\n"));
    for (name, text) in Parts::documents()? {
        tree.file(format!("package/{name}"), text);
    }
    tree.file("package/sbom.cdx.json", parts.sbom.clone());
    Ok(tree)
}
