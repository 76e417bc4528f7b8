//! Keyspace notifications: changes of keys, published to channels.
//!
//! What happened is told from a command and its effects, so that the log holds nothing of it and a
//! replay publishes nothing. Events, their names and their order are those of Redis. They are
//! published when the effects are applied and leave, like every message, when these are durable.

use std::{collections::BTreeMap, fmt, sync::Arc};

use levada_core::{
    command::{Command, Key, Mset, Restore, Restored, SetExpiry},
    effect::{Act, Effect},
    keyspace::{KeyNumber, Value},
};

use super::{Listening, Shard};
use crate::store::Store;

/// Which events are published: the flags of Redis' `notify-keyspace-events`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Events(u16);

/// Flags by their letters, in the order in which they are shown.
const CLASSES: [(u8, u16); 13] = [
    (b'g', GENERIC),
    (b'$', STRING),
    (b'l', 1 << 2),
    (b's', 1 << 3),
    (b'h', 1 << 4),
    (b'z', 1 << 5),
    (b'x', EXPIRED),
    (b'e', EVICTED),
    (b't', STREAM),
    (b'd', 1 << 9),
    (b'n', NEW),
    (b'o', OVERWRITTEN),
    (b'c', TYPE_CHANGED),
];
/// The flags that are no class of `A`.
const OTHERS: [(u8, u16); 3] = [(b'K', KEYSPACE), (b'E', KEYEVENT), (b'm', MISS)];
const GENERIC: u16 = 1;
const STRING: u16 = 1 << 1;
const EXPIRED: u16 = 1 << 6;
const EVICTED: u16 = 1 << 7;
const STREAM: u16 = 1 << 8;
const NEW: u16 = 1 << 10;
const OVERWRITTEN: u16 = 1 << 11;
const TYPE_CHANGED: u16 = 1 << 12;
const KEYSPACE: u16 = 1 << 13;
const KEYEVENT: u16 = 1 << 14;
const MISS: u16 = 1 << 15;
/// `A`: the classes up to `d`.
const ALL: u16 = NEW - 1;

impl Events {
    /// Flags from their letters, in any order; `None` where one is unknown.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let flag = |letter: &u8| {
            let known = CLASSES.iter().chain(&OTHERS).find(|(known, _)| known == letter);
            known.map(|(_, flag)| *flag).or((*letter == b'A').then_some(ALL))
        };
        text.iter().try_fold(0, |flags, letter| Some(flags | flag(letter)?)).map(Self)
    }

    fn any(self, flags: u16) -> bool {
        self.0 & flags != 0
    }
}

impl fmt::Display for Events {
    /// As Redis shows them: `A` hides `n`, `o` and `c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0 & ALL == ALL;
        let classes = if all { &[(b'A', ALL)][..] } else { &CLASSES };
        for (letter, _) in classes.iter().chain(&OTHERS).filter(|(_, flag)| self.any(*flag)) {
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

/// Something that happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Note {
    class: u16,
    event: &'static str,
    database: u8,
    name: Arc<[u8]>,
}

impl Note {
    fn new(class: u16, event: &'static str, key: Key<'_>) -> Self {
        Self { class, event, database: key.database, name: key.name.into() }
    }
}

impl<S: Store> Shard<S> {
    /// Whether events of these classes reach anybody.
    fn announces(&self, classes: u16) -> bool {
        let events = self.settings.events;
        events.any(classes) && events.any(KEYSPACE | KEYEVENT) && !self.channels.is_empty()
    }

