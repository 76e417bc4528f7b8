//! Which crate may depend on which: a crate is a wall, and these are its doors.

use super::files::File;

/// What a crate may use of ours, in every kind of dependency.
const ALLOWED: &[(&str, &[&str])] = &[
    ("levada-core", &[]),
    ("levada-rdb", &[]),
    ("levada-resp", &[]),
    ("levada-engine", &["levada-core"]),
    ("levada-server", &["levada-core", "levada-engine", "levada-rdb", "levada-resp"]),
    ("levada", &["levada-engine"]),
    // A client of the server, which knows names of keys from the core and nothing else.
    ("levada-dashboard", &["levada-core"]),
    (
        "levada-cli",
        &[
            "levada-core",
            "levada-dashboard",
            "levada-engine",
            "levada-server",
            "levada-rdb",
            "levada",
        ],
    ),
    // The proving ground looks at everything; only the rigs of xtask look at it.
    ("levada-sim", &["levada-core", "levada-resp", "levada-engine", "levada-server", "levada"]),
    (
        "levada-fuzz",
        &[
            "levada-core",
            "levada-dashboard",
            "levada-engine",
            "levada-rdb",
            "levada-resp",
            "levada-server",
        ],
    ),
    // The checker of histories judges the real server too, and the fuzzer runs its targets. Tests
    // only: the reply reader, and the server in process.
    ("xtask", &["levada-fuzz", "levada-resp", "levada-server", "levada-sim"]),
];
/// What an application may use.
const ALLOWED_APPS: &[&str] = &["levada"];
/// Who may use tokio; applications may too.
const TOKIO: &[&str] = &["levada-server", "levada", "levada-cli", "levada-dashboard"];

/// Complains about every edge that is not allowed.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let manifests = files.iter().filter(|file| {
        file.path.ends_with("/Cargo.toml")
            && ["crates/", "apps/", "fuzz/Cargo", "xtask/"]
                .iter()
                .any(|place| file.path.starts_with(place))
    });
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &File) -> Vec<String> {
    let is_app = file.path.starts_with("apps/");
    let manifest = Manifest::parse(file.text());
    let known = ALLOWED.iter().find(|(name, _)| *name == manifest.name);
    let allowed = match known {
        Some((_, allowed)) => *allowed,
        None if is_app => ALLOWED_APPS,
        None => {
            return vec![format!("{}: add {} to tidy's edges", file.path, manifest.name)];
        }
    };
    let is_refused = |dependency: &&String| {
        let is_ours =
            ALLOWED.iter().any(|(name, _)| name == dependency) || dependency.starts_with("levada");
        let is_tokio = *dependency == "tokio" && !is_app;
        (is_ours && !allowed.contains(&dependency.as_str()))
            || (is_tokio && !TOKIO.contains(&manifest.name.as_str()))
    };
    let complain = |dependency: &String| {
        format!("{}: {} may not depend on {dependency}", file.path, manifest.name)
    };
    manifest.dependencies.iter().filter(is_refused).map(complain).collect()
}

/// The little of a manifest that matters here.
#[derive(Default)]
struct Manifest {
    name: String,
    dependencies: Vec<String>,
}

impl Manifest {
    /// Reads the tables `[package]` and `[*dependencies]`, and `[*dependencies.name]`.
    fn parse(text: &str) -> Self {
        let mut manifest = Self::default();
        let mut table = "";
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[') {
                table = header.trim_end_matches(']');
                if let Some((parent, name)) = table.rsplit_once('.')
                    && parent.ends_with("dependencies")
                {
                    manifest.dependencies.push(name.to_owned());
                }
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
                if table == "package" && key == "name" {
                    value.trim().trim_matches('"').clone_into(&mut manifest.name);
                } else if table.ends_with("dependencies") {
                    manifest.dependencies.push(renamed(value).unwrap_or(key).to_owned());
                }
            }
        }
        manifest
    }
}

/// The real name in `alias = { package = "name" }`.
fn renamed(value: &str) -> Option<&str> {
    let behind = value.split_once("package")?.1.trim_start().strip_prefix('=')?;
    behind.trim_start().strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, name: &str, dependencies: &str) -> usize {
        let text = format!("[package]\nname = \"{name}\"\n{dependencies}\n");
        check(&[File::new(path, &text)]).len()
    }

    #[test]
    fn only_the_doors_are_open() {
        let engine =
            |dependencies| complaints("crates/e/Cargo.toml", "levada-engine", dependencies);
        assert_eq!(engine("[dependencies]\nlevada-core.workspace = true\ncrc32c = \"1\""), 0);
        assert_eq!(engine("[dependencies]\nlevada-resp.workspace = true"), 1);
        assert_eq!(engine("[dev-dependencies]\nlevada-sim = { workspace = true }"), 1);
        assert_eq!(engine("[target.'cfg(unix)'.dependencies]\nlevada-cli = \"1\""), 1);
        assert_eq!(engine("[build-dependencies.levada-resp]\nworkspace = true"), 1);
        assert_eq!(engine("[dependencies]\nx = { package = \"levada-cli\" }"), 1);
        assert_eq!(engine("[dependencies]\ntokio = \"1\""), 1);
    }

    #[test]
    fn applications_use_the_toolkit_only() {
        let app = |dependencies| complaints("apps/a/Cargo.toml", "a", dependencies);
        assert_eq!(app("[dependencies]\nlevada = \"1\"\ntokio = \"1\"\nredis = \"1\""), 0);
        assert_eq!(app("[dependencies]\nlevada-engine = \"1\""), 1);
    }

    #[test]
    fn a_new_crate_must_be_listed() {
        assert_eq!(complaints("crates/new/Cargo.toml", "levada-new", ""), 1);
    }
}
