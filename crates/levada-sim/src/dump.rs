//! The whole state as text, of the model and of the product, so that two states can be compared
//! and their difference read.
//!
//! The product's side asks the same questions that a client would (XINFO STREAM FULL, XINFO
//! GROUPS, XINFO CONSUMERS, XPENDING, XRANGE, XREVRANGE) and checks that their answers agree with
//! each other, then tells them in the words in which the model's side tells its fields.

use crate::model::{Fields, Group, Id, Iid, Model, Stream, TrackedIid, Value};
use crate::op::subject::told_id;
use levada_core::block::Block;
use levada_core::command::{Command, Key, Xpending, Xrange};
use levada_core::decide::{self, Blocks, Context, Refusal};
use levada_core::id::StreamId;
use levada_core::idempotence::IdmpLimits;
use levada_core::keyspace::KeyNumber;
use levada_core::machine::Machine;
use levada_core::reply::{
    ConsumerInfo, Entries, GroupFull, IdmpFacts, Part, PendingRow, Reply, StreamFull,
};
use levada_core::stream::NodeLimits;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Text per key, by the model's names of keys.
pub type Dump = BTreeMap<Vec<u8>, String>;

/// Sealed blocks by stream and number.
#[derive(Clone, Debug, Default)]
pub struct SealedBlocks(pub BTreeMap<(KeyNumber, u64), Arc<Block>>);

impl Blocks for SealedBlocks {
    fn block(&self, key: KeyNumber, number: u64) -> Option<Arc<Block>> {
        self.0.get(&(key, number)).cloned()
    }
}

/// The first difference between two states, told with both sides; none if they are equal.
pub fn difference(expected: &Dump, found: &Dump) -> Option<String> {
    let keys = expected.keys().chain(found.keys());
    let differs = keys.into_iter().find(|key| expected.get(*key) != found.get(*key))?;
    let side = |dump: &Dump| dump.get(differs).map_or("(no such key)\n".into(), Clone::clone);
    let name = String::from_utf8_lossy(differs);
    Some(format!("key {name} should be\n{}but is\n{}", side(expected), side(found)))
}

/// The model's state; keys that have expired are to be gone.
pub fn of_model(model: &Model) -> Dump {
    let dump = |(name, key): (&Vec<u8>, &crate::model::Key)| {
        let mut text = format!("expires {:?}\n", key.expires_ms);
        match &key.value {
            Value::Text(value) => line(&mut text, format_args!("text {}", show(value))),
            Value::Stream(stream) => model_stream(&mut text, stream),
        }
        (name.clone(), text)
    };
    model.keys.iter().map(dump).collect()
}

fn model_stream(text: &mut String, stream: &Stream) {
    facts(
        text,
        stream.entries.len() as u64,
        stream.last_id,
        stream.entries_added,
        stream.max_deleted_id,
        stream.first_id(),
    );
    for (id, fields) in &stream.entries {
        entry(text, *id, fields);
    }
    let once = &stream.once;
    let settings = (once.limits.duration_s, once.limits.iids_max as u64);
    once_facts(text, settings, once.added, once.duplicates);
    for (pid, tracked) in &once.tracked {
        for TrackedIid { iid, id, since_ms } in tracked {
            let iid = match iid {
                Iid::Given(iid) => show(iid),
                Iid::Auto(_) => "of its fields".into(),
            };
            tracked_iid(text, pid, &iid, *id, *since_ms);
        }
    }
    for (name, group) in &stream.groups {
        let (pending, lag) = (group.pending.len() as u64, stream.lag(group));
        group_facts(text, name, group.last_id, group.entries_read, lag, pending);
        for (id, row) in &group.pending {
            pending_row(text, *id, &row.consumer, row.delivered_ms, row.count);
        }
        model_consumers(text, group);
    }
}

fn model_consumers(text: &mut String, group: &Group) {
    for (name, consumer) in &group.consumers {
        let held = group.pending.values().filter(|row| row.consumer == *name).count();
        consumer_facts(text, name, consumer.seen_ms, consumer.active_ms, held as u64);
    }
}

