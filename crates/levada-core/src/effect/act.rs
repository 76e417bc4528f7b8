//! What policies do, as records of the log: codes 48 to 59, 66 to 73 and 77.

use alloc::{sync::Arc, vec::Vec};

use super::{
    Effect,
    lists::{get_ids, put_ids},
};
use crate::{
    fields::Fields,
    id::StreamId,
    keyspace::KeyNumber,
    policy::{GroupPolicy, StreamPolicy},
    varint::{Reader, put_bytes, put_id, put_u64},
};

/// First byte of the record. On disk: never renumber, never reuse.
mod code {
    pub(super) const STREAM_POLICY_SET: u8 = 48;
    pub(super) const GROUP_POLICY_SET: u8 = 49;
    pub(super) const OFFERED: u8 = 50;
    pub(super) const CONDEMNED: u8 = 51;
    pub(super) const HANDED_OVER: u8 = 52;
    pub(super) const DEAD_LETTERED: u8 = 53;
    pub(super) const DROPPED: u8 = 54;
    pub(super) const REDRIVEN: u8 = 66;
    pub(super) const PARKED: u8 = 67;
    pub(super) const TAKEN_OFF: u8 = 68;
    pub(super) const UNPARKED: u8 = 69;
    pub(super) const RELEASED_UNREAD: u8 = 77;
}

/// What a policy, or a command about one, does to a stream.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// The stream has this policy.
    StreamPolicySet(StreamPolicy),
    /// A group has this policy.
    GroupPolicySet {
        /// Which.
        group: u32,
        /// All of it.
        policy: GroupPolicy,
    },
    /// Pending entries are delivered again by `>`.
    Offered {
        /// In which group.
        group: u32,
        /// Ids, ascending, and from when on in unix milliseconds; 0 for now.
        rows: Vec<(StreamId, u64)>,
    },
    /// Pending entries are to become dead letters, and are not delivered any more.
    Condemned {
        /// In which group.
        group: u32,
        /// Which, ascending.
        ids: Vec<StreamId>,
        /// Why.
        reason: Arc<[u8]>,
    },
    /// A consumer goes; what was pending for it is somebody else's.
    HandedOver {
        /// In which group.
        group: u32,
        /// Who goes.
        consumer: u32,
        /// Who has it now; `None` for nobody, and then it is offered.
        to: Option<u32>,
    },
    /// An entry is a dead letter from now on, and pending no more.
    DeadLettered {
        /// In which group.
        group: u32,
        /// Which.
        id: StreamId,
    },
    /// The stream has a new last entry that only one group is given: a dead letter comes back. It
    /// is pending there, for nobody, and offered.
    Redriven {
        /// Which group.
        group: u32,
        /// The entry's id, above every id before.
        id: StreamId,
        /// Whether a new logical node begins with it.
        starts_node: bool,
        /// What it holds, as [`crate::fields::Fields::encode`] writes it.
        fields: Arc<[u8]>,
    },
    /// New entries are passed over because their keys are busy (ORDER-BY).
    Parked {
        /// In which group.
        group: u32,
        /// Ids, ascending, and keys.
        rows: Vec<(StreamId, u64)>,
    },
    /// Pending entries have these keys, and are parked no more (ORDER-BY).
    TakenOff {
        /// In which group.
        group: u32,
        /// Ids, ascending, and keys.
        rows: Vec<(StreamId, u64)>,
    },
    /// Parked entries are the group's affair no more.
    Unparked {
        /// In which group.
        group: u32,
        /// Which, ascending.
        ids: Vec<StreamId>,
    },
    /// A limit removed entries that a group had not acknowledged.
    Dropped {
        /// Which group.
        group: u32,
        /// How many.
        count: u64,
    },
    /// Entries that a group was to have are held for it no more: it goes, is set forward or begins
    /// behind them.
    ReleasedUnread {
        /// Which group.
        group: u32,
        /// Whether the group counts them; otherwise, as it goes, its stream does.
        stays: bool,
        /// How many.
        count: u64,
    },
}

impl Act {
    /// The group that changes.
    pub(crate) fn group(&self) -> Option<u32> {
        match self {
            Self::StreamPolicySet(_) => None,
            Self::GroupPolicySet { group, .. }
            | Self::Offered { group, .. }
            | Self::Condemned { group, .. }
            | Self::HandedOver { group, .. }
            | Self::DeadLettered { group, .. }
            | Self::Redriven { group, .. }
            | Self::Parked { group, .. }
            | Self::TakenOff { group, .. }
            | Self::Unparked { group, .. }
            | Self::Dropped { group, .. }
            | Self::ReleasedUnread { group, .. } => Some(*group),
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Self::StreamPolicySet(_) => code::STREAM_POLICY_SET,
            Self::GroupPolicySet { .. } => code::GROUP_POLICY_SET,
            Self::Offered { .. } => code::OFFERED,
            Self::Condemned { .. } => code::CONDEMNED,
            Self::HandedOver { .. } => code::HANDED_OVER,
            Self::DeadLettered { .. } => code::DEAD_LETTERED,
            Self::Redriven { .. } => code::REDRIVEN,
            Self::Parked { .. } => code::PARKED,
            Self::TakenOff { .. } => code::TAKEN_OFF,
            Self::Unparked { .. } => code::UNPARKED,
            Self::Dropped { .. } => code::DROPPED,
            Self::ReleasedUnread { .. } => code::RELEASED_UNREAD,
        }
    }

