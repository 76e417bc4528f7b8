//! What the binary is made of, as `CycloneDX` 1.5: every crate that is linked into it, with
//! version, licence and the sum of its source, and which asks for which.
//!
//! Cargo says what that is (`cargo tree` with the features of the binary alone, without macros and
//! what only builds run); sums are those of Cargo.lock. There is no time and no random number in
//! it, so that the same sources give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::parts::{Parts, SUMMARY, VERSION, output};
use crate::workspace;

/// The crate that the binary is built from.
const ROOT: &str = "levada-cli";

/// Writes `levada-VERSION-TARGET.cdx.json`.
pub(super) fn make(parts: &Parts, place: &Path) -> Result<PathBuf> {
    let path = place.join(format!("levada-{VERSION}-{}.cdx.json", parts.target));
    fs::write(&path, &parts.sbom)?;
    Ok(path)
}

/// The list for a machine.
pub(super) fn write(target: &str) -> Result<String> {
    let mut cargo = workspace::cargo();
    cargo.args(["tree", "--locked", "-p", ROOT, "--target", target, "--prefix", "depth"]);
    cargo.args(["--edges", "normal,no-proc-macro", "--format", "|{p}|{l}"]);
    let tree = String::from_utf8(output(&mut cargo)?)?;
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    Ok(format!("{:#}\n", document(&Graph::of(&tree)?, &sums(&lock)?)))
}

/// Crates by `name@version`.
#[derive(Debug, Default)]
struct Graph {
    licences: BTreeMap<String, String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads lines of `cargo tree`: depth, package, licence. What was shown before stands there
    /// again without its branches.
    fn of(tree: &str) -> Result<Self> {
        let mut graph = Self::default();
        let mut above: Vec<String> = Vec::new();
        for line in tree.lines() {
            let mut cells = line.split('|');
            let mut cell = || cells.next().with_context(|| format!("cargo tree says {line:?}"));
            let depth: usize = cell()?.parse()?;
            let mut words = cell()?.split(' ');
            let name = words.next().context("a name")?;
            let version = words.next().and_then(|it| it.strip_prefix('v')).context("a version")?;
            let licence = cell()?.trim_end_matches(" (*)").replace('/', " OR ");
            let this = format!("{name}@{version}");
            above.truncate(depth);
            if let Some(parent) = above.last() {
                graph.edges.entry(parent.clone()).or_default().insert(this.clone());
            }
            graph.edges.entry(this.clone()).or_default();
            graph.licences.insert(this.clone(), licence);
            above.push(this);
        }
        Ok(graph)
    }
}

/// The sums in Cargo.lock by `name@version`; our own crates have none.
fn sums(lock: &str) -> Result<BTreeMap<String, String>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("packages")?;
    let text = |package: &toml::Value, key: &str| {
        package.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let sum = |package: &toml::Value| {
        let name = format!("{}@{}", text(package, "name")?, text(package, "version")?);
        Some((name, text(package, "checksum")?))
    };
    Ok(packages.iter().filter_map(sum).collect())
}

fn document(graph: &Graph, sums: &BTreeMap<String, String>) -> Value {
    let root = format!("{ROOT}@{VERSION}");
    let component = |(name, licence): (&String, &String)| -> Value {
        let (crate_name, version) = name.split_once('@').unwrap_or((name, ""));
        let mut component = json!({
            "type": "library",
            "bom-ref": name,
            "name": crate_name,
            "version": version,
            "licenses": [{ "expression": licence }],
        });
        if let Some(sum) = sums.get(name) {
            component["purl"] = json!(format!("pkg:cargo/{name}"));
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    };
    let others = graph.licences.iter().filter(|(name, _)| **name != root);
    let edges = graph.edges.iter();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": root,
            "name": "levada",
            "version": VERSION,
            "description": SUMMARY,
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        }},
        "components": others.map(component).collect::<Vec<_>>(),
        "dependencies": edges
            .map(|(name, below)| json!({ "ref": name, "dependsOn": below }))
            .collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_becomes_components_and_edges() {
        let tree = format!(
            "0|levada-cli v{VERSION} (/src)|MIT OR Apache-2.0\n1|a v1.0.0|MIT/Apache-2.0\n\
             2|b v2.0.0|ISC\n1|c v3.0.0|MIT\n2|b v2.0.0|ISC (*)\n"
        );
        let graph = Graph::of(&tree).unwrap();
        let lock = "[[package]]\nname = \"b\"\nversion = \"2.0.0\"\nchecksum = \"ab\"\n";
        let document = document(&graph, &sums(lock).unwrap());
        let components = document["components"].as_array().unwrap();
        let names: Vec<_> = components.iter().map(|it| it["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(names, ["a@1.0.0", "b@2.0.0", "c@3.0.0"]);
        assert_eq!(components[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(components[1]["hashes"][0]["content"], "ab");
        assert_eq!(components[1]["purl"], "pkg:cargo/b@2.0.0");
        assert!(components[0].get("hashes").is_none());
        let below = |name: &str| {
            let edges = document["dependencies"].as_array().unwrap();
            edges.iter().find(|it| it["ref"] == name).unwrap()["dependsOn"].clone()
        };
        assert_eq!(below(&format!("levada-cli@{VERSION}")), json!(["a@1.0.0", "c@3.0.0"]));
        assert_eq!((below("c@3.0.0"), below("b@2.0.0")), (json!(["b@2.0.0"]), json!([])));
        assert!(Graph::of("0|levada-cli\n").is_err());
    }

    #[test]
    fn the_binary_of_this_workspace_is_listed_with_sums() {
        let text = write("x86_64-unknown-linux-gnu").unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let components = document["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|it| it["name"] == name);
        assert!(find("rustls").is_some_and(|it| it["hashes"][0]["content"].is_string()));
        assert!(find("levada-core").is_some_and(|it| it.get("hashes").is_none()));
        assert!(find("proptest").is_none() && find("serde_derive").is_none(), "not in the binary");
        let known: Vec<_> = components.iter().map(|it| &it["bom-ref"]).collect();
        for edge in document["dependencies"].as_array().unwrap() {
            for below in edge["dependsOn"].as_array().unwrap() {
                assert!(known.contains(&below), "{below}");
            }
        }
        assert!(!text.contains("(/"), "no path of a machine");
    }
}