/// Lets a model forget what a crash may take back: when consumers were there and got nothing. What
/// was recovered may only be earlier.
pub fn take_earlier_seen(model: &mut Model, machine: &Machine) {
    for (name, key) in &mut model.keys {
        let name = Key { database: name[0] - b'0', name: &name[1..] };
        let (Some((_, found)), Value::Stream(stream)) = (machine.stream(name), &mut key.value)
        else {
            continue;
        };
        for (name, group) in &mut stream.groups {
            let Some((_, found)) = found.groups.find(name) else {
                continue;
            };
            for (name, consumer) in &mut group.consumers {
                if let Some((_, found)) = found.consumers.find(name) {
                    consumer.seen_ms = consumer.seen_ms.min(found.seen_ms);
                }
            }
        }
    }
}

/// A machine's state. A block that is missing is told as such.
pub fn of_machine(machine: &Machine, blocks: &SealedBlocks, now_ms: u64) -> Dump {
    let nodes = NodeLimits::default();
    let (idmp, text_bytes_max) = (IdmpLimits::default(), u64::MAX);
    let order_window = 0;
    let (dedup_bytes_max, blind) = (u64::MAX, false);
    let defaults = &levada_core::defaults::NONE;
    let context = Context {
        machine,
        blocks,
        now_ms,
        nodes,
        idmp,
        order_window,
        defaults,
        text_bytes_max,
        dedup_bytes_max,
        blind,
        spare: None,
    };
    let view = View { context, machine, blocks };
    let mut dump = Dump::new();
    for database in 0..levada_core::limits::DATABASES {
        let Ok(Reply::Names(names)) = view.ask(&Command::Keys(database, b"*")) else {
            panic!("KEYS answers names")
        };
        for name in names {
            if let Some(text) = view.key(Key { database, name: &name }) {
                dump.insert([&[b'0' + database], &name[..]].concat(), text);
            }
        }
    }
    dump
}

/// Asks a machine without a shard around it.
struct View<'m> {
    context: Context<'m>,
    machine: &'m Machine,
    blocks: &'m SealedBlocks,
}

