//! The loop body: commands in, effects logged and applied, replies out when they are durable.
//!
//! A [`Shard`] owns the machine and its store and is driven by one caller: the server's loop, the
//! thread of an embedded engine, or the simulator. In each turn the caller
//!
//! 1. hands in commands with [`Shard::execute`] (or a transaction), draining [`Shard::poll_event`]
//!    after each, for a command may serve readers that wait;
//! 2. calls [`Shard::commit`], which writes all changes of the turn as one atomic batch;
//! 3. lets go every answer whose [`Wait`] is over;
//! 4. calls [`Shard::poll`] for finished I/O, time and checkpoints.
//!
//! Commands are evaluated in order against applied state; nothing that anyone has seen can be lost,
//! because each answer names the log position that it waits for. Invariants: effects are logged
//! before they are applied, in the same order; the batch under construction always has the number
//! [`Shard::current`] + 1; after an error of the store no answer is ever released.

mod channels;
mod checkpoint;
mod counts;
mod durability;
mod events;
mod execute;
mod held;
mod notices;
mod reads;
mod recovery;
mod schedule;
mod scrub;
mod seen;
mod tend;
mod transaction;
mod waiters;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use levada_core::{
    block::Block, defaults::Defaults, effect::Effect, error::Error as Refused,
    idempotence::IdmpLimits, keyspace::KeyNumber, machine::Machine, reply::Reply,
    stream::NodeLimits,
};

use self::{
    channels::Channels, checkpoint::Checkpointing, held::Held, schedule::Schedules,
    scrub::Scrubbing, seen::Seen, tend::Tending, transaction::Watches, waiters::Waiters,
};
pub use self::{
    channels::{Delivery, Listening, NAME_BYTES, NAMES_BYTES_MAX, Subscriptions},
    checkpoint::Checkpoints,
    counts::Counts,
    events::Events,
    notices::{Notice, Noticed},
    reads::{BlockAccess, BlockHere, Entry},
    waiters::{BlockedRead, BlockedReadgroup},
};
use crate::{
    clock::Now,
    disk::Lane,
    error::Error,
    store::{CacheFacts, Lsn, Scrubbed, Space, Store, Urgency},
};

/// Names whoever sent a command; chosen by the caller, unique among those that are under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u64);

/// What became of a command.
#[derive(Debug)]
pub enum Outcome {
    /// It was carried out, or refused.
    Done(Answer),
    /// Blocks are being read. Hand the same command in again after [`Event::Retry`]; until then
    /// nothing else from this client, as its commands are answered in order.
    NeedBlocks,
}

/// An answer, and when it may be shown.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer; an error means that nothing changed.
    pub result: Result<Reply, Refused>,
    /// What must have happened before anyone sees it.
    pub wait: Wait,
}

/// What an answer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// [`Shard::written`] reaches this position.
    Written(Lsn),
    /// [`Shard::durable`] reaches this position.
    Durable(Lsn),
}

/// News for a client.
#[derive(Debug)]
pub enum Event {
    /// Its blocked read has an answer.
    Served {
        /// Whose.
        client: ClientId,
        /// The answer.
        answer: Answer,
    },
    /// Its blocked read has waited long enough.
    TimedOut {
        /// Whose.
        client: ClientId,
    },
    /// What it waits for has been read: see [`Outcome::NeedBlocks`] and [`BlockAccess::Reading`].
    Retry {
        /// Who.
        client: ClientId,
    },
}

