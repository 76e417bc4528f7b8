//! Where things are: the root of the workspace and the directory of build output.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::peers;

/// The root of the workspace, from where this crate was built.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies directly below the root").to_owned()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this process, or the one on the path.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Builds programs of the workspace as the tests are built: `cargo build -p` would build most of
/// what they depend on once more, with other features. Answers where they are.
pub fn build(programs: &[&str]) -> Result<PathBuf> {
    build_with(programs, &[])
}

/// The same with features of packages, as `--features` names them.
pub fn build_with(programs: &[&str], features: &[&str]) -> Result<PathBuf> {
    // An example makes it a build of tests, by its features.
    run_build(programs, &["hello"], features)
}

/// Builds examples of the crate `levada`; answers where they are.
pub fn build_examples(examples: &[&str]) -> Result<PathBuf> {
    run_build(&[], examples, &[]).map(|place| place.join("examples"))
}

/// Cargo's profile for what is packaged.
const DIST: &str = "dist";

/// How often which code runs under load, as `cargo xtask pgo` recorded it: what is packaged is
/// optimised for that. It fits the crates, the compiler and the target that it was recorded with:
/// the names of functions, by which it is read, hold all three. No target is this machine's own.
pub fn recorded(target: Option<&str>) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let target = target.map_or(String::new(), |target| format!("-{target}"));
    root().join("packaging/pgo").join(format!("levada-{version}-rust-{rust}{target}.profdata"))
}

/// Builds the server alone, without the features of tests, with a profile of Cargo's; answers where
/// it is. For another target than this machine's own it may be that nobody has recorded on it.
pub fn build_levada(profile: &str, target: Option<&str>, options: &[&str]) -> Result<PathBuf> {
    let mut flags = String::new();
    if profile == DIST {
        let path = recorded(target);
        let shown = path.display();
        match target {
            _ if path.exists() => flags = format!("-Cprofile-use={shown}"),
            None => anyhow::bail!("{shown} is missing: cargo xtask pgo records it"),
            Some(_) => println!("{shown} is missing: what is built is not optimised for load"),
        }
    }
    compile_levada(profile, target, options, &flags, &target_dir())
}

/// Builds what is packaged so that it counts how often which code runs, below a directory of its
/// own; answers where it is. It writes its counts when it ends, to the path in `LLVM_PROFILE_FILE`.
pub fn build_counting(target: Option<&str>, options: &[&str], place: &Path) -> Result<PathBuf> {
    compile_levada(DIST, target, options, "-Cprofile-generate", place)
}

/// `flags` come behind those of the environment.
fn compile_levada(
    profile: &str,
    target: Option<&str>,
    options: &[&str],
    flags: &str,
    place: &Path,
) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--profile", profile, "-p", "levada-cli"]).args(options);
    cargo.arg("--target-dir").arg(place);
    if !flags.is_empty() {
        let others = std::env::var("RUSTFLAGS").unwrap_or_default();
        cargo.env("RUSTFLAGS", format!("{others} {flags}").trim_start());
        // Programs that only build something may count, too.
        cargo.env("LLVM_PROFILE_FILE", "/dev/null");
    }
    if let Some(target) = target {
        cargo.args(["--target", target]);
        let compiler = format!("CC_{}", target.replace('-', "_"));
        let is_ours = is_static(target) && target.starts_with(std::env::consts::ARCH);
        if is_ours && !peers::has("musl-gcc") && std::env::var_os(&compiler).is_none() {
            // The ordinary one does for the little C that there is.
            cargo.env(compiler, "cc");
        }
    }
    ensure!(cargo.status()?.success(), "levada does not build");
    let place = target.map_or_else(|| place.to_owned(), |target| place.join(target));
    Ok(place.join(profile).join("levada"))
}

/// Installs the standard library for a target, unless it is there.
pub fn add_target(target: &str) -> Result<()> {
    let mut print = Command::new("rustc");
    print.args(["--print", "target-libdir", "--target", target]).current_dir(root());
    let place = String::from_utf8(print.output()?.stdout)?;
    if !place.trim().is_empty() && Path::new(place.trim()).exists() {
        return Ok(());
    }
    println!("rustup target add {target}");
    let added = Command::new("rustup").args(["target", "add", target]).current_dir(root()).status();
    ensure!(added.is_ok_and(|it| it.success()), "the library for {target} cannot be installed");
    Ok(())
}

/// Whether what is built for a target needs no library of the system.
pub fn is_static(target: &str) -> bool {
    target.ends_with("-musl")
}

fn run_build(programs: &[&str], examples: &[&str], features: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--workspace"]);
    cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
    cargo.args(examples.iter().flat_map(|example| ["--example", example]));
    cargo.args(features.iter().flat_map(|feature| ["--features", feature]));
    ensure!(cargo.status()?.success(), "{programs:?} and {examples:?} do not build");
    Ok(target_dir().join("debug"))
}

/// Builds the test programs of one name, as `cargo test --workspace` does; answers where that of a
/// package is.
pub fn build_test(package: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["test", "--quiet", "--workspace", "--no-run", "--message-format=json"]);
    let built = cargo.args(["--test", name]).stderr(Stdio::inherit()).output()?;
    ensure!(built.status.success(), "the tests {name} do not build");
    let manifest = root().join("crates").join(package).join("Cargo.toml");
    let messages = serde_json::Deserializer::from_slice(&built.stdout);
    for message in messages.into_iter::<serde_json::Value>() {
        let message = message.context("cargo says something else than JSON")?;
        let is_it = message["manifest_path"].as_str().map(Path::new) == Some(&manifest)
            && message["target"]["name"] == name;
        if let (true, Some(program)) = (is_it, message["executable"].as_str()) {
            return Ok(program.into());
        }
    }
    anyhow::bail!("cargo built no test {name} of {package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packaged_has_a_recording_of_its_version() {
        for target in [None, Some("x86_64-unknown-linux-musl")] {
            let path = recorded(target);
            let bytes = std::fs::read(&path).expect("cargo xtask pgo has recorded it");
            // The magic of an indexed profile, as LLVM's InstrProf.h has it.
            assert!(bytes.starts_with(b"\xfflprofi\x81"), "{}", path.display());
        }
    }
}