    /// What a command's effects, which are not yet applied, mean for those who listen.
    pub(super) fn notes(&self, command: &Command<'_>, effects: &[Effect<'_>]) -> Vec<Note> {
        if effects.is_empty() || !self.announces(!MISS) {
            return Vec::new();
        }
        match command {
            Command::Rename(from, to, _) => {
                self.note_move(*from, *to, ["rename_from", "rename_to"])
            }
            Command::Move(from, database) => {
                let to = Key { database: *database, ..*from };
                self.note_move(*from, to, ["move_from", "move_to"])
            }
            Command::Copy(copied) => {
                let mut notes = vec![Note::new(NEW, "new", copied.to)];
                notes.push(Note::new(GENERIC, "copy_to", copied.to));
                notes.extend(self.note_overwritten(self.is_text(copied.from), copied.to));
                notes
            }
            Command::Restore(asked) => self.note_restored(asked, effects),
            Command::Mset(mset) => self.note_mset(mset, effects),
            // In the order of the arguments, though effects are in that of numbers.
            Command::Del(keys) => {
                let there = keys.iter().filter(|key| self.machine.keys.number(**key).is_some());
                let mut notes: Vec<Note> = Vec::new();
                for note in there.map(|key| Note::new(GENERIC, "del", *key)) {
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
                notes
            }
            _ => self.note_effects(command, effects),
        }
    }

    fn note_move(&self, from: Key<'_>, to: Key<'_>, [left, came]: [&'static str; 2]) -> Vec<Note> {
        let mut notes = vec![Note::new(NEW, "new", to)];
        notes.push(Note::new(GENERIC, left, from));
        notes.push(Note::new(GENERIC, came, to));
        notes.extend(self.note_overwritten(self.is_text(from), to));
        notes
    }

    /// What is said of the key that another one replaces.
    fn note_overwritten(&self, is_text: bool, to: Key<'_>) -> Vec<Note> {
        if self.machine.keys.number(to).is_none() {
            return Vec::new();
        }
        let mut notes = vec![Note::new(OVERWRITTEN, "overwritten", to)];
        if is_text != self.is_text(to) {
            notes.push(Note::new(TYPE_CHANGED, "type_changed", to));
        }
        notes
    }

    fn is_text(&self, key: Key<'_>) -> bool {
        let found = self.machine.keys.find(key);
        found.is_some_and(|(_, object)| matches!(object.value, Value::Text(_)))
    }

    /// A key that was restored is new, even where it replaces another.
    fn note_restored(&self, asked: &Restore<'_>, effects: &[Effect<'_>]) -> Vec<Note> {
        let comes = |effect: &Effect<'_>| {
            matches!(effect, Effect::TextSet { .. } | Effect::StreamRestored { .. })
        };
        if !effects.iter().any(comes) {
            return vec![Note::new(GENERIC, "del", asked.key)];
        }
        let mut notes = vec![Note::new(NEW, "new", asked.key)];
        notes.push(Note::new(GENERIC, "restore", asked.key));
        let is_text = matches!(asked.value, Some(Restored::Text(_)));
        notes.extend(self.note_overwritten(is_text, asked.key));
        notes
    }

