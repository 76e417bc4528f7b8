//! What the server does with a stream or a group on its own: retention, limits, leases.
//!
//! With the defaults everything is as in Redis. A policy changes by an effect that carries all of
//! it; what it leads to later (a trim, an entry that is offered again) are effects of their own, so
//! that a replay needs no clock and no policy. A number of 0 means "none" for every option.
//!
//! On disk a policy is the options that differ from the default, so that a new option changes
//! nothing that is there:
//!
//! ```text
//! policy  := varint n, option * n
//! option  := byte tag, value
//! value   := varint, but: 18 a varint count and varints, 19 bytes, 21 bytes and a varint
//! ```

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::Deref;

use crate::{
    error::Error,
    schedule::is_tagged,
    varint::{Reader, put_bytes, put_u64},
};

/// Tags on disk: never renumber, never reuse.
mod tag {
    pub(super) const RETENTION: u8 = 1;
    pub(super) const RETAIN_ACKED: u8 = 2;
    pub(super) const MAX_AGE: u8 = 3;
    pub(super) const MAX_LEN: u8 = 4;
    pub(super) const MAX_BYTES: u8 = 5;
    pub(super) const ON_LIMIT: u8 = 6;
    pub(super) const DURABILITY: u8 = 7;
    pub(super) const DEDUP_WINDOW: u8 = 8;
    pub(super) const DEDUP_MAX: u8 = 9;
    pub(super) const ACK_WAIT: u8 = 16;
    pub(super) const MAX_DELIVER: u8 = 17;
    pub(super) const BACKOFF: u8 = 18;
    pub(super) const DLQ: u8 = 19;
    pub(super) const MAX_PENDING: u8 = 20;
    pub(super) const ORDER_BY: u8 = 21;
    pub(super) const CONSUMER_TTL: u8 = 22;
    pub(super) const RETAIN_NO: u8 = 23;
}

/// Whether entries that every group has acknowledged go by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Retention {
    /// As in Redis: they stay until a trim.
    #[default]
    Keep,
    /// The head is removed up to what every group has acknowledged, and nothing else is, unless a
    /// client says KEEPREF or DELREF.
    Acked,
}

/// What an append does at a limit where only entries could go that some group still needs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnLimit {
    /// It is refused.
    #[default]
    Reject,
    /// The oldest entries go all the same, and are counted.
    Trim,
}

/// What an answer about a stream waits for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Durability {
    /// Everything that it shows is durable.
    #[default]
    Always,
    /// It is written, so that a kill loses nothing, and becomes durable some time later.
    Interval,
}

/// The policy of a stream (XCFGSET).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StreamPolicy {
    /// RETENTION.
    pub retention: Retention,
    /// RETAIN-ACKED: milliseconds that acknowledged entries stay for replay.
    pub retain_acked_ms: u64,
    /// MAX-AGE in milliseconds.
    pub max_age_ms: u64,
    /// MAX-LEN in entries.
    pub max_len: u64,
    /// MAX-BYTES, encoded.
    pub max_bytes: u64,
    /// ON-LIMIT.
    pub on_limit: OnLimit,
    /// DURABILITY.
    pub durability: Durability,
    /// DEDUP-WINDOW: milliseconds that an idempotent id counts.
    pub dedup_window_ms: u64,
    /// DEDUP-MAX: idempotent ids of the stream.
    pub dedup_max: u64,
}

/// The policy of a stream where it is kept: one that says nothing takes a pointer.
#[derive(Clone, Default, Debug)]
pub struct HeldPolicy(Option<Box<StreamPolicy>>);

impl Deref for HeldPolicy {
    type Target = StreamPolicy;

    fn deref(&self) -> &StreamPolicy {
        const NONE: &StreamPolicy = &StreamPolicy {
            retention: Retention::Keep,
            retain_acked_ms: 0,
            max_age_ms: 0,
            max_len: 0,
            max_bytes: 0,
            on_limit: OnLimit::Reject,
            durability: Durability::Always,
            dedup_window_ms: 0,
            dedup_max: 0,
        };
        self.0.as_deref().unwrap_or(NONE)
    }
}

impl From<StreamPolicy> for HeldPolicy {
    fn from(policy: StreamPolicy) -> Self {
        Self((policy != StreamPolicy::default()).then(|| Box::new(policy)))
    }
}

/// The policy of a group (XGROUP CFGSET).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct GroupPolicy {
    /// ACK-WAIT: milliseconds after which a pending entry is offered again.
    pub ack_wait_ms: u64,
    /// MAX-DELIVER: deliveries after which it is a dead letter.
    pub max_deliver: u64,
    /// BACKOFF: milliseconds before each further delivery; the last one for all that follow.
    pub backoff_ms: Arc<[u64]>,
    /// DLQ: where dead letters go; empty for the default.
    pub dlq: Arc<[u8]>,
    /// MAX-PENDING: entries pending at which nothing new is delivered.
    pub max_pending: u64,
    /// ORDER-BY: the field by whose value entries are delivered in order; empty for none.
    pub order_by: Arc<[u8]>,
    /// What the hash of these values begins with.
    pub order_seed: u64,
    /// CONSUMER-TTL: milliseconds after which an idle consumer goes.
    pub consumer_ttl_ms: u64,
    /// RETAIN NO: this group holds no entry back.
    pub retain_no: bool,
}

