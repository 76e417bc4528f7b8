//! XCFGSET key \[IDMP-DURATION s] \[IDMP-MAXSIZE n]

use levada_core::command::{Command, Xcfgset};

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xcfgset",
    syntax: "key [IDMP-DURATION seconds] [IDMP-MAXSIZE count]",
    summary: "Sets how long and how many idempotent ids a stream tracks; a new value forgets them.",
    since: "8.6.0",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut asked = Xcfgset { key: request.key(1), idmp_duration_s: None, idmp_iids_max: None };
    Ok(match options(request.rest(2), &mut asked) {
        Ok(()) => Command::Xcfgset(asked).into(),
        // The key is looked for first.
        Err(error) => {
            let nothing = Xcfgset { idmp_duration_s: None, idmp_iids_max: None, ..asked };
            Asked::check_first(Command::Xcfgset(nothing), error, None)
        }
    })
}

fn options(mut args: &[&[u8]], asked: &mut Xcfgset<'_>) -> Result<(), WireError> {
    while let [word, value, rest @ ..] = args {
        let (setting, twice, range, max) = if word.eq_ignore_ascii_case(b"IDMP-DURATION") {
            let setting = &mut asked.idmp_duration_s;
            (setting, WireError::IDMP_DURATION_TWICE, WireError::IDMP_DURATION_RANGE, 86_400)
        } else if word.eq_ignore_ascii_case(b"IDMP-MAXSIZE") {
            let setting = &mut asked.idmp_iids_max;
            (setting, WireError::IDMP_MAXSIZE_TWICE, WireError::IDMP_MAXSIZE_RANGE, 10_000)
        } else {
            return Err(WireError::SYNTAX);
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
        (_, None, None) => Err(WireError::NOTHING_SET),
        _ => Ok(()),
    }
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
