//! The policies of a schedule, drawn once, and which requests belong to it.

use super::client::OTHER;
use crate::history::{Ledger, Rules};
use crate::random::Random;
use levada_core::command::{GroupOption, Key, StreamOption};
use levada_core::policy::{OnLimit, Retention};

/// The streams of dead letters: that of no name, and a chosen one.
const LETTERS: Key<'static> = Key { database: 0, name: b"{a}:dlq:g" };
const NAMED_LETTERS: Key<'static> = Key { database: 0, name: b"d" };
/// The field by which a group is in order.
const ORDER_BY: &[u8] = b"k";
/// More than the longest entry.
const BYTES: u64 = 22_000;

/// What is set for the stream and its group; 0 is none.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Policy {
    pub(super) retention: bool,
    pub(super) retain_acked_ms: u64,
    pub(super) max_age_ms: u64,
    pub(super) max_len: u64,
    pub(super) max_bytes: u64,
    pub(super) trim: bool,
    pub(super) ack_wait_ms: u64,
    pub(super) max_deliver: u64,
    pub(super) backoff_ms: Vec<u64>,
    pub(super) max_pending: u64,
    pub(super) consumer_ttl_ms: u64,
    /// DLQ.
    pub(super) named_letters: bool,
    /// ORDER-BY.
    pub(super) ordered: bool,
    pub(super) other: Other,
    /// XSCHED.
    pub(super) schedules: bool,
    /// XDLQ REDRIVE and PURGE.
    pub(super) redrives: bool,
    /// Readers that find nothing wait.
    pub(super) waits: bool,
}

/// Another group of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Other {
    #[default]
    None,
    /// It never reads, and all is retained for it.
    HoldsBack,
    /// It never reads, and has RETAIN NO.
    RetainsNothing,
    /// It reads, with NOACK.
    Reads,
}

impl Policy {
    pub(super) fn draw(random: &mut Random) -> Self {
        let retention = random.chance(60);
        let retain_acked_ms = *random.pick(&[0, 0, 50]);
        Self {
            retention,
            // It belongs to RETENTION ACKED.
            retain_acked_ms: if retention { retain_acked_ms } else { 0 },
            max_age_ms: *random.pick(&[0, 0, 0, 100]),
            max_len: *random.pick(&[0, 0, 0, 3, 12]),
            max_bytes: *random.pick(&[0, 0, 0, 0, 0, BYTES]),
            trim: random.chance(50),
            ack_wait_ms: *random.pick(&[0, 20, 20, 100]),
            max_deliver: *random.pick(&[0, 1, 2, 3]),
            backoff_ms: random.pick(&[vec![], vec![10], vec![5, 40]]).clone(),
            max_pending: *random.pick(&[0, 0, 2, 6]),
            consumer_ttl_ms: *random.pick(&[0, 0, 150]),
            named_letters: random.chance(25),
            ordered: random.chance(25),
            other: match random.below(10) {
                0 => Other::HoldsBack,
                1 => Other::RetainsNothing,
                2..4 => Other::Reads,
                _ => Other::None,
            },
            schedules: random.chance(35),
            redrives: random.chance(50),
            waits: random.chance(40),
        }
    }

    /// Leases of 100 ms, and no limits.
    pub(super) fn leased() -> Self {
        Self { ack_wait_ms: 100, max_deliver: 2, ..Self::default() }
    }

    /// What the history has to know of it.
    pub(super) fn ledger(&self) -> Ledger {
        let (retained, max_len) = (self.removes(), self.trims_to());
        let redriven_go = self.may_remove();
        Ledger::new(&[("a", Rules { leases: true, retained, redriven_go, max_len })])
    }

    /// XCFGSET.
    pub(super) fn of_stream(&self) -> Vec<StreamOption> {
        let retention = if self.retention { Retention::Acked } else { Retention::Keep };
        let on_limit = if self.trim { OnLimit::Trim } else { OnLimit::Reject };
        vec![
            StreamOption::Retention(retention),
            StreamOption::RetainAcked(self.retain_acked_ms),
            StreamOption::MaxAge(self.max_age_ms),
            StreamOption::MaxLen(self.max_len),
            StreamOption::MaxBytes(self.max_bytes),
            StreamOption::OnLimit(on_limit),
        ]
    }

    /// XGROUP CFGSET.
    pub(super) fn of_group(&self) -> Vec<GroupOption<'static>> {
        vec![
            GroupOption::AckWait(self.ack_wait_ms),
            GroupOption::MaxDeliver(self.max_deliver),
            GroupOption::Backoff(self.backoff_ms.clone()),
            GroupOption::MaxPending(self.max_pending),
            GroupOption::ConsumerTtl(self.consumer_ttl_ms),
            GroupOption::Dlq(self.dlq()),
            GroupOption::OrderBy(if self.ordered { ORDER_BY } else { b"" }),
        ]
    }

    /// The same of the other group.
    pub(super) fn of_other(&self) -> Vec<GroupOption<'static>> {
        let retain = self.other != Other::RetainsNothing;
        vec![GroupOption::Dlq(self.dlq()), GroupOption::Retain(retain)]
    }

    fn dlq(&self) -> &'static [u8] {
        if self.named_letters { NAMED_LETTERS.name } else { b"" }
    }

    /// Where dead letters go.
    pub(super) fn letters(&self) -> Key<'static> {
        if self.named_letters { NAMED_LETTERS } else { LETTERS }
    }

    /// Whether there is another group.
    pub(super) fn has_other(&self) -> bool {
        self.other != Other::None
    }

    /// Its name, if there is one.
    pub(super) fn other_name(&self) -> Option<&'static [u8]> {
        self.has_other().then_some(OTHER)
    }

    /// The shortest rest.
    pub(super) fn rest_ms(&self) -> u64 {
        self.backoff_ms.iter().copied().min().unwrap_or(0)
    }

    /// MAX-LEN or MAX-BYTES.
    pub(super) fn has_limit(&self) -> bool {
        self.max_len > 0 || self.max_bytes > 0
    }

    /// Whether a limit may remove what a group needs.
    pub(super) fn trims(&self) -> bool {
        self.trim && self.has_limit()
    }

    /// Whether a limit may refuse an entry.
    pub(super) fn rejects(&self) -> bool {
        !self.trim && self.has_limit()
    }

    /// At which length the oldest entries may go at the earliest, whoever needs them.
    pub(super) fn trims_to(&self) -> Option<u64> {
        let of_bytes = (self.max_bytes > 0).then_some(0);
        let of_len = (self.max_len > 0).then_some(self.max_len);
        of_bytes.or(of_len).filter(|_| self.trim)
    }

    /// Whether anything that was acknowledged may go by itself.
    pub(super) fn removes(&self) -> bool {
        self.may_remove() && self.other != Other::HoldsBack
    }

    /// The same of what no other group needs.
    fn may_remove(&self) -> bool {
        self.retention || self.max_age_ms > 0 || self.has_limit()
    }

    /// Whether nothing is left once all is acknowledged.
    pub(super) fn empties(&self) -> bool {
        self.retention && self.other != Other::HoldsBack
    }
}
