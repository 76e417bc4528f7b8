//! Idempotent producers: what was appended of late, and by whom.

use super::reply::{Answer, ErrorKind, Fields, Id, Reply};
use super::{Model, NewId, Stream, Trim, Value};
use std::collections::BTreeMap;

/// How long and how many iids are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnceLimits {
    /// IDMP-DURATION in seconds.
    pub duration_s: u64,
    /// IDMP-MAXSIZE.
    pub iids_max: usize,
}

/// What a stream knows of idempotent producers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Once {
    /// How long and how many.
    pub limits: OnceLimits,
    /// Iids ever tracked.
    pub added: u64,
    /// Duplicates ever found.
    pub duplicates: u64,
    /// Iids that count, by producer, oldest first; a producer without any is not there.
    pub tracked: BTreeMap<Vec<u8>, Vec<TrackedIid>>,
}

/// An iid that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedIid {
    /// The iid.
    pub iid: Iid,
    /// The entry that it became.
    pub id: Id,
    /// From when it counts, in ms.
    pub since_ms: u64,
}

/// What a producer calls an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Iid {
    /// IDMP.
    Given(Vec<u8>),
    /// IDMPAUTO: its fields, whatever their order.
    Auto(Fields),
}

impl Default for OnceLimits {
    fn default() -> Self {
        Self { duration_s: 100, iids_max: 100 }
    }
}

impl Once {
    fn forget(&mut self, now_ms: u64) {
        let over =
            |tracked: &TrackedIid| tracked.since_ms + self.limits.duration_s * 1000 <= now_ms;
        for tracked in self.tracked.values_mut() {
            tracked.retain(|tracked| !over(tracked));
        }
        self.tracked.retain(|_, tracked| !tracked.is_empty());
    }

    fn find(&self, pid: &[u8], iid: &Iid) -> Option<Id> {
        let tracked = self.tracked.get(pid)?.iter().find(|tracked| tracked.iid == *iid)?;
        Some(tracked.id)
    }

    /// Nothing counts for longer than what came later.
    fn track(&mut self, pid: &[u8], iid: Iid, id: Id, since_ms: u64) {
        let tracked = self.tracked.entry(pid.to_vec()).or_default();
        if tracked.len() == self.limits.iids_max {
            tracked.remove(0);
        }
        let last_ms = tracked.last().map_or(0, |last| last.since_ms);
        tracked.push(TrackedIid { iid, id, since_ms: since_ms.max(last_ms) });
        self.added += 1;
    }
}

impl Iid {
    /// IDMPAUTO.
    pub fn of(fields: &Fields) -> Self {
        let mut fields = fields.to_vec();
        fields.sort();
        Self::Auto(fields.into())
    }
}

impl Model {
    /// Drops iids that are over.
    pub fn forget_over(&mut self, now_ms: u64) {
        for key in self.keys.values_mut() {
            if let Value::Stream(stream) = &mut key.value {
                stream.once.forget(now_ms);
            }
        }
    }

    /// XADD with `*` and IDMP or IDMPAUTO.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the command")]
    pub fn xadd_once(
        &mut self,
        now_ms: u64,
        key: &[u8],
        create: bool,
        trim: Option<Trim>,
        fields: Fields,
        pid: &[u8],
        iid: Iid,
    ) -> Answer {
        self.forget_over(now_ms);
        if let Some(stream) = self.stream(now_ms, key)?
            && let Some(id) = stream.once.find(pid, &iid)
        {
            stream.once.duplicates += 1;
            return Ok(Reply::Id(id));
        }
        let answer = self.xadd(now_ms, key, create, trim, NewId::Auto, fields)?;
        if let Reply::Id(id) = answer {
            self.stream_or_new(key).once.track(pid, iid, id, now_ms);
        }
        Ok(answer)
    }

    /// XCFGSET: another value forgets everything.
    pub fn xcfgset(
        &mut self,
        now_ms: u64,
        key: &[u8],
        duration_s: Option<u64>,
        iids_max: Option<usize>,
    ) -> Answer {
        let Stream { once, .. } = self.stream(now_ms, key)?.ok_or(ErrorKind::NoSuchKey)?;
        let limits = OnceLimits {
            duration_s: duration_s.unwrap_or(once.limits.duration_s),
            iids_max: iids_max.unwrap_or(once.limits.iids_max),
        };
        if limits != once.limits {
            once.tracked.clear();
        }
        once.limits = limits;
        Ok(Reply::Ok)
    }

    /// XIDMPRECORD: the age is that of the entry, but it counts for a second at least.
    pub fn xidmprecord(
        &mut self,
        now_ms: u64,
        key: &[u8],
        pid: &[u8],
        iid: &[u8],
        id: Id,
    ) -> Answer {
        self.forget_over(now_ms);
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::NoSuchKey)?;
        if !stream.entries.contains_key(&id) {
            return Err(ErrorKind::NoSuchEntry);
        }
        let iid = Iid::Given(iid.to_vec());
        match stream.once.find(pid, &iid) {
            Some(found) if found == id => {}
            Some(_) => return Err(ErrorKind::IidTaken),
            None => {
                let duration_ms = stream.once.limits.duration_s * 1000;
                let over_ms = (id.0.min(now_ms) + duration_ms).max(now_ms + 1000);
                let since_ms = over_ms.saturating_sub(duration_ms);
                stream.once.track(pid, iid, id, since_ms);
            }
        }
        Ok(Reply::Ok)
    }
}