impl View<'_> {
    fn ask(&self, command: &Command<'_>) -> Result<Reply, String> {
        match decide::decide(self.context, command) {
            Ok(decision) => Ok(decision.reply),
            Err(Refusal::Error(error)) => Err(format!("{error:?}")),
            Err(Refusal::Need(need)) => Err(format!("blocks {need:?} are not there")),
        }
    }

    /// A key that has expired is as good as gone: every command that names it removes it first.
    fn key(&self, key: Key<'_>) -> Option<String> {
        let expires = match self.ask(&Command::Expiretime(key)) {
            Ok(Reply::Integer(-1)) => None,
            Ok(Reply::Integer(at_ms)) if at_ms.unsigned_abs() < self.context.now_ms => return None,
            Ok(Reply::Integer(at_ms)) => Some(at_ms),
            other => panic!("EXPIRETIME of a key that is there answers {other:?}"),
        };
        let mut text = format!("expires {expires:?}\n");
        match self.ask(&Command::Get(key)) {
            Ok(Reply::Bytes(value)) => line(&mut text, format_args!("text {}", show(&value))),
            _ => match self.stream(&mut text, key) {
                Ok(()) => {}
                Err(wrong) => line(&mut text, format_args!("WRONG: {wrong}")),
            },
        }
        Some(text)
    }

    fn stream(&self, text: &mut String, key: Key<'_>) -> Result<(), String> {
        let Reply::StreamFull(full) = self.ask(&Command::XinfoStream(key, Some(0)))? else {
            panic!("XINFO STREAM FULL answers that")
        };
        let StreamFull { facts: of, entries, groups } = *full;
        let (last_id, deleted) = (told_id(of.last_id), told_id(of.max_deleted_id));
        let first_id = told_id(of.first_id);
        facts(text, of.length, last_id, of.entries_added, deleted, first_id);
        let entries = self.entries(&entries)?;
        for (id, fields) in &entries {
            entry(text, *id, fields);
        }
        self.check_entries(key, of.length, &entries)?;
        self.once(text, key, of.idmp)?;
        let Reply::Groups(infos) = self.ask(&Command::XinfoGroups(key))? else {
            panic!("XINFO GROUPS answers groups")
        };
        if !groups.iter().map(|group| &group.info).eq(&infos) {
            return Err(format!("XINFO GROUPS says {infos:?}, FULL {groups:?}"));
        }
        groups.iter().try_for_each(|group| self.group(text, key, group))
    }

    /// What is tracked of idempotent producers, and that XINFO counts it right.
    fn once(&self, text: &mut String, key: Key<'_>, idmp: IdmpFacts) -> Result<(), String> {
        let (_, stream) = self.machine.stream(key).ok_or("no stream")?;
        let settings = (idmp.limits.duration_s, idmp.limits.iids_max);
        once_facts(text, settings, idmp.added, idmp.duplicates);
        let (mut pids, mut iids) = (BTreeSet::new(), 0);
        for (pid, tracked) in stream.idempotence.tracked(self.context.now_ms) {
            pids.insert(pid);
            iids += 1;
            let iid = match tracked.iid.len() {
                16 => "of its fields".into(),
                _ => show(tracked.iid),
            };
            tracked_iid(text, pid, &iid, told_id(tracked.id), tracked.since_ms);
        }
        match (pids.len() as u64, iids) == (idmp.pids, idmp.iids) {
            true => Ok(()),
            false => Err(format!("{idmp:?} of {iids} iids of {pids:?}")),
        }
    }

    /// What XRANGE, XREVRANGE and XLEN say must be the same.
    fn check_entries(
        &self,
        key: Key<'_>,
        length: u64,
        entries: &[(Id, Fields)],
    ) -> Result<(), String> {
        for reverse in [false, true] {
            let (first, last, count) = (StreamId::MIN, StreamId::MAX, None);
            let range = Command::Xrange(Xrange { key, first, last, reverse, count });
            let Reply::Entries(found) = self.ask(&range)? else { panic!("XRANGE answers entries") };
            let found = self.entries(&found)?;
            let same = match reverse {
                false => found.iter().eq(entries),
                true => found.iter().rev().eq(entries),
            };
            if !same || found.len() as u64 != length {
                return Err(format!("reverse {reverse}: {length} {entries:?} are {found:?}"));
            }
        }
        let ids: Vec<_> = entries.iter().map(|(id, _)| *id).collect();
        match ids.is_sorted_by(|a, b| a < b) {
            true => Ok(()),
            false => Err(format!("ids do not ascend: {ids:?}")),
        }
    }

    fn group(&self, text: &mut String, key: Key<'_>, group: &GroupFull) -> Result<(), String> {
        let GroupFull { info, pending, consumers } = group;
        let last_id = told_id(info.last_id);
        group_facts(text, &info.name, last_id, info.entries_read, info.lag, info.pending);
        for row in pending {
            pending_row(text, told_id(row.id), &row.consumer, row.delivered_ms, row.count);
        }
        let infos: Vec<_> = consumers.iter().map(|(info, _)| info.clone()).collect();
        for ConsumerInfo { name, pending, seen_ms, active_ms, .. } in &infos {
            consumer_facts(text, name, *seen_ms, *active_ms, *pending);
        }
        let found = self.ask(&Command::XinfoConsumers(key, &info.name))?;
        if found != Reply::Consumers(infos) || info.consumers != consumers.len() as u64 {
            return Err(format!("XINFO CONSUMERS says {found:?}, FULL {consumers:?}"));
        }
        self.check_pending(key, group)
    }

    /// The pending list is the disjoint union of the consumers', by every way to ask.
    fn check_pending(&self, key: Key<'_>, group: &GroupFull) -> Result<(), String> {
        let GroupFull { info, pending, consumers } = group;
        let mut union: Vec<PendingRow> = Vec::new();
        for (of, rows) in consumers {
            if of.pending != rows.len() as u64 || rows.iter().any(|row| row.consumer != of.name) {
                return Err(format!("{of:?} holds {rows:?}"));
            }
            union.extend(rows.iter().cloned());
        }
        // What XNACK released is nobody's.
        union.extend(pending.iter().filter(|row| row.consumer.is_empty()).cloned());
        union.sort_by_key(|row| row.id);
        let (first, last, count) = (StreamId::MIN, StreamId::MAX, u64::MAX);
        let (idle_ms_min, consumer) = (0, None);
        let group = &info.name[..];
        let all = Xpending { key, group, idle_ms_min, first, last, count, consumer };
        let rows = self.ask(&Command::Xpending(all))?;
        let whole = info.pending == pending.len() as u64;
        if union != *pending || rows != Reply::PendingRows(union) || !whole {
            return Err(format!("XPENDING says {rows:?}, FULL {pending:?} and {consumers:?}"));
        }
        Ok(())
    }

    fn entries(&self, entries: &Entries) -> Result<Vec<(Id, Fields)>, String> {
        let mut out = Vec::new();
        for part in &entries.parts {
            let Part::Rows { block, first, end, dead } = part else {
                return Err(format!("a deleted entry in {entries:?}"));
            };
            let stream = self.machine.stream_of(entries.key).ok_or("no stream")?;
            let sealed = self.blocks.block(entries.key, *block);
            let held = match *block == stream.tail_number() {
                true => stream.tail(),
                false => sealed.as_deref().ok_or(format!("block {block} is not there"))?,
            };
            let rows = held.rows(*first).take_while(|row| row.index < *end);
            let live =
                rows.filter(|row| dead.as_ref().is_none_or(|dead| !dead.contains(row.index)));
            let start = out.len();
            out.extend(live.map(|row| (told_id(row.id), row.fields.to_vec().into())));
            if entries.reverse {
                out[start..].reverse();
            }
        }
        match out.len() as u64 == entries.count {
            true => Ok(out),
            false => Err(format!("{} entries in {entries:?}", out.len())),
        }
    }
}

