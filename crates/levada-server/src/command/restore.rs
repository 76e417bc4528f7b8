//! RESTORE key ttl payload \[REPLACE] \[ABSTTL] \[IDLETIME seconds] \[FREQ frequency]

use std::borrow::Cow;
use std::sync::Arc;

use levada_core::command::{Command, Restore, Restored};
use levada_core::error::Error as CoreError;
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::idempotence::IdmpLimits;
use levada_core::restored::{
    RestoredConsumer, RestoredGroup, RestoredIdmp, RestoredPending, RestoredProducer,
    RestoredStream,
};
use levada_rdb::{Error, Group, Id, Idmp, Producer, StreamDump, Value};

use super::{GENERIC, KEY};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, category, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

/// Bytes that a payload may unpack to: more than a stream that is taken, so that this one is told
/// what its limit is.
const UNPACK_BYTES_MAX: u64 = 64 << 20;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "restore",
    access: &[access::OW | access::UPDATE],
    syntax: "key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    summary: "Creates a string or a stream from what DUMP gave, up to 16 MiB.",
    since: "2.6.0",
    complexity: "O(N), N bytes",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::KEYSPACE | category::DANGEROUS,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let options = Options::parse(request.rest(4))?;
    let key = request.key(1);
    let mut restore = Restore { key, replace: options.replace, expires_at_ms: None, value: None };
    // What else is wrong is told only where the key is free.
    match contents(request, options) {
        Ok((expires_at_ms, value)) => {
            restore.expires_at_ms = expires_at_ms;
            restore.value = Some(value);
            Ok(Command::Restore(restore).into())
        }
        Err(error) => Ok(Asked::check_first(Command::Restore(restore), error, None)),
    }
}

#[derive(Clone, Copy, Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    /// IDLETIME and FREQ are checked and without effect: nothing of ours is evicted by use.
    fn parse(mut words: &[&[u8]]) -> Result<Self, WireError> {
        let mut options = Self::default();
        let (mut idle, mut frequency) = (false, false);
        while let [word, rest @ ..] = words {
            words = match rest {
                rest if word.eq_ignore_ascii_case(b"REPLACE") => {
                    options.replace = true;
                    rest
                }
                rest if word.eq_ignore_ascii_case(b"ABSTTL") => {
                    options.absolute = true;
                    rest
                }
                [seconds, rest @ ..] if word.eq_ignore_ascii_case(b"IDLETIME") && !frequency => {
                    idle = true;
                    if integer(seconds)? < 0 {
                        return Err(WireError::INVALID_IDLETIME);
                    }
                    rest
                }
                [count, rest @ ..] if word.eq_ignore_ascii_case(b"FREQ") && !idle => {
                    frequency = true;
                    if !(0..=255).contains(&integer(count)?) {
                        return Err(WireError::INVALID_FREQUENCY);
                    }
                    rest
                }
                _ => return Err(WireError::SYNTAX),
            };
        }
        Ok(options)
    }
}

/// When the key expires, and what it holds.
fn contents<'a>(
    request: &Request<'a>,
    options: Options,
) -> Result<(Option<i64>, Restored<'a>), WireError> {
    let ttl_ms = integer(request.arg(2))?;
    if ttl_ms < 0 {
        return Err(WireError::INVALID_TTL);
    }
    let base = if options.absolute { 0 } else { request.now.wall_ms };
    // As in Redis, a time beyond all numbers has wrapped around and is over.
    let expires_at_ms = (ttl_ms > 0).then(|| ttl_ms.wrapping_add_unsigned(base));
    let value = match levada_rdb::decode(request.arg(3), UNPACK_BYTES_MAX) {
        Ok(Value::Text(text)) => Restored::Text(Cow::Owned(text)),
        Ok(Value::Stream(stream)) => {
            let stream = restored(&stream);
            Restored::Stream(Arc::new(stream.map_err(|e| WireError::Core(e, "restore"))?))
        }
        Ok(Value::Unsupported(kind)) => {
            return Err(WireError::quoting(
                "ERR RESTORE of a value of type '",
                kind.as_bytes(),
                "' is not supported: there are strings and streams",
            ));
        }
        Err(Error::Trailer) => return Err(WireError::WRONG_PAYLOAD),
        Err(Error::TooLarge { .. }) => {
            return Err(WireError::Core(CoreError::RestoreTooLarge, "restore"));
        }
        Err(_) => return Err(WireError::BAD_DATA),
    };
    Ok((expires_at_ms, value))
}

/// A stream as the core takes it: nodes of the payload become logical nodes.
fn restored(dump: &StreamDump) -> Result<RestoredStream, CoreError> {
    let mut stream = RestoredStream::default();
    stream.last_id = id(dump.ids.last_id);
    stream.entries_added = dump.ids.entries_added;
    stream.max_deleted_id = id(dump.ids.max_deleted_id);
    stream.groups = dump.groups.iter().map(group).collect();
    stream.idmp = dump.idmp.as_ref().map(idmp);
    for node in &dump.nodes {
        let mut starts_node = true;
        for entry in node.entries() {
            let pairs = entry.fields.iter();
            let arguments: Vec<&[u8]> =
                pairs.flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect();
            stream.push(id(entry.id), &Fields::Arguments(&arguments), starts_node)?;
            starts_node = false;
        }
    }
    Ok(stream)
}

fn group(group: &Group) -> RestoredGroup {
    let consumers = group.consumers.iter().map(|consumer| RestoredConsumer {
        name: consumer.name.clone(),
        seen_ms: consumer.seen_ms,
        active_ms: consumer.active_ms,
    });
    let pending = group.pending.iter().map(|pending| RestoredPending {
        id: id(pending.id),
        delivered_ms: pending.delivered_ms,
        count: pending.count,
        consumer: u32::try_from(pending.consumer).expect("a payload has less than 2^32 bytes"),
    });
    RestoredGroup {
        name: group.name.clone(),
        last_id: id(group.last_id),
        entries_read: group.entries_read,
        consumers: consumers.collect(),
        pending: pending.collect(),
    }
}

fn idmp(idmp: &Idmp) -> RestoredIdmp {
    let producer = |producer: &Producer| RestoredProducer {
        pid: producer.name.clone(),
        iids: producer.entries.iter().map(|(iid, entry)| (iid.clone(), id(*entry))).collect(),
    };
    RestoredIdmp {
        limits: IdmpLimits { duration_s: idmp.duration_s, iids_max: idmp.entries_max },
        added: idmp.added,
        duplicates: idmp.duplicates,
        producers: idmp.producers.iter().map(producer).collect(),
    }
}

fn id(id: Id) -> StreamId {
    StreamId::new(id.ms, id.seq)
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn options_are_checked_first() {
        check("RESTORE k 0 v FOO", "ERR syntax error");
        check("RESTORE k x v IDLETIME", "ERR syntax error");
        check("RESTORE k x v IDLETIME x", "ERR value is not an integer or out of range");
        check("RESTORE k x v IDLETIME -1", "ERR Invalid IDLETIME value, must be >= 0");
        check("RESTORE k x v FREQ 256", "ERR Invalid FREQ value, must be >= 0 and <= 255");
        check("RESTORE k x v FREQ 1 IDLETIME 1", "ERR syntax error");
        check("RESTORE k x v IDLETIME 1 FREQ 1", "ERR syntax error");
        check("RESTORE k x v", "ERR value is not an integer or out of range");
        check("RESTORE k -1 v", "ERR Invalid TTL value, must be >= 0");
        check("RESTORE k 0 v", "ERR DUMP payload version or checksum are wrong");
    }
}
