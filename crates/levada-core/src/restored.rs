//! A whole stream on its way in (RESTORE): its entries packed into blocks, and all that stands
//! beside them.
//!
//! It is one record of the log, so that the stream is there as a whole or not at all. Whoever
//! builds it has checked it; what is decoded is checked again, as `apply` relies on it: ids
//! increase through all blocks and do not exceed the last id, names are unique, pending ids
//! increase and name consumers that are there.
//!
//! ```text
//! blocks, ids and counters:
//!   varint n, (bytes of rows) * n, id last, varint entries added, id max deleted
//! groups: varint n, group * n
//! group     := bytes name, id last, option of entries read,
//!              varint n, consumer * n, varint n, pending * n
//! consumer  := bytes name, varint seen unix ms, option of active unix ms
//! pending   := id, varint delivered unix ms, varint count, varint place among the consumers
//! idempotent producers: byte 0 where nothing is known of them, else byte 1,
//!   varint duration s, varint iids at most, varint added, varint duplicates,
//!   varint n, producer * n
//! producer  := bytes pid, varint n, (bytes iid, id) * n
//! ```

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use crate::{
    block::Block,
    error::Error,
    fields::Fields,
    id::StreamId,
    idempotence::IdmpLimits,
    limits,
    varint::{Reader, put_bytes, put_id, put_option, put_u64},
};

/// A whole stream; see the module.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct RestoredStream {
    /// Entries; every block but the last is full.
    blocks: Vec<Arc<Block>>,
    /// Encoded bytes of the blocks that are full.
    full_bytes: usize,
    /// last-generated-id, not below the last entry.
    pub last_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
    /// The largest id ever deleted, `0-0` for none.
    pub max_deleted_id: StreamId,
    /// Groups, each name once.
    pub groups: Vec<RestoredGroup>,
    /// What idempotent producers left; where it is not known, the stream is as a new one.
    pub idmp: Option<RestoredIdmp>,
}

/// What idempotent producers left with a [`RestoredStream`].
#[derive(Clone, PartialEq, Default, Debug)]
pub struct RestoredIdmp {
    /// How long and how many are tracked.
    pub limits: IdmpLimits,
    /// Iids ever tracked.
    pub added: u64,
    /// Duplicates ever found.
    pub duplicates: u64,
    /// Producers by their pids, each once, with what counts of each.
    pub producers: Vec<RestoredProducer>,
}

/// A producer of a [`RestoredIdmp`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RestoredProducer {
    /// Its pid.
    pub pid: Vec<u8>,
    /// Iids, each once and oldest first, and the entries that they became. The age of an iid is
    /// that of its entry, as Redis has it.
    pub iids: Vec<(Vec<u8>, StreamId)>,
}

/// A group of a [`RestoredStream`].
#[derive(Clone, PartialEq, Default, Debug)]
pub struct RestoredGroup {
    /// Its name.
    pub name: Vec<u8>,
    /// last-delivered-id.
    pub last_id: StreamId,
    /// entries-read, where known.
    pub entries_read: Option<u64>,
    /// Who reads, each name once.
    pub consumers: Vec<RestoredConsumer>,
    /// What was delivered and not acknowledged; ids increase.
    pub pending: Vec<RestoredPending>,
}

/// A consumer of a [`RestoredGroup`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RestoredConsumer {
    /// Its name.
    pub name: Vec<u8>,
    /// Unix milliseconds of its last attempt to read or claim.
    pub seen_ms: u64,
    /// Unix milliseconds of its last success.
    pub active_ms: Option<u64>,
}

/// A pending entry of a [`RestoredGroup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestoredPending {
    /// Of which entry.
    pub id: StreamId,
    /// When it was delivered last, in unix milliseconds.
    pub delivered_ms: u64,
    /// How often.
    pub count: u64,
    /// To whom: the place in [`RestoredGroup::consumers`].
    pub consumer: u32,
}

impl RestoredStream {
    /// Adds an entry above all before. Refused where the entries would take more than
    /// [`limits::RESTORE_BYTES_MAX`].
    pub fn push(
        &mut self,
        id: StreamId,
        fields: &Fields<'_>,
        starts_node: bool,
    ) -> Result<(), Error> {
        if let Some(last) = self.blocks.last().filter(|block| is_full(block)) {
            self.full_bytes += last.bytes().len();
            self.blocks.push(Arc::default());
        }
        if self.blocks.is_empty() {
            self.blocks.push(Arc::default());
        }
        let block = Arc::make_mut(self.blocks.last_mut().expect("one was pushed"));
        block.append(id, fields, starts_node);
        let bytes = self.full_bytes + block.bytes().len();
        if bytes > limits::RESTORE_BYTES_MAX { Err(Error::RestoreTooLarge) } else { Ok(()) }
    }