/// Settings that the state machine and the loop obey. They may change while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardSettings {
    /// When a logical node is full.
    pub nodes: NodeLimits,
    /// How new streams track idempotent ids.
    pub idmp: IdmpLimits,
    /// Entries that a group with ORDER-BY parks at most (`order-window`).
    pub order_window: u64,
    /// Memory for strings in bytes.
    pub strings_bytes_max: u64,
    /// Memory for idempotent ids under DEDUP-WINDOW and DEDUP-MAX in bytes (`dedup-bytes-max`).
    pub dedup_bytes_max: u64,
    /// Memory for the tails of all streams in bytes; beyond it those that have rested longest are
    /// sealed and leave memory.
    pub tail_bytes_max: u64,
    /// Changes of keys that are published to channels.
    pub events: Events,
    /// Whether the answer to XREADGROUP waits for the record of its delivery (`delivery-sync
    /// strict`); otherwise a power cut may mean that an entry is delivered again.
    pub delivery_strict: bool,
    /// Whether answers about strings wait only until they are written (`string-durability
    /// interval`), so that a power cut may take the last of them.
    pub strings_interval: bool,
    /// How long what is written only may stay so, in milliseconds (`sync-interval`).
    pub sync_interval_ms: u64,
    /// Average time of a sync in microseconds above which syncs leave the loop (`inline-sync-us`);
    /// with 0 they do where nobody measures, too.
    pub inline_sync_us_max: u64,
    /// Bytes of a checkpoint encoded per turn.
    pub checkpoint_slice_bytes: usize,
    /// Bytes of blocks read a second to see whether they are whole, by nobody's order
    /// (`scrub-bytes-per-second`); 0 for none.
    pub scrub_bytes_per_second: u64,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            nodes: NodeLimits::default(),
            idmp: IdmpLimits::default(),
            order_window: 10_000,
            strings_bytes_max: 256 << 20,
            dedup_bytes_max: 512 << 20,
            tail_bytes_max: 64 << 20,
            events: Events::default(),
            delivery_strict: false,
            strings_interval: false,
            sync_interval_ms: 1000,
            inline_sync_us_max: 600,
            // About 100 us.
            checkpoint_slice_bytes: 256 << 10,
            // 80 GiB a day.
            scrub_bytes_per_second: 1 << 20,
        }
    }
}

/// What recovery found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovery {
    /// Whether the data directory is new.
    pub created: bool,
    /// Batches replayed behind the checkpoint.
    pub batches_replayed: u64,
    /// Batches at the end of the log that were never acknowledged and are discarded.
    pub batches_discarded: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Shard<S> {
    settings: ShardSettings,
    defaults: Arc<Defaults>,
    machine: Machine,
    store: S,
    recovery: Recovery,
    /// Effects of the batch under construction.
    batch: Vec<u8>,
    /// Whether one of them must become durable at once.
    urgency: Urgency,
    /// The last batch's number, and the last that was handed in to be made durable.
    last_lsn: Lsn,
    last_durable_wish: Lsn,
    /// The highest position that an answer waits for.
    awaited: Lsn,
    /// Time of the last batch: the clock of the machine never goes back.
    now_ms: u64,
    /// Monotonic microseconds of the last commit, for [`Store::idle`].
    last_commit_us: u64,
    /// Since when something is written only, in monotonic microseconds.
    unsynced_us: Option<u64>,
    in_transaction: bool,
    waiters: Waiters,
    watches: Watches,
    channels: Channels,
    events: VecDeque<Event>,
    /// Blocks held for a client between their arrival and its retry, however small the cache is.
    pinned: BTreeMap<ClientId, Vec<(KeyNumber, u64, Arc<Block>)>>,
    /// What is kept for clients whose answers are being written.
    held: BTreeMap<ClientId, Held>,
    /// Who waits for which block.
    parked: BTreeMap<(KeyNumber, u64), Vec<ClientId>>,
    checkpointing: Checkpointing,
    residual_reads: u64,
    /// What the next turn begins with.
    due: Due,
    tending: Tending,
    seen: Seen,
    /// See [`Context::spare`](levada_core::decide::Context).
    spare: RefCell<Vec<Effect<'static>>>,
    schedules: Schedules,
    expired_keys: u64,
    evicted_keys: u64,
    counts: Counts,
    /// Monotonic microseconds of the last look at the space on the device; `None` where blocks
    /// were handed over since.
    looked_us: Option<u64>,
    scrubbing: Scrubbing,
    /// Streams whose tails are to be sealed for their budget, the next one last.
    resting: Vec<KeyNumber>,
    /// What an operator is to be told.
    notices: VecDeque<Notice>,
    /// An error of the store in the middle of a turn; the turn's commit returns it.
    failed: Option<Error>,
}

