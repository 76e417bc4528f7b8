//! From damaged bytes to the streams and ids that they are about.

use std::collections::BTreeMap;

use levada_core::{
    effect::{self, Effect},
    id::StreamId,
    keyspace::{KeyNumber, Value},
    machine::Machine,
    stream::Stream,
};

use super::Touched;
use crate::store::PieceId;

/// The kind of piece that holds the rows of a tail (`docs/format.md`, Pieces).
const TAIL: u8 = 5;

/// What a damaged structure is about.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// Nothing that a key holds.
    Nothing,
    /// A piece of the checkpoint.
    Piece(PieceId),
    /// Effects of batches.
    Effects(Vec<Vec<u8>>),
    /// A sealed block.
    Block(KeyNumber, u64),
}

impl About {
    /// Names what it is about, as far as the state tells.
    pub(super) fn touches(&self, machine: Option<&Machine>) -> Vec<Touched> {
        match self {
            Self::Nothing | Self::Piece(PieceId { object: 0, .. }) => Vec::new(),
            Self::Piece(id) => {
                let key = KeyNumber(id.object);
                let stream = machine.and_then(|machine| machine.stream_of(key));
                let ids = stream.map(|stream| match id.kind {
                    TAIL => stream.id_range(id.part),
                    _ => whole(stream),
                });
                vec![touched(machine, key, ids, None)]
            }
            Self::Block(key, number) => {
                let stream = machine.and_then(|machine| machine.stream_of(*key));
                let ids = stream.map(|stream| stream.id_range(*number));
                let live = stream.and_then(|stream| stream.meta(*number));
                vec![touched(machine, *key, ids, live.map(|meta| u64::from(meta.live)))]
            }
            Self::Effects(batches) => of_effects(batches, machine),
        }
    }
}

/// The keys that effects change, each with the smallest range that holds all ids.
fn of_effects(batches: &[Vec<u8>], machine: Option<&Machine>) -> Vec<Touched> {
    let mut keys: BTreeMap<KeyNumber, Option<(StreamId, StreamId)>> = BTreeMap::new();
    for batch in batches {
        // What stands behind an effect that makes no sense cannot be told.
        for effect in effect::decode_batch(batch).map_while(|effect| effect) {
            if matches!(effect, Effect::Flushed { .. } | Effect::DatabasesSwapped { .. }) {
                let all = machine.into_iter().flat_map(|machine| {
                    let of = |database| machine.keys.iter_from(database, KeyNumber(0));
                    (0..levada_core::limits::DATABASES).flat_map(of)
                });
                keys.extend(all.map(|(key, _)| (key, Some((StreamId::MIN, StreamId::MAX)))));
            }
            let Some(key) = effect.key() else {
                continue;
            };
            let ids = ids_of(&effect);
            let held = keys.entry(key).or_insert(ids);
            *held = match (*held, ids) {
                (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
                (one, other) => one.or(other),
            };
        }
    }
    keys.into_iter().map(|(key, ids)| touched(machine, key, ids, None)).collect()
}

/// The ids that an effect changes something about; all where it does not name them.
fn ids_of(effect: &Effect<'_>) -> Option<(StreamId, StreamId)> {
    let span = |ids: &mut dyn Iterator<Item = StreamId>| {
        ids.fold(None, |span: Option<(StreamId, StreamId)>, id| {
            Some(span.map_or((id, id), |(first, last)| (first.min(id), last.max(id))))
        })
    };
    match effect {
        Effect::KeyCreated { .. }
        | Effect::TextSet { .. }
        | Effect::TextAppended { .. }
        | Effect::KeyExpires { .. }
        | Effect::Flushed { .. }
        | Effect::DatabasesSwapped { .. } => None,
        Effect::Appended { id, .. } => Some((*id, *id)),
        Effect::Scheduled { due, .. } | Effect::Unscheduled { due, .. } => Some((due.id, due.id)),
        Effect::Delivered { ids, .. } | Effect::Released { ids, .. } if !ids.is_empty() => {
            span(&mut ids.iter().copied())
        }
        Effect::Claimed { rows, .. } if !rows.is_empty() => {
            span(&mut rows.iter().map(|(id, _)| *id))
        }
        _ => Some((StreamId::MIN, StreamId::MAX)),
    }
}

fn whole(stream: &Stream) -> (StreamId, StreamId) {
    (StreamId::MIN, stream.last_id)
}

fn touched(
    machine: Option<&Machine>,
    key: KeyNumber,
    ids: Option<(StreamId, StreamId)>,
    entries: Option<u64>,
) -> Touched {
    let object = machine.and_then(|machine| machine.keys.get(key));
    let is_text = object.is_some_and(|object| matches!(object.value, Value::Text(_)));
    let last = machine.and_then(|machine| machine.stream_of(key)).map(|stream| stream.last_id);
    // No id is above the last, but for those that only damaged bytes tell of.
    let ids = ids.filter(|_| !is_text).map(|(first, end)| match last {
        Some(last) if end == StreamId::MAX => (first, last),
        _ => (first, end),
    });
    Touched {
        database: object.map_or(0, |object| object.database),
        key: object.map(|object| object.name.to_vec()),
        number: key.0,
        ids,
        entries,
    }
}
