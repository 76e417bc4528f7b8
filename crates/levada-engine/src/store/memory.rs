//! A store without a disk: `memory:` engines, and tests of everything above the boundary.
//!
//! It keeps the rules of the boundary, late durability included: with a delay, batches become
//! durable only so many polls after they were handed in, as on a store whose commits take long.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use levada_core::block::Block;

use super::{Fetch, Lsn, ObjectNumber, PieceChange, PieceId, Progress, Store, Urgency, held::Held};
use crate::{disk::Lane, error::Error};

/// See the module. Batches are not kept, so it cannot be opened again.
#[derive(Default, Debug)]
pub struct MemStore {
    blocks: BTreeMap<(ObjectNumber, u64), Arc<Block>>,
    held: Held<Arc<Block>>,
    last: Lsn,
    durable: Lsn,
    delay_polls: u32,
    /// Batches that are not durable yet, and in how many polls they will be.
    under_way: VecDeque<(Lsn, u32)>,
}

impl MemStore {
    /// A store whose batches are durable so many polls after they were handed in.
    pub fn with_delay(delay_polls: u32) -> Self {
        Self { delay_polls, ..Self::default() }
    }

    fn drop_blocks(&mut self, object: ObjectNumber, numbers: Range<u64>) {
        for ((_, number), block) in
            self.blocks.extract_if((object, numbers.start)..(object, numbers.end), |_, _| true)
        {
            // Whoever does not keep it lets it go.
            let _ = self.held.keep(object, number, block);
        }
    }
}

impl Store for MemStore {
    fn commit(&mut self, _: u64, _: &[u8], _: Urgency) -> Result<Lsn, Error> {
        self.last += 1;
        match self.delay_polls {
            0 => self.durable = self.last,
            delay => self.under_way.push_back((self.last, delay)),
        }
        Ok(self.last)
    }

    fn batch_bytes_max(&self) -> usize {
        32 << 20
    }

    fn written(&self) -> Lsn {
        self.last
    }

    fn durable(&self) -> Lsn {
        self.durable
    }

    fn set_lane(&mut self, _: Lane) {}

    fn is_congested(&self) -> bool {
        self.under_way.len() > 1000
    }

    fn poll(&mut self) -> Result<Progress, Error> {
        self.under_way.iter_mut().for_each(|(_, polls)| *polls -= 1);
        let before = self.durable;
        while let Some((lsn, _)) = self.under_way.pop_front_if(|(_, polls)| *polls == 0) {
            self.durable = lsn;
        }
        Ok(Progress { fetched: Vec::new(), committed: self.durable > before })
    }

    fn wait(&mut self) {}

    fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    fn idle(&mut self, _: u64) -> Result<Lsn, Error> {
        Ok(self.last)
    }

    fn put_block(
        &mut self,
        object: ObjectNumber,
        number: u64,
        block: Arc<Block>,
    ) -> Result<(), Error> {
        self.blocks.insert((object, number), block);
        Ok(())
    }

    fn cached(&self, object: ObjectNumber, number: u64) -> Option<Arc<Block>> {
        let live = self.blocks.get(&(object, number));
        live.or_else(|| self.held.get(object, number)).cloned()
    }

    fn fetch(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.cached(object, number).map_or(Fetch::Missing, Fetch::Ready)
    }

    fn fetch_now(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.fetch(object, number)
    }

    fn drop_before(&mut self, object: ObjectNumber, number: u64) {
        self.drop_blocks(object, 0..number);
    }

    fn drop_object(&mut self, object: ObjectNumber) {
        self.drop_blocks(object, 0..u64::MAX);
    }

    fn hold(&mut self, object: ObjectNumber) {
        self.held.hold(object);
    }

    fn let_go(&mut self, object: ObjectNumber) {
        self.held.let_go(object);
    }

    fn checkpoint_due(&self) -> Option<bool> {
        Some(false)
    }

    fn checkpoint_begin(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

    fn checkpoint_piece(&mut self, _: PieceId, _: PieceChange, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn checkpoint_backlog_bytes(&self) -> usize {
        0
    }

    fn checkpoint_end(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
