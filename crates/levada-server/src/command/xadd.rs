//! XADD key \[NOMKSTREAM] \[KEEPREF|DELREF|ACKED] \[IDMPAUTO pid|IDMP pid iid]
//! \[MAXLEN|MINID \[=|~] threshold \[LIMIT n]] <*|ms-*|id> field value ...

use levada_core::command::{Command, Idempotent, NewId, Xadd};
use levada_core::fields::Fields;
use levada_core::id::{StreamId, parse_u64};

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::{TrimOptions, c_string, parse_id};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xadd",
    syntax: "key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [IDMPAUTO pid|IDMP pid iid] [MAXLEN|MINID \
             [=|~] threshold [LIMIT n]] <*|ms-*|id> field value [field value ...]",
    summary: "Appends an entry to a stream, which is created where it is missing.",
    since: "5.0.0",
    complexity: "O(1), and O(log N) of the stream's blocks when trimming; with DELREF or ACKED \
                 O(N) of the entries looked at",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut options = TrimOptions::default();
    let mut must_exist = false;
    let mut idempotent = None;
    let mut at = 2;
    while at < request.args.len() {
        let word = request.arg(at);
        if c_string(word) == b"*" {
            break;
        }
        at += match options.take(request.rest(at))? {
            0 if word.eq_ignore_ascii_case(b"NOMKSTREAM") => {
                must_exist = true;
                1
            }
            0 => match take_idempotent(request.rest(at), &mut idempotent)? {
                0 => break,
                taken => taken,
            },
            taken => taken,
        };
    }
    let word = (at < request.args.len()).then(|| request.arg(at));
    let id = word.map_or(Ok(NewId::Auto), new_id)?;
    if idempotent.is_some() && word.is_some_and(|word| !word.starts_with(b"*")) {
        return Err(WireError::IDMP_EXPLICIT_ID);
    }
    let trim = options.finish()?;
    let fields = request.rest(at + 1);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(WireError::Arity(SPEC.name));
    }
    if id == NewId::Explicit(StreamId::MIN) {
        return Err(WireError::ID_ZERO);
    }
    let key = request.key(1);
    let fields = Fields::Arguments(fields);
    Ok(Command::Xadd(Xadd { key, must_exist, trim, id, fields, idempotent }).into())
}

/// Reads IDMP or IDMPAUTO off the head of `args`: how many arguments it took, 0 if it is neither.
fn take_idempotent<'a>(
    args: &'a [&'a [u8]],
    taken: &mut Option<Idempotent<'a>>,
) -> Result<usize, WireError> {
    let (found, length, pid_empty) = match *args {
        [word, pid, ..] if word.eq_ignore_ascii_case(b"IDMPAUTO") => {
            (Idempotent { pid, iid: None }, 2, WireError::IDMPAUTO_PID_EMPTY)
        }
        [word, pid, iid, ..] if word.eq_ignore_ascii_case(b"IDMP") => {
            (Idempotent { pid, iid: Some(iid) }, 3, WireError::IDMP_PID_EMPTY)
        }
        _ => return Ok(0),
    };
    if taken.is_some() {
        return Err(WireError::IDMP_TWICE);
    }
    if found.pid.is_empty() {
        return Err(pid_empty);
    }
    if found.iid.is_some_and(<[u8]>::is_empty) {
        return Err(WireError::IDMP_IID_EMPTY);
    }
    *taken = Some(found);
    Ok(length)
}

fn new_id(text: &[u8]) -> Result<NewId, WireError> {
    let text = c_string(text);
    if text == b"*" {
        return Ok(NewId::Auto);
    }
    let id = match text.strip_suffix(b"-*") {
        Some(ms) => parse_u64(ms).map(NewId::AutoSeq),
        None => parse_id(text, 0).map(NewId::Explicit),
    };
    id.ok_or(WireError::INVALID_ID)
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn options_stand_before_the_id() {
        check("XADD s * a b", "must_exist: false, trim: None, id: Auto");
        check("XADD s 1-2 a b", "id: Explicit(StreamId { ms: 1, seq: 2 })");
        check("XADD s 7-* a b", "id: AutoSeq(7)");
        check("XADD s NOMKSTREAM MAXLEN ~ 5 LIMIT 9 3 a b", "must_exist: true");
        check(
            "XADD s MAXLEN ~ 5 LIMIT 9 * a b",
            "keep: MaxLen(5), approximate: true, limit: Some(9)",
        );
        check(
            "XADD s minid = 5 * a b",
            "keep: MinId(StreamId { ms: 5, seq: 0 }), approximate: false",
        );
        check("XADD s MAXLEN 5 * a b", "keep: MaxLen(5), approximate: false, limit: None");
        check("XADD s ACKED MAXLEN 5 * a b", "references: Some(Acked)");
        check("XADD s MAXLEN 5 DELREF * a b", "references: Some(Remove)");
        check("XADD s ACKED * a b", "trim: None");
    }

    #[test]
    fn mistakes_have_their_words() {
        check("XADD s 1-1 a", "ERR wrong number of arguments for 'xadd' command");
        check("XADD s * a b c", "ERR wrong number of arguments for 'xadd' command");
        check("XADD s NOMKSTREAM * a", "ERR wrong number of arguments for 'xadd' command");
        check(
            "XADD s MAXLEN 5 a b c",
            "ERR Invalid stream ID specified as stream command argument",
        );
        check(
            "XADD s LIMIT 4 x-1 a b",
            "ERR Invalid stream ID specified as stream command argument",
        );
        check("XADD s -* a b", "ERR Invalid stream ID specified as stream command argument");
        check("XADD s 0-0 a b", "ERR The ID specified in XADD must be greater than 0-0");
        check("XADD s MAXLEN x * a b", "ERR value is not an integer or out of range");
        check("XADD s MAXLEN -1 * a b", "ERR The MAXLEN argument must be >= 0.");
        check("XADD s MAXLEN ~ 5 LIMIT -1 * a b", "ERR The LIMIT argument must be >= 0.");
        check(
            "XADD s MAXLEN 5 MINID 3 * a b",
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        );
        check(
            "XADD s MAXLEN 5 LIMIT 3 * a b",
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        );
        check(
            "XADD s LIMIT 5 * a b",
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        );
        check(
            "XADD s LIMIT 0 * a b",
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        );
    }
}