fn facts(text: &mut String, length: u64, last: Id, added: u64, deleted: Id, first: Id) {
    let (last, deleted, first) = (show_id(last), show_id(deleted), show_id(first));
    let of = format!("last {last} added {added} deleted {deleted} first {first}");
    line(text, format_args!("stream of {length}, {of}"));
}

fn once_facts(text: &mut String, (duration_s, max): (u64, u64), added: u64, duplicates: u64) {
    let ever = format!("ever {added} and {duplicates} duplicates");
    line(text, format_args!("  tracks {max} iids for {duration_s} s, {ever}"));
}

fn tracked_iid(text: &mut String, pid: &[u8], iid: &str, id: Id, since_ms: u64) {
    let (pid, id) = (show(pid), show_id(id));
    line(text, format_args!("    {pid}: {iid} is {id} since {since_ms}"));
}

fn entry(text: &mut String, id: Id, fields: &Fields) {
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", show(name), show(value)));
    line(text, format_args!("  {} {}", show_id(id), pairs.collect::<Vec<_>>().join(" ")));
}

fn group_facts(
    text: &mut String,
    name: &[u8],
    last: Id,
    read: Option<u64>,
    lag: Option<i64>,
    pending: u64,
) {
    let (name, last) = (show(name), show_id(last));
    line(
        text,
        format_args!("  group {name}: last {last} read {read:?} lag {lag:?} pending {pending}"),
    );
}

fn pending_row(text: &mut String, id: Id, consumer: &[u8], delivered_ms: u64, count: u64) {
    let (id, consumer) = (show_id(id), show(consumer));
    line(text, format_args!("    {id} held by {consumer} since {delivered_ms}, {count} times"));
}

fn consumer_facts(text: &mut String, name: &[u8], seen: u64, active: Option<u64>, pending: u64) {
    let name = show(name);
    line(
        text,
        format_args!("    consumer {name}: seen {seen} active {active:?} pending {pending}"),
    );
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("memory takes every line");
}

fn show(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=64 => bytes.escape_ascii().to_string(),
        len => format!("{}...{len}", bytes[..32].escape_ascii()),
    }
}

fn show_id(Id(ms, seq): Id) -> String {
    format!("{ms}-{seq}")
}
