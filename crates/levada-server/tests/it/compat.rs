//! COMPAT.md is made from the command table, the transcripts and the results of the Tcl suite, and
//! this test keeps it fresh.
//! `UPDATE_COMPAT=1 cargo test -p levada-server compat` writes it anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use levada_server::{CommandSpec, command_table};

const HEAD: &str = "\
# What Levada answers

Made from the command table and the transcripts by `UPDATE_COMPAT=1 cargo test -p levada-server`;
a test keeps it fresh. Each transcript runs against Levada and, unchanged, against a real Redis
(`cargo xtask transcripts --peer 8.6`). The target is Redis 8.6.3, replies and error texts to the
byte.

";

const SUITE: &str = "\
## Redis' own tests

The Tcl suite of Redis 8.6.3, run by `cargo xtask conformance` against a Levada that has DEBUG for
it, where a reload means that the store is closed and recovered from disk. Levada must pass as many
as Redis and fail none; tests for servers that the suite starts itself do not count.

| suite | Levada passes | Redis 8.6.3 passes | left out |
|---|---|---|---|
";

const OUT: &str = "\
## Out, on purpose

Lists, sets, hashes, sorted sets, geo, HyperLogLog, scripts and functions (`SCRIPT FLUSH` and
`FUNCTION FLUSH` answer OK, for tools that send them unasked), modules, DEBUG, REPLICAOF, CLIENT
TRACKING: Redis' unknown-command error. See docs/adr/0006.

## Different, knowingly

- Logical nodes, which `~` trims by, close as `stream-node-max-entries` says, and by bytes at the
  sum of field and value bytes; Redis counts the encoded bytes of its own structure. With
  `stream-node-max-bytes 0` both agree exactly.
- `WAIT n` with n > 0 blocks to its timeout and answers 0: there are no replicas. `WAITAOF` answers
  when all that the connection wrote is on disk.
- An idempotent id is over to the millisecond when its duration is, counted from its append. Redis
  looks once a second, and counts from the id of the entry: in a stream whose last id lies in the
  future it may keep more. What XIDMPRECORD records counts for a second at least.
- XAUTOCLAIM answers a cursor that may be further on than that of Redis where more than 128 entries
  are pending, past entries of which none was to be claimed or reported; what a call claims and
  reports is the same.
- A write whose sync failed gets no reply: its connection is closed, and the server ends.
- `XGROUP HELP` names our subcommands among Redis' own.
- An entry or string is at most 16 MiB; one XREADGROUP hands out at most a million entries of one
  stream, with or without COUNT.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Which transcripts use a command, by its full name in lower case (`xgroup|create`).
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let directory = root().join("tests/transcripts");
    for entry in fs::read_dir(directory).expect("transcripts are there").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for line in fs::read_to_string(&path).expect("is text").lines() {
            let Some((name, request)) = line.split_once("> ") else { continue };
            if name.len() > 1 || request.is_empty() {
                continue;
            }
            let mut words = request.split_whitespace().map(str::to_ascii_lowercase);
            let first = words.next().unwrap_or_default();
            let container = words.next().map(|second| format!("{first}|{second}"));
            for name in [Some(first), container].into_iter().flatten() {
                uses.entry(name).or_default().insert(file.clone());
            }
        }
    }
    uses
}

/// The transcript of a command's own name, or else up to three that use it.
fn shown_by(name: &str, uses: &BTreeMap<String, BTreeSet<String>>) -> String {
    let Some(files) = uses.get(name) else { return String::new() };
    let own = name.split('|').next().unwrap_or(name);
    if files.contains(own) {
        return own.to_owned();
    }
    files.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
}

fn rows(text: &mut String, specs: &[CommandSpec], uses: &BTreeMap<String, BTreeSet<String>>) {
    for spec in specs {
        let shown = shown_by(spec.name, uses);
        let name = spec.name.replace('|', " ").to_uppercase();
        let syntax = spec.syntax.replace('|', "\\|");
        let _ = writeln!(text, "| `{name} {syntax}` | {} | {shown} |", spec.since);
        rows(text, spec.subcommands, uses);
    }
}

/// The counts of the Tcl suite, and what is left out for which reason.
fn suite(text: &mut String) {
    let read = |name| {
        let path = root().join("tests/conformance").join(name);
        fs::read_to_string(path).expect("it is in the repository")
    };
    text.push_str(SUITE);
    for line in read("results.txt").lines().filter(|line| !line.starts_with('#')) {
        let _ = writeln!(text, "| {} |", line.split(' ').collect::<Vec<_>>().join(" | "));
    }
    text.push_str("\nLeft out (tests/conformance/skip.txt):\n\n");
    for line in read("skip.txt").lines() {
        if let Some(reason) = line.strip_prefix("because ") {
            let _ = writeln!(text, "- because {reason}:");
        } else if let Some(name) = line.strip_prefix("    ") {
            let _ = writeln!(text, "  - `{name}`");
        }
    }
    text.push('\n');
}

fn compat() -> String {
    let uses = uses();
    let mut groups: BTreeMap<&str, Vec<CommandSpec>> = BTreeMap::new();
    for spec in command_table() {
        groups.entry(spec.group).or_default().push(*spec);
    }
    let mut text = HEAD.to_owned();
    for (group, mut specs) in groups {
        specs.sort_by_key(|spec| spec.name);
        let _ =
            writeln!(text, "## {group}\n\n| command | since Redis | transcript |\n|---|---|---|");
        rows(&mut text, &specs, &uses);
        text.push('\n');
    }
    let list = root().join("tests/transcripts/not-yet.list");
    let list = fs::read_to_string(list).expect("the list is there");
    let not_yet: Vec<_> = list.lines().filter(|line| !line.starts_with('#')).collect();
    if !not_yet.is_empty() {
        text.push_str("## Not built yet\n\nSections of the transcripts that do not pass:\n\n");
        for line in not_yet {
            let _ = writeln!(text, "- {line}");
        }
        text.push('\n');
    }
    suite(&mut text);
    text.push_str(OUT);
    text
}

#[test]
fn compat_md_is_fresh() {
    let path = root().join("COMPAT.md");
    let made = compat();
    if std::env::var_os("UPDATE_COMPAT").is_some() {
        fs::write(&path, made).expect("the repository can be written");
        return;
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "COMPAT.md is not what the table and the transcripts say: UPDATE_COMPAT=1"
    );
}

#[test]
fn every_command_is_shown_by_a_transcript() {
    let uses = uses();
    let unshown: Vec<_> = command_table()
        .iter()
        .filter(|spec| !uses.contains_key(spec.name))
        .map(|spec| spec.name)
        .collect();
    assert!(unshown.is_empty(), "no transcript uses {unshown:?}");
}
