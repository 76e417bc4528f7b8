//! What a server should say where the model answers: the model's replies in RESP2.

use crate::peer::Resp;
use levada_sim::model::{Answer, Entries, ErrorKind, Fields, Id, Reply};

/// What the server should have said; of an error only how it starts.
pub(crate) fn expect(answer: &Answer) -> Resp {
    let reply = match answer {
        Ok(reply) => reply,
        Err(kind) => return Resp::Error(error_start(*kind).into()),
    };
    let ids = |ids: &[Id]| Resp::Array(ids.iter().map(|id| text(&show(*id))).collect());
    match reply {
        Reply::Ok => text("OK"),
        Reply::Nil => Resp::Null,
        Reply::Integer(n) => Resp::Integer(*n),
        Reply::Integers(list) => Resp::Array(list.iter().map(|n| Resp::Integer(*n)).collect()),
        Reply::Text(bytes) => Resp::Text(bytes.clone()),
        Reply::Id(id) => text(&show(*id)),
        Reply::Ids(list) => ids(list),
        Reply::Entries(list) => entries(list),
        Reply::Streams(streams) => {
            let stream = |(key, list): &(Vec<u8>, Entries)| {
                Resp::Array(vec![Resp::Text(key.clone()), entries(list)])
            };
            Resp::Array(streams.iter().map(stream).collect())
        }
        Reply::PendingSummary { total, range, consumers } => {
            let consumer = |(name, n): &(Vec<u8>, usize)| {
                Resp::Array(vec![Resp::Text(name.clone()), text(&n.to_string())])
            };
            let rest = match range {
                None => vec![Resp::Null, Resp::Null, Resp::Null],
                Some((first, last)) => vec![
                    text(&show(*first)),
                    text(&show(*last)),
                    Resp::Array(consumers.iter().map(consumer).collect()),
                ],
            };
            Resp::Array([vec![count(*total)], rest].concat())
        }
        Reply::PendingRows(rows) => Resp::Array(
            rows.iter()
                .map(|row| {
                    let n = Resp::Integer(row.count.cast_signed());
                    let owner = Resp::Text(row.consumer.clone());
                    Resp::Array(vec![text(&show(row.id)), owner, Resp::Integer(0), n])
                })
                .collect(),
        ),
        Reply::AutoClaimed { cursor, claimed, deleted, .. } => {
            let just_ids = claimed.iter().all(|(_, fields)| fields.is_none());
            let claimed = if just_ids {
                ids(&claimed.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            } else {
                entries(claimed)
            };
            Resp::Array(vec![text(&show(*cursor)), claimed, ids(deleted)])
        }
    }
}

fn error_start(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::WrongType => "WRONGTYPE ",
        ErrorKind::NoGroup => "NOGROUP ",
        ErrorKind::BusyGroup => "BUSYGROUP ",
        ErrorKind::KeyRequired => "ERR The XGROUP subcommand requires the key to exist.",
        ErrorKind::BusyKey => "BUSYKEY ",
        ErrorKind::NoSuchKey => "ERR no such key",
        ErrorKind::IdZero => "ERR The ID specified in XADD must be greater than 0-0",
        ErrorKind::IdTooSmall => "ERR The ID specified in XADD is equal or smaller than",
        ErrorKind::Exhausted => "ERR The stream has exhausted the last possible ID",
        ErrorKind::LimitWithoutApprox => "ERR syntax error, LIMIT cannot be used without the",
        ErrorKind::InvalidStart => "ERR invalid start ID for the interval",
        ErrorKind::InvalidEnd => "ERR invalid end ID for the interval",
        ErrorKind::SetIdBelowGivenDeleted => {
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
        }
        ErrorKind::SetIdBelowDeleted => {
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
        }
        ErrorKind::SetIdBelowTop => {
            "ERR The ID specified in XSETID is smaller than the target stream top item"
        }
        ErrorKind::EntriesAddedTooSmall => {
            "ERR The entries_added specified in XSETID is smaller than the target stream length"
        }
        ErrorKind::NoSuchEntry => "ERR No such message in stream",
        ErrorKind::IidTaken => "ERR IID already exists for this producer with a different",
        ErrorKind::NotInteger => "ERR value is not an integer or out of range",
        ErrorKind::Overflow => "ERR increment or decrement would overflow",
    }
}

pub(crate) fn entries(list: &Entries) -> Resp {
    let entry = |(id, fields): &(Id, Option<Fields>)| {
        let fields = fields.as_ref().map_or(Resp::Null, |fields| {
            let flat = fields.iter().flat_map(|(f, v)| [f.clone(), v.clone()]);
            Resp::Array(flat.map(Resp::Text).collect())
        });
        Resp::Array(vec![text(&show(*id)), fields])
    };
    Resp::Array(list.iter().map(entry).collect())
}

pub(crate) fn count(n: usize) -> Resp {
    Resp::Integer(i64::try_from(n).expect("a small number"))
}

pub(crate) fn text(text: &str) -> Resp {
    Resp::Text(text.into())
}

pub(crate) fn show(id: Id) -> String {
    format!("{}-{}", id.0, id.1)
}
