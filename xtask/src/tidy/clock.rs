//! Time is an argument: of the crates below the command line, only `clock.rs` of the engine reads
//! it. A rule of clippy could say so too, but only per crate, in a file beside each manifest.

use super::files::File;
use super::source::blank;

/// Crates in which time is an argument.
const TIMELESS: &[&str] = &[
    "crates/levada-core/",
    "crates/levada-resp/",
    "crates/levada-engine/",
    "crates/levada-server/",
];
/// The one reader.
const CLOCK: &str = "crates/levada-engine/src/clock.rs";
/// What reads a clock.
const READS: &[&str] = &["Instant::now", "SystemTime::now"];

/// Complains about each other place that reads a clock.
pub(crate) fn check(file: &File) -> Vec<String> {
    let in_source = file.path.contains("/src/");
    if !in_source || file.path == CLOCK || !TIMELESS.iter().any(|at| file.path.starts_with(at)) {
        return Vec::new();
    }
    let code = blank(file.text());
    let reads = |line: &str| READS.iter().any(|read| line.contains(read));
    let lines = code.lines().enumerate().filter(|(_, line)| reads(line));
    lines
        .map(|(index, _)| {
            format!("{}:{}: time is an argument; only {CLOCK} reads it", file.path, index + 1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str) -> usize {
        let read = "// Instant::now\nlet now = std::time::Instant::now();\n";
        check(&File::new(path, read)).len()
    }

    #[test]
    fn only_the_clock_reads_time() {
        assert_eq!(complaints("crates/levada-engine/src/engine.rs"), 1);
        assert_eq!(complaints("crates/levada-server/src/session.rs"), 1);
        assert_eq!(complaints(CLOCK), 0);
        assert_eq!(complaints("crates/levada-engine/benches/log.rs"), 0);
        assert_eq!(complaints("apps/flights/src/main.rs"), 0);
    }
}