    /// The entries in order.
    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.blocks.len() as u64);
        self.blocks.iter().for_each(|block| put_bytes(out, block.bytes()));
        put_id(out, self.last_id);
        put_u64(out, self.entries_added);
        put_id(out, self.max_deleted_id);
        put_u64(out, self.groups.len() as u64);
        self.groups.iter().for_each(|group| group.encode(out));
        out.push(u8::from(self.idmp.is_some()));
        self.idmp.iter().for_each(|idmp| idmp.encode(out));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (mut blocks, mut top, mut full_bytes) = (Vec::<Arc<Block>>::new(), StreamId::MIN, 0);
        for _ in 0..reader.count()? {
            full_bytes += blocks.last().map_or(0, |block| block.bytes().len());
            let block = Block::decode(reader.bytes()?)?;
            if block.count() == 0 || block.base() <= top {
                return None;
            }
            top = block.last();
            blocks.push(Arc::new(block));
        }
        let (last_id, entries_added, max_deleted_id) = (reader.id()?, reader.u64()?, reader.id()?);
        let groups: Vec<RestoredGroup> =
            (0..reader.count()?).map(|_| RestoredGroup::decode(reader)).collect::<Option<_>>()?;
        let names: BTreeSet<_> = groups.iter().map(|group| &group.name).collect();
        if last_id < top || names.len() < groups.len() {
            return None;
        }
        let idmp = match reader.u8()? {
            0 => None,
            _ => Some(RestoredIdmp::decode(reader)?),
        };
        Some(Self { blocks, full_bytes, last_id, entries_added, max_deleted_id, groups, idmp })
    }
}

impl RestoredGroup {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.name);
        put_id(out, self.last_id);
        put_option(out, self.entries_read);
        put_u64(out, self.consumers.len() as u64);
        for consumer in &self.consumers {
            put_bytes(out, &consumer.name);
            put_u64(out, consumer.seen_ms);
            put_option(out, consumer.active_ms);
        }
        put_u64(out, self.pending.len() as u64);
        for pending in &self.pending {
            put_id(out, pending.id);
            put_u64(out, pending.delivered_ms);
            put_u64(out, pending.count);
            put_u64(out, u64::from(pending.consumer));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (name, last_id) = (reader.bytes()?.into(), reader.id()?);
        let entries_read = reader.option()?;
        let mut consumers = Vec::new();
        for _ in 0..reader.count()? {
            let name = reader.bytes()?.into();
            let (seen_ms, active_ms) = (reader.u64()?, reader.option()?);
            consumers.push(RestoredConsumer { name, seen_ms, active_ms });
        }
        let names: BTreeSet<_> = consumers.iter().map(|consumer| &consumer.name).collect();
        if names.len() < consumers.len() {
            return None;
        }
        let mut pending: Vec<RestoredPending> = Vec::new();
        for _ in 0..reader.count()? {
            let (id, delivered_ms) = (reader.id()?, reader.u64()?);
            let next =
                RestoredPending { id, delivered_ms, count: reader.u64()?, consumer: reader.u32()? };
            let increases = pending.last().is_none_or(|last| last.id < id);
            if !increases || next.consumer as usize >= consumers.len() {
                return None;
            }
            pending.push(next);
        }
        Some(Self { name, last_id, entries_read, consumers, pending })
    }
}

impl RestoredIdmp {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.limits.duration_s);
        put_u64(out, self.limits.iids_max);
        put_u64(out, self.added);
        put_u64(out, self.duplicates);
        put_u64(out, self.producers.len() as u64);
        for RestoredProducer { pid, iids } in &self.producers {
            put_bytes(out, pid);
            put_u64(out, iids.len() as u64);
            for (iid, id) in iids {
                put_bytes(out, iid);
                put_id(out, *id);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let limits = IdmpLimits { duration_s: reader.u64()?, iids_max: reader.u64()? };
        let (added, duplicates) = (reader.u64()?, reader.u64()?);
        let (mut producers, mut pids) = (Vec::new(), BTreeSet::new());
        for _ in 0..reader.count()? {
            let (pid, mut iids, mut known) = (reader.bytes()?, Vec::new(), BTreeSet::new());
            for _ in 0..reader.count()? {
                let (iid, id) = (reader.bytes()?, reader.id()?);
                iids.push((iid.into(), id));
                if !known.insert(iid) {
                    return None;
                }
            }
            producers.push(RestoredProducer { pid: pid.into(), iids });
            if !pids.insert(pid) {
                return None;
            }
        }
        Some(Self { limits, added, duplicates, producers })
    }
}

