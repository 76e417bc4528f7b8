//! `docs/settings.md` is written from what the program says of itself: its help, the settings in
//! force without a file, CONFIG GET, and what CONFIG SET refuses.
//!
//! `UPDATE_SETTINGS=1 cargo test -p levada-cli --test it settings_page` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use redis::{Connection, ConnectionLike as _, Value};

use crate::rig::Server;

const HEAD: &str = "\
# Settings

Written from what the program says of itself; do not edit. `levada config` prints the settings in
force with comments, as a file that `--config` can read.

**Three places, the later wins:** a file in TOML (`levada serve --config FILE`), `LEVADA_*` in the
environment, flags. In the file `port = 6379`; in the environment `LEVADA_PORT=6379`; as a flag
`--port 6379`. A key that nobody knows is an error, and so is a value that is out of bounds. Sizes
are written as `4096`, `64KiB`, `128MiB`, `1GiB`.

## File, environment, flags

| Setting | Default | What it is, and its bounds | CONFIG SET |
|---|---|---|---|
";

const MIDDLE: &str = "
What CONFIG SET changes holds until the next start. There is no CONFIG REWRITE.

## By CONFIG SET alone

Names, words and bounds are those of Redis where Redis has the setting.

| Setting | Default | What it is | Bounds |
|---|---|---|---|
";

const TAIL: &str = "
Fixed are: strings, 256 MiB in memory together; a request, 18 MiB; an argument, 16 MiB. What
policies (XCFGSET, XGROUP CFGSET) there are for each stream and group is in [policies](policies.md).
";

/// What only CONFIG knows: what it is, and its bounds where it is a number. `FIXED` says that it
/// cannot be set at all.
const BY_CONFIG: [(&str, &str, Bounds); 20] = [
    ("acl-pubsub-default", "whether new users may use all channels", WORDS),
    ("acllog-max-len", "entries of ACL LOG", Some((0, i64::MAX))),
    ("aof-use-rdb-preamble", SAID, WORDS),
    ("appendfsync", SAID, WORDS),
    ("appendonly", SAID, WORDS),
    ("client-output-buffer-limit", "hard limit, soft limit and its seconds, by class", WORDS),
    ("databases", "how many there are; fixed", FIXED),
    ("dbfilename", "fixed, empty", FIXED),
    ("delivery-sync", "strict: a delivery waits for its own record, too", WORDS),
    ("maxmemory", SAID, WORDS),
    ("maxmemory-policy", SAID, WORDS),
    ("notify-keyspace-events", "events that are published, in Redis' letters", WORDS),
    ("order-window", "entries that ORDER-BY parks for a group", Some((0, 1_000_000))),
    ("proto-max-bulk-len", "bytes of an argument; fixed", FIXED),
    ("save", SAID, WORDS),
    ("slowlog-log-slower-than", "microseconds; -1 is off", Some((-1, i64::MAX))),
    ("slowlog-max-len", "entries of SLOWLOG", Some((0, i64::MAX))),
    ("string-durability", "what DURABILITY of a stream is, for all strings", WORDS),
    ("sync-interval", "milliseconds that INTERVAL may lose", Some((1, 3_600_000))),
    ("timeout", "seconds until a silent connection ends; 0 never", Some((0, 2_147_483_647))),
];
/// Nodes of Redis' streams: only what they mean for a trim with `~` is left of them.
const NODES: [(&str, &str, Bounds); 2] = [
    ("stream-node-max-bytes", "where a trim with `~` may stop; 0 for no bound", WORDS),
    ("stream-node-max-entries", "the same in entries", Some((0, i64::MAX))),
];

type Bounds = Option<(i64, i64)>;
const WORDS: Bounds = None;
const FIXED: Bounds = Some((1, 0));
const SAID: &str = "accepted for tools that set it; changes nothing";

