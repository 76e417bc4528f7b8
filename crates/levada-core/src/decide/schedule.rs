//! XSCHED: entries that are appended later, and how what is due becomes an entry.
//!
//! What is scheduled stands in a stream beside its target ([`schedule`](crate::schedule)). [`due`]
//! says what is next of it; its effects append it to the target as XADD would and remove it from
//! the schedule, to be logged as one record: at no crash does it stand in both or in neither.

use alloc::vec::Vec;

use super::{Context, Decided, Decision, Refusal, add, create, integer, places, retention};
use crate::{
    command::{Idempotent, Key, NewId, SchedVerb, Xadd, Xsched},
    effect::{Effect, EntryFields},
    error::Error,
    fields::Fields,
    id::StreamId,
    keyspace::{KeyNumber, Value},
    reply::{Entries, Reply},
    schedule::{self, Due, Unpacked},
    stream::Stream,
};

/// XSCHED ADD|CANCEL|LIST|LEN key ...
pub(super) fn xsched<'a>(context: Context<'_>, asked: &Xsched<'a>) -> Decided<'a> {
    if schedule::target_of(asked.schedule().name) != Some(asked.key.name) {
        return Err(Error::ScheduleOfTag.into());
    }
    let found = context.stream(asked.schedule())?;
    match (asked.verb, found) {
        (SchedVerb::Add { .. }, _) => add(context, asked, found),
        (SchedVerb::Cancel(id), Some((key, stream))) => cancel(context, key, stream, id),
        (SchedVerb::List(count), Some((key, stream))) => list(context, key, stream, count),
        (SchedVerb::Len, Some((_, stream))) => {
            Ok(Decision::answer(integer(stream.schedule().map_or(0, schedule::Schedule::len))))
        }
        (SchedVerb::List(_), None) => Ok(Decision::answer(Reply::Entries(Entries::none()))),
        (_, None) => Ok(Decision::answer(Reply::Integer(0))),
    }
}

/// XSCHED ADD key \[HANDLE id] AT unix-ms|IN ms \[IDMP pid iid] field value ...
fn add<'a>(
    context: Context<'_>,
    asked: &Xsched<'a>,
    found: Option<(KeyNumber, &Stream)>,
) -> Decided<'a> {
    let SchedVerb::Add { at_ms, once, fields } = asked.verb else {
        unreachable!("xsched() asks for nothing else");
    };
    // What could never be appended is better refused now.
    context.stream(asked.key)?;
    if fields.iter().any(|(name, _)| name.starts_with(schedule::FIELD_PREFIX)) {
        return Err(Error::ScheduleField.into());
    }
    let empty = Stream::default();
    let stream = found.map_or(&empty, |(_, stream)| stream);
    let handle = asked.handle.map_or(NewId::Auto, NewId::Explicit);
    let id = add::new_id(stream.last_id, handle, context.now_ms)?;
    let mut effects = Vec::with_capacity(2);
    if let (true, Some((key, stream))) = (stream.policy.has_limit(), found) {
        effects.extend(retention::make_room(context, key, stream, fields.bytes())?);
    }
    let key = if let Some((key, _)) = found {
        key
    } else {
        let name = asked.schedule().name.to_vec().into();
        create::named_stream(context, asked.key.database, name, &mut effects)?
    };
    let seals = stream.is_tail_full();
    if seals {
        effects.push(Effect::Sealed { key });
    }
    let starts_node = seals || stream.starts_node(context.nodes);
    let (due, fields) = (Due { at_ms, id }, EntryFields(fields));
    effects.push(Effect::Scheduled { key, due, starts_node, once, fields });
    Ok(Decision { reply: Reply::Id(id), effects })
}

/// XSCHED CANCEL key handle
fn cancel<'a>(context: Context<'_>, key: KeyNumber, stream: &Stream, id: StreamId) -> Decided<'a> {
    let nothing = || Decision::answer(Reply::Integer(0));
    let Some((place, unpacked)) = unpack(context, key, stream, id)? else {
        return Ok(nothing());
    };
    let due = unpacked.map(|unpacked| Due { at_ms: unpacked.at_ms, id });
    let Some(due) = due.filter(|due| stream.schedule().is_some_and(|held| held.contains(*due)))
    else {
        return Ok(nothing());
    };
    let effects = Vec::from(removal(key, stream, due, place));
    Ok(Decision { reply: Reply::Integer(1), effects })
}

