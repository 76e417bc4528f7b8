//! Draws ops in which interesting things happen: few keys, ids that exist or nearly do, options
//! that contradict the state about as often as not.

use super::{CONSUMERS, GROUPS, KEYS, KeyAt, Op, PIDS, Step, model_key};
use crate::model::{
    ClaimOptions, Delivered, Fields, GroupFrom, GroupStart, Id, Model, Nack, NewId, NodeLimits,
    OnceLimits, Payload, ReadFrom, ReadMore, References, Stream, Threshold, Trim, Value,
};
use crate::random::Random;

/// Draws from a seed, looking at the state so far.
#[derive(Debug)]
pub struct Generator<'a> {
    /// The only source of chance.
    pub random: &'a mut Random,
    /// The state before the step.
    pub model: &'a Model,
    /// The time before the step, in ms.
    pub now_ms: u64,
    /// Whether now and then a value is so large that few fit into a block.
    pub large: bool,
    /// How many of 100 chances for hundreds of entries at once are taken; their pending list
    /// outgrows a chunk.
    pub bursts: u64,
}

impl Generator<'_> {
    /// The next step.
    pub fn step(&mut self) -> Step {
        let clock_ms = match self.random.below(20) {
            0..8 => 0,
            8..16 => self.signed(1, 4),
            16 | 17 => self.signed(5, 60),
            18 => -self.signed(1, 60),
            // Somebody sets the clock.
            _ if self.random.chance(5) => self.signed(-100_000_000, 200_000_000),
            _ => self.signed(60, 600),
        };
        let op = match self.random.below(25) {
            0 => Op::Multi((0..=self.random.below(4)).map(|_| self.command()).collect()),
            1 if self.random.chance(30) => match self.random.chance(50) {
                true => Op::Limits(limits(self.random)),
                false => Op::OnceLimits(once_limits(self.random)),
            },
            2 if self.random.chance(self.bursts) => self.burst(),
            3 if self.random.chance(30) => Op::Publish,
            4 if self.random.chance(30) => Op::Watch(self.keys()),
            _ => self.command(),
        };
        Step { clock_ms, op, ends_turn: self.random.chance(60) }
    }

    fn command(&mut self) -> Op {
        match self.random.below(100) {
            0..14 => self.xadd(),
            14..26 => self.once(),
            26..32 => self.edit(),
            32..39 => self.read(),
            39..47 => self.change_group(),
            47..65 => self.xreadgroup(),
            65..71 => {
                let (key, group) = (self.key(), self.group());
                match self.random.chance(60) {
                    true => Op::Xack(key, group, self.some_ids(key)),
                    false => Op::Xackdel(key, group, self.references(), self.some_ids(key)),
                }
            }
            71..76 => self.pending(),
            76..88 => self.claim(),
            _ => self.on_keys(),
        }
    }

    /// Many entries, added as one.
    fn burst(&mut self) -> Op {
        let key = self.key();
        let add = |n: u64| Op::Xadd {
            key,
            create: true,
            trim: None,
            id: NewId::Auto,
            fields: [(b"n".to_vec(), n.to_string().into_bytes())].into(),
        };
        Op::Multi((0..150 + self.random.below(400)).map(add).collect())
    }

    fn xadd(&mut self) -> Op {
        let key = self.key();
        let id = match self.random.below(20) {
            0..11 => NewId::Auto,
            11 => NewId::AutoSequence(self.now_ms.saturating_sub(self.random.below(4))),
            12 => NewId::AutoSequence(self.now_ms + self.random.below(4)),
            13 if self.random.chance(2) => NewId::Exact(Id::MAX),
            _ => {
                let id = self.id(key);
                let ahead = self.stream(key).map_or(Id::MIN, |stream| stream.last_id);
                let id = match self.random.chance(80) {
                    true => ahead.next().unwrap_or(id),
                    false => id,
                };
                NewId::Exact(if id == Id::MIN { Id(0, 1) } else { id })
            }
        };
        let trim = match self.random.chance(20) {
            true => Some(self.trim(key)),
            false => None,
        };
        Op::Xadd { key, create: !self.random.chance(10), trim, id, fields: self.fields() }
    }

    /// XADD with IDMP or IDMPAUTO, XCFGSET, XIDMPRECORD; few producers, iids and values, so that
    /// they come again, and durations within which the clock moves.
    fn once(&mut self) -> Op {
        let pid = if self.random.chance(70) { 0 } else { self.random.index(PIDS.len()) };
        let key = self.key();
        let iid = vec![b'1' + u8::try_from(self.random.below(4)).expect("below 4")];
        match self.random.below(20) {
            0 => Op::Xcfgset {
                key,
                duration_s: self.option(70, |g| *g.random.pick(&[1, 1, 2, 100])),
                iids_max: self.option(50, |g| *g.random.pick(&[1, 2, 3, 100])),
            },
            1..4 => Op::Xidmprecord { key, pid, iid, id: self.id(key) },
            _ => {
                let value = |random: &mut Random| random.below(2).to_string().into_bytes();
                let mut fields = vec![(b"a".to_vec(), value(self.random))];
                for name in [b"a", b"b"] {
                    let at = self.random.index(fields.len() + 1);
                    fields.insert(at, (name.to_vec(), value(self.random)));
                }
                Op::XaddOnce {
                    key,
                    create: !self.random.chance(10),
                    trim: self.option(15, |g| g.trim(key)),
                    pid,
                    iid: self.random.chance(70).then_some(iid),
                    fields: fields.into(),
                }
            }
        }
    }

    fn fields(&mut self) -> Fields {
        const NAMES: [&[u8]; 4] = [b"f", b"f", b"temperature", b""];
        let pairs = 1 + self.random.index(3);
        let pair = |_| {
            let value = match self.random.below(50) {
                0..20 => self.random.below(1000).to_string().into_bytes(),
                20..22 => format!("-{}", self.random.below(10)).into_bytes(),
                22..48 => {
                    let len = self.random.index(24);
                    self.random.bytes(len)
                }
                48 => vec![b'v'; self.random.index(700)],
                _ if self.large && self.random.chance(20) => vec![b'w'; 20_000],
                _ => i64::MAX.to_string().into_bytes(),
            };
            (NAMES[self.random.index(NAMES.len())].to_vec(), value)
        };
        (0..pairs).map(pair).collect()
    }

    /// XDEL, XTRIM, XSETID.
    fn edit(&mut self) -> Op {
        let key = self.key();
        match self.random.below(20) {
            0..6 => Op::Xdel(key, self.some_ids(key)),
            6..10 => Op::Xdelex(key, self.references(), self.some_ids(key)),
            10..17 => Op::Xtrim(key, self.trim(key)),
            _ => {
                let last_id = self.id(key);
                let lower = self.id(key).min(last_id);
                Op::Xsetid {
                    key,
                    last_id,
                    entries_added: self.option(50, |g| g.random.below(40)),
                    max_deleted_id: self.option(40, |_| lower),
                }
            }
        }
    }

    fn read(&mut self) -> Op {
        let key = self.key();
        match self.random.below(10) {
            0 => Op::Xlen(key),
            1..6 => Op::Xrange {
                key,
                first: self.bound(key, Id::MIN),
                last: self.bound(key, Id::MAX),
                reverse: self.random.chance(50),
                count: self.option(50, |g| 1 + g.random.index(4)),
            },
            _ => {
                let keys = self.keys();
                let from = keys.into_iter().map(|key| (key, self.read_from(key)));
                let (from, count, more) = (from.collect(), self.random.index(4), self.more());
                Op::Xread { from, count, more }
            }
        }
    }

    fn read_from(&mut self, key: KeyAt) -> ReadFrom {
        match self.random.below(8) {
            0 => ReadFrom::New,
            1 => ReadFrom::Last,
            _ => ReadFrom::After(self.id(key)),
        }
    }

    fn change_group(&mut self) -> Op {
        let (key, group, consumer) = (self.key(), self.group(), self.consumer());
        let start = match self.random.below(4) {
            0 | 1 => GroupStart::After(Id::MIN),
            2 => GroupStart::After(self.id(key)),
            _ => GroupStart::Last,
        };
        let entries_read = self.option(20, |g| g.random.below(30));
        match self.random.below(20) {
            0..11 => {
                Op::GroupCreate { key, group, start, create: self.random.chance(70), entries_read }
            }
            11..14 => Op::GroupSetid { key, group, start, entries_read },
            14 => Op::GroupDestroy(key, group),
            15..18 => Op::CreateConsumer(key, group, consumer),
            _ => Op::DelConsumer(key, group, consumer),
        }
    }

    fn xreadgroup(&mut self) -> Op {
        let history = self.random.chance(30);
        let keys = self.keys();
        let from = |key| {
            let from = match history {
                true if self.random.chance(60) => GroupFrom::After(Id::MIN),
                true => GroupFrom::After(self.id(key)),
                false => GroupFrom::New,
            };
            (key, from)
        };
        Op::Xreadgroup {
            from: keys.into_iter().map(from).collect(),
            group: self.group(),
            consumer: self.consumer(),
            count: self.random.index(5),
            noack: self.random.chance(10),
            more: ReadMore { claim_idle_ms: self.option(15, Self::min_idle), ..self.more() },
        }
    }

    /// MAXCOUNT, BLOCK.
    fn more(&mut self) -> ReadMore {
        ReadMore {
            most: self.option(15, |g| 1 + g.random.index(4)),
            claim_idle_ms: None,
            block_ms: self.option(30, |g| *g.random.pick(&[0, 1, 20, 500])),
        }
    }

    fn pending(&mut self) -> Op {
        let (key, group) = (self.key(), self.group());
        match self.random.chance(30) {
            true => Op::Xpending(key, group),
            false => Op::XpendingRange {
                key,
                group,
                min_idle_ms: self.min_idle(),
                first: self.bound(key, Id::MIN),
                last: self.bound(key, Id::MAX),
                count: self.random.index(6),
                consumer: self.option(40, Self::consumer),
            },
        }
    }

    fn claim(&mut self) -> Op {
        let (key, group, consumer) = (self.key(), self.group(), self.consumer());
        if self.random.chance(15) {
            return Op::Xnack {
                key,
                group,
                mode: *self.random.pick(&[Nack::Silent, Nack::Fail, Nack::Fatal]),
                ids: self.some_ids(key),
                count: self.option(20, |g| g.random.below(9)),
                force: self.random.chance(30),
            };
        }
        let min_idle_ms = self.min_idle();
        if self.random.chance(50) {
            return Op::Xautoclaim {
                key,
                group,
                consumer,
                min_idle_ms,
                start: self.bound(key, Id::MIN),
                count: 1 + self.random.index(4),
                just_id: self.random.chance(30),
            };
        }
        let now_ms = i64::try_from(self.now_ms).expect("a small clock");
        let delivered = match self.random.below(8) {
            0 => Some(Delivered::Ago(self.signed(0, 100))),
            1 => Some(Delivered::Ago(-5)),
            2 => Some(Delivered::At(now_ms - self.signed(0, 100))),
            3 => Some(Delivered::At(now_ms + 100)),
            4 => Some(Delivered::At(-1)),
            _ => None,
        };
        let options = ClaimOptions {
            delivered,
            count: self.option(15, |g| g.random.below(20)),
            force: self.random.chance(25),
            just_id: self.random.chance(25),
            last_id: self.option(15, |g| g.id(key)),
        };
        Op::Xclaim { key, group, consumer, min_idle_ms, ids: self.some_ids(key), options }
    }

    fn on_keys(&mut self) -> Op {
        let key = self.key();
        match self.random.below(130) {
            100..108 => {
                let to = (key + 1 + self.random.index(KEYS.len() - 1)) % KEYS.len();
                Op::Copy { from: key, to, replace: self.random.chance(60) }
            }
            108..114 => Op::Move(key),
            114..117 => Op::Swapdb,
            117..130 => self.restore(),
            0..10 => Op::Del(self.keys()),
            10..20 => Op::Exists(self.keys()),
            20..30 => {
                let ttl_ms = self.option(50, |g| 1 + g.random.below(50));
                let value = match self.random.chance(60) {
                    true => self.random.below(50).to_string().into_bytes(),
                    false => self.random.bytes(9),
                };
                Op::Set(key, value, ttl_ms)
            }
            30..40 => Op::Get(key),
            40..55 => Op::Incr(key),
            55..65 => Op::Pexpire(key, self.signed(0, 150) - 5),
            65..70 => Op::Persist(key),
            70..85 => Op::Rename { from: key, to: self.key(), only_new: self.random.chance(30) },
            85..90 => Op::Flush(*self.random.pick(&[Some(0), Some(1), None])),
            _ => Op::Dbsize(u8::from(self.random.chance(50))),
        }
    }

    fn restore(&mut self) -> Op {
        let entry = |n: u64| (Id(n, n), [(b"r".to_vec(), n.to_string().into_bytes())].into());
        let payload = match self.random.chance(30) {
            true => Payload::Text(self.random.below(50).to_string().into_bytes()),
            false => Payload::Stream((1..=1 + self.random.below(5)).map(entry).collect()),
        };
        let ttl_ms = self.option(20, |g| 1 + g.random.below(100));
        Op::Restore { key: self.key(), replace: self.random.chance(60), ttl_ms, payload }
    }

    fn trim(&mut self, key: KeyAt) -> Trim {
        let approx = self.random.chance(60);
        let length = self.stream(key).map_or(0, |stream| stream.entries.len());
        let to = match self.random.chance(50) {
            true => Threshold::MaxLen(self.random.index(length + 2)),
            false => Threshold::MinId(self.id(key)),
        };
        let limit = (approx && self.random.chance(30)).then(|| self.random.below(12));
        let references = match self.random.chance(50) {
            true => References::Keep,
            false => self.references(),
        };
        Trim { to, approx, limit, references }
    }

    fn references(&mut self) -> References {
        *self.random.pick(&[References::Keep, References::Remove, References::Acked])
    }

    /// An id that means something in the stream, or nearly so.
    fn id(&mut self, key: KeyAt) -> Id {
        let mut known = vec![Id::MIN, Id(self.now_ms, 0)];
        if let Some(stream) = self.stream(key) {
            known.extend(stream.entries.keys());
            known.extend([stream.last_id, stream.max_deleted_id]);
            known.extend(stream.nodes.iter().flat_map(|node| [node.first, node.last]));
            known.extend(stream.groups.values().flat_map(|group| group.pending.keys()));
        }
        let id = *self.random.pick(&known);
        match self.random.below(6) {
            0 => id.next().unwrap_or(id),
            1 => id.previous().unwrap_or(id),
            _ => id,
        }
    }

    fn some_ids(&mut self, key: KeyAt) -> Vec<Id> {
        (0..=self.random.below(4)).map(|_| self.id(key)).collect()
    }

    fn bound(&mut self, key: KeyAt, open: Id) -> Id {
        match self.random.chance(50) {
            true => open,
            false => self.id(key),
        }
    }

    fn stream(&self, key: KeyAt) -> Option<&Stream> {
        match &self.model.keys.get(&model_key(key))?.value {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) => None,
        }
    }

    fn key(&mut self) -> KeyAt {
        match self.random.below(10) {
            0..6 => 0,
            6..8 => 1,
            8 => 3,
            _ => 2,
        }
    }

    /// One key most often, or some that differ.
    fn keys(&mut self) -> Vec<KeyAt> {
        match self.random.below(10) {
            0..7 => vec![self.key()],
            7 | 8 => vec![0, 1],
            _ => (0..KEYS.len()).rev().collect(),
        }
    }

    fn group(&mut self) -> usize {
        usize::from(self.random.chance(25)) % GROUPS.len()
    }

    fn consumer(&mut self) -> usize {
        self.random.index(CONSUMERS.len())
    }

    fn min_idle(&mut self) -> u64 {
        match self.random.chance(50) {
            true => 0,
            false => self.random.below(80),
        }
    }

    fn signed(&mut self, from: i64, below: u64) -> i64 {
        from + i64::try_from(self.random.below(below)).expect("small")
    }

    fn option<T>(&mut self, percent: u64, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.random.chance(percent).then(|| draw(self))
    }
}

/// Durations within which the clock of a schedule moves, and room for few.
pub fn once_limits(random: &mut Random) -> OnceLimits {
    OnceLimits {
        duration_s: *random.pick(&[1, 1, 1, 2, 100]),
        iids_max: *random.pick(&[1, 2, 3, 100, 100]),
    }
}

/// Node limits small enough that `~` has something to do.
pub fn limits(random: &mut Random) -> NodeLimits {
    NodeLimits {
        max_entries: *random.pick(&[1, 2, 3, 5, 100, 0]),
        max_bytes: *random.pick(&[0, 0, 1, 60, 200, 4096]),
    }
}
