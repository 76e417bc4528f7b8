//! From what the store kept to a running shard, and the end of one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use levada_core::{effect, keyspace::KeyNumber, machine::At, snapshot};

use super::{
    Counts, Due, Recovery, Shard, ShardSettings, channels::Channels, checkpoint::Checkpointing,
    schedule::Schedules, scrub::Scrubbing, seen::Seen, tend::Tending, transaction::Watches,
    waiters::Waiters,
};
use crate::{
    clock::Now,
    error::{Error, ErrorKind},
    store::{Recovered, Store, Urgency},
};

impl<S: Store> Shard<S> {
    /// A shard over an opened store: loads the checkpoint, replays the batches behind it. `seed` is
    /// entropy for hashing names; it reaches no output.
    pub fn recover(
        store: S,
        recovered: Recovered,
        settings: ShardSettings,
        seed: u64,
    ) -> Result<Self, Error> {
        let pieces: BTreeMap<_, _> = recovered
            .pieces
            .into_iter()
            .map(|(id, bytes)| ((id.object, id.kind, id.part), bytes))
            .collect();
        let machine = snapshot::load(&pieces, seed).ok_or_else(|| {
            let message = "the checkpoint holds pieces that this version cannot read: it was \
                           written by another version, or by one with a defect; nothing was \
                           touched; open it with the version that wrote it";
            Error::new(ErrorKind::Corrupt, message)
        })?;
        let recovery = Recovery {
            created: recovered.created,
            batches_replayed: recovered.batches.len() as u64,
            batches_discarded: recovered.discarded_batches,
        };
        let mut shard = Self {
            settings,
            defaults: Arc::default(),
            machine,
            store,
            recovery,
            batch: Vec::new(),
            urgency: Urgency::Written,
            last_lsn: recovered.lsn,
            last_durable_wish: recovered.lsn,
            awaited: 0,
            now_ms: recovered.now_ms,
            last_commit_us: 0,
            unsynced_us: None,
            in_transaction: false,
            waiters: Waiters::default(),
            watches: Watches::default(),
            channels: Channels::default(),
            events: VecDeque::new(),
            pinned: BTreeMap::new(),
            held: BTreeMap::new(),
            parked: BTreeMap::new(),
            checkpointing: Checkpointing::at(recovered.lsn),
            residual_reads: 0,
            due: Due::default(),
            tending: Tending::default(),
            seen: Seen::default(),
            spare: RefCell::default(),
            schedules: Schedules::default(),
            expired_keys: 0,
            evicted_keys: 0,
            counts: Counts::default(),
            looked_us: None,
            scrubbing: Scrubbing::default(),
            resting: Vec::new(),
            notices: VecDeque::new(),
            failed: None,
        };
        for batch in recovered.batches {
            shard.replay(batch.lsn, batch.now_ms, &batch.effects)?;
        }
        shard.last_lsn = shard.last_lsn.max(shard.store.durable());
        shard.last_durable_wish = shard.last_lsn;
        shard.tend_all();
        shard.ask_schedules();
        Ok(shard)
    }

    fn replay(&mut self, lsn: u64, now_ms: u64, effects: &[u8]) -> Result<(), Error> {
        let at = At { position: lsn, now_ms };
        for effect in effect::decode_batch(effects) {
            let effect = effect.ok_or_else(|| {
                let message = format!(
                    "batch {lsn} of the log holds an effect that this version does not know: it \
                     was written by a newer version; nothing was touched; open it with that one"
                );
                Error::new(ErrorKind::Corrupt, message)
            })?;
            let applied = self.machine.apply(&effect, at);
            self.tell_store(applied)?;
        }
        self.now_ms = self.now_ms.max(now_ms);
        self.last_lsn = lsn;
        Ok(())
    }

    /// Ends cleanly: everything durable, and a checkpoint, so that the next start replays nothing.
    pub fn shut_down(&mut self, now: Now) -> Result<(), Error> {
        self.settle(now)?;
        self.checkpoint_now()
    }

    /// Waits until everything is durable, what is written only included.
    pub fn settle(&mut self, now: Now) -> Result<(), Error> {
        self.log_seen();
        self.commit(now)?;
        while self.store.durable() < self.last_lsn {
            if self.last_durable_wish < self.last_lsn {
                self.sync_written()?;
            }
            self.store.wait();
            self.store.poll()?;
        }
        Ok(())
    }

    /// The stream or string of a number, for tools that walk everything.
    pub fn object_number(&self, database: u8, name: &[u8]) -> Option<KeyNumber> {
        self.machine.keys.number(levada_core::command::Key { database, name })
    }
}
