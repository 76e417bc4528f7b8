//! `cargo xtask pgo [--target T]`: records how often which code runs under load, for the compiler.
//!
//! A server that counts is built as it is packaged, loaded with the cases of `levada bench`, ended
//! and started again, so that recovery counts, too; the same with the server without an engine, so
//! that comparisons with it stay fair. What both counted is the file that builds of what is
//! packaged read ([`workspace::recorded`]). To be run again when a hot path has changed, and for
//! each version of Levada and of Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace;

use crate::kills::server::{Kind, Server};

/// Longest wait for a server that counts.
const START_MAX: Duration = Duration::from_mins(1);
/// What servers are asked for. Each case is about as long as the others: what is done more often in
/// it counts more.
const APPENDS: [&str; 3] =
    ["append --seconds 3", "append --pipeline 16 --seconds 3", "append --pipeline 128 --seconds 3"];
const REST: [&str; 7] = [
    "group --entries 200000",
    "deliver --rate 5000 --seconds 3",
    "fanout --readers 100 --seconds 2",
    "mixed --seconds 3",
    "pending --entries 100000",
    "range --entries 300000 --seconds 3",
    "streams --pipeline 16 --seconds 3",
];

/// Records, and writes the file.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let target = match arguments {
        [] => None,
        [flag, target] if flag == "--target" => Some(target.as_str()),
        other => bail!("{other:?}: cargo xtask pgo takes --target and no more"),
    };
    let merger = merger()?;
    let place = workspace::target_dir().join("pgo");
    let counts = place.join("counts");
    if counts.exists() {
        std::fs::remove_dir_all(&counts)?;
    }
    let levada = workspace::build_counting(target, &["--locked"], &place)?;
    count(Kind::Levada, &levada, &[&APPENDS[..], &REST[..]].concat(), &counts)?;
    // Nothing else than this machine's own is compared with the null server.
    if target.is_none() {
        // It takes the place of the other.
        let null = workspace::build_counting(target, &["--locked", "--features", "null"], &place)?;
        count(Kind::Null, &null, &APPENDS, &counts)?;
    }

    let recorded = workspace::recorded(target);
    std::fs::create_dir_all(recorded.parent().context("it has a directory")?)?;
    let files = std::fs::read_dir(&counts)?.map(|entry| Ok(entry?.path()));
    let files = files.collect::<Result<Vec<PathBuf>>>()?;
    let mut merge = Command::new(merger);
    let merged = merge.args(["merge", "--sparse", "-o"]).arg(&recorded).args(files).status()?;
    ensure!(merged.success(), "llvm-profdata does not merge the counts");
    println!("{} ({} KiB)", recorded.display(), std::fs::metadata(&recorded)?.len() >> 10);
    Ok(())
}

/// Loads a server that counts, which is the load generator, too, and has it write what it counted.
fn count(kind: Kind, program: &Path, loads: &[&str], counts: &Path) -> Result<()> {
    let mut server = Server::of(kind, program.to_owned(), None)?;
    // One file for each program, to which its processes add.
    server.set_variable("LLVM_PROFILE_FILE", counts.join("%m.profraw"));
    server.restart(START_MAX)?;
    for load in loads {
        let bench = Command::new(program)
            .env("LLVM_PROFILE_FILE", "/dev/null")
            .args(["bench", "--flush", "--url"])
            .arg(format!("redis://{}", server.address()))
            .args(load.split(' '))
            .status()?;
        ensure!(bench.success(), "levada bench {load} fails");
    }
    server.terminate()?;
    server.restart(START_MAX)?;
    server.terminate()
}

/// LLVM's tool beside the compiler.
fn merger() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).args(["--print", "target-libdir"]).output()?;
    ensure!(said.status.success(), "rustc does not say where its libraries are");
    let libraries = PathBuf::from(String::from_utf8(said.stdout)?.trim());
    let tool = libraries.with_file_name("bin").join("llvm-profdata");
    ensure!(tool.exists(), "llvm-profdata is missing: rustup component add llvm-tools");
    Ok(tool)
}
