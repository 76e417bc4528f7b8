//! The wheel: `pip install levada` puts the binary where programs of the environment are. There is
//! no Python in it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::archive;
use super::parts::{Parts, SUMMARY, VERSION};
use super::tree::{Item, Tree};

/// Makes `levada-VERSION-py3-none-PLATFORM.whl`.
pub(super) fn make(parts: &Parts, place: &Path) -> Result<PathBuf> {
    let platforms = platforms(parts)?;
    let path = place.join(format!("levada-{VERSION}-py3-none-{}.whl", platforms.join(".")));
    fs::write(&path, archive::zip(&contents(parts, &platforms)?)?)?;
    Ok(path)
}

/// Where it runs, in the words of pip: from the glibc on that it asks for, and anywhere if static.
fn platforms(parts: &Parts) -> Result<Vec<String>> {
    let [_, processor, _] = parts.processor()?;
    Ok(match parts.glibc {
        Some((major, minor)) => vec![format!("manylinux_{major}_{minor}_{processor}")],
        None => ["manylinux_2_17", "musllinux_1_1"].map(|it| format!("{it}_{processor}")).to_vec(),
    })
}

fn contents(parts: &Parts, platforms: &[String]) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.program(format!("levada-{VERSION}.data/scripts/levada"), parts.binary.clone());
    let info = format!("levada-{VERSION}.dist-info");
    let mut metadata = format!(
        "Metadata-Version: 2.4\nName: levada\nVersion: {VERSION}\nSummary: {SUMMARY}\n\
         License-Expression: MIT OR Apache-2.0\n"
    );
    for (name, text) in Parts::documents()? {
        match name.starts_with("LICENSE") {
            true => {
                writeln!(metadata, "License-File: {name}")?;
                tree.file(format!("{info}/licenses/{name}"), text);
            }
            false => tree.file(format!("{info}/{name}"), text),
        }
    }
    metadata += "Requires-Python: >=3.8\n";
    tree.file(format!("{info}/METADATA"), metadata);
    let tags: Vec<_> = platforms.iter().map(|it| format!("Tag: py3-none-{it}\n")).collect();
    tree.file(
        format!("{info}/WHEEL"),
        format!(
            "Wheel-Version: 1.0\nGenerator: levada-xtask {VERSION}\nRoot-Is-Purelib: false\n{}",
            tags.concat()
        ),
    );
    tree.file(format!("{info}/sboms/levada.cdx.json"), parts.sbom.clone());
    let record = record(&tree, &info);
    tree.file(format!("{info}/RECORD"), record);
    Ok(tree)
}

/// Path, sum and length of every file; those of the list itself are left out.
fn record(tree: &Tree, info: &str) -> String {
    let row = |(path, item): (&String, &Item)| {
        let sum = URL_SAFE_NO_PAD.encode(digest(&SHA256, &item.bytes));
        format!("{path},sha256={sum},{}\n", item.bytes.len())
    };
    let rows: Vec<_> = tree.0.iter().map(row).collect();
    format!("{}{info}/RECORD,,\n", rows.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_but_the_list_itself_has_its_sum() {
        let mut tree = Tree::default();
        tree.file("a", "abc");
        let expect = "a,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3\ni/RECORD,,\n";
        assert_eq!(record(&tree, "i"), expect);
    }
}
