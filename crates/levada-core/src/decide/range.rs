//! XLEN, XRANGE, XREVRANGE, XREAD: entries are read.

use alloc::vec::Vec;

use super::{
    Context, Decided, Decision,
    budget::Budget,
    integer,
    places::{self, Span},
};
use crate::{
    command::{Key, ReadFrom, Xrange, Xread},
    reply::{Entries, Reply},
};

/// XLEN key
pub(super) fn xlen<'a>(context: Context<'_>, key: Key<'a>) -> Decided<'a> {
    let length = context.stream(key)?.map_or(0, |(_, stream)| stream.len());
    Ok(Decision::answer(integer(length)))
}

/// XRANGE key start end \[COUNT n], XREVRANGE key end start \[COUNT n]
pub(super) fn xrange<'a>(context: Context<'_>, xrange: &Xrange<'a>) -> Decided<'a> {
    let Some((key, stream)) = context.stream(xrange.key)? else {
        return Ok(Decision::answer(Reply::Entries(Entries::none())));
    };
    let Xrange { first, last, reverse, count, .. } = *xrange;
    let span = Span { first, last, count: count.unwrap_or(u64::MAX), reverse };
    Ok(Decision::answer(Reply::Entries(places::collect(context, key, stream, span)?)))
}

/// XREAD \[COUNT n] \[MAXCOUNT n] \[MAXSIZE bytes] STREAMS key ... id ...
pub(super) fn xread<'a>(context: Context<'_>, xread: &Xread<'a>) -> Decided<'a> {
    let mut budget = Budget::new(xread.most);
    let mut streams = Vec::new();
    for (at, (key, from)) in xread.streams.iter().enumerate() {
        let Some((number, stream)) = context.stream(*key)? else {
            continue;
        };
        let span = match from {
            ReadFrom::New => continue,
            _ if budget.is_spent() => continue,
            ReadFrom::After(id) => Span::above(*id, budget.count(xread.count)),
            ReadFrom::Last => {
                let last = places::last_id(context, number, stream)?;
                Span { first: last, last, count: 1, reverse: false }
            }
        };
        let entries = places::collect(context, number, stream, span)?;
        if entries.count > 0 {
            budget.begin_stream(key.name);
        }
        let entries = budget.take(context, stream, entries, false)?;
        if entries.count > 0 {
            streams.push((at, entries));
        }
    }
    Ok(Decision::answer(match streams.is_empty() {
        true => Reply::NilList,
        false => Reply::Streams(streams),
    }))
}
