//! Which keys and which group a request names, and what its command does with each key.
//!
//! Access rights, COMMAND GETKEYS and COMMAND INFO all ask here, and what is answered follows from
//! the command's own [`CommandSpec`] alone. Where a request is so malformed that these cannot be
//! told there is no answer, never a wrong one.

use crate::number::parse_i64;
use crate::spec::{CommandSpec, Groups, Keys, flag};

/// What a command does with a key, in the words of Redis' key specifications.
pub mod access {
    /// Reads its value, or asks about it.
    pub const RO: u16 = 1;
    /// Reads and changes it.
    pub const RW: u16 = 1 << 1;
    /// Replaces it whole.
    pub const OW: u16 = 1 << 2;
    /// Removes it.
    pub const RM: u16 = 1 << 3;
    /// Something of the value is told.
    pub const ACCESS: u16 = 1 << 4;
    /// What is there changes.
    pub const UPDATE: u16 = 1 << 5;
    /// Something is added to it.
    pub const INSERT: u16 = 1 << 6;
    /// Something is taken from it.
    pub const DELETE: u16 = 1 << 7;
    /// It looks like a key and is none.
    pub const NOT_KEY: u16 = 1 << 8;
    /// Depends on the arguments.
    pub const VARIABLE: u16 = 1 << 9;

    /// Names in the order of COMMAND INFO.
    pub(crate) const NAMES: [(u16, &str); 10] = [
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (VARIABLE, "variable_flags"),
    ];
}

/// A key of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyUse {
    /// Its place among the arguments.
    pub(crate) at: usize,
    /// See [`access`].
    pub(crate) access: u16,
}

/// Whether a request names a consumer group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GroupUse {
    /// Its command is about none, or about all of a stream.
    None,
    /// At this place among the arguments.
    At(usize),
    /// It should, and where cannot be told.
    Unknown,
}

impl CommandSpec {
    /// What is done with key number `nth`, as far as it does not depend on the arguments.
    pub(crate) fn access_of(&self, nth: usize) -> u16 {
        let listed = self.access.get(nth).or(self.access.last());
        listed.copied().unwrap_or(match self.flags & flag::WRITE {
            0 => access::RO | access::ACCESS,
            _ => access::RW | access::UPDATE,
        })
    }

    /// The keys of a request and what is done with them; `None` where they cannot be told.
    pub(crate) fn key_uses(&self, args: &[&[u8]]) -> Option<Vec<KeyUse>> {
        let uses = self.key_positions(args)?.into_iter().enumerate().map(|(nth, at)| {
            let access = self.access_of(nth);
            let depends = access & access::VARIABLE != 0;
            KeyUse { at, access: if depends { self.variable_access(args) } else { access } }
        });
        Some(uses.collect())
    }

    /// What SET and DELEX do depends on words behind the key; in doubt it is more.
    fn variable_access(&self, args: &[&[u8]]) -> u16 {
        let has = |words: &[&str]| {
            let is =
                |arg: &&[u8]| words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()));
            args.iter().skip(2).any(is)
        };
        let compares = has(&["IFEQ", "IFNE", "IFDEQ", "IFDNE"]);
        match self.name {
            "delex" if compares => access::RW | access::DELETE,
            "delex" => access::RM | access::DELETE,
            // The value may be spelled like an option.
            "set" if args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"GET")) => {
                access::RW | access::ACCESS | access::UPDATE
            }
            "set" if compares => access::RW | access::UPDATE,
            "set" => access::OW | access::UPDATE,
            _ => access::RW | access::ACCESS | access::UPDATE,
        }
    }

    /// Positions of the keys in `args`; `None` where they cannot be told.
    pub(crate) fn key_positions(&self, args: &[&[u8]]) -> Option<Vec<usize>> {
        match self.keys {
            Keys::None => Some(Vec::new()),
            Keys::Range { first, last, step } => {
                let behind = usize::try_from(last.unsigned_abs()).ok()?;
                let last = if last < 0 { args.len().checked_sub(behind)? } else { behind };
                if last >= args.len() {
                    return None;
                }
                let step = usize::try_from(step).ok()?;
                Some((usize::try_from(first).ok()?..=last).step_by(step).collect())
            }
            Keys::Counted { count, first, step } => {
                let place = |at: i32| usize::try_from(at).ok();
                let count = parse_i64(args.get(place(count)?)?)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
                let (first, step) = (place(first)?, place(step)?);
                let last = step.checked_mul(count - 1)?.checked_add(first)?;
                (last < args.len()).then(|| (first..=last).step_by(step).collect())
            }
            Keys::Streams => {
                let word = read_words(args)?.streams;
                let behind = args.len() - word - 1;
                let even = behind > 0 && behind.is_multiple_of(2);
                even.then(|| (word + 1..=word + behind / 2).collect())
            }
            Keys::GroupPolicy => dead_letters(args).map(|dlq| [2].into_iter().chain(dlq).collect()),
        }
    }

    /// Where the group of a request stands.
    pub(crate) fn group_use(&self, args: &[&[u8]]) -> GroupUse {
        let at = match self.groups {
            Groups::None => return GroupUse::None,
            Groups::BehindKey => match self.keys.fixed() {
                Keys::Range { first, .. } => usize::try_from(first).ok().map(|key| key + 1),
                _ => None,
            },
            Groups::Option => read_words(args).and_then(|words| words.group),
        };
        at.filter(|at| *at < args.len()).map_or(GroupUse::Unknown, GroupUse::At)
    }
}

