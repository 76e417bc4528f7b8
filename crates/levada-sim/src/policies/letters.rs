//! XDLQ: what goes back goes to the group that failed and to no other, and is at every crash point
//! a dead letter or an entry, not both and not neither.

use super::answers::What;
use super::client::{CONSUMERS, GROUP, KEY, OTHER, core, parse, refused, told_id, values};
use super::names::original;
use super::{Halt, Life, World};
use crate::crash::Restart;
use crate::history::{Fate, Id, Key as Written, State};
use crate::op::subject;
use levada_core::command::{self, Command, Letters, Xdlq, XdlqVerb};
use levada_core::error::Error;
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::reply::Reply;
use std::collections::BTreeSet;

/// What somebody else has in the stream of the dead letters.
const FOREIGN: Written = Written { producer: 9, number: 0 };
const FOREIGN_ID: StreamId = StreamId { ms: 0, seq: 1 };
/// Fields that an entry gets as a letter.
const HISTORY: usize = 8;

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    at: Id,
    /// The entry that it was, and its value.
    pub(super) source: Id,
    pub(super) value: Written,
}

/// A letter that became an entry again.
#[derive(Clone, Debug)]
pub(super) struct Back {
    pub(super) source: Id,
    pub(super) value: Written,
    /// The new entry and its name, once it was looked for: the process may end before.
    pub(super) entry: Option<(Id, Written)>,
}

impl World {
    /// What is somebody else's in the stream that the policy names.
    pub(super) fn set_up_letters<S: Restart>(&self, life: &mut Life<S>) -> Result<(), Halt> {
        if !self.policy.named_letters {
            return Ok(());
        }
        let value = FOREIGN.value();
        let add = command::Xadd {
            key: self.policy.letters(),
            must_exist: false,
            trim: None,
            id: command::NewId::Explicit(FOREIGN_ID),
            fields: Fields::Arguments(&[b"v", &value]),
            idempotent: None,
        };
        match self.ask(life, &Command::Xadd(add))?.0 {
            Ok(_) | Err(Error::IdTooSmall) => Ok(()),
            other => Err(Halt::Wrong(format!("XADD to the dead letters: {other:?}"))),
        }
    }