    /// A key that is named twice is written twice, and told of twice, though one effect remains.
    fn note_mset(&self, mset: &Mset<'_>, effects: &[Effect<'_>]) -> Vec<Note> {
        let is_named = |key: KeyNumber| {
            mset.pairs.iter().any(|(named, _)| self.machine.keys.number(*named) == Some(key))
        };
        let evicted = effects.iter().filter_map(|effect| match effect {
            Effect::KeyRemoved { key } if !is_named(*key) => self.machine.keys.get(*key),
            _ => None,
        });
        let mut notes: Vec<Note> = Vec::new();
        for object in evicted {
            let key = Key { database: object.database, name: &object.name };
            notes.push(Note::new(EVICTED, "evicted", key));
        }
        for (at, (key, _)) in mset.pairs.iter().enumerate() {
            let again = mset.pairs.iter().take(at).any(|(before, _)| before == key);
            match self.machine.keys.find(*key) {
                None if !again => notes.push(Note::new(NEW, "new", *key)),
                Some((_, object)) if !again && !matches!(object.value, Value::Text(_)) => {
                    notes.push(Note::new(OVERWRITTEN, "overwritten", *key));
                    notes.push(Note::new(TYPE_CHANGED, "type_changed", *key));
                }
                _ => notes.push(Note::new(OVERWRITTEN, "overwritten", *key)),
            }
            if matches!(mset.expiry, SetExpiry::At(_)) {
                notes.push(Note::new(GENERIC, "expire", *key));
            }
            notes.push(Note::new(STRING, "set", *key));
        }
        notes
    }

    fn note_effects(&self, command: &Command<'_>, effects: &[Effect<'_>]) -> Vec<Note> {
        let mut told = Told { shard: self, command, created: BTreeMap::new(), notes: Vec::new() };
        for effect in effects {
            told.tell(effect);
        }
        told.notes
    }

    /// Publishes events that somebody may listen for.
    pub(super) fn announce(&mut self, notes: Vec<Note>) {
        let events = self.settings.events;
        for Note { class, event, database, name } in notes {
            if !events.any(class) {
                continue;
            }
            if events.any(KEYSPACE) {
                let mut channel = format!("__keyspace@{database}__:").into_bytes();
                channel.extend_from_slice(&name);
                self.publish(Listening::Channel, &channel, event.as_bytes());
            }
            if events.any(KEYEVENT) {
                let channel = format!("__keyevent@{database}__:{event}");
                self.publish(Listening::Channel, channel.as_bytes(), &name);
            }
        }
    }

    /// Says of a key that it goes because its time is over.
    pub(super) fn announce_expired(&mut self, key: KeyNumber) {
        if self.announces(EXPIRED)
            && let Some(object) = self.machine.keys.get(key)
        {
            let key = Key { database: object.database, name: &object.name };
            let note = Note::new(EXPIRED, "expired", key);
            self.announce(vec![note]);
        }
    }

    /// Whether a command removes this key to make room for another.
    pub(super) fn is_eviction(&self, command: &Command<'_>, key: KeyNumber) -> bool {
        let mut own = false;
        if writes_strings(command) {
            command.for_each_key(|named| own |= self.machine.keys.number(named) == Some(key));
        }
        writes_strings(command) && !own
    }

    /// Says which keys a command looked for in vain.
    pub(super) fn announce_misses(&mut self, command: &Command<'_>) {
        if !self.announces(MISS) {
            return;
        }
        let mut notes = Vec::new();
        let mut look_up = |key: Key<'_>| {
            if self.machine.keys.number(key).is_none() {
                notes.push(Note::new(MISS, "keymiss", key));
            }
        };
        match command {
            Command::Copy(copied) => look_up(copied.from),
            command if command.looks_up_keys() => command.for_each_key(look_up),
            _ => {}
        }
        self.announce(notes);
    }
}

/// Whether a command gives a string its value: other keys that it removes made room for it.
fn writes_strings(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::Set(_)
            | Command::Mset(_)
            | Command::Incrby(..)
            | Command::Incrbyfloat(..)
            | Command::Setrange(..)
            | Command::Append(..)
    )
}

/// The events of one command so far.
struct Told<'s, 'e, S> {
    shard: &'s Shard<S>,
    command: &'s Command<'s>,
    /// Keys that the command creates, which have no name in the machine yet.
    created: BTreeMap<KeyNumber, Key<'e>>,
    notes: Vec<Note>,
}