/// Where the dead letters of a group go that names no other stream.
pub fn dead_letters_default(key: &[u8], group: &[u8]) -> Vec<u8> {
    // In a cluster the letters must stand in the slot of their stream.
    match is_tagged(key) {
        true => [key, b":dlq:", group].concat(),
        false => [b"{", key, b"}:dlq:", group].concat(),
    }
}

/// Longest time that an option takes, in milliseconds: 100 years of 365.25 days.
pub const TIME_MS_MAX: u64 = 3_155_760_000_000;

/// The first of these times that is longer than it may be.
fn check_times(times: &[(&'static str, u64)]) -> Result<(), Error> {
    match times.iter().find(|(_, ms)| *ms > TIME_MS_MAX) {
        Some((option, _)) => Err(Error::TimeTooLong(option)),
        None => Ok(()),
    }
}

impl StreamPolicy {
    /// Whether its options agree with each other.
    pub fn check(&self) -> Result<(), Error> {
        check_times(&[
            ("RETAIN-ACKED", self.retain_acked_ms),
            ("MAX-AGE", self.max_age_ms),
            ("DEDUP-WINDOW", self.dedup_window_ms),
        ])?;
        match self.retention {
            Retention::Keep if self.retain_acked_ms > 0 => Err(Error::RetainsWhatIsKept),
            _ => Ok(()),
        }
    }

    /// Whether the server ever removes entries of the stream by itself.
    pub fn removes(&self) -> bool {
        self.retention == Retention::Acked || self.max_age_ms > 0 || self.has_limit()
    }

    /// Whether an append may meet a limit.
    pub fn has_limit(&self) -> bool {
        self.max_len > 0 || self.max_bytes > 0
    }

    /// Appends what differs from the default.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let options = [
            (tag::RETENTION, u64::from(self.retention == Retention::Acked)),
            (tag::RETAIN_ACKED, self.retain_acked_ms),
            (tag::MAX_AGE, self.max_age_ms),
            (tag::MAX_LEN, self.max_len),
            (tag::MAX_BYTES, self.max_bytes),
            (tag::ON_LIMIT, u64::from(self.on_limit == OnLimit::Trim)),
            (tag::DURABILITY, u64::from(self.durability == Durability::Interval)),
            (tag::DEDUP_WINDOW, self.dedup_window_ms),
            (tag::DEDUP_MAX, self.dedup_max),
        ];
        let set = options.iter().filter(|(_, value)| *value > 0);
        put_u64(out, set.clone().count() as u64);
        for (tag, value) in set {
            out.push(*tag);
            put_u64(out, *value);
        }
    }

    /// The inverse; `None` for what no version has written.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut policy = Self::default();
        for _ in 0..reader.count()? {
            let (tag, value) = (reader.u8()?, reader.u64()?);
            match (tag, value) {
                (tag::RETENTION, 1) => policy.retention = Retention::Acked,
                (tag::RETAIN_ACKED, ms) => policy.retain_acked_ms = ms,
                (tag::MAX_AGE, ms) => policy.max_age_ms = ms,
                (tag::MAX_LEN, entries) => policy.max_len = entries,
                (tag::MAX_BYTES, bytes) => policy.max_bytes = bytes,
                (tag::ON_LIMIT, 1) => policy.on_limit = OnLimit::Trim,
                (tag::DURABILITY, 1) => policy.durability = Durability::Interval,
                (tag::DEDUP_WINDOW, ms) => policy.dedup_window_ms = ms,
                (tag::DEDUP_MAX, ids) => policy.dedup_max = ids,
                _ => return None,
            }
        }
        Some(policy)
    }
}

impl GroupPolicy {
    /// Whether its options agree with each other.
    pub fn check(&self) -> Result<(), Error> {
        check_times(&[
            ("ACK-WAIT", self.ack_wait_ms),
            ("BACKOFF", self.backoff_ms.iter().copied().max().unwrap_or(0)),
            ("CONSUMER-TTL", self.consumer_ttl_ms),
        ])
    }

    /// Whether the server ends leases and deliveries of this group: XNACK FATAL is then a dead
    /// letter, and DELCONSUMER hands back.
    pub fn has_lease(&self) -> bool {
        self.ack_wait_ms > 0 || self.max_deliver > 0 || !self.dlq.is_empty()
    }

    /// Whether it goes by a key.
    pub fn is_ordered(&self) -> bool {
        !self.order_by.is_empty()
    }

    /// Whether what is new may have to wait for what is pending.
    pub fn holds_up(&self) -> bool {
        self.is_ordered() || self.max_pending > 0
    }

