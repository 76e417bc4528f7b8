//! XTRIM key MAXLEN|MINID \[=|~] threshold \[LIMIT n] \[KEEPREF|DELREF|ACKED]

use levada_core::command::Command;

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::stream_arguments::TrimOptions;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xtrim",
    access: &[access::RW | access::DELETE],
    syntax: "key MAXLEN|MINID [=|~] threshold [LIMIT n] [KEEPREF|DELREF|ACKED]",
    summary: "Removes the oldest entries of a stream.",
    since: "5.0.0",
    complexity: "O(log N) of the blocks; with DELREF or ACKED O(N) of the entries looked at",
    arity: -4,
    flags: flag::WRITE,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut options = TrimOptions::default();
    let mut at = 2;
    while at < request.args.len() {
        match options.take(request.rest(at))? {
            0 => return Err(WireError::SYNTAX),
            taken => at += taken,
        }
    }
    let trim = options.finish_required()?;
    Ok(Command::Xtrim(request.key(1), trim).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XTRIM s MAXLEN 5", "keep: MaxLen(5), approximate: false, limit: None");
        check("XTRIM s LIMIT 5 MAXLEN ~ 5", "approximate: true, limit: Some(5)");
        check("XTRIM s MAXLEN 5 ACKED", "references: Some(Acked)");
        check("XTRIM s KEEPREF MAXLEN 5", "references: Some(Keep)");
        check("XTRIM s MAXLEN 5 ACKED DELREF", "ERR syntax error");
        check(
            "XTRIM s LIMIT 0 KEEPREF",
            "ERR syntax error, XTRIM must be called with a trimming strategy",
        );
        check(
            "XTRIM s LIMIT 1",
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        );
        check("XTRIM s FOO 5", "ERR syntax error");
        check("XTRIM s MAXLEN 5 FOO", "ERR syntax error");
        check("XTRIM s MAXLEN -5", "ERR The MAXLEN argument must be >= 0.");
        check("XTRIM s NOMKSTREAM MAXLEN 5", "ERR syntax error");
        check("XTRIM s MINID foo", "ERR Invalid stream ID specified as stream command argument");
    }
}