/// What a turn has for readers, one after the other.
#[derive(Clone, Copy, Default, Debug)]
enum Due {
    /// What happened since the last turn.
    #[default]
    Changes,
    /// Leases end, and what no policy keeps goes.
    Policies,
    /// Scheduled entries are appended.
    Schedules,
}

impl Due {
    const ALL: [Self; 3] = [Self::Changes, Self::Policies, Self::Schedules];

    fn next(self) -> Self {
        match self {
            Self::Changes => Self::Policies,
            Self::Policies => Self::Schedules,
            Self::Schedules => Self::Changes,
        }
    }
}

/// Numbers for INFO and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// Clients whose read waits for entries.
    pub blocked_clients: u64,
    /// Distinct keys that they wait for.
    pub blocking_keys: u64,
    /// Bytes of strings and their names.
    pub strings_bytes: u64,
    /// Keys that went because their time was over.
    pub expired_keys: u64,
    /// Strings that went for want of room.
    pub evicted_keys: u64,
    /// Blocks read synchronously, inside a transaction or for a waiting reader.
    pub residual_reads: u64,
    /// The last batch.
    pub last_lsn: Lsn,
    /// Up to here durable.
    pub durable_lsn: Lsn,
    /// Whether a checkpoint is being written.
    pub checkpoint_in_progress: bool,
    /// Checkpoints finished since the start.
    pub checkpoints: u64,
    /// Average time of a sync of the log in microseconds.
    pub sync_us_average: u64,
    /// What recovery found.
    pub recovery: Recovery,
    /// Space on the device.
    pub space: Space,
    /// Blocks in memory and read.
    pub cache: CacheFacts,
    /// What was read to see whether it is whole.
    pub scrubbed: Scrubbed,
    /// When all of it was last read, in unix milliseconds.
    pub scrubbed_at_ms: Option<u64>,
}

/// Bytes of effects at which a batch ends before its turn does.
const BATCH_BYTES: usize = 8 << 20;
/// For each of these microseconds of a sync's time one more may be under way at once: on a fast
/// device several cost more than what they save.
const OVERLAP_SYNC_US: usize = 500;
/// How long relaxed records may stay unsynced, and the durable mark of the log behind.
const IDLE_US: u64 = 100_000;
/// How often the space on the device is looked at.
const LOOK_US: u64 = 200_000;
/// How long idempotent ids that are over may take memory, so that a stream forgets many at once.
const FORGET_AFTER_MS: u64 = 1000;

impl<S: Store> Shard<S> {
    /// The state, for questions that no command asks (`INFO`, metrics).
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The store, for its own figures.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, for tests and tools that steer its device.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Settings in force.
    pub fn settings(&self) -> &ShardSettings {
        &self.settings
    }

    /// Changes settings from the next command on.
    pub fn set_settings(&mut self, settings: ShardSettings) {
        self.settings = settings;
    }

    /// Policies of streams and groups that come into being from now on.
    pub fn set_defaults(&mut self, defaults: Arc<Defaults>) {
        self.defaults = defaults;
    }

    /// Whether the store lacks files: nobody else should open one now.
    pub fn lacks_files(&mut self) -> bool {
        self.store.lacks_files()
    }

    /// The last batch that was handed to the store.
    pub fn current(&self) -> Lsn {
        self.last_lsn
    }

    /// Up to here a kill of the process loses nothing.
    pub fn written(&self) -> Lsn {
        self.store.written()
    }

    /// Up to here a power cut loses nothing.
    pub fn durable(&self) -> Lsn {
        self.store.durable()
    }

    /// Whether an answer may be shown.
    pub fn is_over(&self, wait: Wait) -> bool {
        match wait {
            Wait::Nothing => true,
            Wait::Written(lsn) => lsn <= self.store.written(),
            Wait::Durable(lsn) => lsn <= self.store.durable(),
        }
    }

    /// Whether no more commands should be read for now: too much is on its way to the disk.
    pub fn is_congested(&self) -> bool {
        self.store.is_congested()
    }

