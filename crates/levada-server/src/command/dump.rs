//! DUMP key

use std::borrow::Cow;
use std::sync::Arc;

use levada_core::block::Block;
use levada_core::command::Command;
use levada_core::error::Error as CoreError;
use levada_core::fields::Value;
use levada_core::group::{self, NOBODY};
use levada_core::id::StreamId;
use levada_core::idempotence::Idempotence;
use levada_core::limits::DUMP_BYTES_MAX;
use levada_core::reply::{Dumped, Reply};
use levada_core::stream::Stream;
use levada_rdb::{
    Consumer, Group, Id, Idmp, Pending, Producer, StreamIds, StreamWriter, VERSION, encode_text,
};

use super::{GENERIC, KEY};
use crate::output::{Output, plain};
use crate::spec::{Asked, CommandSpec, Names, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "dump",
    syntax: "key",
    summary: "Gives a value in the form that RESTORE takes, up to 64 MiB.",
    since: "2.6.0",
    complexity: "O(N), N bytes",
    arity: 2,
    flags: flag::READONLY,
    keys: KEY,
    run: Run::Engine(parse, write),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Dump(request.key(1)).into())
}

fn write(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    match reply {
        Reply::Dumped(Dumped::Text(value)) => output.write().bulk(&encode_text(&value, VERSION)),
        Reply::Dumped(Dumped::Stream(stream, blocks)) => {
            match encode(&stream, &blocks, names.now.wall_ms) {
                Some(payload) => output.write().bulk(&payload),
                None => output.error(&WireError::Core(CoreError::DumpTooLarge, "dump")),
            }
        }
        reply => plain(output, reply, names),
    }
}

/// A stream as a payload of the latest version; `None` where it is too long for one: names of
/// fields stand in it more often than in our blocks.
fn encode(stream: &Stream, sealed: &[(u64, Arc<Block>)], now_ms: u64) -> Option<Vec<u8>> {
    let mut writer = StreamWriter::new(VERSION);
    let tail = (stream.tail_number(), stream.tail());
    let blocks = sealed.iter().map(|(number, block)| (*number, &**block)).chain([tail]);
    for (number, block) in blocks {
        let meta = stream.meta(number)?;
        for row in block.rows(meta.first_row).filter(|row| meta.is_live(row.index)) {
            let pair = |(name, value)| (Cow::Borrowed(name), bytes(value));
            let fields: Vec<_> = row.fields.iter().map(pair).collect();
            writer.push(id(row.id), &fields);
            if writer.bytes() > DUMP_BYTES_MAX {
                return None;
            }
        }
    }
    let ids = StreamIds {
        last_id: id(stream.last_id),
        max_deleted_id: id(stream.max_deleted_id),
        entries_added: stream.entries_added,
    };
    let groups: Vec<_> =
        stream.groups.iter().map(|(name, _, held)| group(name, held, now_ms)).collect();
    let payload = writer.finish(&ids, &groups, Some(&idmp(&stream.idempotence, now_ms)));
    Some(payload).filter(|payload| payload.len() <= DUMP_BYTES_MAX)
}

fn group(name: &[u8], held: &group::Group, now_ms: u64) -> Group {
    let mut consumers: Vec<Consumer> = Vec::new();
    let mut places = Vec::new();
    for (name, number, consumer) in held.consumers.iter() {
        let (seen_ms, active_ms) = (consumer.seen_ms, consumer.active_ms);
        places.push((number, consumers.len()));
        consumers.push(Consumer { name: name.to_vec(), seen_ms, active_ms });
    }
    // Redis cannot take an entry that is nobody's; XPENDING shows it with an empty name, and so
    // a consumer of that name has it.
    // What ORDER-BY parked would be lost otherwise.
    let parked = held.order.parked_from(StreamId::MIN).map(|(id, _)| id);
    if held.unowned() > 0 || held.order.parked_len() > 0 {
        let unnamed = consumers.iter().position(|consumer| consumer.name.is_empty());
        places.push((NOBODY, unnamed.unwrap_or(consumers.len())));
        if unnamed.is_none() {
            consumers.push(Consumer { name: Vec::new(), seen_ms: now_ms, active_ms: None });
        }
    }
    places.sort_unstable();
    let place = |consumer: u32| {
        let found = places.binary_search_by_key(&consumer, |(number, _)| *number);
        found.map_or(0, |at| places[at].1)
    };
    let parked = parked.map(|parked| Pending {
        id: id(parked),
        delivered_ms: 0,
        count: 0,
        consumer: place(NOBODY),
    });
    let pending = held.pending.iter_from(StreamId::MIN).map(|pending| Pending {
        id: id(pending.id),
        delivered_ms: pending.delivered_ms,
        count: pending.count,
        consumer: place(pending.consumer),
    });
    let mut pending: Vec<_> = pending.chain(parked).collect();
    pending.sort_unstable_by_key(|pending| (pending.id.ms, pending.id.seq));
    Group {
        name: name.to_vec(),
        last_id: id(held.last_id),
        entries_read: held.entries_read,
        pending,
        consumers,
    }
}

/// What idempotent producers left and still counts.
fn idmp(held: &Idempotence, now_ms: u64) -> Idmp {
    let mut producers: Vec<Producer> = Vec::new();
    for (pid, tracked) in held.tracked(now_ms) {
        if producers.last().is_none_or(|producer| producer.name != pid) {
            producers.push(Producer { name: pid.to_vec(), entries: Vec::new() });
        }
        let producer = producers.last_mut().expect("one was pushed");
        producer.entries.push((tracked.iid.to_vec(), id(tracked.id)));
    }
    Idmp {
        duration_s: held.limits.duration_s,
        entries_max: held.limits.iids_max,
        producers,
        added: held.added,
        duplicates: held.duplicates,
    }
}

fn bytes(value: Value<'_>) -> Cow<'_, [u8]> {
    match value {
        Value::Bytes(bytes) => Cow::Borrowed(bytes),
        Value::Integer(_) => {
            let mut digits = Vec::new();
            value.append_to(&mut digits);
            Cow::Owned(digits)
        }
    }
}

fn id(id: StreamId) -> Id {
    Id::new(id.ms, id.seq)
}
