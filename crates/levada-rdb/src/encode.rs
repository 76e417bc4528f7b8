//! Writes payloads that Redis restores. What is written is plain: nothing is packed with LZF.

use crate::{
    checksum,
    listpack::{self, Builder},
    model::{Group, Id, Idmp, StreamIds},
    number,
    payload::VERSION,
    stream::kind,
};

/// Entries of a node, and bytes of its elements, at which the next one begins: Redis' settings as
/// they come.
const NODE_ENTRIES: u64 = 100;
const NODE_BYTES: usize = 4096;

/// A payload of a string, as `rdb_version` or any later one restores it.
pub fn encode_text(value: &[u8], rdb_version: u16) -> Vec<u8> {
    let mut out = vec![0];
    match number::canonical(value) {
        Some(number) if let Ok(number) = i8::try_from(number) => {
            out.push(0xC0);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Some(number) if let Ok(number) = i16::try_from(number) => {
            out.push(0xC1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Some(number) if let Ok(number) = i32::try_from(number) => {
            out.push(0xC2);
            out.extend_from_slice(&number.to_le_bytes());
        }
        _ => put_string(&mut out, value),
    }
    finish(out, rdb_version)
}

/// Writes a payload of a stream, entry by entry.
///
/// Names of fields are written once per node where the entries of it have the same, as Redis does.
#[derive(Debug)]
pub struct StreamWriter {
    kind: u8,
    rdb_version: u16,
    /// Nodes that are complete.
    nodes: Vec<u8>,
    nodes_count: u64,
    node: Option<OpenNode>,
    length: u64,
    first_id: Id,
    last_id: Id,
}

/// The node that grows.
#[derive(Debug)]
struct OpenNode {
    base: Id,
    /// Names of the first entry.
    names: Vec<Vec<u8>>,
    entries: u64,
    body: Builder,
}

impl StreamWriter {
    /// A payload for servers that know this RDB version: 9 Redis 5 and 6, 10 Redis 7.0, 11 and 12
    /// Redis 7.2 to 8.4, [`VERSION`] Redis 8.6. What the type of that version does not know is left
    /// out: before 13 what idempotent producers left, before 11 when consumers were active, before
    /// 10 counters.
    pub fn new(rdb_version: u16) -> Self {
        let rdb_version = rdb_version.clamp(9, VERSION);
        Self {
            kind: match rdb_version {
                9 => kind::LISTPACKS,
                10 => kind::LISTPACKS_2,
                11 | 12 => kind::LISTPACKS_3,
                _ => kind::LISTPACKS_4,
            },
            rdb_version,
            nodes: Vec::new(),
            nodes_count: 0,
            node: None,
            length: 0,
            first_id: Id::default(),
            last_id: Id::default(),
        }
    }

    /// Adds an entry above all before. Names and values of one entry may have 1 GiB together.
    ///
    /// # Panics
    ///
    /// If the id does not increase or the entry is longer than that.
    pub fn push<T: AsRef<[u8]>>(&mut self, id: Id, fields: &[(T, T)]) {
        assert!(self.length == 0 || id > self.last_id, "ids of a stream increase");
        let is_full =
            |node: &OpenNode| node.entries >= NODE_ENTRIES || node.body.len() >= NODE_BYTES;
        if self.node.as_ref().is_some_and(is_full) {
            self.end_node();
        }
        let node = self.node.get_or_insert_with(|| OpenNode {
            base: id,
            names: fields.iter().map(|(name, _)| name.as_ref().to_vec()).collect(),
            entries: 0,
            body: Builder::default(),
        });
        node.push(id, fields);
        if self.length == 0 {
            self.first_id = id;
        }
        self.last_id = id;
        self.length += 1;
    }

    /// Bytes of the entries so far: a caller can stop at a bound.
    pub fn bytes(&self) -> usize {
        self.nodes.len() + self.node.as_ref().map_or(0, |node| node.body.len())
    }

    /// The payload. `groups` and `idmp` have to be as decoded ones are.
    pub fn finish(mut self, ids: &StreamIds, groups: &[Group], idmp: Option<&Idmp>) -> Vec<u8> {
        self.end_node();
        let mut out = Vec::with_capacity(self.nodes.len() + 64);
        out.push(self.kind);
        put_length(&mut out, self.nodes_count);
        out.append(&mut self.nodes);
        put_length(&mut out, self.length);
        put_id(&mut out, ids.last_id);
        if self.kind >= kind::LISTPACKS_2 {
            put_id(&mut out, self.first_id);
            put_id(&mut out, ids.max_deleted_id);
            put_length(&mut out, ids.entries_added);
        }
        put_length(&mut out, groups.len() as u64);
        groups.iter().for_each(|group| self.put_group(&mut out, group));
        if self.kind >= kind::LISTPACKS_4 {
            put_idmp(&mut out, idmp.unwrap_or(&Idmp::default()));
        }
        finish(out, self.rdb_version)
    }

    fn end_node(&mut self) {
        if let Some(node) = self.node.take() {
            self.nodes_count += 1;
            node.put(&mut self.nodes);
        }
    }

    fn put_group(&self, out: &mut Vec<u8>, group: &Group) {
        put_string(out, &group.name);
        put_id(out, group.last_id);
        if self.kind >= kind::LISTPACKS_2 {
            put_length(out, group.entries_read.unwrap_or(u64::MAX));
        }
        put_length(out, group.pending.len() as u64);
        for pending in &group.pending {
            put_raw_id(out, pending.id);
            put_time(out, Some(pending.delivered_ms));
            put_length(out, pending.count);
        }
        let mut owned = vec![Vec::new(); group.consumers.len()];
        for pending in &group.pending {
            owned[pending.consumer].push(pending.id);
        }
        put_length(out, group.consumers.len() as u64);
        for (consumer, owned) in group.consumers.iter().zip(owned) {
            put_string(out, &consumer.name);
            put_time(out, Some(consumer.seen_ms));
            if self.kind >= kind::LISTPACKS_3 {
                put_time(out, consumer.active_ms);
            }
            put_length(out, owned.len() as u64);
            owned.iter().for_each(|id| put_raw_id(out, *id));
        }
    }
}

impl OpenNode {
    fn push<T: AsRef<[u8]>>(&mut self, id: Id, fields: &[(T, T)]) {
        let names = fields.iter().map(|(name, _)| name.as_ref());
        let same = names.eq(self.names.iter().map(Vec::as_slice));
        let body = &mut self.body;
        body.integer(if same { 2 } else { 0 });
        body.integer(id.ms.wrapping_sub(self.base.ms).cast_signed());
        body.integer(id.seq.wrapping_sub(self.base.seq).cast_signed());
        if !same {
            body.integer(count(fields.len()));
        }
        for (name, value) in fields {
            if !same {
                body.text(name.as_ref());
            }
            body.text(value.as_ref());
        }
        body.integer(count(if same { fields.len() + 3 } else { 2 * fields.len() + 4 }));
        self.entries += 1;
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut head = Builder::default();
        head.integer(self.entries.cast_signed());
        head.integer(0);
        head.integer(count(self.names.len()));
        self.names.iter().for_each(|name| head.text(name));
        head.integer(0);
        put_length(out, 16);
        put_raw_id(out, self.base);
        put_string(out, &listpack::finish(&head, &self.body));
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).expect("a length in memory")
}

fn put_idmp(out: &mut Vec<u8>, idmp: &Idmp) {
    put_length(out, idmp.duration_s);
    put_length(out, idmp.entries_max);
    put_length(out, idmp.producers.len() as u64);
    for producer in &idmp.producers {
        put_string(out, &producer.name);
        put_length(out, producer.entries.len() as u64);
        for (iid, id) in &producer.entries {
            put_string(out, iid);
            put_id(out, *id);
        }
    }
    put_length(out, idmp.added);
    put_length(out, idmp.duplicates);
}

fn put_length(out: &mut Vec<u8>, length: u64) {
    let bytes = length.to_be_bytes();
    match length {
        0..0x40 => out.push(bytes[7]),
        0x40..0x4000 => out.extend([bytes[6] | 0x40, bytes[7]]),
        0x4000..=0xFFFF_FFFF => {
            out.push(0x80);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&bytes);
        }
    }
}

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    put_length(out, string.len() as u64);
    out.extend_from_slice(string);
}

fn put_id(out: &mut Vec<u8>, id: Id) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

fn put_raw_id(out: &mut Vec<u8>, id: Id) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

/// Unix milliseconds, -1 for never.
fn put_time(out: &mut Vec<u8>, ms: Option<u64>) {
    let ms = ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
    out.extend_from_slice(&ms.to_le_bytes());
}

fn finish(mut out: Vec<u8>, rdb_version: u16) -> Vec<u8> {
    out.extend_from_slice(&rdb_version.to_le_bytes());
    let sum = checksum::of(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}