/// Where the policy of a group names the stream of its dead letters; no name means none. Options
/// are walked as their parser walks them.
fn dead_letters(args: &[&[u8]]) -> Option<Vec<usize>> {
    let (mut at, mut places) = (4, Vec::new());
    while let Some(word) = args.get(at) {
        let value = args.get(at + 1)?;
        if word.eq_ignore_ascii_case(b"DLQ") && !value.is_empty() {
            places.push(at + 1);
        }
        at += 2;
        if word.eq_ignore_ascii_case(b"BACKOFF") {
            at = at.checked_add(usize::try_from(parse_i64(value)?).ok()?)?;
        }
    }
    Some(places)
}

/// Places of what the options of a read name.
struct ReadWords {
    /// The group; of several the last counts.
    group: Option<usize>,
    /// The word STREAMS.
    streams: usize,
}

/// Where the group and the word STREAMS stand. Options are walked as the parser of the reads walks
/// them: a group, a consumer or a number may be spelled like a word.
fn read_words(args: &[&[u8]]) -> Option<ReadWords> {
    let (mut at, mut group) = (1, None);
    loop {
        at += match args.get(at)?.to_ascii_uppercase().as_slice() {
            b"STREAMS" => return Some(ReadWords { group, streams: at }),
            b"NOACK" => 1,
            b"GROUP" => {
                group = Some(at + 1);
                3
            }
            b"BLOCK" | b"COUNT" | b"CLAIM" | b"MAXCOUNT" | b"MAXSIZE" => 2,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_table;

    fn spec(name: &str) -> &'static CommandSpec {
        all().find(|spec| spec.name == name).expect("known")
    }

    /// Commands and subcommands.
    fn all() -> impl Iterator<Item = &'static CommandSpec> {
        command_table().iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
    }

    #[test]
    fn the_stream_of_dead_letters_is_a_key() {
        let check = |line: &str, expect: Option<&[usize]>| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(spec("xgroup|cfgset").key_positions(&args).as_deref(), expect, "{line}");
        };
        check("XGROUP CFGSET s g ACK-WAIT 5", Some(&[2]));
        check("XGROUP CFGSET s g ACK-WAIT 5 dlq d MAX-DELIVER 3", Some(&[2, 7]));
        check("XGROUP CFGSET s g BACKOFF 2 DLQ x DLQ d", Some(&[2, 9]));
        check("XGROUP CFGSET s g ORDER-BY DLQ DLQ a DLQ b", Some(&[2, 7, 9]));
        check("XGROUP CFGSET s g DLQ ", Some(&[2]));
        check("XGROUP CFGSET s g DLQ", None);
        check("XGROUP CFGSET s g BACKOFF x 1", None);
        check("XGROUP CFGSET s g BACKOFF 9223372036854775807 1", Some(&[2]));
    }

    #[test]
    fn a_group_is_found_where_it_stands() {
        let check = |line: &str, expect: GroupUse| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let registry = crate::registry::Registry::new(command_table());
            let number = crate::dispatch::resolve(&registry, &args).expect(line);
            assert_eq!(registry.spec(number).group_use(&args), expect, "{line}");
        };
        check("XACK k g 1-1", GroupUse::At(2));
        check("XGROUP DESTROY k g", GroupUse::At(3));
        check("XREADGROUP NOACK COUNT group GROUP group c STREAMS k >", GroupUse::At(5));
        check("XREADGROUP GROUP g group GROUP streams c STREAMS k >", GroupUse::At(5));
        check("XREADGROUP COUNT 1 BLOCK 5 STREAMS group k >", GroupUse::Unknown);
        check("XREADGROUP COUNT 1 BLOCK 5 STREAMS GROUP", GroupUse::Unknown);
        check("XREADGROUP FOO GROUP g c STREAMS k >", GroupUse::Unknown);
        check("XREADGROUP GROUP g c COUNT STREAMS k >", GroupUse::Unknown);
        check("XREAD STREAMS GROUP 0", GroupUse::None);
        check("XINFO GROUPS k", GroupUse::None);
        check("XADD k * group g", GroupUse::None);
    }

    /// A command cannot forget to say where its group stands: its syntax tells that it has one.
    #[test]
    fn whatever_has_a_group_in_its_syntax_says_where_it_stands() {
        for spec in all() {
            let must = required(spec.syntax);
            let args: Vec<&[u8]> =
                spec.name.split('|').chain(must.split_whitespace()).map(str::as_bytes).collect();
            let named = args.iter().position(|word| *word == b"group");
            let expect = named.map_or(GroupUse::None, GroupUse::At);
            assert_eq!(spec.group_use(&args), expect, "{} {}", spec.name, spec.syntax);
            let words = spec.syntax.split(|it: char| !it.is_ascii_alphanumeric());
            let told = words.map(str::to_ascii_lowercase).any(|word| word.contains("group"));
            assert_eq!(
                told,
                named.is_some(),
                "{}: the word is `group`, not in brackets",
                spec.name
            );
        }
    }

    /// A syntax without what stands in brackets.
    fn required(syntax: &str) -> String {
        let mut depth = 0;
        let is_outside = |it: &char| {
            depth += i32::from(*it == '[');
            let outside = depth == 0;
            depth -= i32::from(*it == ']');
            outside
        };
        syntax.chars().filter(is_outside).collect()
    }

    /// The group that rights are asked for is the group that the engine is asked for.
    #[test]
    fn the_group_that_is_reported_is_the_group_that_is_used() {
        use crate::engine::Now;
        use crate::registry::Registry;
        use crate::spec::{Request, Run};

        let registry = Registry::new(command_table());
        let asked = |args: &[&[u8]]| {
            let number = crate::dispatch::resolve(&registry, args).expect("a request");
            let spec = registry.spec(number);
            let Run::Engine(parse, _) = spec.run else {
                panic!("{} is not the engine's", spec.name);
            };
            let now = Now { wall_ms: 1, monotonic_us: 1000 };
            let request = Request { args, database: 0, now, spec, random: 0 };
            let asked = parse(&request).map_err(|error| error.text().into_owned());
            (spec, format!("{:?}", asked.expect("is right").command))
        };
        let mut checked = Vec::new();
        for line in GROUP_LINES.lines().map(str::trim) {
            let mut args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let (spec, before) = asked(&args);
            let GroupUse::At(at) = spec.group_use(&args) else {
                panic!("{line} names no group");
            };
            args[at] = b"g8";
            let (_, after) = asked(&args);
            assert_eq!(before.matches("[103, 55]").count(), 1, "{line}: {before}");
            assert_eq!(before.replace("[103, 55]", "[103, 56]"), after, "{line}");
            checked.push(spec.name);
        }
        let with_group = all().filter(|spec| spec.groups != Groups::None);
        let unchecked: Vec<_> =
            with_group.map(|spec| spec.name).filter(|name| !checked.contains(name)).collect();
        assert!(unchecked.is_empty(), "no line has {unchecked:?}");
    }

    /// The group is g7 and nothing else is.
    const GROUP_LINES: &str = "\
        XACK k1 g7 1-1
        XACK k1 g7 wrong
        XACKDEL k1 g7 IDS 1 1-1
        XACKDEL k1 g7 IDS 1 wrong
        XAUTOCLAIM k1 g7 c1 0 0
        XCLAIM k1 g7 c1 0 1-1
        XCLAIM k1 g7 c1 wrong 1-1
        XDLQ LEN k1 g7
        XDLQ PURGE k1 g7
        XDLQ RANGE k1 g7
        XDLQ REDRIVE k1 g7
        XGROUP CFGGET k1 g7
        XGROUP CFGSET k1 g7 ACK-WAIT 5
        XGROUP CREATE k1 g7 0
        XGROUP CREATECONSUMER k1 g7 c1
        XGROUP DELCONSUMER k1 g7 c1
        XGROUP DESTROY k1 g7
        XGROUP HANDOVER k1 g7 c1 TO c2
        XGROUP PARKED k1 g7
        XGROUP SETID k1 g7 0
        XINFO CONSUMERS k1 g7
        XLAG k1 g7
        XNACK k1 g7 FAIL IDS 1 1-1
        XPENDING k1 g7
        XPENDING k1 g7 - + 10 c1
        XREADGROUP GROUP g7 c1 STREAMS k1 >
        XREADGROUP GROUP g6 c1 GROUP g7 c2 STREAMS k1 >
        XREADGROUP BLOCK 5 GROUP g7 c1 NOACK STREAMS k1 wrong";

    #[test]
    fn a_name_that_is_spelled_like_a_word_does_not_hide_a_key() {
        let check = |line: &str, expect: Option<&[usize]>| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let name = line.split(' ').next().expect("a name").to_ascii_lowercase();
            assert_eq!(spec(&name).key_positions(&args).as_deref(), expect, "{line}");
        };
        check("XREADGROUP COUNT 1 GROUP streams c STREAMS k >", Some(&[7]));
        check("XREADGROUP GROUP g streams STREAMS k >", Some(&[5]));
        check("XREADGROUP GROUP g c COUNT streams STREAMS k l > >", Some(&[7, 8]));
        check("XREAD BLOCK streams streams k 0", Some(&[4]));
        check("XREAD STREAMS streams 0", Some(&[2]));
        check("XREAD FOO STREAMS k 0", None);
    }

    #[test]
    fn what_is_done_with_a_key_follows_the_words() {
        let check = |line: &str, expect: &[u16]| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let name = line.split(' ').next().expect("a name").to_ascii_lowercase();
            let uses = spec(&name).key_uses(&args).expect("told");
            let access: Vec<_> = uses.iter().map(|key| key.access).collect();
            assert_eq!(access, expect, "{line}");
        };
        check("SET k GET", &[access::OW | access::UPDATE]);
        check("SET k v GET", &[access::RW | access::ACCESS | access::UPDATE]);
        check("SET k v IFEQ w", &[access::RW | access::UPDATE]);
        check("DELEX k", &[access::RM | access::DELETE]);
        check("DELEX k IFEQ v", &[access::RW | access::DELETE]);
        check("COPY a b", &[access::RO | access::ACCESS, access::OW | access::UPDATE]);
        check("XADD s * f v", &[access::RW | access::UPDATE]);
        check("XLEN s", &[access::RO]);
    }

    /// CVE-2023-36824, CVE-2023-41053: the keys that rights are asked for are the keys that the
    /// engine is asked for.
    #[test]
    fn cve_2023_41053_the_keys_that_are_reported_are_the_keys_that_are_used() {
        use crate::engine::Now;
        use crate::registry::Registry;
        use crate::spec::{Request, Run};

        let registry = Registry::new(command_table());
        let mut checked = 0;
        for line in LINES.lines().map(str::trim) {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let number = crate::dispatch::resolve(&registry, &args).expect(line);
            let spec = registry.spec(number);
            let Run::Engine(parse, _) = spec.run else {
                continue;
            };
            let now = Now { wall_ms: 1, monotonic_us: 1000 };
            let request = Request { args: &args, database: 0, now, spec, random: 0 };
            let asked = parse(&request).map_err(|error| error.text().into_owned());
            let asked = format!("{:?}", asked.expect(line).command);
            let mut used: Vec<Vec<u8>> = asked.split("name: [").skip(1).map(bytes).collect();
            let reported = spec.key_positions(&args).expect(line);
            let mut reported: Vec<Vec<u8>> =
                reported.into_iter().map(|at| args[at].to_vec()).collect();
            used.sort();
            reported.sort();
            assert_eq!(used, reported, "{line}: {asked}");
            checked += 1;
        }
        assert!(checked > 30, "only {checked} commands were looked at");
    }

    /// Bytes from how they are printed: `49, 50] ...`.
    fn bytes(text: &str) -> Vec<u8> {
        let list = text.split(']').next().expect("a list");
        list.split(", ").map(|byte| byte.parse().expect("a byte")).collect()
    }

    const LINES: &str = "\
        APPEND k1 v
        COPY k1 k2
        DECR k1
        DECRBY k1 1
        DEL k1 k2 k3
        DELEX k1 IFEQ k9
        DIGEST k1
        EXISTS k1 k2
        EXPIRE k1 10
        EXPIREAT k1 10
        EXPIRETIME k1
        GET k1
        GETDEL k1
        GETEX k1 EX 10
        GETRANGE k1 0 1
        GETSET k1 k9
        INCR k1
        INCRBY k1 1
        INCRBYFLOAT k1 1
        MGET k1 k2
        MOVE k1 1
        MSET k1 k8 k2 k9
        MSETNX k1 k8 k2 k9
        MSETEX 2 k1 k8 k2 k9 EX 10
        PERSIST k1
        PEXPIRE k1 10
        PSETEX k1 10 k9
        PTTL k1
        RENAME k1 k2
        RENAMENX k1 k2
        SET k1 k9 GET
        SETEX k1 10 k9
        SETNX k1 k9
        SETRANGE k1 0 k9
        STRLEN k1
        TOUCH k1 k2
        TTL k1
        TYPE k1
        UNLINK k1 k2
        XACK k1 k9 1-1
        XACKDEL k1 k9 IDS 1 1-1
        XADD k1 * k8 k9
        XAUTOCLAIM k1 k8 k9 0 0
        XCFGGET k1
        XCFGSET k1 MAX-LEN 5
        XCLAIM k1 k8 k9 0 1-1
        XDEL k1 1-1
        XDELEX k1 IDS 1 1-1
        XDLQ LEN k1 k9
        XTRIM k1 MAXLEN 1";
}
