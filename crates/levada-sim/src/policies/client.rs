//! What producers ask for, what all that is asked has in common, and what an entry holds.

use super::answers::What;
use super::lanes::lane;
use super::state::valued;
use super::{Halt, Life, START_MS, World};
use crate::crash::Restart;
use crate::history::{Id, Key as Written};
use crate::op::subject::{self, CLIENT};
use levada_core::command::{self, Command, Key, NewId, XdlqVerb};
use levada_core::error::Error;
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::reply::{Claimed, Reply};
use levada_engine::shard::{Answer, Outcome, Wait};

pub(super) const KEY: Key<'static> = Key { database: 0, name: b"a" };
pub(super) const GROUP: &[u8] = b"g";
/// Another group, of which the history knows nothing.
pub(super) const OTHER: &[u8] = b"h";
pub(super) const CONSUMERS: [&[u8]; 3] = [b"x", b"y", b"z"];

type Asked = (Result<Reply, Error>, Wait);
/// The entries of an answer, each with what was written into it, and what it waits for.
type Shown = (Vec<(Id, Option<Written>)>, Wait);

impl World {
    /// One request at random, at a random time, and the end of the turn.
    pub(super) fn step<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        self.wall_ms = match self.random.below(200) {
            0..100 => self.wall_ms + self.random.below(6),
            100..190 => self.wall_ms + self.random.below(60),
            190..197 => self.wall_ms.saturating_sub(self.random.below(80)),
            197 => self.wall_ms.saturating_sub(100_000_000).max(START_MS),
            _ => self.wall_ms + self.random.below(100_000_000),
        };
        self.now_ms = self.now_ms.max(self.wall_ms);
        let consumer = self.random.index(CONSUMERS.len());
        match self.random.below(140) {
            0..30 => self.add(life)?,
            30..58 => self.read_new(life, consumer)?,
            58..74 => self.ack(life)?,
            74..80 => self.claim(life, consumer)?,
            80..90 => self.nack(life)?,
            90..93 => self.hand_over(life, consumer)?,
            93..96 => self.delete(life)?,
            96..100 => self.trim(life)?,
            100..117 => self.plan(life)?,
            117..127 => self.take_letters(life, XdlqVerb::Redrive)?,
            127..130 => self.take_letters(life, XdlqVerb::Purge)?,
            _ => drop(self.read_as_other(life, OTHER, 3)?),
        }
        self.turn(life)?;
        self.check_readers(life)?;
        if self.random.chance(10) {
            self.look(life)?;
        }
        // These may have changed something too (when a consumer was seen). The turn ends before the
        // clock goes on, as every caller of a shard does it: a batch has one time, so a delivery in
        // the next step would get that of this one.
        Ok(life.shard.commit(self.now())?)
    }

    /// The stream, its groups and their policies, where they are not there yet.
    pub(super) fn set_up<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        self.set_up_letters(life)?;
        let options = self.policy.of_stream();
        for group in [Some(GROUP), self.policy.other_name()].into_iter().flatten() {
            self.create_group(life, group)?;
            let of_group = match group == GROUP {
                true => self.policy.of_group(),
                false => self.policy.of_other(),
            };
            let set = command::XgroupCfgset { key: KEY, group, options: of_group };
            self.set(life, &Command::XgroupCfgset(set))?;
        }
        let (idmp_duration_s, idmp_iids_max) = (None, None);
        let set = command::Xcfgset { key: KEY, idmp_duration_s, idmp_iids_max, options };
        self.set(life, &Command::Xcfgset(set))
    }

    fn set<S: Restart>(&self, life: &mut Life<S>, command: &Command<'_>) -> Result<(), Halt> {
        let (result, _) = self.ask(life, command)?;
        result.map_err(|error| Halt::Wrong(format!("a policy is refused: {error:?}")))?;
        Ok(())
    }

    pub(super) fn create_group<S: Restart>(
        &self,
        life: &mut Life<S>,
        group: &'static [u8],
    ) -> Result<(), Halt> {
        let create = command::XgroupCreate {
            key: KEY,
            group,
            id: Some(StreamId::MIN),
            create_stream: true,
            entries_read: None,
        };
        match self.ask(life, &Command::XgroupCreate(create))?.0 {
            Ok(_) | Err(Error::GroupExists) => Ok(()),
            other => Err(Halt::Wrong(format!("XGROUP CREATE: {other:?}"))),
        }
    }

    pub(super) fn add<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let key = self.next_key();
        let pairs = fields_of(key);
        let pairs: Vec<_> = pairs.iter().flat_map(|(name, value)| [&name[..], value]).collect();
        let add = command::Xadd {
            key: KEY,
            must_exist: false,
            trim: None,
            id: NewId::Auto,
            fields: Fields::Arguments(&pairs),
            idempotent: None,
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xadd(add))?;
        let what = match result {
            Ok(Reply::Id(id)) => {
                let id = told_id(id);
                What::Add(self.name(id, key).map_err(Halt::Wrong)?, id)
            }
            // Refused: it must be nowhere.
            Err(Error::Limit(_)) if self.policy.rejects() => What::Other,
            other => return Err(Halt::Wrong(format!("{:?}: XADD: {other:?}", self.policy))),
        };
        life.hold(wait, invoked, what);
        Ok(())
    }

    /// A value that nobody has written.
    pub(super) fn next_key(&mut self) -> Written {
        self.number += 1;
        Written { producer: 1, number: self.number - 1 }
    }

    fn delete<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let Some(id) = self.some_held() else {
            return Ok(());
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xdel(KEY, vec![core(id)]))?;
        let deleted = self.number_of(result)? == 1;
        life.hold(wait, invoked, What::Deleted(id, deleted));
        Ok(())
    }

    /// A producer's own trim, which under RETENTION ACKED removes nothing that is needed.
    fn trim<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        if !self.policy.retention {
            return Ok(());
        }
        let trim = command::Trim {
            keep: command::TrimKeep::MaxLen(self.random.below(3)),
            approximate: self.random.chance(50),
            limit: None,
            references: None,
        };
        let invoked = self.counter.next();
        let (_, wait) = self.ask(life, &Command::Xtrim(KEY, trim))?;
        life.hold(wait, invoked, What::Other);
        Ok(())
    }

    /// Every consumer reads what there is for it and acknowledges it.
    pub(super) fn read_and_acknowledge<S: Restart>(
        &mut self,
        life: &mut Life<S>,
    ) -> Result<(), Halt> {
        self.now_ms = self.now_ms.max(self.wall_ms);
        self.turn(life)?;
        self.read_some(life, 0, 100)?;
        self.turn(life)?;
        if self.policy.ack_wait_ms == 0 {
            self.claim(life, 0)?;
            self.turn(life)?;
        }
        for id in std::mem::take(&mut self.held) {
            self.ack_one(life, id)?;
            self.turn(life)?;
        }
        self.read_as_other(life, OTHER, 100)?;
        life.shard.store_mut().wait();
        self.turn(life)
    }

    pub(super) fn some_held(&mut self) -> Option<Id> {
        (!self.held.is_empty()).then(|| *self.random.pick(&self.held))
    }

    pub(super) fn number_of(&self, result: Result<Reply, Error>) -> Result<i64, Halt> {
        match result {
            Ok(Reply::Integer(n)) => Ok(n),
            other => {
                Err(Halt::Wrong(format!("{:?}: a number is expected: {other:?}", self.policy)))
            }
        }
    }

    /// Asks for what changes what readers may be given, and takes note of what they were given
    /// before.
    pub(super) fn ask_in_turn<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        command: &Command<'_>,
    ) -> Result<Asked, Halt> {
        let asked = self.ask(life, command)?;
        self.note_earlier(life)?;
        Ok(asked)
    }

    /// The same of a request for entries: what it was shown. It is read at once, as a server writes
    /// a reply before anything else happens.
    pub(super) fn take_in_turn<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        command: &Command<'_>,
    ) -> Result<Shown, Halt> {
        let (result, wait) = self.ask(life, command)?;
        let shown = match &result {
            Ok(Reply::Streams(streams)) => valued(life, &streams[0].1)?,
            Ok(Reply::Autoclaimed(done)) => match &done.claimed {
                Claimed::Entries(entries) => valued(life, entries)?,
                Claimed::Ids(_) => Vec::new(),
            },
            Ok(Reply::Nil | Reply::NilList) => Vec::new(),
            other => return Err(Halt::Wrong(format!("{command:?}: {other:?}"))),
        };
        self.note_earlier(life)?;
        Ok((shown, wait))
    }

    /// Takes note of the news from before the last answer.
    fn note_earlier<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let behind = life.news.split_off(life.early);
        let before = std::mem::replace(&mut life.news, behind);
        life.is_unheld = true;
        self.take_note(life, before)?;
        life.is_unheld = true;
        Ok(())
    }

    /// Asks until the blocks that are needed are there.
    pub(super) fn ask<S: Restart>(
        &self,
        life: &mut Life<S>,
        command: &Command<'_>,
    ) -> Result<Asked, Halt> {
        self.tell(|| format!("{} {command:?}", self.now_ms));
        loop {
            match life.shard.execute(self.now(), CLIENT, command) {
                // A block that cannot be read, as when the device has stopped.
                Outcome::Done(Answer { result: Err(error @ Error::Corrupt { .. }), .. }) => {
                    return Err(Halt::Failed(format!("{error:?}")));
                }
                Outcome::Done(Answer { result, wait }) => {
                    life.early = life.news.len();
                    self.hear_news(life)?;
                    self.tell(|| format!("  {result:?} {wait:?}"));
                    return Ok((result, wait));
                }
                Outcome::NeedBlocks => {
                    life.shard.commit(self.now())?;
                    life.shard.store_mut().wait();
                    life.shard.poll(self.now())?;
                    self.hear_news(life)?;
                }
            }
        }
    }
}

