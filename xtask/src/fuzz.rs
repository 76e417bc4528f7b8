//! `cargo xtask fuzz TARGET`: a target under libFuzzer, for as long as you like.
//!
//! It needs no more than what builds everything else, and a C++ compiler for libFuzzer: coverage is
//! a pass of LLVM that a stable compiler has too. Inputs gather below the target folder. `--keep`
//! puts some of those that reach something new into `fuzz/corpus`, which the tests replay.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use levada_fuzz::{TARGETS, seed, target};
use xtask::ci::Unable;
use xtask::workspace;

/// How long a target runs.
const SECONDS: u32 = 60;
/// Longest input, in bytes: a log file of the template.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// What is kept of a corpus: files, and bytes of all.
const KEPT_MAX: (usize, u64) = (48, 160 << 10);
/// What counts branches and compares.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Ccodegen-units=1 --cfg fuzzing";

/// Runs one target, or all of them in order.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut names, mut seconds, mut keep) = (BTreeSet::new(), SECONDS, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = rest.next().context("--seconds needs a value")?;
                seconds = value.parse().context("--seconds")?;
            }
            "--keep" => keep = true,
            "all" => names.extend(TARGETS.map(|(name, _)| name.to_owned())),
            name if target(name).is_some() => _ = names.insert(name.to_owned()),
            other => {
                let known = TARGETS.map(|(name, _)| name).join(", ");
                bail!("unknown target {other:?}: all, or one of {known}");
            }
        }
    }
    ensure!(!names.is_empty(), "say which target, or all");
    let program = build()?;
    for name in names {
        let fuzz = Fuzz::new(&program, name)?;
        fuzz.run(seconds)?;
        if keep {
            fuzz.keep()?;
        }
    }
    Ok(())
}

/// Builds the fuzzer.
fn build() -> Result<PathBuf> {
    let compiler = Command::new("c++").arg("--version").stdout(Stdio::null()).status();
    if !compiler.is_ok_and(|status| status.success()) {
        bail!(Unable("c++ is missing, which builds libFuzzer".to_owned()));
    }
    let version = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name its host")?;
    let target = directory();
    // With a target of its own, build scripts and macros are not instrumented.
    let status = workspace::cargo()
        .args(["build", "--release", "--manifest-path"])
        .arg(workspace::root().join("fuzz/libfuzzer/Cargo.toml"))
        .args(["--target", host])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", FLAGS)
        .status()?;
    ensure!(status.success(), "the fuzzer does not build");
    Ok(target.join(host).join("release/levada-libfuzzer"))
}

/// Where everything is that is not checked in.
fn directory() -> PathBuf {
    workspace::target_dir().join("fuzz")
}

/// A target and its inputs.
struct Fuzz<'a> {
    program: &'a Path,
    name: String,
    /// Inputs of all runs on this machine.
    gathered: PathBuf,
    /// Those that are checked in.
    corpus: PathBuf,
}

impl<'a> Fuzz<'a> {
    fn new(program: &'a Path, name: String) -> Result<Self> {
        let gathered = directory().join("corpus").join(&name);
        let corpus = workspace::root().join("fuzz/corpus").join(&name);
        fs::create_dir_all(&gathered)?;
        fs::create_dir_all(&corpus)?;
        if let Some(bytes) = seed(&name) {
            fs::write(gathered.join("seed"), bytes)?;
        }
        Ok(Self { program, name, gathered, corpus })
    }

    fn run(&self, seconds: u32) -> Result<()> {
        println!("=== {}, {seconds} s", self.name);
        let found = directory().join(format!("{}-", self.name));
        let status = self
            .fuzzer()
            .args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}", found.display()))
            .args([&self.gathered, &self.corpus])
            .status()?;
        ensure!(status.success(), "{} found something, see above", self.name);
        Ok(())
    }

    /// Chooses some of those inputs that together reach everything that was reached.
    fn keep(&self) -> Result<()> {
        let chosen = directory().join("chosen");
        let _ = fs::remove_dir_all(&chosen);
        fs::create_dir_all(&chosen)?;
        let inputs = [&chosen, &self.gathered, &self.corpus];
        let merged = self.fuzzer().arg("-merge=1").args(inputs).stderr(Stdio::null()).status()?;
        ensure!(merged.success(), "the inputs of {} cannot be merged", self.name);
        let mut files = Vec::new();
        for entry in fs::read_dir(&chosen)? {
            let entry = entry?;
            files.push((entry.metadata()?.len(), entry.file_name()));
        }
        files.sort();
        for entry in fs::read_dir(&self.corpus)? {
            fs::remove_file(entry?.path())?;
        }
        // Of all sizes: the smallest alone would never get behind a header.
        let step = files.len().div_ceil(KEPT_MAX.0).max(1);
        let mut bytes = 0;
        for (len, name) in files.into_iter().step_by(step) {
            bytes += len;
            if bytes <= KEPT_MAX.1 {
                fs::copy(chosen.join(&name), self.corpus.join(&name))?;
            }
        }
        Ok(())
    }

    fn fuzzer(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env("LEVADA_FUZZ_TARGET", &self.name).arg(format!("-max_len={INPUT_BYTES_MAX}"));
        command
    }
}