    /// XDLQ REDRIVE, or PURGE, of some letters.
    pub(super) fn take_letters<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        verb: XdlqVerb,
    ) -> Result<(), Halt> {
        if !self.policy.redrives {
            let consumer = self.random.index(CONSUMERS.len());
            return self.read_new(life, consumer);
        }
        if self.random.chance(10) {
            self.ask_other_group(life, verb)?;
        }
        if self.random.chance(60) {
            let count = 1 + self.random.below(4);
            return self.take_chosen(life, verb, &Letters::First(count));
        }
        let mut ids = vec![FOREIGN_ID];
        for letter in self.read_letters(life)? {
            if self.random.chance(50) {
                ids.insert(0, core(letter.at));
            }
        }
        self.take_chosen(life, verb, &Letters::Ids(ids))
    }

    pub(super) fn take_chosen<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        verb: XdlqVerb,
        letters: &Letters,
    ) -> Result<(), Halt> {
        let before = self.read_letters(life)?;
        let (letters, chosen): (_, Vec<_>) = match letters {
            Letters::First(count) => {
                // Others may die while blocks are read.
                let count = (*count).min(before.len() as u64);
                let chosen = before.iter().take(usize::try_from(count).expect("a few"));
                (Letters::First(count), chosen.cloned().collect())
            }
            Letters::Ids(ids) => {
                let is_named = |letter: &&Letter| ids.contains(&core(letter.at));
                (letters.clone(), before.iter().filter(is_named).cloned().collect())
            }
        };
        if before.is_empty() {
            return Ok(());
        }
        let last = self.last_id(life)?;
        let xdlq =
            Command::Xdlq(Xdlq { verb, key: KEY, group: GROUP, after: StreamId::MIN, letters });
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &xdlq)?;
        let taken = match result {
            Err(Error::Limit(_)) if self.policy.has_limit() => 0,
            other => usize::try_from(self.number_of(other)?).unwrap_or(usize::MAX),
        };
        let is_less = taken < chosen.len() && verb == XdlqVerb::Redrive && self.policy.has_limit();
        if taken != chosen.len() && !is_less {
            return Err(Halt::Wrong(format!("{verb:?} takes {taken} of {chosen:?}")));
        }
        let taken = &chosen[..taken];
        let sources = taken.iter().map(|letter| letter.source);
        self.left.extend(sources.clone());
        let back = |letter: &Letter| {
            let Letter { source, value, .. } = *letter;
            Back { source, value, entry: None }
        };
        // Held before anything is looked at, which may fail: it is carried out.
        let what = match verb {
            XdlqVerb::Purge => What::Purged(sources.collect()),
            _ => What::Redriven(taken.iter().map(back).collect()),
        };
        life.hold(wait, invoked, what);
        let mut left = before;
        left.retain(|letter| !taken.contains(letter));
        if !self.read_letters(life)?.starts_with(&left) {
            return Err(Halt::Wrong(format!("{verb:?} of {taken:?} does not leave {left:?}")));
        }
        if verb == XdlqVerb::Redrive {
            let new = self.come_back(life, taken, last)?;
            life.note_back(&new);
        }
        Ok(())
    }

    /// What has just come back above an id, in the order of the letters.
    fn come_back<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        taken: &[Letter],
        last: StreamId,
    ) -> Result<Vec<(Id, Written)>, Halt> {
        taken.iter().for_each(|letter| self.names.permit(letter.value));
        let (first, last) = (last.next().expect("ids are left"), StreamId::MAX);
        let range = command::Xrange { key: KEY, first, last, reverse: false, count: None };
        let (found, _) = self.ask(life, &Command::Xrange(range))?;
        let Ok(Reply::Entries(found)) = found else {
            return Err(Halt::Wrong(format!("XRANGE: {found:?}")));
        };
        let mut new = self.told(life, &found)?;
        // What is scheduled may have come in between.
        new.retain(|(_, key)| key.is_some_and(|key| key != original(key)));
        let values = new.iter().map(|(_, key)| key.map(original));
        if !values.eq(taken.iter().map(|letter| Some(letter.value))) {
            return Err(Halt::Wrong(format!("{taken:?} came back as {new:?}")));
        }
        Ok(new.into_iter().filter_map(|(id, key)| Some((id, key?))).collect())
    }

    /// Another group has no letters here.
    fn ask_other_group<S: Restart>(&self, life: &mut Life<S>, verb: XdlqVerb) -> Result<(), Halt> {
        if !self.policy.has_other() {
            return Ok(());
        }
        let letters = Letters::First(1000);
        let xdlq =
            Command::Xdlq(Xdlq { verb, key: KEY, group: OTHER, after: StreamId::MIN, letters });
        match self.ask(life, &xdlq)?.0 {
            Ok(Reply::Integer(0)) => Ok(()),
            other => Err(Halt::Wrong(format!("letters of a group that never failed: {other:?}"))),
        }
    }

    /// Behind a recovery: what was on its way back is a letter or an entry.
    pub(super) fn settle_backs(&mut self, state: &State) -> Result<(), Halt> {
        let entries = &self.ledger.streams[0].entries;
        // A power cut may undo, with the redrive, that the entry died in this life.
        let is_undead = |id: Id| {
            let was_dead = entries.get(&id).is_some_and(|entry| entry.dead);
            let is_pending = state.pending.iter().any(|row| row.id == id);
            let is_ahead = id > state.last_delivered && !state.redriven.contains(&id);
            !was_dead && (is_pending || state.parked.contains(&id) || is_ahead)
        };
        for Back { source, value, entry } in std::mem::take(&mut self.backs) {
            let is_letter = |id: Id| state.dead.iter().any(|(dead, _)| *dead == id);
            let is_source = is_letter(source) || is_undead(source);
            let is_done = |id: Id| {
                let entry = entries.get(&id);
                entry.is_some_and(|entry| entry.acked != Fate::No || entry.deleted != Fate::No)
            };
            let Some((id, key)) = entry else {
                // Nobody looked where it went: a new copy of its value, if it is no letter.
                if !is_source && self.names.is_owed(value) && !self.policy.trims() {
                    return Err(Halt::Wrong(format!("{source:?} is no letter, nor back")));
                }
                continue;
            };
            let came = state.entries.contains(&(id, key)) || is_letter(id);
            if is_source && came {
                return Err(Halt::Wrong(format!("{source:?} is a letter, and back as {id:?}")));
            }
            if !is_source && !came && !is_done(id) && !self.policy.trims() {
                return Err(Halt::Wrong(format!("{source:?} is no letter, nor back as {id:?}")));
            }
        }
        self.names.forbid();
        Ok(())
    }

    /// No group but the one that failed is ever given what came back.
    pub(super) fn check_other(&self, group: &[u8], ids: &[Id]) -> Result<(), Halt> {
        let copies: BTreeSet<_> = self.names.copies().into_iter().collect();
        match ids.iter().find(|id| copies.contains(id)) {
            Some(id) => {
                let group = String::from_utf8_lossy(group);
                Err(Halt::Wrong(format!("{group} is given {id:?}, which came back")))
            }
            None => Ok(()),
        }
    }

    fn last_id<S: Restart>(&self, life: &mut Life<S>) -> Result<StreamId, Halt> {
        match self.ask(life, &Command::XinfoStream(KEY, None))?.0 {
            Ok(Reply::StreamInfo(info)) => Ok(info.facts.last_id),
            other => Err(Halt::Wrong(format!("XINFO STREAM: {other:?}"))),
        }
    }

    /// The letters of the group, in order.
    pub(super) fn read_letters<S: Restart>(&self, life: &mut Life<S>) -> Result<Vec<Letter>, Halt> {
        let range = command::Xrange {
            key: self.policy.letters(),
            first: StreamId::MIN,
            last: StreamId::MAX,
            reverse: false,
            count: None,
        };
        let (found, _) = self.ask(life, &Command::Xrange(range))?;
        let Ok(Reply::Entries(found)) = found else {
            return Err(Halt::Wrong(format!("XRANGE of the dead letters: {found:?}")));
        };
        let entries =
            subject::told_entries(&mut life.shard, &found).map_err(|error| refused(&error))?;
        let mut letters = Vec::new();
        let mut foreign = 0;
        for (id, fields) in entries {
            let fields = fields.ok_or_else(|| Halt::Wrong("a letter without fields".into()))?;
            if (id.0, id.1) == told_id(FOREIGN_ID) && self.policy.named_letters {
                foreign += 1;
                continue;
            }
            letters.push(letter((id.0, id.1), &fields).map_err(Halt::Wrong)?);
        }
        match foreign == usize::from(self.policy.named_letters) {
            true => Ok(letters),
            false => Err(Halt::Wrong("somebody else's entry is gone".into())),
        }
    }
}

fn letter(at: Id, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Letter, String> {
    let (own, history) =
        fields.split_at_checked(fields.len().saturating_sub(HISTORY)).ok_or("no history")?;
    let source = history.iter().find(|(name, _)| name == b"x-dlq-id");
    let source = source.and_then(|(_, id)| parse(id)).ok_or("no id")?;
    Ok(Letter { at, source, value: values(own)? })
}