    /// Appends what follows code and key.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if let Some(group) = self.group() {
            put_u64(out, u64::from(group));
        }
        match self {
            Self::StreamPolicySet(policy) => policy.encode(out),
            Self::GroupPolicySet { policy, .. } => policy.encode(out),
            Self::Offered { rows, .. }
            | Self::Parked { rows, .. }
            | Self::TakenOff { rows, .. } => {
                put_ids(out, rows.iter().map(|(id, _)| *id));
                rows.iter().for_each(|(_, number)| put_u64(out, *number));
            }
            Self::Condemned { ids, reason, .. } => {
                put_ids(out, ids.iter().copied());
                put_bytes(out, reason);
            }
            Self::DeadLettered { id, .. } => put_id(out, *id),
            Self::Unparked { ids, .. } => put_ids(out, ids.iter().copied()),
            Self::Redriven { id, starts_node, fields, .. } => {
                put_id(out, *id);
                out.push(u8::from(*starts_node));
                put_bytes(out, fields);
            }
            Self::HandedOver { consumer, to, .. } => {
                put_u64(out, u64::from(*consumer));
                put_u64(out, to.map_or(0, |to| u64::from(to) + 1));
            }
            Self::Dropped { count, .. } => put_u64(out, *count),
            Self::ReleasedUnread { stays, count, .. } => {
                out.push(u8::from(*stays));
                put_u64(out, *count);
            }
        }
    }

    /// The inverse.
    pub(super) fn decode<'a>(
        code: u8,
        key: KeyNumber,
        reader: &mut Reader<'a>,
    ) -> Option<Effect<'a>> {
        if code == code::STREAM_POLICY_SET {
            let act = Self::StreamPolicySet(StreamPolicy::decode(reader)?);
            return Some(Effect::Policy { key, act });
        }
        let group = reader.u32()?;
        let act = match code {
            code::GROUP_POLICY_SET => {
                Self::GroupPolicySet { group, policy: GroupPolicy::decode(reader)? }
            }
            code::OFFERED => Self::Offered { group, rows: get_numbered(reader)? },
            code::PARKED => Self::Parked { group, rows: get_numbered(reader)? },
            code::TAKEN_OFF => Self::TakenOff { group, rows: get_numbered(reader)? },
            code::UNPARKED => Self::Unparked { group, ids: get_ids(reader)? },
            code::CONDEMNED => {
                let (ids, reason) = (get_ids(reader)?, reader.bytes()?.into());
                Self::Condemned { group, ids, reason }
            }
            code::HANDED_OVER => {
                let (consumer, to) = (reader.u32()?, reader.u64()?);
                let to = to.checked_sub(1).map(u32::try_from).transpose().ok()?;
                Self::HandedOver { group, consumer, to }
            }
            code::DEAD_LETTERED => Self::DeadLettered { group, id: reader.id()? },
            code::REDRIVEN => {
                let (id, starts_node) = (reader.id()?, reader.u8()? == 1);
                let fields: Arc<[u8]> = reader.bytes()?.into();
                Fields::decode(&mut Reader::new(&fields), &fields)?;
                Self::Redriven { group, id, starts_node, fields }
            }
            code::DROPPED => Self::Dropped { group, count: reader.u64()? },
            code::RELEASED_UNREAD => {
                Self::ReleasedUnread { group, stays: super::flag(reader)?, count: reader.u64()? }
            }
            _ => return None,
        };
        Some(Effect::Policy { key, act })
    }
}

/// Ids, and a number for each.
fn get_numbered(reader: &mut Reader<'_>) -> Option<Vec<(StreamId, u64)>> {
    let ids = get_ids(reader)?;
    ids.into_iter().map(|id| Some((id, reader.u64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_written_is_read() {
        let (group, id, key) = (3, StreamId::new(7, 1), KeyNumber(9));
        let policy = GroupPolicy { max_deliver: 5, ..GroupPolicy::default() };
        let acts = [
            Act::StreamPolicySet(StreamPolicy { max_len: 10, ..StreamPolicy::default() }),
            Act::GroupPolicySet { group, policy },
            Act::Offered { group, rows: vec![(id, 0), (StreamId::new(8, 0), 99)] },
            Act::Condemned { group, ids: vec![id], reason: b"why"[..].into() },
            Act::HandedOver { group, consumer: 4, to: None },
            Act::HandedOver { group, consumer: 4, to: Some(0) },
            Act::DeadLettered { group, id },
            Act::Redriven { group, id, starts_node: true, fields: b"\x01\x01n\x01v"[..].into() },
            Act::Parked { group, rows: vec![(id, u64::MAX)] },
            Act::TakenOff { group, rows: vec![(id, 5), (StreamId::new(8, 0), 5)] },
            Act::Unparked { group, ids: vec![id] },
            Act::Dropped { group, count: 12 },
            Act::ReleasedUnread { group, stays: true, count: 12 },
        ];
        for act in acts {
            let effect = Effect::Policy { key, act };
            let mut bytes = Vec::new();
            effect.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(Effect::decode(&mut reader, &bytes), Some(effect));
            assert!(reader.is_empty());
        }
    }
}
