//! XDLQ: the dead letters of a group are counted, shown, given back and removed.
//!
//! They stand in an ordinary stream that other groups, or clients, may use too: a letter of a group
//! is an entry whose last fields are those of [`HISTORY`] and name the group and its stream. Only
//! the entries themselves tell, so that every verb looks into blocks, at most [`BLOCKS_MAX`]: where
//! that does not do, the error says from where another call goes on (AFTER).

use alloc::vec::Vec;

use super::{
    Context, Decided, Decision, Refusal, add,
    group::{self, Found},
    integer, places, retention,
    tend::{HISTORY, dead_letters_of},
};
use crate::{
    block::Row,
    command::{Key, Letters, NewId, Xdlq, XdlqVerb},
    effect::{Act, Effect},
    error::Error,
    fields::Fields,
    id::StreamId,
    keyspace::KeyNumber,
    order,
    redriven::REDRIVEN_MAX,
    reply::{Entries, Reply},
    stream::Stream,
    varint,
};

/// Letters that one call shows, gives back or removes at most.
pub const LETTERS_MAX: usize = 1000;
/// Blocks that one call looks into at most: they are all in memory at once.
const BLOCKS_MAX: u64 = 256;
/// Encoded bytes of letters that one call gives back at most; the first goes in any case.
const REDRIVE_BYTES_MAX: usize = 4 << 20;

/// XDLQ LEN|RANGE|REDRIVE|PURGE key group \[AFTER id] \[COUNT n|IDS n id ...]
pub(super) fn xdlq<'a>(context: Context<'_>, asked: &Xdlq<'a>) -> Decided<'a> {
    let found = group::find(context, asked.key, asked.group)?;
    let name = dead_letters_of(&found.group.policy, asked.key.name, asked.group);
    let Some((key, stream)) = context.stream(Key { name: &name, ..asked.key })? else {
        return Ok(Decision::answer(match asked.verb {
            XdlqVerb::Range => Reply::Entries(Entries::none()),
            _ => Reply::Integer(0),
        }));
    };
    let (source, group, after) = (asked.key.name, asked.group, asked.after);
    let office = Office { context, key, stream, source, group, after };
    Ok(match asked.verb {
        XdlqVerb::Len => Decision::answer(integer(office.count()?)),
        XdlqVerb::Range => {
            let letters = office.select(&asked.letters)?;
            let single = |(_, place): &(_, _)| places::single(stream, *place);
            let parts: Vec<_> = letters.iter().map(single).collect();
            let entries = Entries { key, count: parts.len() as u64, reverse: false, parts };
            Decision::answer(Reply::Entries(entries))
        }
        XdlqVerb::Purge => {
            let letters = office.select(&asked.letters)?;
            let reply = integer(letters.len() as u64);
            Decision { reply, effects: office.removed(&letters).into_iter().collect() }
        }
        XdlqVerb::Redrive => office.redrive(&found, &office.select(&asked.letters)?)?,
    })
}

/// A letter, and where it stands.
type Placed = (StreamId, (u64, u32));

/// A stream of dead letters, and whose of them are asked for.
struct Office<'m, 'a> {
    context: Context<'m>,
    key: KeyNumber,
    stream: &'m Stream,
    source: &'a [u8],
    group: &'a [u8],
    /// Only letters above this id, but for those that are named by theirs.
    after: StreamId,
}

impl Office<'_, '_> {
    /// All letters of the group.
    fn count(&self) -> Result<u64, Refusal> {
        let mut counted = 0;
        match self.walk(|_| counted += 1, usize::MAX)? {
            Some(last) => Err(Error::TooManyLetters { counted, last }.into()),
            None => Ok(counted),
        }
    }

    /// The letters that are asked for, in the order of ids.
    fn select(&self, letters: &Letters) -> Result<Vec<Placed>, Refusal> {
        let mut found = Vec::new();
        match letters {
            Letters::Ids(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                let places = places::places(self.context, self.key, self.stream, &ids)?;
                for (id, place) in ids.into_iter().zip(places) {
                    let Some((block, row)) = place else {
                        continue;
                    };
                    let block = self.context.block(self.key, self.stream, block)?;
                    if block.row(row).is_some_and(|row| self.is_of_group(&row)) {
                        found.extend(place.map(|place| (id, place)));
                    }
                }
            }
            Letters::First(count) => {
                let most = usize::try_from(*count).unwrap_or(LETTERS_MAX).min(LETTERS_MAX);
                let ended = self.walk(|letter| found.push(letter), most)?;
                if let (Some(last), true) = (ended, found.is_empty()) {
                    return Err(Error::TooManyLetters { counted: 0, last }.into());
                }
            }
        }
        Ok(found)
    }

