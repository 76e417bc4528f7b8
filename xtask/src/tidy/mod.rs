//! Tidy: the rules of this repository that neither the compiler nor clippy knows.
//!
//! Each rule is a pure function from text to complaints, so that each has a test that feeds it bad
//! input; only `files` touches the disk. A complaint names the file, the line where there is one,
//! and what to do.

mod clock;
mod command;
mod decision;
mod edge;
mod files;
mod length;
mod line;
mod source;

use std::path::Path;

use anyhow::{Result, ensure};

use files::File;

/// Functions that were too long when the rule came: may shrink, may not be joined by others.
const LONG_FUNCTIONS: &str = "xtask/long-functions.txt";

/// Checks the tree below `root`. The error lists every complaint.
pub fn check(root: &Path) -> Result<()> {
    let complaints = complaints(&files::load(root)?);
    ensure!(complaints.is_empty(), "{} complaints of tidy\n{}", complaints.len(), {
        complaints.join("\n")
    });
    Ok(())
}

/// Every complaint about these files, in a stable order.
fn complaints(files: &[File]) -> Vec<String> {
    let mut all = Vec::new();
    let rust: Vec<&File> = files.iter().filter(|file| file.has_extension("rs")).collect();
    for file in files {
        all.extend(line::size(file));
        if ["rs", "toml", "sh"].iter().any(|extension| file.has_extension(extension)) {
            all.extend(line::marks(file));
        }
    }
    for file in &rust {
        all.extend(line::columns(file));
        all.extend(line::header(file));
        all.extend(line::debug_calls(file));
        all.extend(clock::check(file));
    }
    let known = files.iter().find(|file| file.path == LONG_FUNCTIONS).map_or("", File::text);
    all.extend(length::check(&rust, known));
    all.extend(edge::check(files));
    all.extend(command::check(files));
    all.extend(decision::check(files));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        if let Err(error) = check(&crate::workspace::root()) {
            panic!("{error}");
        }
    }

    #[test]
    fn every_rule_is_wired_in() {
        let bad = [
            File::new("crates/a/src/lib.rs", &format!("fn f() {{{}}}\n", "\n".repeat(80))),
            File::new(
                "crates/a/src/b.rs",
                &format!("//! {}\n// {}\ndbg!(1);\n", "x".repeat(100), { concat!("FIX", "ME") }),
            ),
            File::new("crates/levada-core/Cargo.toml", {
                "[package]\nname = \"levada-core\"\n[dependencies]\nlevada-cli.workspace = true\n"
            }),
            File::new("crates/levada-server/src/command/xfoo.rs", "//! why\n"),
            File::new("docs/adr/0002-second.md", ""),
            File::new("blob.bin", &"x".repeat(200 << 10)),
        ];
        let all = complaints(&bad).join("\n");
        for word in [
            "header",
            "columns",
            concat!("FIX", "ME"),
            "dbg!",
            "lines long",
            "may not depend",
            "transcript",
            "0001",
            "KiB",
        ] {
            assert!(all.contains(word), "no complaint about {word}:\n{all}");
        }
    }
}