    /// Whether a consumer that goes hands back what it held.
    pub fn hands_back(&self) -> bool {
        self.has_lease() || self.is_ordered()
    }

    /// How long an entry rests that was delivered so often.
    pub fn backoff(&self, deliveries: u8) -> u64 {
        let last = self.backoff_ms.len().saturating_sub(1);
        let at = usize::from(deliveries.saturating_sub(1)).min(last);
        self.backoff_ms.get(at).copied().unwrap_or(0)
    }

    /// Whether so many deliveries are all that an entry gets.
    pub fn is_last(&self, deliveries: u8) -> bool {
        self.max_deliver > 0 && u64::from(deliveries) >= self.max_deliver
    }

    /// Appends what differs from the default.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let numbers = [
            (tag::ACK_WAIT, self.ack_wait_ms),
            (tag::MAX_DELIVER, self.max_deliver),
            (tag::MAX_PENDING, self.max_pending),
            (tag::CONSUMER_TTL, self.consumer_ttl_ms),
            (tag::RETAIN_NO, u64::from(self.retain_no)),
        ];
        let names = [(tag::DLQ, &self.dlq)];
        let numbers = numbers.iter().filter(|(_, value)| *value > 0);
        let names = names.iter().filter(|(_, name)| !name.is_empty());
        let backoff = !self.backoff_ms.is_empty();
        let set = numbers.clone().count() + names.clone().count();
        let set = set + usize::from(backoff) + usize::from(self.is_ordered());
        put_u64(out, set as u64);
        for (tag, value) in numbers {
            out.push(*tag);
            put_u64(out, *value);
        }
        for (tag, name) in names {
            out.push(*tag);
            put_bytes(out, name);
        }
        if self.is_ordered() {
            out.push(tag::ORDER_BY);
            put_bytes(out, &self.order_by);
            put_u64(out, self.order_seed);
        }
        if backoff {
            out.push(tag::BACKOFF);
            put_u64(out, self.backoff_ms.len() as u64);
            self.backoff_ms.iter().for_each(|ms| put_u64(out, *ms));
        }
    }

    /// The inverse; `None` for what no version has written.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut policy = Self::default();
        for _ in 0..reader.count()? {
            match reader.u8()? {
                tag::ACK_WAIT => policy.ack_wait_ms = reader.u64()?,
                tag::MAX_DELIVER => policy.max_deliver = reader.u64()?,
                tag::MAX_PENDING => policy.max_pending = reader.u64()?,
                tag::CONSUMER_TTL => policy.consumer_ttl_ms = reader.u64()?,
                tag::RETAIN_NO => policy.retain_no = reader.u64()? == 1,
                tag::ORDER_BY => {
                    (policy.order_by, policy.order_seed) = (reader.bytes()?.into(), reader.u64()?);
                }
                tag::DLQ => policy.dlq = reader.bytes()?.into(),
                tag::BACKOFF => {
                    let delays = (0..reader.count()?).map(|_| reader.u64());
                    policy.backoff_ms = delays.collect::<Option<Vec<_>>>()?.into();
                }
                _ => return None,
            }
        }
        Some(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stream = StreamPolicy {
            retention: Retention::Acked,
            max_age_ms: 5,
            on_limit: OnLimit::Trim,
            durability: Durability::Interval,
            dedup_max: 7,
            ..StreamPolicy::default()
        };
        let group = GroupPolicy {
            ack_wait_ms: 30_000,
            backoff_ms: [1, 2, 300].into(),
            dlq: b"dead"[..].into(),
            order_by: b"who"[..].into(),
            order_seed: 77,
            retain_no: true,
            ..GroupPolicy::default()
        };
        let mut bytes = Vec::new();
        stream.encode(&mut bytes);
        group.encode(&mut bytes);
        StreamPolicy::default().encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(StreamPolicy::decode(&mut reader), Some(stream));
        assert_eq!(GroupPolicy::decode(&mut reader), Some(group));
        assert_eq!(StreamPolicy::decode(&mut reader), Some(StreamPolicy::default()));
    }

    #[test]
    fn each_option_by_which_entries_go_is_one() {
        let none = StreamPolicy::default();
        assert!(!none.removes());
        let acked = StreamPolicy { retention: Retention::Acked, ..none };
        let aged = StreamPolicy { max_age_ms: 1, ..none };
        let (long, large) =
            (StreamPolicy { max_len: 1, ..none }, StreamPolicy { max_bytes: 1, ..none });
        assert!([acked, aged, long, large].iter().all(StreamPolicy::removes));
    }

    #[test]
    fn the_last_delay_holds_for_all_that_follow() {
        let policy = GroupPolicy { backoff_ms: [10, 20].into(), ..GroupPolicy::default() };
        let delays = [1, 2, 3, 255].map(|deliveries| policy.backoff(deliveries));
        assert_eq!(delays, [10, 20, 20, 20]);
        assert_eq!(GroupPolicy::default().backoff(3), 0);
    }
}
