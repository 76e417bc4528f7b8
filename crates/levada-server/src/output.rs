//! One reply on its way into a connection's buffer, and the forms that several commands share.
//!
//! What is written must be exactly one value of RESP; headers announce exactly what follows.

use std::sync::Arc;

use levada_core::id::StreamId;
use levada_core::reply::{
    Autoclaimed, Claimed, ConsumerInfo, Entries, Fact, GroupFull, GroupInfo, PendingRow,
    PendingSummary, Reply, StreamFacts, StreamFull, StreamInfo,
};
use levada_resp::{Protocol, Writer};

use crate::out::Out;
use crate::spec::Names;
use crate::values::AT_ONCE_BYTES_MAX;
use crate::wire_error::WireError;

/// A reply being written.
pub(crate) struct Output<'a> {
    out: &'a mut Out,
    protocol: Protocol,
    /// Where the reply begins, if an error may still take its place.
    start: Option<u64>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut Out, protocol: Protocol) -> Self {
        let start = Some(out.position());
        Self { out, protocol, start }
    }

    /// A reply inside that of EXEC: what it tells of has happened, so that no error may take its
    /// place.
    pub(crate) fn nested(out: &'a mut Out, protocol: Protocol) -> Self {
        Self { out, protocol, start: None }
    }

    /// Where the next bytes go.
    #[inline]
    pub(crate) fn write(&mut self) -> Writer<'_> {
        Writer::new(self.out.target(), self.protocol)
    }

    pub(crate) fn error(&mut self, error: &WireError) {
        self.write().error(error.text());
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Another dialect from here on: HELLO and RESET answer in the one that they chose.
    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// An array of entries.
    pub(crate) fn entries(&mut self, entries: Entries) {
        self.write().array(usize::try_from(entries.count).unwrap_or(usize::MAX));
        self.out.push_entries(entries, self.start);
    }

    /// The only entry of `entries`, or a null.
    pub(crate) fn entry(&mut self, entries: Entries) {
        if entries.count == 0 {
            self.write().null();
        } else {
            self.out.push_entries(entries, self.start);
        }
    }

    /// A string.
    pub(crate) fn bytes(&mut self, bytes: Arc<[u8]>) {
        if bytes.len() > AT_ONCE_BYTES_MAX {
            self.out.push_values(vec![Some(bytes)], self.protocol);
        } else {
            self.write().bulk(&bytes);
        }
    }

    /// Strings or nulls, without an array header.
    pub(crate) fn values(&mut self, values: Vec<Option<Arc<[u8]>>>) {
        self.out.push_values(values, self.protocol);
    }

    pub(crate) fn id(&mut self, id: StreamId) {
        self.write().bulk_id(id.ms, id.seq);
    }

    pub(crate) fn ids(&mut self, ids: &[StreamId]) {
        self.write().array(ids.len());
        for id in ids {
            self.id(*id);
        }
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        // Redis has signed integers on the wire; what is beyond them wraps.
        self.write().integer(value.cast_signed());
    }

    /// A count, or a null where it is not known.
    pub(crate) fn optional(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.write().integer(value),
            None => self.write().null(),
        }
    }

    /// A name and its count.
    pub(crate) fn field(&mut self, name: &str, value: u64) {
        self.write().bulk(name.as_bytes());
        self.unsigned(value);
    }

    /// A name and an id.
    pub(crate) fn id_field(&mut self, name: &str, id: StreamId) {
        self.write().bulk(name.as_bytes());
        self.id(id);
    }

    /// Lines of help: each a status.
    pub(crate) fn help(&mut self, lines: &[&str]) {
        self.write().array(lines.len());
        for line in lines {
            self.write().simple(line);
        }
    }
}

