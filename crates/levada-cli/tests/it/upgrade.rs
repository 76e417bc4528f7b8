//! A directory as each released format has it, opened by the program of today: it holds what the
//! program that wrote it said that it holds, takes more, and is whole. Times in it are a century
//! away, so that nothing is due before it is read.
//!
//! `tests/fixtures/NAME.tar.gz` is a directory that a killed server left, NAME.txt what it held. A
//! format that is released gets files of its own, and keeps them for good:
//! `UPDATE_FORMAT=NAME cargo test -p levada-cli --test it upgrade` writes them with this program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use redis::Connection;

use crate::rig::{Server, ask, fresh_directory, levada, state};

/// What a directory is made of, in order; behind `BGSAVE` the rest is in the log alone. Names of
/// streams say what of the format they are there for.
const WRITTEN: &[&str] = &[
    "SET text kept",
    "SET leaving soon PXAT 4102444800000",
    "XADD plain 1-1 f v",
    "XADD plain 1-2 f w g x",
    "XADD plain 2-0 f v",
    "XDEL plain 1-2",
    "XGROUP CREATE plain readers 0",
    "XREADGROUP GROUP readers ada COUNT 1 STREAMS plain >",
    "XADD policed 5-1 key a n 1",
    "XCFGSET policed RETENTION ACKED MAX-LEN 1000 ON-LIMIT REJECT",
    "XCFGSET policed DEDUP-WINDOW 3155760000000 DEDUP-MAX 1000",
    "XADD policed IDMP shop 7 * key a n 2",
    "XGROUP CREATE policed workers 0",
    "XGROUP CFGSET policed workers ACK-WAIT 3155760000000 MAX-DELIVER 3 BACKOFF 2 10 20",
    "XGROUP CFGSET policed workers DLQ policed:dlq ORDER-BY key",
    "XREADGROUP GROUP workers bob COUNT 1 STREAMS policed >",
    "XNACK policed workers FATAL REASON broken IDS 1 5-1",
    "XSCHED ADD policed AT 4102444800000 key b n 9",
    "BGSAVE",
    "XADD plain 3-0 f v",
    "XACK plain readers 1-1",
    "XREADGROUP GROUP readers eve STREAMS plain >",
    "XADD policed * key b n 3",
    "XREADGROUP GROUP workers bob COUNT 1 STREAMS policed >",
    "XGROUP CREATE plain later $",
    "MULTI",
    "XADD plain 4-0 f together",
    "XADD other 1-1 f together",
    "EXEC",
];
/// A stream whose older entries are in blocks on disk: entries, and bytes of each.
const LONG: (u64, usize) = (1000, 1000);
/// What is added to a directory of today, in each ROUND.
const MORE: &[&str] = &[
    "SET ROUND kept",
    "APPEND text ROUND",
    "XADD plain * ROUND new",
    "XREADGROUP GROUP readers ROUND STREAMS plain >",
    "XACK plain readers 2-0",
    "XADD policed * key ROUND n 4",
    "XADD long * f v",
    "XDEL long 1-0",
];
/// What [`state`] does not show.
const ASKED: &[&str] = &[
    "XCFGGET policed",
    "XGROUP CFGGET policed workers",
    "XSCHED LIST policed",
    "XDLQ LEN policed workers",
    "XRANGE policed:dlq - + COUNT 1",
    "XADD policed IDMP shop 7 * key a n 2",
    "XLEN long",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn held(server: &Server) -> String {
    let mut text = String::new();
    for (key, value) in state(server, true) {
        writeln!(text, "{key}: {value}").expect("a string takes all");
    }
    let mut connection = server.connect();
    for words in ASKED {
        let answer = ask(&mut connection, words);
        writeln!(text, "{words}: {answer:?}").expect("a string takes all");
    }
    // Long values are all alike.
    text.replace(&"v".repeat(LONG.1), "v...")
}

fn write(connection: &mut Connection) {
    let value = "v".repeat(LONG.1);
    for first in (1..=LONG.0).step_by(100) {
        let mut pipeline = redis::pipe();
        for n in first..first + 100 {
            pipeline.cmd("XADD").arg("long").arg(format!("{n}-0")).arg(n).arg(&value);
        }
        pipeline.query::<Vec<String>>(connection).expect("it takes them");
    }
    for words in WRITTEN {
        ask(connection, words);
        if *words == "BGSAVE" {
            await_save(connection);
        }
    }
}

/// What is in it but zeros: files that wait for their use, and space that is kept free.
fn pack(directory: &Path, archive: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--sparse", "--exclude=./reserve", "--exclude=./lock", "--exclude=spare-*", "-czf"]);
    let packed = tar.arg(archive).arg("-C").arg(directory).arg(".").status();
    assert!(packed.expect("tar is there").success());
}

fn unpack(archive: &Path) -> PathBuf {
    let directory = fresh_directory("upgrade");
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&directory).status();
    assert!(unpacked.expect("tar is there").success());
    directory
}

/// Waits until what was asked of BGSAVE is done.
fn await_save(connection: &mut Connection) {
    loop {
        let facts: String =
            redis::cmd("INFO").arg("persistence").query(connection).expect("it runs");
        if facts.contains("rdb_bgsave_in_progress:0") {
            return;
        }
        std::thread::yield_now();
    }
}

/// More of everything, at the end of a log that is today's; then twice a restart that finds all of
/// it, whatever of it is old. Returns the directory.
fn restarted_with_more(mut server: Server, archive: &Path) -> PathBuf {
    for round in ["first", "second"] {
        let mut connection = server.connect();
        for words in MORE {
            ask(&mut connection, &words.replace("ROUND", round));
        }
        let expected = held(&server);
        let entry = format!("bulk-string('\"{round}\"'), bulk-string('\"new\"')");
        assert!(expected.contains(&entry), "{expected}");
        drop(connection);
        let directory = server.kill();
        levada(&["verify", directory.to_str().expect("our own name")], 0);
        server = Server::levada_in(directory, &[]);
        assert_eq!(held(&server), expected, "{} after the {round} restart", archive.display());
    }
    server.kill()
}

#[test]
fn directories_of_released_formats_are_opened() {
    if let Ok(name) = std::env::var("UPDATE_FORMAT") {
        let server = Server::levada_with(&[]);
        let mut connection = server.connect();
        write(&mut connection);
        let text = held(&server);
        drop(connection);
        std::fs::create_dir_all(fixtures()).expect("a directory");
        let directory = server.kill();
        pack(&directory, &fixtures().join(format!("{name}.tar.gz")));
        std::fs::remove_dir_all(directory).expect("it can be removed");
        std::fs::write(fixtures().join(format!("{name}.txt")), text).expect("it can be written");
    }
    let mut opened = 0;
    for file in std::fs::read_dir(fixtures()).expect("they are there") {
        let archive = file.expect("it can be read").path();
        if archive.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let text = archive.with_extension("").with_extension("txt");
        let expected = std::fs::read_to_string(&text).expect("what it holds");
        let directory = unpack(&archive);
        let server = Server::levada_in(directory, &[]);
        assert_eq!(held(&server), expected, "{}", archive.display());
        let directory = restarted_with_more(server, &archive);
        std::fs::remove_dir_all(directory).expect("it can be removed");
        opened += 1;
    }
    assert!(opened > 0, "no directory of a released format in {}", fixtures().display());
}
