//! What is kept for answers that are being written out over several turns.
//!
//! An answer names blocks; a trim or a DEL between two turns must not cut the reply short. Sealed
//! blocks are kept by the store; the block that grows is copied.

use std::{collections::BTreeMap, sync::Arc};

use levada_core::{block::Block, keyspace::KeyNumber};

use super::{ClientId, Shard};
use crate::store::Store;

/// What is kept for one client.
#[derive(Default, Debug)]
pub(super) struct Held {
    keys: Vec<KeyNumber>,
    tails: BTreeMap<(KeyNumber, u64), Arc<Block>>,
}

impl Held {
    /// The copy of a block that grew.
    pub(super) fn tail(&self, key: KeyNumber, number: u64) -> Option<Arc<Block>> {
        self.tails.get(&(key, number)).cloned()
    }
}

impl<S: Store> Shard<S> {
    /// Keeps blocks of a stream readable for a client that writes an answer over several turns,
    /// whatever is removed meanwhile, until [`Shard::let_go`]. Where the disk is full, what is
    /// removed is gone at once.
    pub fn hold(
        &mut self,
        client: ClientId,
        key: KeyNumber,
        mut blocks: impl Iterator<Item = u64>,
    ) {
        let Some(stream) = self.machine.stream_of(key) else {
            return;
        };
        let number = stream.tail_number();
        let tail = blocks.any(|block| block == number).then(|| Arc::new(stream.tail().clone()));
        let held = self.held.entry(client).or_default();
        if !held.keys.contains(&key) {
            held.keys.push(key);
            self.store.hold(key.0);
        }
        held.tails.extend(tail.map(|tail| ((key, number), tail)));
    }

    /// The end of all that is held for a client.
    pub fn let_go(&mut self, client: ClientId) {
        for key in self.held.remove(&client).unwrap_or_default().keys {
            self.store.let_go(key.0);
        }
    }
}
