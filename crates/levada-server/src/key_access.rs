//! Which keys a request names, and what its command does with each.
//!
//! Access rights, COMMAND GETKEYS and COMMAND INFO all ask here, and what is answered follows from
//! the command's own [`CommandSpec`] alone. Where a request is so malformed that its keys cannot be
//! told there is no answer, never a wrong one.

use crate::number::parse_i64;
use crate::spec::{CommandSpec, Keys, flag};

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
                let word = streams_word(args)?;
                let behind = args.len() - word - 1;
                let even = behind > 0 && behind.is_multiple_of(2);
                even.then(|| (word + 1..=word + behind / 2).collect())
            }
        }
    }
}

/// Where the word STREAMS stands. Options are walked as the parser of the reads walks them: a
/// group, a consumer or a number may be spelled like the word.
fn streams_word(args: &[&[u8]]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += match args.get(at)?.to_ascii_uppercase().as_slice() {
            b"STREAMS" => return Some(at),
            b"NOACK" => 1,
            b"GROUP" => 3,
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
        let leaves =
            command_table().iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
        leaves.into_iter().find(|spec| spec.name == name).expect("known")
    }

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