    /// Whether the disk is full: commands that need space are refused until it is not.
    pub fn is_full(&self) -> bool {
        self.store.space().is_full
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is more news.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The last batch that is to be durable as soon as the disk can; those behind it that are
    /// written only may wait.
    pub fn durable_wish(&self) -> Lsn {
        self.last_durable_wish
    }

    /// Whether the coming commit makes anything durable at once.
    pub fn will_sync(&self) -> bool {
        self.urgency == Urgency::Durable || self.awaited > self.last_durable_wish
    }

    /// The position that everything handed in so far will have.
    pub fn position(&self) -> Lsn {
        self.last_lsn + u64::from(!self.batch.is_empty())
    }

    /// Ends a turn: everything that changed in it becomes one batch of the log. With fast syncs it
    /// is durable when this returns; otherwise some polls later.
    pub fn commit(&mut self, now: Now) -> Result<(), Error> {
        assert!(!self.in_transaction, "a transaction ends before its turn does");
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.choose_lane();
        if !self.batch.is_empty() {
            self.commit_batch()?;
            self.last_commit_us = now.monotonic_us;
        }
        if self.awaited > self.last_durable_wish {
            // Somebody saw a delivery that is written only.
            self.sync_written()?;
        }
        self.keep_interval(now)
    }

    fn commit_batch(&mut self) -> Result<(), Error> {
        self.last_lsn = self.store.commit(self.now_ms, &self.batch, self.urgency)?;
        if self.urgency == Urgency::Durable {
            self.last_durable_wish = self.last_lsn;
        }
        self.batch.clear();
        self.urgency = Urgency::Written;
        Ok(())
    }

    /// Makes what is written only durable, by a batch without effects.
    fn sync_written(&mut self) -> Result<(), Error> {
        self.last_lsn = self.store.commit(self.now_ms, &[], Urgency::Durable)?;
        self.last_durable_wish = self.last_lsn;
        Ok(())
    }

    /// A turn's changes are one batch, unless they would outgrow what the log takes at once: then
    /// what stands before the next command becomes a batch of its own.
    fn keep_batch_bounded(&mut self) {
        if self.batch.len() >= BATCH_BYTES && !self.in_transaction {
            self.end_batch();
        }
    }

    /// Ends the batch in the middle of a turn; an error is the turn's.
    fn end_batch(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.commit_batch()
        {
            self.failed = Some(error);
        }
    }

    /// Who syncs: the loop itself while that is cheaper than waking somebody else; others, and
    /// several at once, where a sync takes so long that it pays. A store that does not measure
    /// keeps what it was told.
    fn choose_lane(&mut self) {
        let inline_us_max = self.settings.inline_sync_us_max;
        let lane = match self.store.sync_us_average() {
            None if inline_us_max > 0 => return,
            Some(us) if us <= inline_us_max => Lane::Inline,
            us => {
                let us = usize::try_from(us.unwrap_or(0)).unwrap_or(usize::MAX);
                self.store.set_syncs_max(us / OVERLAP_SYNC_US);
                Lane::Background
            }
        };
        self.store.set_lane(lane);
    }

    /// Takes note of finished I/O and of time: ends waits and expired keys, goes on with a
    /// checkpoint. To be called in every turn, and at [`Shard::next_deadline_us`] at the latest.
    pub fn poll(&mut self, now: Now) -> Result<(), Error> {
        let progress = self.store.poll()?;
        for (object, number) in progress.fetched {
            self.wake_parked(KeyNumber(object), number);
        }
        self.look_for_space(now)?;
        self.go_on_with_scrub(now);
        self.time_out(now);
        self.expire(now);
        self.do_what_is_due(now);
        self.log_seen_in_time();
        self.forget_over();
        self.keep_tail_budget();
        self.go_on_with_checkpoint()?;
        let quiet = now.monotonic_us.saturating_sub(self.last_commit_us) >= IDLE_US;
        if quiet && self.batch.is_empty() {
            self.rest()?;
        }
        Ok(())
    }

    /// Does what is due, until a reader has got something: what comes then may remove entries, and
    /// an answer names what is there when it is told. The next turn goes on with the next kind, so
    /// that none waits for ever.
    fn do_what_is_due(&mut self, now: Now) {
        let told = self.events.len();
        for _ in Due::ALL {
            match self.due {
                Due::Changes => self.serve_waiters(),
                Due::Policies => self.tend(now),
                Due::Schedules => self.append_due(now),
            }
            self.due = self.due.next();
            if self.events.len() > told {
                break;
            }
        }
    }

    /// Looks at the space on the device, now and then and after whatever takes some.
    fn look_for_space(&mut self, now: Now) -> Result<(), Error> {
        let fresh = |at_us: u64| now.monotonic_us.saturating_sub(at_us) < LOOK_US;
        if self.looked_us.is_some_and(fresh) {
            return Ok(());
        }
        self.looked_us = Some(now.monotonic_us);
        self.store.look_for_space()
    }

    /// Nothing changes at the moment: what is written only becomes durable, and the log is marked.
    fn rest(&mut self) -> Result<(), Error> {
        if self.last_lsn > self.last_durable_wish {
            self.sync_written()?;
        }
        self.last_lsn = self.store.idle(self.now_ms)?;
        self.last_durable_wish = self.last_durable_wish.max(self.last_lsn);
        Ok(())
    }

    /// When [`Shard::poll`] must be called at the latest, in monotonic microseconds.
    pub fn next_deadline_us(&self, now: Now) -> Option<u64> {
        let waits = self.waiters.next_deadline_us();
        let until = |at_ms: u64| {
            let left_ms = at_ms.saturating_sub(now.wall_ms.max(self.now_ms));
            now.monotonic_us.saturating_add(left_ms.saturating_mul(1000))
        };
        let expiry = self.machine.keys.iter_expiring().next().map(|(at_ms, _)| until(at_ms));
        let over = self.machine.iter_over().next();
        let over = over.map(|(at_ms, _)| until(at_ms.saturating_add(FORGET_AFTER_MS)));
        let claim = self.waiters.next_claim_ms().map(until);
        let wanted = self.checkpointing.is_wanted() && self.store.checkpoint_due().is_some();
        let checkpoint = (wanted || self.checkpointing.is_under_way()).then_some(now.monotonic_us);
        let full = self.looked_us.filter(|_| self.is_full()).map(|at_us| at_us + LOOK_US);
        let tends = self.tending.next_ms().map(until);
        let seen = self.seen.log_at_ms().map(until);
        let due = self.schedules.next_ms().map(|at_ms| {
            let left_us = at_ms.saturating_sub(now.wall_ms).saturating_mul(1000);
            now.monotonic_us.saturating_add(left_us.min(schedule::STEP_US))
        });
        let interval = self.next_interval_us();
        let rests = self.last_lsn <= self.last_durable_wish && self.store.is_idle();
        let idle = (!rests).then_some(self.last_commit_us + IDLE_US);
        let sealing = (!self.resting.is_empty() && !self.is_full()).then_some(now.monotonic_us);
        let late = [claim, tends, seen, due, interval, checkpoint, full, idle, sealing];
        [waits, expiry, over].into_iter().chain(late).flatten().min()
    }

    /// Counts expired and evicted keys from 0 again.
    pub fn reset_counts(&mut self) {
        (self.expired_keys, self.evicted_keys) = (0, 0);
    }

    /// What happened to single streams and groups since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Numbers for INFO and metrics.
    pub fn facts(&self) -> Facts {
        Facts {
            blocked_clients: self.waiters.len() as u64,
            blocking_keys: self.waiters.keys() as u64,
            strings_bytes: self.machine.keys.text_bytes(),
            expired_keys: self.expired_keys,
            evicted_keys: self.evicted_keys,
            residual_reads: self.residual_reads,
            last_lsn: self.last_lsn,
            durable_lsn: self.store.durable(),
            checkpoint_in_progress: self.checkpointing.is_under_way(),
            checkpoints: self.checkpointing.finished(),
            sync_us_average: self.store.sync_us_average().unwrap_or(0),
            recovery: self.recovery,
            space: self.store.space(),
            cache: self.store.cache_facts(),
            scrubbed: self.store.scrubbed(),
            scrubbed_at_ms: self.scrubbing.passed_ms(),
        }
    }

    /// The store and nothing else: the end of a simulated process.
    pub fn into_store(self) -> S {
        self.store
    }
}
