//! XCFGSET key \[IDMP-DURATION s] \[IDMP-MAXSIZE n] \[DEDUP-WINDOW ms] \[DEDUP-MAX n]
//! \[RETENTION KEEP|ACKED] \[RETAIN-ACKED ms] \[MAX-AGE ms] \[MAX-LEN n] \[MAX-BYTES n]
//! \[ON-LIMIT REJECT|TRIM] \[DURABILITY ALWAYS|INTERVAL]
//! XCFGGET key \[option ...]
//!
//! All but the first two options are ours, and so is XCFGGET.

use levada_core::command::{Command, StreamOption, Xcfgset};
use levada_core::policy::{Durability, OnLimit, Retention};

use super::{KEY, STREAM};
use crate::output::{facts, plain};
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::{integer, unsigned};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xcfgset",
    syntax: "key [IDMP-DURATION seconds] [IDMP-MAXSIZE count] [DEDUP-WINDOW ms] \
             [DEDUP-MAX count] [RETENTION KEEP|ACKED] [RETAIN-ACKED ms] [MAX-AGE ms] \
             [MAX-LEN count] [MAX-BYTES bytes] [ON-LIMIT REJECT|TRIM] \
             [DURABILITY ALWAYS|INTERVAL]",
    summary: "Sets the policy of a stream: idempotent ids, retention, limits, durability.",
    since: "8.6.0",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

pub(super) const GET: CommandSpec = CommandSpec {
    name: "xcfgget",
    syntax: "key [option ...]",
    summary: "Shows the policy of a stream.",
    since: "levada 0.1",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse_get, facts),
    ..STREAM
};

fn parse_get<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let chosen = request.rest(2);
    Ok(Asked { names: chosen, ..Command::Xcfgget(request.key(1)).into() })
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut asked = Xcfgset {
        key: request.key(1),
        idmp_duration_s: None,
        idmp_iids_max: None,
        options: Vec::new(),
    };
    Ok(match options(request.rest(2), &mut asked) {
        Ok(()) => Command::Xcfgset(asked).into(),
        // The key is looked for first.
        Err(error) => {
            let nothing = Xcfgset {
                idmp_duration_s: None,
                idmp_iids_max: None,
                options: Vec::new(),
                ..asked
            };
            Asked::check_first(Command::Xcfgset(nothing), error, None)
        }
    })
}

/// Reads the options into what is asked.
pub(crate) fn options(mut args: &[&[u8]], asked: &mut Xcfgset<'_>) -> Result<(), WireError> {
    while let [word, value, rest @ ..] = args {
        let (setting, twice, range, max) = if word.eq_ignore_ascii_case(b"IDMP-DURATION") {
            let setting = &mut asked.idmp_duration_s;
            (setting, WireError::IDMP_DURATION_TWICE, WireError::IDMP_DURATION_RANGE, 86_400)
        } else if word.eq_ignore_ascii_case(b"IDMP-MAXSIZE") {
            let setting = &mut asked.idmp_iids_max;
            (setting, WireError::IDMP_MAXSIZE_TWICE, WireError::IDMP_MAXSIZE_RANGE, 10_000)
        } else {
            asked.options.push(option(word, value)?);
            args = rest;
            continue;
        };
        if setting.is_some() {
            return Err(twice);
        }
        let value = u64::try_from(integer(value)?).ok();
        *setting = Some(value.filter(|value| (1..=max).contains(value)).ok_or(range)?);
        args = rest;
    }
    match (args, asked.idmp_duration_s, asked.idmp_iids_max) {
        ([_], ..) => Err(WireError::SYNTAX),
        (_, None, None) if asked.options.is_empty() => Err(WireError::NOTHING_SET),
        _ => Ok(()),
    }
}

/// An option of ours.
fn option(word: &[u8], value: &[u8]) -> Result<StreamOption, WireError> {
    let number = || unsigned(value, &WireError::NOT_INTEGER);
    Ok(match word.to_ascii_uppercase().as_slice() {
        b"RETENTION" => StreamOption::Retention(choice(
            value,
            &[("KEEP", Retention::Keep), ("ACKED", Retention::Acked)],
        )?),
        b"RETAIN-ACKED" => StreamOption::RetainAcked(number()?),
        b"MAX-AGE" => StreamOption::MaxAge(number()?),
        b"MAX-LEN" => StreamOption::MaxLen(number()?),
        b"MAX-BYTES" => StreamOption::MaxBytes(number()?),
        b"DEDUP-WINDOW" => StreamOption::DedupWindow(number()?),
        b"DEDUP-MAX" => StreamOption::DedupMax(number()?),
        b"ON-LIMIT" => StreamOption::OnLimit(choice(
            value,
            &[("REJECT", OnLimit::Reject), ("TRIM", OnLimit::Trim)],
        )?),
        b"DURABILITY" => StreamOption::Durability(choice(
            value,
            &[("ALWAYS", Durability::Always), ("INTERVAL", Durability::Interval)],
        )?),
        _ => return Err(WireError::SYNTAX),
    })
}

/// One of these words, in any case.
pub(super) fn choice<T: Copy>(value: &[u8], words: &[(&str, T)]) -> Result<T, WireError> {
    let found = words.iter().find(|(word, _)| value.eq_ignore_ascii_case(word.as_bytes()));
    found.map(|(_, choice)| *choice).ok_or(WireError::SYNTAX)
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XCFGSET s IDMP-DURATION 7", "idmp_duration_s: Some(7), idmp_iids_max: None");
        check(
            "XCFGSET s idmp-maxsize 1 IDMP-DURATION 86400",
            "idmp_duration_s: Some(86400), idmp_iids_max: Some(1)",
        );
        check("XCFGSET s", "ERR At least one parameter must be specified");
        check(
            "XCFGSET s RETENTION acked MAX-LEN 5 ON-LIMIT TRIM",
            "options: [Retention(Acked), MaxLen(5), OnLimit(Trim)]",
        );
        check("XCFGSET s durability interval", "options: [Durability(Interval)]");
        check("XCFGSET s DURABILITY NEVER", "ERR syntax error");
        check("XCFGSET s RETENTION MAYBE", "ERR syntax error");
        check("XCFGSET s MAX-LEN -1", "ERR value is not an integer or out of range");
        check("XCFGSET s IDMP-MAXSIZE", "ERR syntax error");
        check("XCFGSET s IDMP-MAXSIZE 1 IDMP-DURATION", "ERR syntax error");
        check(
            "XCFGSET s IDMP-MAXSIZE 1 IDMP-MAXSIZE 1",
            "ERR IDMP-MAXSIZE specified multiple times",
        );
        check("XCFGSET s IDMP-MAXSIZE -1", "ERR IDMP-MAXSIZE must be between 1 and 10000 entries");
        check("XCFGSET s IDMP-DURATION x", "ERR value is not an integer or out of range");
    }
}