    /// Shows letters from the first on, at most so many; the last id that was looked at where it
    /// ended before blocks that were not. Blocks are asked for in strides, the longer the more
    /// there were.
    fn walk(&self, mut each: impl FnMut(Placed), most: usize) -> Result<Option<StreamId>, Refusal> {
        let (first, tail) = (self.stream.seek(self.after), self.stream.tail_number());
        let end = tail.min(first + BLOCKS_MAX - 1);
        let (mut left, mut asked) = (most, first);
        for number in first..=end {
            if number >= asked {
                let stride = number..=(2 * number - first).min(end);
                asked = stride.end() + 1;
                self.context.require(self.key, self.stream, stride)?;
            }
            let Some(meta) = self.stream.meta(number).filter(|meta| meta.live > 0) else {
                continue;
            };
            let block = self.context.block(self.key, self.stream, number)?;
            for row in block.rows(meta.first_row).filter(|row| meta.is_live(row.index)) {
                if left == 0 {
                    return Ok(None);
                }
                if row.id > self.after && self.is_of_group(&row) {
                    each((row.id, (number, row.index)));
                    left -= 1;
                }
            }
        }
        Ok((end < tail && left > 0).then(|| self.stream.id_range(end).1))
    }

    /// Whether an entry is a letter of the group.
    fn is_of_group(&self, row: &Row<'_>) -> bool {
        let Some(own) = row.fields.len().checked_sub(HISTORY.len()).filter(|own| *own > 0) else {
            return false;
        };
        let history = row.fields.iter().skip(own);
        history.zip(HISTORY).all(|((name, value), expect)| {
            let expected_value = match expect {
                "x-dlq-source" => Some(self.source),
                "x-dlq-group" => Some(self.group),
                _ => None,
            };
            name == expect.as_bytes()
                && expected_value.is_none_or(|expected| value.to_bytes() == expected)
        })
    }

    /// The fields that an entry had before it was a letter, encoded.
    fn original(&self, (block, row): (u64, u32)) -> Result<Vec<u8>, Refusal> {
        let block = self.context.block(self.key, self.stream, block)?;
        let row = block.row(row).expect("it was found there");
        let own = row.fields.len().saturating_sub(HISTORY.len());
        let mut fields = Vec::new();
        varint::put_u64(&mut fields, own as u64);
        for (name, value) in row.fields.iter().take(own) {
            varint::put_bytes(&mut fields, name);
            varint::put_bytes(&mut fields, &value.to_bytes());
        }
        Ok(fields)
    }

    /// Letters go.
    fn removed(&self, letters: &[Placed]) -> Option<Effect<'static>> {
        let last = letters.iter().map(|(id, _)| *id).max()?;
        let max_deleted_id = self.stream.max_deleted_id.max(last);
        let rows = letters.iter().map(|(_, place)| *place).collect();
        Some(Effect::Deleted { key: self.key, max_deleted_id, rows })
    }

    /// Letters become entries again that only their group is given: as many as the stream takes.
    fn redrive(&self, found: &Found<'_>, letters: &[Placed]) -> Decided<'static> {
        let mut back = Back::to(self.context, found);
        let mut taken = 0;
        for (_, place) in letters {
            if !back.append(self.original(*place)?)? {
                break;
            }
            taken += 1;
        }
        let mut effects = back.effects;
        effects.extend(self.removed(&letters[..taken]));
        Ok(Decision { reply: integer(taken as u64), effects })
    }
}

/// Entries on their way back into a stream.
struct Back<'m> {
    context: Context<'m>,
    found: Found<'m>,
    /// The stream as it will be.
    ahead: Stream,
    bytes: usize,
    effects: Vec<Effect<'static>>,
}

impl<'m> Back<'m> {
    fn to(context: Context<'m>, found: &Found<'m>) -> Self {
        let ahead = found.stream.clone();
        Self { context, found: *found, ahead, bytes: 0, effects: Vec::new() }
    }

    /// One more, if it still goes in; an error where not even the first does.
    fn append(&mut self, encoded: Vec<u8>) -> Result<bool, Refusal> {
        let Found { key, stream, number: group, .. } = self.found;
        let fields = Fields::Encoded(&encoded);
        let is_first = self.bytes == 0;
        if !is_first && self.bytes + encoded.len() > REDRIVE_BYTES_MAX {
            return Ok(false);
        }
        if self.ahead.redriven.len() >= REDRIVEN_MAX {
            return if is_first { Err(Error::TooManyRedriven.into()) } else { Ok(false) };
        }
        if is_first {
            let room = retention::make_room(self.context, key, stream, fields.bytes())?;
            if let Some(Effect::Trimmed { block, row, .. }) = room.first() {
                self.ahead.trim_to(*block, *row);
            }
            self.effects.extend(room);
        } else if retention::over(&self.ahead, fields.bytes()).is_some() {
            return Ok(false);
        }
        let before = self.ahead.last_id;
        let id = add::new_id(before, NewId::Auto, self.context.now_ms)?;
        if self.ahead.is_tail_full() {
            self.effects.push(Effect::Sealed { key });
            self.ahead.seal();
        }
        let starts_node = self.ahead.starts_node(self.context.nodes);
        self.ahead.append(id, &fields, starts_node, self.context.now_ms);
        self.ahead.redriven.insert(id, before);
        self.bytes += encoded.len();
        let of_key = order::key_in(&self.found.group.policy, &fields);
        let act = Act::Redriven { group, id, starts_node, fields: encoded.into() };
        self.effects.push(Effect::Policy { key, act });
        let act = of_key.map(|of_key| Act::TakenOff { group, rows: Vec::from([(id, of_key)]) });
        self.effects.extend(act.map(|act| Effect::Policy { key, act }));
        Ok(true)
    }
}
