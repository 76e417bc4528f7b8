//! What must be true of a stream after a crash: all that was acknowledged or seen, and for what is
//! unknown both outcomes. `check` then compares it with what the server says.
//!
//! One round is `absorb` (the journal of all connections), `check` (what recovery brought back)
//! and `settle` (what is unknown takes the outcome that was found, for good).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use super::event::{Add, How, Id, Journal, Removal, Span, Take, Unseen, show_id};
use super::{Key, Kind, Pending, Rules, State, Violation};

/// What became of a delete or an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// Never asked for.
    #[default]
    No,
    /// Asked for; the reply never came.
    Maybe,
    /// Acknowledged, with the reading of the counter when the first such reply had come.
    Done(u64),
}

/// An entry that was acknowledged or seen.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Entry {
    /// Its value; `None` while only its id was seen.
    pub key: Option<Key>,
    /// XDEL.
    pub deleted: Fate,
    /// XACK.
    pub acked: Fate,
    /// Whether XAUTOCLAIM reported it as deleted.
    pub dropped: bool,
    /// Whether a reply to `>` has shown it.
    pub read: bool,
    /// Whether a reply showed more of it in this round than a delivery by `>`: a claim.
    pub claimed: bool,
    /// Whether it was read in an earlier round.
    pub settled: bool,
    /// Who was seen to get it, and when.
    pub taken: Vec<(usize, Span)>,
    /// Deliveries that were seen.
    pub count: u64,
    /// Whether it was among the dead letters at the last check.
    pub dead: bool,
}

/// What must be true of one stream and its group.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// For messages.
    pub name: String,
    /// What happens to it beside what is recorded.
    pub rules: Rules,
    /// Every entry that was acknowledged or seen, but for those that were retired.
    pub entries: BTreeMap<Id, Entry>,
    /// Values whose XADD got no reply and that nobody has seen.
    pub unknown: HashSet<Key>,
    /// Appends of this round that must have happened, of which nobody has seen an id.
    pub unseen_adds: u64,
    /// Every id below has been trimmed away for good.
    pub floor: Id,
    /// The lowest length that a trim of this round asked for.
    pub keep: Option<u64>,
    /// last-generated-id, entries-added and last-delivered-id at the last check.
    pub last_id: Id,
    /// See above.
    pub added: u64,
    /// See above.
    pub last_delivered: Id,
    /// Requests of this round that may have delivered or claimed.
    pub unseen: Vec<Unseen>,
    /// Values of this round that must come with their like in the other stream.
    pub paired: Vec<Key>,
    /// Entries that came back from the dead letters.
    pub redriven: BTreeSet<Id>,
}

/// All streams.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Whether the fault may undo deliveries by `>` on which nothing durable depends: a power cut
    /// under `delivery-sync relaxed`.
    pub relaxed: bool,
    /// In the order in which events number them.
    pub streams: Vec<Stream>,
}

impl Ledger {
    /// Streams that are empty and have never had an entry.
    pub fn new(streams: &[(&str, Rules)]) -> Self {
        let stream = |(name, rules): &(&str, Rules)| Stream {
            name: (*name).to_owned(),
            rules: *rules,
            ..Stream::default()
        };
        Self { relaxed: false, streams: streams.iter().map(stream).collect() }
    }