/// XSCHED LIST key \[COUNT n]
fn list<'a>(context: Context<'_>, key: KeyNumber, stream: &Stream, count: u64) -> Decided<'a> {
    let take = usize::try_from(count).unwrap_or(usize::MAX);
    let held = stream.schedule().into_iter().flat_map(schedule::Schedule::iter);
    let ids: Vec<_> = held.take(take).map(|due| due.id).collect();
    let places = places::places(context, key, stream, &ids)?;
    let parts: Vec<_> =
        places.into_iter().flatten().map(|place| places::single(stream, place)).collect();
    let count = parts.len() as u64;
    Ok(Decision::answer(Reply::Entries(Entries { key, count, reverse: false, parts })))
}

/// What is next of a schedule.
#[derive(Debug)]
pub enum NextDue {
    /// Nothing yet: ask again at this time of the wall's clock, in unix milliseconds; `None` where
    /// nothing is scheduled.
    At(Option<u64>),
    /// Something that cannot be appended anywhere, as the stream has no schedule's name any more.
    Nowhere,
    /// An entry.
    Move(Move),
}

/// An entry on its way from the schedule to its target, or out of a schedule whose entry is gone.
#[derive(Debug)]
pub struct Move {
    key: KeyNumber,
    due: Due,
    /// Where it stands, and what it is; `None` where it was removed from the stream by hand.
    held: Option<((u64, u32), Unpacked)>,
    database: u8,
    target: Vec<u8>,
}

/// What is next of what is scheduled in a stream, by the clock of the wall: the machine's never
/// goes back, and would let entries come early when the other one did.
pub fn due(context: Context<'_>, key: KeyNumber, wall_ms: u64) -> Result<NextDue, Refusal> {
    let object = context.machine.keys.get(key);
    let Some((object, Value::Stream(stream))) = object.map(|object| (object, &object.value)) else {
        return Ok(NextDue::At(None));
    };
    let Some(due) = stream.schedule().and_then(schedule::Schedule::first) else {
        return Ok(NextDue::At(None));
    };
    if due.at_ms > wall_ms.min(context.now_ms) {
        return Ok(NextDue::At(Some(due.at_ms)));
    }
    let Some(target) = schedule::target_of(&object.name) else {
        return Ok(NextDue::Nowhere);
    };
    let held = unpack(context, key, stream, due.id)?;
    let held = held.and_then(|(place, unpacked)| Some((place, unpacked?)));
    let (database, target) = (object.database, target.to_vec());
    Ok(NextDue::Move(Move { key, due, held, database, target }))
}

impl Move {
    /// The append that it is, for those who are told of it; `None` where nothing is appended.
    pub fn xadd(&self) -> Option<Xadd<'_>> {
        let (_, Unpacked { fields, once, .. }) = self.held.as_ref()?;
        let once = once.as_ref();
        Some(Xadd {
            key: Key { database: self.database, name: &self.target },
            must_exist: false,
            trim: None,
            id: NewId::Auto,
            fields: Fields::Encoded(fields),
            idempotent: once.map(|(pid, iid)| Idempotent { pid, iid: Some(iid) }),
        })
    }

    /// What appends it to its target, in order; an error if that cannot take it.
    pub fn arrival(&self, context: Context<'_>) -> Result<Vec<Effect<'_>>, Refusal> {
        match self.xadd() {
            Some(xadd) => Ok(add::xadd(context, &xadd)?.effects),
            None => Ok(Vec::new()),
        }
    }

    /// What removes it from the schedule, in order.
    pub fn departure(&self, context: Context<'_>) -> Vec<Effect<'static>> {
        let (key, due) = (self.key, self.due);
        match (&self.held, context.machine.stream_of(key)) {
            (Some((place, _)), Some(stream)) => removal(key, stream, due, *place).into(),
            _ => Vec::from([Effect::Unscheduled { key, due }]),
        }
    }
}

/// What removes an entry from its schedule.
fn removal(key: KeyNumber, stream: &Stream, due: Due, place: (u64, u32)) -> [Effect<'static>; 2] {
    let max_deleted_id = stream.max_deleted_id.max(due.id);
    let deleted = Effect::Deleted { key, max_deleted_id, rows: Vec::from([place]) };
    [deleted, Effect::Unscheduled { key, due }]
}

/// Where an entry of a schedule's stream stands, and what it is: nothing where a client added it.
#[expect(clippy::type_complexity, reason = "named at once by its only callers")]
fn unpack(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    id: StreamId,
) -> Result<Option<((u64, u32), Option<Unpacked>)>, Refusal> {
    let places = places::places(context, key, stream, &[id])?;
    let [Some(place)] = places[..] else {
        return Ok(None);
    };
    let block = context.block(key, stream, place.0)?;
    let row = block.row(place.1);
    Ok(row.map(|row| (place, Unpacked::of(row.fields.to_vec()))))
}