pub(super) fn refused(refused: &subject::Refused) -> Halt {
    Halt::Failed(format!("{refused:?}"))
}

pub(super) fn core((ms, seq): Id) -> StreamId {
    StreamId { ms, seq }
}

pub(super) fn told_id(id: StreamId) -> Id {
    (id.ms, id.seq)
}

pub(super) fn parse(text: &[u8]) -> Option<Id> {
    let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

/// What an entry holds: its value, and a key by which a group may be in order.
pub(super) fn fields_of(key: Written) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = (b"v".to_vec(), key.value());
    let lane = lane(key).map(|lane| (b"k".to_vec(), lane.to_string().into_bytes()));
    [Some(value), lane].into_iter().flatten().collect()
}

/// The inverse; fails for any fields that are not exactly those.
pub(super) fn values(fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Written, String> {
    let (_, value) = fields.first().ok_or("no field")?;
    let key = Written::of(value)?;
    match fields == fields_of(key) {
        true => Ok(key),
        false => Err(format!("{key:?} has other fields than were written")),
    }
}

/// XREADGROUP with `>`.
pub(super) fn new_read(consumer: &'static [u8], count: u64) -> command::Xreadgroup<'static> {
    command::Xreadgroup {
        group: GROUP,
        consumer,
        count: Some(count),
        most: command::ReadMost::default(),
        claim_idle_ms: None,
        no_ack: false,
        streams: vec![(KEY, None)],
    }
}