    /// Takes in what the clients of a round recorded. Answers what is wrong already.
    pub fn absorb(&mut self, journal: Journal) -> Vec<Violation> {
        let mut found = journal.violations;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let of = |add: &&Add| add.stream == index;
            let adds: Vec<_> = journal.adds.iter().filter(of).collect();
            let ids = adds.iter().filter_map(|add| Some((add.span, add.id?)));
            stream.ordered("appended", ids.collect(), &mut found);
            for add in adds {
                stream.add(add, &mut found);
            }
            stream.unseen_adds += journal.gone.iter().filter(|of| **of == index).count() as u64;

            let of = |removal: &&Removal| removal.stream == index;
            let removals = journal.deletes.iter().filter(of);
            removals.for_each(|delete| stream.entry(delete.id).deleted.note(delete));
            let removals = journal.acks.iter().filter(of);
            removals.for_each(|ack| stream.entry(ack.id).acked.note(ack));

            let takes = journal.takes.iter().filter(|take| take.stream == index);
            let takes: Vec<_> = takes.collect();
            let reads = takes.iter().filter(|take| take.how == How::Read);
            let ids = reads.map(|take| (take.span, take.id));
            if !stream.rules.leases {
                stream.ordered("delivered", ids.collect(), &mut found);
            }
            for take in takes {
                stream.take(take, &mut found);
            }

            let dropped = journal.dropped.iter().filter(|(of, _)| *of == index);
            dropped.for_each(|(_, id)| stream.entry(*id).dropped = true);
            let unseen = journal.unseen.iter().filter(|unseen| unseen.stream == index);
            stream.unseen.extend(unseen.cloned());
            let trims = journal.trims.iter().filter(|(of, _)| *of == index);
            stream.keep = trims.map(|(_, keep)| *keep).chain(stream.rules.max_len).min();
            let floors = journal.floors.iter().filter(|(of, _)| *of == index);
            let floor = floors.map(|(_, id)| *id).max().unwrap_or_default();
            stream.floor = stream.floor.max(floor);
        }
        found
    }

    /// Takes what recovery brought back as the truth from here on.
    pub fn settle(&mut self, states: &[State]) {
        for (stream, state) in self.streams.iter_mut().zip(states) {
            stream.settle(state);
        }
    }
}

impl Stream {
    /// The ids that are pending below `end`, after `settle`.
    pub fn pending_below(&self, end: Id) -> Vec<Id> {
        let below = self.entries.range(..end);
        let pending = below.filter(|(_, entry)| !entry.taken.is_empty());
        pending.map(|(id, _)| *id).collect()
    }

    /// How many entries of this round were acknowledged or seen.
    pub fn new_entries(&self) -> u64 {
        let new = (Bound::Excluded(self.last_id), Bound::Unbounded);
        self.entries.range(new).count() as u64
    }

    /// Forgets all entries below `floor`, of which none is pending: none may ever come back.
    pub fn retire(&mut self, floor: Id) {
        self.entries = self.entries.split_off(&floor);
        self.floor = self.floor.max(floor);
    }

    /// Whether this consumer may own the entry: nobody was seen to take it from him afterwards, or
    /// a request of his without reply may have given it to him.
    pub fn may_own(&self, id: Id, entry: &Entry, consumer: usize) -> bool {
        let last = |span: &Span| {
            let mut all = entry.taken.iter();
            !all.any(|(_, other)| other.invoked > span.completed)
        };
        let mut taken = entry.taken.iter();
        taken.any(|(owner, span)| *owner == consumer && last(span))
            || self.unseen.iter().any(|unseen| {
                let names = unseen.ids.is_empty() || unseen.ids.contains(&id);
                unseen.consumer == consumer && names && !(unseen.reads && entry.read)
            })
    }

    fn entry(&mut self, id: Id) -> &mut Entry {
        self.entries.entry(id).or_default()
    }

    fn add(&mut self, add: &Add, found: &mut Vec<Violation>) {
        if add.paired {
            self.paired.push(add.key);
        }
        let Some(id) = add.id else {
            self.unknown.insert(add.key);
            return;
        };
        if id <= self.last_id {
            found.push(self.tell(
                Kind::Reordered,
                id,
                "was issued again, or is not above the last id",
            ));
        }
        let entry = self.entries.entry(id).or_default();
        if entry.key.replace(add.key).is_some() {
            found.push(self.tell(Kind::Duplicated, id, "was issued twice"));
        }
    }