/// Writes facts as a map: all of them, or those whose names were asked for.
pub(crate) fn facts(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    let Reply::Facts(mut facts) = reply else {
        return plain(output, reply, names);
    };
    if names.keys.len() > 0 {
        let asked = |name: &str| {
            (0..names.keys.len()).any(|at| names.keys.get(at).eq_ignore_ascii_case(name.as_bytes()))
        };
        facts.retain(|(name, _)| asked(name));
    }
    output.write().map(facts.len());
    for (name, fact) in facts {
        output.write().bulk(name.as_bytes());
        match fact {
            Fact::Nil => output.write().null(),
            Fact::Number(number) => output.unsigned(number),
            Fact::Numbers(numbers) => {
                output.write().array(numbers.len());
                numbers.iter().for_each(|number| output.unsigned(*number));
            }
            Fact::Id(id) => output.id(id),
            Fact::Word(word) => output.write().bulk(word.as_bytes()),
            Fact::Bytes(bytes) => output.write().bulk(&bytes),
        }
    }
}

/// Writes a reply in the form that its type has with most commands.
pub(crate) fn plain(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    match reply {
        Reply::Ok => output.write().ok(),
        Reply::Nil => output.write().null(),
        Reply::NilList => output.write().null_array(),
        Reply::Integer(value) => output.write().integer(value),
        Reply::Integers(values) => {
            output.write().array(values.len());
            for value in values {
                output.write().integer(value);
            }
        }
        Reply::Id(id) => output.id(id),
        Reply::Ids(ids) => output.ids(&ids),
        Reply::Bytes(bytes) => output.bytes(bytes),
        Reply::Status(word) => output.write().simple(word),
        Reply::Values(values) => {
            output.write().array(values.len());
            output.values(values);
        }
        Reply::Names(names) => byte_strings(output, &names),
        Reply::Scanned(cursor, names) => {
            output.write().array(2);
            output.write().bulk_integer(cursor);
            byte_strings(output, &names);
        }
        Reply::Entries(entries) => output.entries(entries),
        Reply::Streams(streams) => {
            if output.protocol() == Protocol::Resp3 {
                output.write().map(streams.len());
            } else {
                output.write().array(streams.len());
            }
            for (at, entries) in streams {
                if output.protocol() == Protocol::Resp2 {
                    output.write().array(2);
                }
                output.write().bulk(names.keys.get(at));
                output.entries(entries);
            }
        }
        Reply::Autoclaimed(claimed) => autoclaimed(output, *claimed),
        Reply::PendingSummary(summary) => pending_summary(output, summary),
        Reply::PendingRows(rows) => pending_rows(output, &rows),
        Reply::StreamInfo(info) => stream_info(output, *info),
        Reply::StreamFull(full) => stream_full(output, *full),
        Reply::Groups(groups) => {
            output.write().array(groups.len());
            for group in &groups {
                group_info(output, group);
            }
        }
        Reply::Facts(_) => facts(output, reply, names),
        Reply::Dumped(_) => unreachable!("DUMP writes what it asked for itself"),
        Reply::Consumers(consumers) => {
            output.write().array(consumers.len());
            for consumer in &consumers {
                consumer_info(output, consumer);
            }
        }
    }
}

fn byte_strings(output: &mut Output<'_>, strings: &[Arc<[u8]>]) {
    output.write().array(strings.len());
    for string in strings {
        output.write().bulk(string);
    }
}

fn autoclaimed(output: &mut Output<'_>, claimed: Autoclaimed) {
    output.write().array(3);
    output.id(claimed.cursor);
    match claimed.claimed {
        Claimed::Entries(entries) => output.entries(entries),
        Claimed::Ids(ids) => output.ids(&ids),
    }
    output.ids(&claimed.deleted);
}

fn pending_summary(output: &mut Output<'_>, summary: Option<Box<PendingSummary>>) {
    output.write().array(4);
    let Some(summary) = summary else {
        output.write().integer(0);
        output.write().null();
        output.write().null();
        output.write().null_array();
        return;
    };
    output.unsigned(summary.count);
    output.id(summary.first);
    output.id(summary.last);
    output.write().array(summary.consumers.len());
    for (name, count) in &summary.consumers {
        output.write().array(2);
        output.write().bulk(name);
        output.write().bulk_integer(*count);
    }
}

fn pending_rows(output: &mut Output<'_>, rows: &[PendingRow]) {
    output.write().array(rows.len());
    for row in rows {
        output.write().array(4);
        output.id(row.id);
        output.write().bulk(&row.consumer);
        match row.idle_ms {
            Some(idle_ms) => output.unsigned(idle_ms),
            None => output.write().integer(-1),
        }
        output.unsigned(row.count);
    }
}

