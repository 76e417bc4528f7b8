//! A store in memory that keeps its log, to be replayed.

use levada_core::block::Block;
use levada_engine::Error;
use levada_engine::disk::Lane;
use levada_engine::store::memory::MemStore;
use levada_engine::store::{
    Batch, Fetch, Lsn, ObjectNumber, PieceChange, PieceId, Progress, Store, Urgency,
};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Recording {
    store: MemStore,
    log: Vec<Batch>,
}

impl Recording {
    /// As [`MemStore::with_delay`].
    pub fn with_delay(delay_polls: u32) -> Self {
        Self { store: MemStore::with_delay(delay_polls), log: Vec::new() }
    }

    /// The batches committed since this was last called.
    pub fn take_log(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.log)
    }
}

impl Store for Recording {
    fn commit(&mut self, now_ms: u64, effects: &[u8], urgency: Urgency) -> Result<Lsn, Error> {
        let lsn = self.store.commit(now_ms, effects, urgency)?;
        self.log.push(Batch { lsn, now_ms, effects: effects.to_vec() });
        Ok(lsn)
    }

    fn batch_bytes_max(&self) -> usize {
        self.store.batch_bytes_max()
    }

    fn written(&self) -> Lsn {
        self.store.written()
    }

    fn durable(&self) -> Lsn {
        self.store.durable()
    }

    fn set_lane(&mut self, lane: Lane) {
        self.store.set_lane(lane);
    }

    fn set_syncs_max(&mut self, syncs: usize) {
        self.store.set_syncs_max(syncs);
    }

    fn is_congested(&self) -> bool {
        self.store.is_congested()
    }

    fn poll(&mut self) -> Result<Progress, Error> {
        self.store.poll()
    }

    fn wait(&mut self) {
        self.store.wait();
    }

    fn is_idle(&self) -> bool {
        self.store.is_idle()
    }

    fn idle(&mut self, now_ms: u64) -> Result<Lsn, Error> {
        self.store.idle(now_ms)
    }

    fn put_block(
        &mut self,
        object: ObjectNumber,
        number: u64,
        block: Arc<Block>,
    ) -> Result<(), Error> {
        self.store.put_block(object, number, block)
    }

    fn cached(&self, object: ObjectNumber, number: u64) -> Option<Arc<Block>> {
        self.store.cached(object, number)
    }

    fn fetch(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.store.fetch(object, number)
    }

    fn fetch_now(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.store.fetch_now(object, number)
    }

    fn drop_before(&mut self, object: ObjectNumber, number: u64) {
        self.store.drop_before(object, number);
    }

    fn drop_object(&mut self, object: ObjectNumber) {
        self.store.drop_object(object);
    }

    fn hold(&mut self, object: ObjectNumber) {
        self.store.hold(object);
    }

    fn let_go(&mut self, object: ObjectNumber) {
        self.store.let_go(object);
    }

    fn checkpoint_due(&self) -> Option<bool> {
        self.store.checkpoint_due()
    }

    fn checkpoint_begin(&mut self) -> Result<bool, Error> {
        self.store.checkpoint_begin()
    }

    fn checkpoint_piece(
        &mut self,
        id: PieceId,
        change: PieceChange,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.store.checkpoint_piece(id, change, bytes)
    }

    fn checkpoint_backlog_bytes(&self) -> usize {
        self.store.checkpoint_backlog_bytes()
    }

    fn checkpoint_end(&mut self) -> Result<(), Error> {
        self.store.checkpoint_end()
    }
}
