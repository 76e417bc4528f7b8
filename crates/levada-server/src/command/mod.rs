//! The command table: one file per command, or per family that shares its parser.
//!
//! A file opens with the syntax, then says what is known before a call ([`CommandSpec`]), how
//! arguments become a [`levada_core::command::Command`], and how the answer is written where the
//! common form ([`crate::output::plain`]) is not it.

mod acl;
mod auth;
mod client;
mod cluster;
#[expect(clippy::module_inception, reason = "COMMAND is a command")]
mod command;
mod config;
mod copy;
mod dbsize;
mod del;
mod delex;
mod dump;
mod echo;
mod exists;
mod expire;
mod flushall;
mod function;
mod get;
mod getrange;
mod hello;
mod incr;
mod info;
mod keys;
mod latency;
mod memory_usage;
mod module;
mod monitor;
mod r#move;
mod mset;
mod multi;
mod object;
mod ping;
mod pubsub;
mod quit;
mod randomkey;
mod rename;
mod reset;
mod restore;
mod role;
mod save;
mod scan;
mod select;
mod set;
mod shutdown;
mod slowlog;
mod swapdb;
mod time;
mod r#type;
pub(crate) mod wait;
mod xack;
mod xackdel;
mod xadd;
mod xautoclaim;
mod xcfgset;
mod xclaim;
mod xdel;
mod xdelex;
mod xdlq;
mod xgroup;
mod xidmprecord;
mod xinfo;
mod xlag;
mod xlen;
mod xnack;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xrevrange;
mod xsched;
mod xsetid;
mod xtrim;

pub(crate) use self::auth::shown_name;
pub(crate) use self::info::resident_bytes;
pub(crate) use self::xcfgset::options as stream_options;
pub(crate) use self::xgroup::policy::options as group_options;
use crate::spec::{Channels, CommandSpec, Groups, Keys, Run, category, flag};

/// Every command there is.
pub fn table() -> &'static [CommandSpec] {
    TABLE
}

static TABLE: &[CommandSpec] = &[
    acl::SPEC,
    set::APPEND,
    cluster::ASKING,
    auth::SPEC,
    save::BGREWRITEAOF,
    save::BGSAVE,
    client::SPEC,
    cluster::SPEC,
    command::SPEC,
    config::SPEC,
    copy::SPEC,
    dbsize::SPEC,
    #[cfg(feature = "debug-shim")]
    crate::debug_shim::SPEC,
    incr::DECR,
    incr::DECRBY,
    del::DEL,
    delex::DELEX,
    delex::DIGEST,
    multi::DISCARD,
    dump::SPEC,
    echo::SPEC,
    multi::EXEC,
    exists::EXISTS,
    expire::EXPIRE,
    expire::EXPIREAT,
    expire::EXPIRETIME,
    flushall::FLUSHALL,
    flushall::FLUSHDB,
    function::FUNCTION,
    get::GET,
    get::GETDEL,
    set::GETEX,
    getrange::GETRANGE,
    set::GETSET,
    hello::SPEC,
    incr::INCR,
    incr::INCRBY,
    incr::INCRBYFLOAT,
    info::SPEC,
    keys::SPEC,
    save::LASTSAVE,
    latency::SPEC,
    memory_usage::SPEC,
    get::MGET,
    module::SPEC,
    monitor::SPEC,
    r#move::SPEC,
    mset::MSET,
    mset::MSETEX,
    mset::MSETNX,
    multi::MULTI,
    object::SPEC,
    expire::PERSIST,
    expire::PEXPIRE,
    expire::PEXPIREAT,
    expire::PEXPIRETIME,
    ping::SPEC,
    set::PSETEX,
    pubsub::PSUBSCRIBE,
    expire::PTTL,
    pubsub::PUBLISH,
    pubsub::SPEC,
    pubsub::PUNSUBSCRIBE,
    quit::SPEC,
    randomkey::SPEC,
    cluster::READONLY,
    cluster::READWRITE,
    rename::RENAME,
    rename::RENAMENX,
    reset::SPEC,
    restore::SPEC,
    role::SPEC,
    save::SAVE,
    scan::SPEC,
    function::SCRIPT,
    select::SPEC,
    set::SET,
    set::SETEX,
    set::SETNX,
    getrange::SETRANGE,
    shutdown::SPEC,
    slowlog::SPEC,
    pubsub::SPUBLISH,
    pubsub::SSUBSCRIBE,
    get::STRLEN,
    pubsub::SUBSCRIBE,
    getrange::SUBSTR,
    pubsub::SUNSUBSCRIBE,
    swapdb::SPEC,
    time::SPEC,
    exists::TOUCH,
    expire::TTL,
    r#type::SPEC,
    del::UNLINK,
    pubsub::UNSUBSCRIBE,
    multi::UNWATCH,
    wait::WAIT,
    wait::WAITAOF,
    multi::WATCH,
    xack::SPEC,
    xackdel::SPEC,
    xadd::SPEC,
    xautoclaim::SPEC,
    xcfgset::GET,
    xcfgset::SPEC,
    xclaim::SPEC,
    xdel::SPEC,
    xdelex::SPEC,
    xdlq::SPEC,
    xgroup::SPEC,
    xidmprecord::SPEC,
    xinfo::SPEC,
    xlag::SPEC,
    xlen::SPEC,
    xnack::SPEC,
    xpending::SPEC,
    xrange::SPEC,
    xread::SPEC,
    xreadgroup::SPEC,
    xrevrange::SPEC,
    xsched::SPEC,
    xsetid::SPEC,
    xtrim::SPEC,
];

