//! Commands about policies.

use alloc::vec::Vec;

use super::Key;
use crate::{
    id::StreamId,
    policy::{Durability, GroupPolicy, OnLimit, Retention, StreamPolicy},
};

/// An option of XCFGSET, Redis' own apart. A number of 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamOption {
    /// RETENTION KEEP|ACKED
    Retention(Retention),
    /// RETAIN-ACKED ms
    RetainAcked(u64),
    /// MAX-AGE ms
    MaxAge(u64),
    /// MAX-LEN n
    MaxLen(u64),
    /// MAX-BYTES n
    MaxBytes(u64),
    /// ON-LIMIT REJECT|TRIM
    OnLimit(OnLimit),
    /// DURABILITY ALWAYS|INTERVAL
    Durability(Durability),
    /// DEDUP-WINDOW ms
    DedupWindow(u64),
    /// DEDUP-MAX n
    DedupMax(u64),
}

impl StreamOption {
    /// Sets it in a policy.
    pub fn set(self, policy: &mut StreamPolicy) {
        match self {
            Self::Retention(retention) => policy.retention = retention,
            Self::RetainAcked(ms) => policy.retain_acked_ms = ms,
            Self::MaxAge(ms) => policy.max_age_ms = ms,
            Self::MaxLen(entries) => policy.max_len = entries,
            Self::MaxBytes(bytes) => policy.max_bytes = bytes,
            Self::OnLimit(on_limit) => policy.on_limit = on_limit,
            Self::Durability(durability) => policy.durability = durability,
            Self::DedupWindow(ms) => policy.dedup_window_ms = ms,
            Self::DedupMax(ids) => policy.dedup_max = ids,
        }
    }
}

/// An option of XGROUP CFGSET. A number of 0 is none, and so is an empty name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupOption<'a> {
    /// ACK-WAIT ms
    AckWait(u64),
    /// MAX-DELIVER n
    MaxDeliver(u64),
    /// BACKOFF n ms ...
    Backoff(Vec<u64>),
    /// DLQ key
    Dlq(&'a [u8]),
    /// MAX-PENDING n
    MaxPending(u64),
    /// ORDER-BY field
    OrderBy(&'a [u8]),
    /// CONSUMER-TTL ms
    ConsumerTtl(u64),
    /// RETAIN YES|NO
    Retain(bool),
}

impl GroupOption<'_> {
    /// Sets it in a policy.
    pub fn set(&self, policy: &mut GroupPolicy) {
        match self {
            Self::AckWait(ms) => policy.ack_wait_ms = *ms,
            Self::MaxDeliver(deliveries) => policy.max_deliver = *deliveries,
            Self::Backoff(delays_ms) => policy.backoff_ms = delays_ms.as_slice().into(),
            Self::Dlq(name) => policy.dlq = (*name).into(),
            Self::MaxPending(entries) => policy.max_pending = *entries,
            Self::OrderBy(field) => policy.order_by = (*field).into(),
            Self::ConsumerTtl(ms) => policy.consumer_ttl_ms = *ms,
            Self::Retain(retain) => policy.retain_no = !retain,
        }
    }
}

/// XGROUP CFGSET.
#[derive(Clone, Debug)]
pub struct XgroupCfgset<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// In the order in which they were given; the last of a kind counts.
    pub options: Vec<GroupOption<'a>>,
}

/// XGROUP PARKED.
#[derive(Clone, Copy, Debug)]
pub struct XgroupParked<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// Only entries above this id; [`StreamId::MIN`] for all.
    pub after: StreamId,
    /// The first so many.
    pub count: u64,
}

/// XGROUP HANDOVER.
#[derive(Clone, Copy, Debug)]
pub struct XgroupHandover<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// Who goes.
    pub consumer: &'a [u8],
    /// TO: who gets what was pending; nobody, and then it is offered to all.
    pub to: Option<&'a [u8]>,
}
