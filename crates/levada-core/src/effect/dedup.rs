//! What DEDUP-WINDOW and DEDUP-MAX do, as records of the log: codes 74 to 76.

use alloc::vec::Vec;

use super::Effect;
use crate::{
    dedup::{Kept, Secret},
    keyspace::KeyNumber,
    varint::{Reader, put_id, put_u64},
};

/// First byte of the record. On disk: never renumber, never reuse.
pub(super) mod code {
    pub(in crate::effect) const STARTED: u8 = 74;
    pub(in crate::effect) const KEPT: u8 = 75;
    pub(in crate::effect) const DROPPED: u8 = 76;
}

/// A change of what a stream keeps of its idempotent appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DedupChange {
    /// From now on hashes are kept under this key; behind the policy that says how many. What the
    /// limits of Redis tracked so far is kept on.
    Started(Secret),
    /// A hash is kept.
    Kept {
        /// Which, and of what entry.
        kept: Kept,
        /// So many of the oldest go before.
        going: u64,
    },
    /// The oldest go.
    Dropped {
        /// So many.
        count: u64,
    },
}

impl DedupChange {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Started(_) => code::STARTED,
            Self::Kept { .. } => code::KEPT,
            Self::Dropped { .. } => code::DROPPED,
        }
    }

    /// Appends what follows code and key.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Started(secret) => out.extend_from_slice(&secret.0),
            Self::Kept { kept, going } => {
                out.extend_from_slice(&kept.hash);
                put_id(out, kept.id);
                put_u64(out, kept.since_ms);
                put_u64(out, *going);
            }
            Self::Dropped { count } => put_u64(out, *count),
        }
    }

    /// The inverse.
    pub(super) fn decode<'a>(
        code: u8,
        key: KeyNumber,
        reader: &mut Reader<'a>,
    ) -> Option<Effect<'a>> {
        let change = match code {
            code::STARTED => Self::Started(Secret(reader.take(16)?.try_into().ok()?)),
            code::KEPT => {
                let hash = reader.take(16)?.try_into().ok()?;
                let kept = Kept { hash, id: reader.id()?, since_ms: reader.u64()? };
                Self::Kept { kept, going: reader.u64()? }
            }
            code::DROPPED => Self::Dropped { count: reader.u64()? },
            _ => return None,
        };
        Some(Effect::Dedup { key, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StreamId;

    #[test]
    fn what_is_written_is_read_and_nothing_cut() {
        let kept = Kept { hash: [7; 16], id: StreamId::new(300, 1), since_ms: 1_700_000_000_000 };
        let changes = [
            DedupChange::Started(Secret([9; 16])),
            DedupChange::Kept { kept, going: 3 },
            DedupChange::Dropped { count: 500 },
        ];
        for change in changes {
            let effect = Effect::Dedup { key: KeyNumber(300), change };
            let mut bytes = Vec::new();
            effect.encode(&mut bytes);
            assert_eq!(Effect::decode(&mut Reader::new(&bytes), &bytes), Some(effect));
            for len in 0..bytes.len() {
                let cut = &bytes[..len];
                assert_eq!(Effect::decode(&mut Reader::new(cut), cut), None, "cut at {len}");
            }
        }
    }
}