    fn take(&mut self, take: &Take, found: &mut Vec<Violation>) {
        let mut tell = |kind, text: &str| {
            let text = format!("{} {}: {text}", self.name, show_id(take.id));
            found.push(Violation { kind, text });
        };
        if take.id <= self.last_id && !self.entries.contains_key(&take.id) {
            tell(Kind::Resurrected, "was delivered, though it was trimmed or never there");
        }
        let entry = self.entries.entry(take.id).or_default();
        if let Some(key) = take.key {
            let unknown = self.unknown.remove(&key);
            match entry.key {
                Some(known) if known != key => {
                    tell(Kind::Changed, "was delivered with another value");
                }
                None if !unknown => {
                    tell(Kind::Changed, "was delivered with a value that is not its own");
                }
                _ => entry.key = Some(key),
            }
            if matches!(entry.deleted, Fate::Done(at) if at < take.span.invoked) {
                tell(Kind::Resurrected, "was delivered after its acknowledged delete");
            }
        }
        if matches!(entry.acked, Fate::Done(at) if at < take.span.invoked) {
            tell(Kind::Resurrected, "was delivered or claimed after its acknowledged XACK");
        }
        if entry.dead {
            tell(Kind::Resurrected, "was delivered, though it was a dead letter");
        }
        if take.how == How::Read {
            if entry.read && !self.rules.leases {
                tell(Kind::Duplicated, "was delivered twice by >");
            } else if take.id <= self.last_delivered && !self.rules.leases {
                tell(Kind::Reordered, "was delivered below the last delivered id");
            }
            entry.read = true;
        }
        entry.claimed |= take.how != How::Read;
        entry.count += u64::from(take.how != How::JustId);
        entry.taken.push((take.consumer, take.span));
    }

    /// Checks that whatever was invoked after another's reply has a higher id.
    fn ordered(&self, what: &str, ids: Vec<(Span, Id)>, found: &mut Vec<Violation>) {
        let (mut by_start, mut by_end) = (ids.clone(), ids);
        by_start.sort_unstable_by_key(|(span, _)| span.invoked);
        by_end.sort_unstable_by_key(|(span, _)| span.completed);
        let (mut ended, mut highest) = (by_end.iter().peekable(), (0, 0));
        for (span, id) in by_start {
            while let Some((_, before)) = ended.next_if(|(other, _)| other.completed < span.invoked)
            {
                highest = highest.max(*before);
            }
            if id <= highest {
                let text = format!("was {what} after {}", show_id(highest));
                found.push(self.tell(Kind::Reordered, id, &text));
            }
        }
    }

    fn settle(&mut self, state: &State) {
        let live: HashMap<Id, Key> = state.entries.iter().copied().collect();
        let pending: HashMap<Id, &Pending> =
            state.pending.iter().map(|row| (row.id, row)).collect();
        let dead: HashSet<Id> = state.dead.iter().map(|(id, _)| *id).collect();
        let parked: HashSet<Id> = state.parked.iter().copied().collect();
        for id in live.keys().chain(pending.keys()).chain(&dead) {
            self.entries.entry(*id).or_default();
        }
        let redriven = state.redriven.iter().filter(|id| self.entries.contains_key(*id));
        self.redriven.extend(redriven);
        for (id, entry) in &mut self.entries {
            entry.key = live.get(id).copied().or(entry.key);
            entry.deleted = if live.contains_key(id) { Fate::No } else { Fate::Done(0) };
            entry.dead = dead.contains(id);
            entry.read = *id <= state.last_delivered && !parked.contains(id);
            entry.settled = entry.read;
            entry.claimed = false;
            entry.taken.clear();
            entry.acked = Fate::No;
            // A delivery that a power cut undid counts no more.
            entry.count = pending.get(id).map_or(0, |row| row.count);
            if let Some(row) = pending.get(id) {
                let before = Span { invoked: 0, completed: 0 };
                entry.taken.push((row.consumer, before));
            } else if (entry.read || self.redriven.contains(id)) && !entry.dead {
                entry.acked = Fate::Done(0);
            }
        }
        self.unknown.clear();
        self.unseen_adds = 0;
        self.unseen.clear();
        self.paired.clear();
        self.keep = self.rules.max_len;
        self.last_id = state.last_id;
        self.added = state.added;
        self.last_delivered = state.last_delivered;
    }

    fn tell(&self, kind: Kind, id: Id, text: &str) -> Violation {
        Violation { kind, text: format!("{} {} {text}", self.name, show_id(id)) }
    }
}

impl Fate {
    fn note(&mut self, removal: &Removal) {
        *self = match (*self, removal.known) {
            (Self::Done(at), true) => Self::Done(at.min(removal.span.completed)),
            (_, true) => Self::Done(removal.span.completed),
            (Self::Done(at), false) => Self::Done(at),
            (_, false) => Self::Maybe,
        };
    }
}
