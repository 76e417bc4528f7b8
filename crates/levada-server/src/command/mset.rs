//! MSET key value \[key value ...], MSETNX key value \[key value ...]
//! MSETEX numkeys key value \[key value ...] \[NX|XX] \[EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]

use levada_core::command::{Command, Mset, SetExpiry};
use levada_core::reply::Reply;

use super::STRING;
use super::set::{Options, Taker};
use crate::number::parse_i64;
use crate::output::{Output, plain};
use crate::spec::{Asked, CommandSpec, Keys, Names, Request, Run, access, flag};
use crate::wire_error::WireError;

/// Every second argument.
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

pub(super) const MSET: CommandSpec = CommandSpec {
    name: "mset",
    access: &[access::OW | access::UPDATE],
    syntax: "key value [key value ...]",
    summary: "Writes several strings.",
    since: "1.0.1",
    complexity: "O(N), N keys",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: PAIRS,
    run: Run::Engine(mset, ok),
    ..STRING
};

pub(super) const MSETNX: CommandSpec = CommandSpec {
    name: "msetnx",
    access: &[access::OW | access::INSERT],
    syntax: "key value [key value ...]",
    summary: "Writes several strings unless one of the keys exists.",
    since: "1.0.1",
    complexity: "O(N), N keys",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: PAIRS,
    run: Run::Engine(msetnx, plain),
    ..STRING
};

pub(super) const MSETEX: CommandSpec = CommandSpec {
    name: "msetex",
    access: &[access::OW | access::UPDATE],
    syntax: "numkeys key value [key value ...] [NX|XX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]",
    summary: "Writes several strings on a condition, and sets their expiry.",
    since: "8.4.0",
    complexity: "O(N), N keys",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS,
    keys: Keys::Counted { count: 1, first: 2, step: 2 },
    run: Run::Engine(msetex, plain),
    ..STRING
};

fn mset<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    pairs(request, request.rest(1), None, SetExpiry::Clear)
}

fn msetnx<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    pairs(request, request.rest(1), Some(false), SetExpiry::Clear)
}

fn msetex<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let count = parse_i64(request.arg(1)).and_then(|count| i32::try_from(count).ok());
    let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    let count = count.ok_or(WireError::NUMKEYS)?;
    let split = request.rest(2).split_at_checked(2 * count);
    let (named, options) = split.ok_or(WireError::PAIRS_MISCOUNTED)?;
    let options = Options::parse(options, Taker::Msetex)?;
    let expiry = options.expiry.map_or(Ok(SetExpiry::Clear), |expiry| expiry.resolve(request))?;
    pairs(request, named, options.exists, expiry)
}

fn pairs<'a>(
    request: &Request<'a>,
    named: &'a [&'a [u8]],
    exists: Option<bool>,
    expiry: SetExpiry,
) -> Result<Asked<'a>, WireError> {
    if !named.len().is_multiple_of(2) {
        return Err(WireError::Arity(request.spec.name));
    }
    let pair = |pair: &'a [&'a [u8]]| (request.key_named(pair[0]), pair[1]);
    let pairs = named.chunks_exact(2).map(pair).collect();
    Ok(Command::Mset(Mset { pairs, exists, expiry }).into())
}

/// MSET has no condition that may fail.
fn ok(output: &mut Output<'_>, _: Reply, _: &Names<'_>) {
    output.write().ok();
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("MSET a 1", "exists: None, expiry: Clear");
        check("MSETNX a 1", "exists: Some(false), expiry: Clear");
        check("MSETEX 1 a 1 XX EXAT 5", "exists: Some(true), expiry: At(5000)");
        check("MSETEX 1 a 1 KEEPTTL", "exists: None, expiry: Keep");
        check("MSET a 1 b", "ERR wrong number of arguments for 'mset' command");
        check("MSETEX 0 a 1", "ERR invalid numkeys value");
        check("MSETEX 2147483648 a 1", "ERR invalid numkeys value");
        check("MSETEX 2147483647 a 1", "ERR wrong number of key-value pairs");
        check("MSETEX 2 a 1 NX", "ERR wrong number of key-value pairs");
        check("MSETEX 1 a 1 NX XX", "ERR syntax error");
        check("MSETEX 1 a 1 GET", "ERR syntax error");
        check("MSETEX 1 a 1 EX 0", "ERR invalid expire time in 'msetex' command");
    }
}
