//! What others may see of requests: lines for MONITOR, and the log of slow commands.
//!
//! Passwords are never shown. Both cost nothing where they are off: a comparison for each command.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::config::Config;
use crate::engine::Now;

/// Arguments kept of a slow command, and bytes of each.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;
const REDACTED: &[u8] = b"(redacted)";

/// The last commands that were slow.
#[derive(Default, Debug)]
pub(crate) struct SlowLog {
    slower_than_us: Option<u64>,
    len_max: usize,
    next: u64,
    /// Newest first.
    entries: VecDeque<Slow>,
}

/// A command that was slow.
#[derive(Debug)]
pub(crate) struct Slow {
    pub(crate) id: u64,
    pub(crate) unix_s: u64,
    pub(crate) took_us: u64,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) address: SocketAddr,
    pub(crate) name: Vec<u8>,
}

impl SlowLog {
    /// Obeys the settings from now on; what is beyond them goes.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.slower_than_us = config.get("slowlog-log-slower-than").parse().ok();
        self.len_max = usize::try_from(config.number("slowlog-max-len")).unwrap_or(usize::MAX);
        self.entries.truncate(self.len_max);
    }

    /// Whether commands have to be timed.
    pub(crate) fn is_on(&self) -> bool {
        self.slower_than_us.is_some()
    }

    /// Notes a command if it was slow.
    pub(crate) fn note(
        &mut self,
        args: &[&[u8]],
        took_us: u64,
        now: Now,
        (address, name): (SocketAddr, &[u8]),
    ) {
        if self.slower_than_us.is_none_or(|slower_than| took_us < slower_than) {
            return;
        }
        let (id, unix_s) = (self.next, now.wall_ms / 1000);
        self.next += 1;
        let (args, name) = (shortened(args), name.to_vec());
        self.entries.push_front(Slow { id, unix_s, took_us, args, address, name });
        self.entries.truncate(self.len_max);
    }

    pub(crate) fn entries(&self) -> &VecDeque<Slow> {
        &self.entries
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// The first arguments, each up to its bound, and how much is left out.
fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let shown = shown(args);
    let keep = if shown.len() > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { shown.len() };
    let mut kept: Vec<_> = shown[..keep].iter().map(|arg| shortened_argument(arg)).collect();
    if keep < shown.len() {
        kept.push(format!("... ({} more arguments)", shown.len() - keep).into_bytes());
    }
    kept
}

fn shortened_argument(arg: &[u8]) -> Vec<u8> {
    let mut kept = arg[..arg.len().min(ARGUMENT_BYTES_MAX)].to_vec();
    if arg.len() > ARGUMENT_BYTES_MAX {
        let more = format!("... ({} more bytes)", arg.len() - ARGUMENT_BYTES_MAX);
        kept.extend_from_slice(more.as_bytes());
    }
    kept
}

/// The arguments without passwords.
fn shown<'a>(args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let is = |at: usize, word: &[u8]| {
        args.get(at).is_some_and(|arg: &&[u8]| arg.eq_ignore_ascii_case(word))
    };
    let hidden = |at: usize| {
        let after = |word: &[u8], distance: usize| at >= distance && is(at - distance, word);
        is(0, b"auth") && at > 0
            || is(0, b"hello") && (after(b"auth", 1) || after(b"auth", 2))
            || is(0, b"config") && after(b"requirepass", 1)
            || is(0, b"acl")
                && at > 1
                && [&b"setuser"[..], b"getuser", b"deluser"].iter().any(|sub| is(1, sub))
    };
    args.iter().enumerate().map(|(at, arg)| if hidden(at) { REDACTED } else { arg }).collect()
}

/// The line of a command that MONITOR shows, with its end.
pub(crate) fn line(args: &[&[u8]], now: Now, database: u8, address: SocketAddr) -> String {
    let (seconds, ms) = (now.wall_ms / 1000, now.wall_ms % 1000);
    let mut line = format!("+{seconds}.{ms:03}000 [{database} {address}]");
    for arg in shown(args) {
        line.push_str(" \"");
        for byte in arg {
            match byte {
                b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
                b'\n' => line.push_str("\\n"),
                b'\r' => line.push_str("\\r"),
                b'\t' => line.push_str("\\t"),
                7 => line.push_str("\\a"),
                8 => line.push_str("\\b"),
                b' '..=b'~' => line.push(char::from(*byte)),
                byte => write!(line, "\\x{byte:02x}").expect("a string takes all"),
            }
        }
        line.push('"');
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { wall_ms: 12_345, monotonic_us: 0 };

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 7))
    }

    #[test]
    fn lines_are_quoted_and_hide_passwords() {
        let check = |args: &[&[u8]], expect: &str| {
            let expect = format!("+12.345000 [3 127.0.0.1:7] {expect}\r\n");
            assert_eq!(line(args, NOW, 3, address()), expect);
        };
        check(&[b"SET", b"a b", b"\0\"\\\n\x07\xff"], r#""SET" "a b" "\x00\"\\\n\a\xff""#);
        check(&[b"AUTH", b"me", b"secret"], r#""AUTH" "(redacted)" "(redacted)""#);
        check(
            &[b"hello", b"3", b"AUTH", b"me", b"secret", b"SETNAME", b"n"],
            r#""hello" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "n""#,
        );
        check(
            &[b"CONFIG", b"SET", b"requirepass", b"secret"],
            r#""CONFIG" "SET" "requirepass" "(redacted)""#,
        );
    }

    #[test]
    fn the_log_of_slow_commands_is_bounded() {
        let mut config = Config::new();
        let mut log = SlowLog::default();
        log.configure(&config);
        assert!(!log.is_on(), "-1 is off");
        let pairs: [&[u8]; 4] = [b"slowlog-log-slower-than", b"10", b"slowlog-max-len", b"2"];
        config.set(&pairs).expect("sound values");
        log.configure(&config);
        let long = [b'v'; 200];
        let many = [&b"DEL"[..]; 40];
        for (args, took_us) in [(&[&b"PING"[..]][..], 9), (&[b"GET", &long], 10), (&many, 11)] {
            log.note(args, took_us, NOW, (address(), b"me"));
        }
        let ids: Vec<_> = log.entries().iter().map(|slow| (slow.id, slow.took_us)).collect();
        assert_eq!(ids, [(1, 11), (0, 10)]);
        let args = &log.entries()[0].args;
        assert_eq!((args.len(), args[31].as_slice()), (32, &b"... (9 more arguments)"[..]));
        assert!(log.entries()[1].args[1].ends_with(b"vv... (72 more bytes)"));
        log.note(&[b"PING"], 10, NOW, (address(), b""));
        assert_eq!(log.entries().len(), 2);
    }
}
