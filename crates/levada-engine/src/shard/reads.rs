//! Blocks on their way: who waits for which, and blocks for answers that are being written out.

use std::{ops::Deref, sync::Arc};

use levada_core::{
    block::{Block, Row},
    error::Error as Refused,
    id::StreamId,
    keyspace::KeyNumber,
    reply::{Entries, Part},
    stream::Stream,
};

use super::{ClientId, Event, Shard};
use crate::store::{Fetch, Store};

/// A block for an answer that is being written out.
#[derive(Debug)]
pub enum BlockAccess<'s> {
    /// Here it is.
    Here(BlockHere<'s>),
    /// It is being read; [`Event::Retry`] says when to ask again.
    Reading,
    /// It was removed in the meantime, with all its entries.
    Gone,
    /// It failed its check; the ids that it may hold.
    Corrupt {
        /// From.
        first: StreamId,
        /// To.
        last: StreamId,
    },
}

/// A block in memory.
#[derive(Debug)]
pub enum BlockHere<'s> {
    /// The block that grows.
    Tail(&'s Block),
    /// A sealed one.
    Sealed(Arc<Block>),
}

impl Deref for BlockHere<'_> {
    type Target = Block;

    fn deref(&self) -> &Block {
        match self {
            Self::Tail(block) => block,
            Self::Sealed(block) => block,
        }
    }
}

impl<S: Store> Shard<S> {
    /// A block that an answer names, to write out its entries.
    pub fn block(&mut self, client: ClientId, key: KeyNumber, number: u64) -> BlockAccess<'_> {
        let held = self.held.get(&client).and_then(|held| held.tail(key, number));
        let pinned = held.or_else(|| self.take_pinned(client, key, number));
        if let Some(block) = pinned {
            return BlockAccess::Here(BlockHere::Sealed(block));
        }
        if self.machine.stream_of(key).map(Stream::tail_number) != Some(number) {
            return self.sealed(client, key, number);
        }
        match self.machine.stream_of(key) {
            Some(stream) => BlockAccess::Here(BlockHere::Tail(stream.tail())),
            None => BlockAccess::Gone,
        }
    }

    /// A block of a stream, or of one that was removed, that grows no more.
    fn sealed(&mut self, client: ClientId, key: KeyNumber, number: u64) -> BlockAccess<'_> {
        match self.store.fetch(key.0, number) {
            Fetch::Ready(block) => BlockAccess::Here(BlockHere::Sealed(block)),
            Fetch::Reading => {
                self.park(client, key, number);
                BlockAccess::Reading
            }
            Fetch::Missing | Fetch::Corrupt => {
                let stream = self.machine.stream_of(key);
                match stream.filter(|stream| stream.meta(number).is_some()) {
                    Some(stream) => {
                        let (first, last) = stream.id_range(number);
                        BlockAccess::Corrupt { first, last }
                    }
                    None => BlockAccess::Gone,
                }
            }
        }
    }

    /// The same inside a transaction, where nothing waits: what is not in memory is read here.
    pub fn block_now(&mut self, key: KeyNumber, number: u64) -> BlockAccess<'_> {
        match self.block_here(key, number) {
            Ok(Some(block)) => BlockAccess::Here(block),
            Err(Refused::Corrupt { first, last, .. }) => BlockAccess::Corrupt { first, last },
            Ok(None) | Err(_) => BlockAccess::Gone,
        }
    }

    /// Forgets a client that has gone: its blocks, its waits, its watches, what it listens to.
    pub fn forget(&mut self, client: ClientId) {
        self.pinned.remove(&client);
        self.let_go(client);
        self.cancel_wait(client);
        self.unwatch(client);
        self.unsubscribe_all(client);
        for waiting in self.parked.values_mut() {
            waiting.retain(|parked| *parked != client);
        }
    }

    /// A block that was held for a client, which is held no longer.
    fn take_pinned(&mut self, client: ClientId, key: KeyNumber, number: u64) -> Option<Arc<Block>> {
        let held = self.pinned.get_mut(&client)?;
        let at = held.iter().position(|(of, n, _)| *of == key && *n == number)?;
        Some(held.swap_remove(at).2)
    }

    pub(super) fn park(&mut self, client: ClientId, key: KeyNumber, number: u64) {
        let waiting = self.parked.entry((key, number)).or_default();
        if !waiting.contains(&client) {
            waiting.push(client);
        }
    }

    /// A block is here: whoever waits for it is told, and holds it until asking again, however
    /// small the cache is.
    pub(super) fn wake_parked(&mut self, key: KeyNumber, number: u64) {
        let clients = self.parked.remove(&(key, number)).unwrap_or_default();
        if clients.is_empty() {
            return;
        }
        let fetched = self.store.fetch(key.0, number);
        for client in clients {
            if let Fetch::Ready(block) = &fetched {
                self.pinned.entry(client).or_default().push((key, number, Arc::clone(block)));
            }
            self.events.push_back(Event::Retry { client });
        }
    }
}

/// An entry, with bytes of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its id.
    pub id: StreamId,
    /// Names and values in order; `None` where a pending entry was deleted from the stream.
    pub fields: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Entry {
    fn of(row: Row<'_>) -> Self {
        Self { id: row.id, fields: Some(row.fields.to_vec()) }
    }
}

impl<S: Store> Shard<S> {
    /// The entries of an answer, read here and now; an error where a block is damaged. Entries that
    /// were removed in the meantime are left out.
    pub fn entries(&mut self, entries: &Entries) -> Result<Vec<Entry>, Refused> {
        let mut out = Vec::new();
        for part in &entries.parts {
            match part {
                Part::Deleted(id) => out.push(Entry { id: *id, fields: None }),
                Part::Delivery { block, row, .. } => {
                    let Some(block) = self.block_here(entries.key, *block)? else {
                        continue;
                    };
                    out.extend(block.row(*row).map(Entry::of));
                }
                Part::Rows { block, first, end, dead } => {
                    let Some(block) = self.block_here(entries.key, *block)? else {
                        continue;
                    };
                    let live =
                        |row: &Row<'_>| dead.as_ref().is_none_or(|dead| !dead.contains(row.index));
                    let rows = block.rows(*first).take_while(|row| row.index < *end).filter(live);
                    let start = out.len();
                    out.extend(rows.map(Entry::of));
                    if entries.reverse {
                        out[start..].reverse();
                    }
                }
            }
        }
        Ok(out)
    }

    fn block_here(
        &mut self,
        key: KeyNumber,
        number: u64,
    ) -> Result<Option<BlockHere<'_>>, Refused> {
        match self.machine.stream_of(key) {
            None => return Ok(None),
            Some(stream) if number == stream.tail_number() => {}
            Some(stream) => {
                let is_named = stream.meta(number).is_some();
                return match self.store.fetch_now(key.0, number) {
                    Fetch::Ready(block) => Ok(Some(BlockHere::Sealed(block))),
                    Fetch::Missing | Fetch::Reading if !is_named => Ok(None),
                    _ => Err(self.corrupt(key, number)),
                };
            }
        }
        Ok(self.machine.stream_of(key).map(|stream| BlockHere::Tail(stream.tail())))
    }
}
