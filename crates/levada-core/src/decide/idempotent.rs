//! IDMP of XADD, XIDMPRECORD: what is tracked, so that a repetition adds nothing.

use alloc::{borrow::Cow, vec::Vec};

use super::{Context, Decided, Decision, places};
use crate::{
    command::{Idempotent, Xadd, Xidmprecord},
    dedup::{Kept, Secret},
    effect::{DedupChange, Effect},
    error::Error,
    id::StreamId,
    idempotence::iid_of,
    keyspace::KeyNumber,
    reply::Reply,
    stream::Stream,
};

/// How long an iid counts at least that was recorded with an id from long ago, in milliseconds:
/// until Redis' next sweep, which comes every second.
const RECORDED_MS_MIN: u64 = 1000;

/// An iid that an append is to track.
pub(super) struct Asked<'a> {
    pid: &'a [u8],
    iid: Cow<'a, [u8]>,
}

impl<'a> Asked<'a> {
    /// What XADD asks for, with the iid that IDMPAUTO makes.
    pub(super) fn of(xadd: &Xadd<'a>) -> Option<Self> {
        let Idempotent { pid, iid } = xadd.idempotent?;
        let made = || Cow::Owned(iid_of(&xadd.fields).to_vec());
        Some(Self { pid, iid: iid.map_or_else(made, Cow::Borrowed) })
    }

    /// The answer to a duplicate: the id of the first entry, and one more in the count.
    pub(super) fn duplicate(
        &self,
        context: Context<'_>,
        key: KeyNumber,
        stream: &Stream,
    ) -> Option<Decision<'a>> {
        let id = self.find(context, stream)?;
        let (added, duplicates) = (stream.idempotence.added, stream.idempotence.duplicates + 1);
        let effects = Vec::from([Effect::IidsCounted { key, added, duplicates }]);
        Some(Decision { reply: Reply::Id(id), effects })
    }

    fn find(&self, context: Context<'_>, stream: &Stream) -> Option<StreamId> {
        let hasher = context.machine.keys.hasher();
        stream.idempotence.find(hasher, self.pid, &self.iid, context.now_ms)
    }

    /// The effect that tracks it as an entry's. `secret` is the key of the stream's hashes, where
    /// it keeps those.
    pub(super) fn tracked(
        self,
        context: Context<'_>,
        key: KeyNumber,
        stream: &Stream,
        secret: Option<Secret>,
        id: StreamId,
        since_ms: u64,
    ) -> Effect<'a> {
        let Self { pid, iid } = self;
        let idempotence = &stream.idempotence;
        if let Some(secret) = secret {
            let kept = Kept { hash: secret.digest(pid, &iid), id, since_ms };
            let going = idempotence.dedup().map_or(0, |dedup| dedup.going(context.now_ms));
            return Effect::Dedup { key, change: DedupChange::Kept { kept, going } };
        }
        let going = idempotence.going(pid, context.now_ms);
        Effect::IidTracked { key, pid, iid, id, since_ms, going }
    }
}

/// XIDMPRECORD key pid iid id
pub(super) fn xidmprecord<'a>(context: Context<'_>, asked: &Xidmprecord<'a>) -> Decided<'a> {
    let Xidmprecord { pid, id, .. } = *asked;
    let (key, stream) = context.existing(asked.key)?;
    if places::places(context, key, stream, &[id])? == [None] {
        return Err(Error::NoSuchEntry.into());
    }
    let iid = Asked { pid, iid: Cow::Borrowed(asked.iid) };
    match iid.find(context, stream) {
        Some(found) if found == id => Ok(Decision::answer(Reply::Ok)),
        Some(_) => Err(Error::IidTaken.into()),
        None => {
            // As in Redis the age is that of the entry.
            let window_ms = stream.idempotence.window_ms().unwrap_or(u64::MAX);
            let earliest_ms = (context.now_ms + RECORDED_MS_MIN).saturating_sub(window_ms);
            let since_ms = id.ms.max(earliest_ms).min(context.now_ms);
            let secret = stream.idempotence.secret();
            let effects = Vec::from([iid.tracked(context, key, stream, secret, id, since_ms)]);
            Ok(Decision { reply: Reply::Ok, effects })
        }
    }
}
