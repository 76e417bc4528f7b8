//! The files for Kubernetes against the schemas that Kubernetes publishes, strictly: what a cluster
//! would refuse or drop is found here. The schemas come with the Python package
//! kubernetes-validate, which is put into the cache of the clients; KEDA's objects have none in it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use crate::ci::Outcome;
use crate::{clients, peers, workspace};

/// The pins of the validator.
const VALIDATOR: &str = "kubernetes-validate-1.37.0";
/// From the first that has all that the files ask for to the newest that the validator knows.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];
/// The file, and how many objects are in it.
const OBJECTS: (&str, usize) = ("deploy/kubernetes/levada.yaml", 4);

/// Every object fits its schema, and one with a field that is misspelt does not.
pub(super) fn check() -> Result<Outcome> {
    if !peers::has("python3") {
        return Ok(Outcome::Skipped("python3 is not installed".to_owned()));
    }
    let python = match clients::python(VALIDATOR) {
        Ok(python) => python,
        Err(error) => return Ok(Outcome::Skipped(format!("{VALIDATOR}: {error:#}"))),
    };
    let (path, count) = OBJECTS;
    let path = workspace::root().join(path);
    for version in VERSIONS {
        let output = validate(&python, version, &path)?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let passed = said.matches(" passed for resource ").count();
        ensure!(output.status.success() && passed == count, "Kubernetes {version}: {said}");
    }
    let text = fs::read_to_string(&path)?;
    let wrong = text.replace("  serviceName: ", "  servceName: ");
    ensure!(wrong != text, "there is no serviceName to misspell");
    let work = stage::Directory::new("levada-schemas")?;
    let file = work.path().join("wrong.yaml");
    fs::write(&file, wrong)?;
    let is_taken = validate(&python, VERSIONS[0], &file)?.status.success();
    ensure!(!is_taken, "the schemas take what is misspelt");
    work.remove()?;
    println!("{count} objects fit the schemas of Kubernetes {}", VERSIONS.join(" and "));
    Ok(Outcome::Passed)
}

fn validate(python: &Path, version: &str, file: &Path) -> Result<Output> {
    let mut validate = Command::new(python);
    validate.args(["-m", "kubernetes_validate", "--strict", "-k", version]).arg(file);
    validate.output().with_context(|| format!("cannot run {validate:?}"))
}