/// Whether the next entry goes into another block, as in a stream that grows.
fn is_full(block: &Block) -> bool {
    block.bytes().len() >= limits::BLOCK_BYTES || block.count() >= limits::BLOCK_ROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RestoredStream {
        let mut stream = RestoredStream { entries_added: 900, ..RestoredStream::default() };
        let value = [b'v'; 200];
        for n in 1..=700 {
            let pair: [&[u8]; 2] = [b"name", &value];
            let fields = Fields::Arguments(&pair);
            stream.push(StreamId::new(n, 0), &fields, n % 10 == 1).expect("it fits");
        }
        stream.last_id = StreamId::new(700, 0);
        stream.max_deleted_id = StreamId::new(3, 3);
        let consumer =
            |name: &[u8], active_ms| RestoredConsumer { name: name.into(), seen_ms: 70, active_ms };
        let pending = |ms, consumer| RestoredPending {
            id: StreamId::new(ms, 0),
            delivered_ms: 60,
            count: 2,
            consumer,
        };
        stream.groups.push(RestoredGroup {
            name: b"g".into(),
            last_id: StreamId::new(5, 0),
            entries_read: Some(5),
            consumers: Vec::from([consumer(b"a", None), consumer(b"b", Some(65))]),
            pending: Vec::from([pending(2, 1), pending(4, 0)]),
        });
        let iids = Vec::from([(b"i".to_vec(), stream.last_id), (b"j".to_vec(), StreamId::MIN)]);
        let producer = |pid: &[u8]| RestoredProducer { pid: pid.into(), iids: iids.clone() };
        let producers = Vec::from([producer(b"p"), producer(b"q")]);
        let limits = IdmpLimits { duration_s: 9, iids_max: 8 };
        stream.idmp = Some(RestoredIdmp { limits, added: 7, duplicates: 6, producers });
        stream
    }

    fn producer(stream: &mut RestoredStream) -> &mut RestoredProducer {
        &mut stream.idmp.as_mut().expect("there").producers[0]
    }

    #[test]
    fn survives_the_log() {
        let stream = sample();
        assert!(stream.blocks.len() > 2, "several blocks");
        let mut out = Vec::new();
        stream.encode(&mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(RestoredStream::decode(&mut reader), Some(stream));
        assert!(reader.is_empty());
        for len in (0..out.len()).step_by(997) {
            assert_eq!(RestoredStream::decode(&mut Reader::new(&out[..len])), None);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let check = |what: &str, change: fn(&mut RestoredStream)| {
            let mut stream = sample();
            change(&mut stream);
            let mut out = Vec::new();
            stream.encode(&mut out);
            assert_eq!(RestoredStream::decode(&mut Reader::new(&out)), None, "{what}");
        };
        check("blocks", |stream| stream.blocks.reverse());
        check("last id", |stream| stream.last_id = StreamId::new(699, 9));
        check("groups", |stream| stream.groups.push(stream.groups[0].clone()));
        check("consumers", |stream| stream.groups[0].consumers[1].name = b"a".into());
        check("pending", |stream| stream.groups[0].pending.reverse());
        check("producers", |stream| producer(stream).pid = b"q".into());
        check("iids", |stream| producer(stream).iids[0].0 = b"j".into());
        check("owner", |stream| stream.groups[0].pending[0].consumer = 2);
    }

    #[test]
    fn entries_are_bounded() {
        let mut stream = RestoredStream::default();
        let value = alloc::vec![b'v'; 1 << 20];
        let pair: [&[u8]; 2] = [b"", &value];
        let mut push = |n| stream.push(StreamId::new(n, 0), &Fields::Arguments(&pair), true);
        (1..16).for_each(|n| push(n).expect("15 MiB fit"));
        assert_eq!(push(16), Err(Error::RestoreTooLarge));
    }
}