impl<'e, S: Store> Told<'_, 'e, S> {
    fn tell(&mut self, effect: &'e Effect<'_>) {
        match effect {
            Effect::KeyCreated { key, database, name, .. } => {
                let named = Key { database: *database, name };
                self.created.insert(*key, named);
                // What replaces a key of another type is not new.
                if self.shard.machine.keys.number(named).is_none() {
                    self.notes.push(Note::new(NEW, "new", named));
                }
            }
            Effect::KeyRemoved { key } => self.removed(*key),
            Effect::TextSet { key, .. } => match self.command {
                Command::Incrby(..) => self.note(*key, STRING, "incrby"),
                Command::Incrbyfloat(..) => self.note(*key, STRING, "incrbyfloat"),
                Command::Setrange(..) => self.note(*key, STRING, "setrange"),
                Command::Append(..) => self.note(*key, STRING, "append"),
                _ => {
                    if !self.created.contains_key(key) {
                        self.note(*key, OVERWRITTEN, "overwritten");
                    }
                    self.set(*key);
                }
            },
            Effect::TextAppended { key, .. } => self.note(*key, STRING, "append"),
            Effect::KeyExpires { key, at_ms: Some(_) } => self.note(*key, GENERIC, "expire"),
            Effect::KeyExpires { key, at_ms: None }
                if matches!(self.command, Command::Persist(_) | Command::Getex(..)) =>
            {
                self.note(*key, GENERIC, "persist");
            }
            effect => {
                if let (Some(key), Some(event)) = (effect.key(), stream_event(self.command, effect))
                {
                    self.note(key, STREAM, event);
                }
            }
        }
    }

    /// A string was set. Its expiry is told of even where it is the one that it had.
    fn set(&mut self, key: KeyNumber) {
        let expires = |expiry: &SetExpiry| matches!(expiry, SetExpiry::At(_));
        match self.command {
            Command::Set(set) if expires(&set.expiry) => {
                self.note(key, STRING, "set");
                self.note(key, GENERIC, "expire");
            }
            _ => self.note(key, STRING, "set"),
        }
    }

    /// A key goes: by command, replaced by another value, or for want of room.
    fn removed(&mut self, key: KeyNumber) {
        if !writes_strings(self.command) {
            self.note(key, GENERIC, "del");
        } else if self.shard.is_eviction(self.command, key) {
            self.note(key, EVICTED, "evicted");
        } else {
            self.note(key, OVERWRITTEN, "overwritten");
            self.note(key, TYPE_CHANGED, "type_changed");
        }
    }

    fn note(&mut self, key: KeyNumber, class: u16, event: &'static str) {
        let there = self.shard.machine.keys.get(key);
        let there = there.map(|object| Key { database: object.database, name: &object.name });
        if let Some(named) = self.created.get(&key).copied().or(there) {
            let note = Note::new(class, event, named);
            // Several effects of one kind are one event.
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

/// What an effect of a stream is called, if it is told of.
fn stream_event(command: &Command<'_>, effect: &Effect<'_>) -> Option<&'static str> {
    Some(match effect {
        Effect::Appended { .. }
        | Effect::Scheduled { .. }
        | Effect::Policy { act: Act::Redriven { .. }, .. } => "xadd",
        Effect::Trimmed { .. } => "xtrim",
        Effect::Deleted { .. } if matches!(command, Command::Xadd(_) | Command::Xtrim(..)) => {
            "xtrim"
        }
        Effect::Deleted { .. } => "xdel",
        Effect::IdSet { .. } => "xsetid",
        Effect::GroupCreated { .. } => "xgroup-create",
        Effect::GroupIdSet { .. } if matches!(command, Command::XgroupSetid(_)) => "xgroup-setid",
        Effect::GroupDestroyed { .. } => "xgroup-destroy",
        Effect::ConsumerCreated { .. } => "xgroup-createconsumer",
        Effect::ConsumerDeleted { .. } => "xgroup-delconsumer",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_shown_as_redis_shows_them() {
        let check = |text: &str, expect: Option<&str>| {
            let shown = Events::parse(text.as_bytes()).map(|events| events.to_string());
            assert_eq!(shown.as_deref(), expect, "{text}");
        };
        check("", Some(""));
        check("gKE", Some("gKE"));
        check("KA", Some("AK"));
        check("EAmnoc", Some("AEm"));
        check("g$lshzxetd", Some("A"));
        check("zzgKEmoncdt", Some("gztdnocKEm"));
        check("Q", None);
    }
}
