//! What a schedule does, as records of the log: codes 60 to 65.

use alloc::vec::Vec;

use super::{Effect, EntryFields, flag};
use crate::{
    fields::Fields,
    keyspace::KeyNumber,
    schedule::Due,
    varint::{Reader, put_bytes, put_id, put_u64},
};

/// First byte of the record. On disk: never renumber, never reuse.
pub(super) mod code {
    pub(in crate::effect) const SCHEDULED: u8 = 60;
    pub(in crate::effect) const UNSCHEDULED: u8 = 61;
    /// The last that is this file's.
    pub(in crate::effect) const LAST: u8 = 65;
}

impl<'a> Effect<'a> {
    pub(super) fn encode_schedule(&self, out: &mut Vec<u8>) {
        match self {
            Self::Scheduled { due, starts_node, once, fields, .. } => {
                put_id(out, due.id);
                put_u64(out, due.at_ms);
                out.push(u8::from(*starts_node));
                out.push(u8::from(once.is_some()));
                if let Some((pid, iid)) = once {
                    put_bytes(out, pid);
                    put_bytes(out, iid);
                }
                fields.0.encode(out);
            }
            Self::Unscheduled { due, .. } => {
                put_id(out, due.id);
                put_u64(out, due.at_ms);
            }
            _ => unreachable!("encode() keeps the others"),
        }
    }

    pub(super) fn decode_schedule(
        code: u8,
        key: KeyNumber,
        reader: &mut Reader<'a>,
        batch: &'a [u8],
    ) -> Option<Self> {
        let (id, at_ms) = (reader.id()?, reader.u64()?);
        let due = Due { at_ms, id };
        match code {
            code::SCHEDULED => {
                let starts_node = flag(reader)?;
                let once = match flag(reader)? {
                    true => Some((reader.bytes()?, reader.bytes()?)),
                    false => None,
                };
                let fields = EntryFields(Fields::decode(reader, batch)?);
                Some(Self::Scheduled { key, due, starts_node, once, fields })
            }
            code::UNSCHEDULED => Some(Self::Unscheduled { key, due }),
            _ => None,
        }
    }
}