#[test]
fn the_page_of_settings_is_current() {
    let server = Server::levada();
    let mut connection = server.connect();
    let mut page = HEAD.to_owned();
    let told = told_by_help();
    let in_force = in_force();
    for name in in_force.keys() {
        let about = told.get(name).map_or_else(|| about_users(name), Clone::clone);
        let default = shown(&in_force[name]);
        let (text, stated) = match about.split_once(" [default: ") {
            Some((text, stated)) => (text, stated.trim_end_matches(']')),
            None => (about.as_str(), "none"),
        };
        assert_eq!(stated, default, "the help of --{name} states another default");
        let can = if is_settable(&mut connection, name) { "yes" } else { "" };
        let text = text.trim_end_matches('.').replace('|', "\\|");
        writeln!(page, "| `{name}` | {default} | {text} | {can} |").expect("a string");
    }
    page += MIDDLE;
    page += &by_config(&mut connection, &in_force);
    page += TAIL;
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md"));
    if std::env::var_os("UPDATE_SETTINGS").is_some() {
        std::fs::write(&path, &page).expect("the page is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/settings.md is old: run this test with UPDATE_SETTINGS=1");
}

/// The rows of what only CONFIG knows. Its bounds are tried.
fn by_config(
    connection: &mut Connection,
    in_force: &BTreeMap<String, serde_json::Value>,
) -> String {
    let all: BTreeMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("*").query(connection).expect("CONFIG GET");
    let known: BTreeMap<_, _> =
        BY_CONFIG.iter().chain(&NODES).map(|(name, about, it)| (*name, (*about, *it))).collect();
    let mut rows = String::new();
    let mut told = 0;
    for (name, default) in &all {
        if in_force.contains_key(name) {
            continue;
        }
        let (about, bounds) = known.get(name.as_str()).unwrap_or_else(|| panic!("{name} is new"));
        told += 1;
        let default = if default.is_empty() { "none" } else { default };
        let bounds = match *bounds {
            FIXED => {
                assert!(!is_settable(connection, name), "{name} can be set");
                "fixed".to_owned()
            }
            Some((min, max)) => {
                check_bounds(connection, name, min, max);
                set(connection, name, default);
                if max == i64::MAX { format!("from {min}") } else { format!("{min} to {max}") }
            }
            None => String::new(),
        };
        writeln!(rows, "| `{name}` | {default} | {about} | {bounds} |").expect("a string");
    }
    assert_eq!(told, known.len(), "a setting is told that CONFIG GET does not have");
    rows
}

fn check_bounds(connection: &mut Connection, name: &str, min: i64, max: i64) {
    assert!(set(connection, name, &min.to_string()), "{name} cannot be {min}");
    assert!(set(connection, name, &max.to_string()), "{name} cannot be {max}");
    assert!(!set(connection, name, &(min - 1).to_string()), "{name} may be below {min}");
    if let Some(more) = max.checked_add(1) {
        assert!(!set(connection, name, &more.to_string()), "{name} may be above {max}");
    }
}

/// Whether a setting can be given the value that it has.
fn is_settable(connection: &mut Connection, name: &str) -> bool {
    let all: BTreeMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg(name).query(connection).expect("CONFIG GET");
    all.get(name).is_some_and(|value| set(connection, name, value))
}

fn set(connection: &mut Connection, name: &str, value: &str) -> bool {
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg(name).arg(value);
    let answer = connection.req_packed_command(&command.get_packed_command()).expect("a reply");
    answer == Value::Okay
}

/// What `levada serve --help` says of each setting, with its default.
fn told_by_help() -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for line in run(&["serve", "--help"]).lines() {
        let Some((name, rest)) = line.trim().strip_prefix("--").and_then(|it| it.split_once(' '))
        else {
            continue;
        };
        let text = rest.split_once('>').expect("a value").1.trim();
        let text = text.split(" [env: ").next().expect("there is a first part");
        told.insert(name.to_owned(), text.to_owned());
    }
    assert!(told.len() > 20, "{told:?}");
    told
}

/// What has no flag.
fn about_users(name: &str) -> String {
    assert_eq!(name, "user", "the help does not tell of {name}");
    "Users, each as \"NAME RULE ...\" with the rules of ACL SETUSER; in the file alone".to_owned()
}

/// The settings in force where nothing is given.
fn in_force() -> BTreeMap<String, serde_json::Value> {
    serde_json::from_str(&run(&["config", "--json"])).expect("an object")
}

/// What the program says to somebody whose environment says nothing about it.
fn run(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_levada"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEVADA_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).output().expect("levada runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) if text.is_empty() => "none".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.is_empty() => "none".to_owned(),
        serde_json::Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