/// The pairs that both forms of XINFO STREAM begin with: 13.
fn stream_facts(output: &mut Output<'_>, facts: &StreamFacts) {
    output.field("length", facts.length);
    output.field("radix-tree-keys", facts.nodes);
    // Redis counts the inner nodes of its tree too; there is at least the root.
    output.field("radix-tree-nodes", facts.nodes + 1);
    output.id_field("last-generated-id", facts.last_id);
    output.id_field("max-deleted-entry-id", facts.max_deleted_id);
    output.field("entries-added", facts.entries_added);
    output.id_field("recorded-first-entry-id", facts.first_id);
    let idmp = &facts.idmp;
    output.field("idmp-duration", idmp.limits.duration_s);
    output.field("idmp-maxsize", idmp.limits.iids_max);
    output.field("pids-tracked", idmp.pids);
    output.field("iids-tracked", idmp.iids);
    output.field("iids-added", idmp.added);
    output.field("iids-duplicates", idmp.duplicates);
}

fn stream_info(output: &mut Output<'_>, info: StreamInfo) {
    output.write().map(16);
    stream_facts(output, &info.facts);
    output.field("groups", info.groups);
    output.write().bulk(b"first-entry");
    output.entry(info.first);
    output.write().bulk(b"last-entry");
    output.entry(info.last);
}

fn stream_full(output: &mut Output<'_>, full: StreamFull) {
    output.write().map(15);
    stream_facts(output, &full.facts);
    output.write().bulk(b"entries");
    output.entries(full.entries);
    output.write().bulk(b"groups");
    output.write().array(full.groups.len());
    for group in &full.groups {
        group_full(output, group);
    }
}

fn group_full(output: &mut Output<'_>, group: &GroupFull) {
    output.write().map(7);
    output.write().bulk(b"name");
    output.write().bulk(&group.info.name);
    output.id_field("last-delivered-id", group.info.last_id);
    group_counters(output, &group.info);
    output.field("pel-count", group.info.pending);
    output.write().bulk(b"pending");
    output.write().array(group.pending.len());
    for row in &group.pending {
        output.write().array(4);
        output.id(row.id);
        output.write().bulk(&row.consumer);
        output.unsigned(row.delivered_ms);
        output.unsigned(row.count);
    }
    output.write().bulk(b"consumers");
    output.write().array(group.consumers.len());
    for (consumer, pending) in &group.consumers {
        output.write().map(5);
        output.write().bulk(b"name");
        output.write().bulk(&consumer.name);
        output.field("seen-time", consumer.seen_ms);
        output.write().bulk(b"active-time");
        never_or(output, consumer.active_ms);
        output.field("pel-count", consumer.pending);
        output.write().bulk(b"pending");
        output.write().array(pending.len());
        for row in pending {
            output.write().array(3);
            output.id(row.id);
            output.unsigned(row.delivered_ms);
            output.unsigned(row.count);
        }
    }
}

fn group_info(output: &mut Output<'_>, group: &GroupInfo) {
    output.write().map(6);
    output.write().bulk(b"name");
    output.write().bulk(&group.name);
    output.field("consumers", group.consumers);
    output.field("pending", group.pending);
    output.id_field("last-delivered-id", group.last_id);
    group_counters(output, group);
}

fn group_counters(output: &mut Output<'_>, group: &GroupInfo) {
    output.write().bulk(b"entries-read");
    output.optional(group.entries_read.map(|read| i64::try_from(read).unwrap_or(i64::MAX)));
    output.write().bulk(b"lag");
    output.optional(group.lag);
}

fn consumer_info(output: &mut Output<'_>, consumer: &ConsumerInfo) {
    output.write().map(4);
    output.write().bulk(b"name");
    output.write().bulk(&consumer.name);
    output.field("pending", consumer.pending);
    output.field("idle", consumer.idle_ms);
    output.write().bulk(b"inactive");
    never_or(output, consumer.inactive_ms);
}

/// A time, or -1 for never.
fn never_or(output: &mut Output<'_>, time: Option<u64>) {
    output.write().integer(time.map_or(-1, |time| i64::try_from(time).unwrap_or(i64::MAX)));
}