/// What most specs begin with.
const BASE: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    summary: "",
    since: "",
    complexity: "O(1)",
    group: "",
    arity: 0,
    flags: 0,
    categories: 0,
    keys: Keys::None,
    access: &[],
    groups: Groups::None,
    channels: Channels::None,
    subcommands: &[],
    run: Run::Container,
};

const STREAM: CommandSpec = CommandSpec { group: "stream", categories: category::STREAM, ..BASE };
const STRING: CommandSpec = CommandSpec { group: "string", categories: category::STRING, ..BASE };
const GENERIC: CommandSpec =
    CommandSpec { group: "generic", categories: category::KEYSPACE, ..BASE };
const SERVER: CommandSpec =
    CommandSpec { group: "server", flags: flag::LOADING | flag::STALE, ..BASE };
const CONNECTION: CommandSpec =
    CommandSpec { group: "connection", categories: category::CONNECTION, ..SERVER };
const CONTAINER: CommandSpec =
    CommandSpec { complexity: "Depends on the subcommand.", arity: -2, ..BASE };

/// The first argument.
const KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };
/// All arguments.
const KEYS: Keys = Keys::Range { first: 1, last: -1, step: 1 };
/// The first argument behind a subcommand.
const SECOND_KEY: Keys = Keys::Range { first: 2, last: 2, step: 1 };

/// Flags of commands about the connection that run whatever its state is.
const ANYTIME: u32 =
    flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY;
/// Flags of what operators do.
const OPERATOR: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

/// Flags of every HELP.
const fn help_flags() -> u32 {
    flag::LOADING | flag::STALE
}

/// Runs the checks and the parser of the command in `line`, split at spaces, and compares what
/// comes out: an error's text, or something that the parsed command's debug form contains.
#[cfg(test)]
fn check(line: &str, expect: &str) {
    use crate::engine::Now;
    use crate::registry::Registry;
    use crate::spec::Request;

    let registry = Registry::new(table());
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let parsed = crate::dispatch::resolve(&registry, &args);
    let parsed = parsed.map_err(|refused| refused.error).and_then(|number| {
        let spec = registry.spec(number);
        let now = Now { wall_ms: 1, monotonic_us: 1000 };
        let request = Request { args: &args, database: 0, now, spec, random: 0 };
        match spec.run {
            Run::Engine(parse, _) => parse(&request).and_then(|asked| match asked.after {
                Some(after) => Err(after.error),
                None => Ok(format!("{asked:?}")),
            }),
            _ => panic!("{line} is not parsed"),
        }
    });
    match parsed {
        Ok(text) => assert!(text.contains(expect), "{line}: {text}"),
        Err(error) => assert_eq!(String::from_utf8_lossy(&error.text()), expect, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_complete() {
        let names: Vec<_> = table().iter().map(|spec| spec.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for spec in table() {
            assert!(!spec.summary.is_empty() && !spec.since.is_empty(), "{}", spec.name);
            assert!(!spec.group.is_empty() && spec.arity != 0, "{}", spec.name);
            assert!(!spec.subcommands.is_empty() || !matches!(spec.run, Run::Container));
            for sub in spec.subcommands {
                assert!(sub.name.starts_with(spec.name), "{}", sub.name);
                assert!(!sub.summary.is_empty() && sub.arity != 0, "{}", sub.name);
            }
        }
    }

    #[test]
    fn debug_is_only_in_builds_for_tests() {
        let has_debug = table().iter().any(|spec| spec.name == "debug");
        assert_eq!(has_debug, cfg!(feature = "debug-shim"));
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        let check = |line: &str, expect: Option<&[usize]>| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let name = args[0].to_ascii_lowercase();
            let spec = table().iter().find(|spec| spec.name.as_bytes() == name).expect("known");
            assert_eq!(spec.key_positions(&args).as_deref(), expect, "{line}");
        };
        check("get a", Some(&[1]));
        check("mset a 1 b 2", Some(&[1, 3]));
        check("del a b c", Some(&[1, 2, 3]));
        check("msetex 2 a 1 b 2 EX 9", Some(&[2, 4]));
        check("msetex 9 a 1", None);
        check("rename a b", Some(&[1, 2]));
        check("ping", Some(&[]));
        check("xread count 1 streams a b 0 0", Some(&[4, 5]));
        check("xread count 1 streams a b 0", None);
        check("xread count 1", None);
    }
}
