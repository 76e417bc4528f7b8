//! The policies of a schedule, drawn once.

use crate::random::Random;
use levada_core::command::{GroupOption, StreamOption};
use levada_core::policy::{OnLimit, Retention};

/// What is set for the stream and its group; 0 is none.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) retention: bool,
    retain_acked_ms: u64,
    max_age_ms: u64,
    max_len: u64,
    trim: bool,
    pub(super) ack_wait_ms: u64,
    pub(super) max_deliver: u64,
    backoff_ms: Vec<u64>,
    pub(super) max_pending: u64,
    pub(super) consumer_ttl_ms: u64,
    /// Whether another group, which never reads, retains all.
    pub(super) held_back: bool,
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
            trim: random.chance(50),
            ack_wait_ms: *random.pick(&[0, 20, 20, 100]),
            max_deliver: *random.pick(&[0, 1, 2, 3]),
            backoff_ms: random.pick(&[vec![], vec![10], vec![5, 40]]).clone(),
            max_pending: *random.pick(&[0, 0, 2, 6]),
            consumer_ttl_ms: *random.pick(&[0, 0, 150]),
            held_back: random.chance(20),
        }
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
        ]
    }

    /// The shortest rest.
    pub(super) fn rest_ms(&self) -> u64 {
        self.backoff_ms.iter().copied().min().unwrap_or(0)
    }

    /// MAX-LEN.
    pub(super) fn max_len(&self) -> Option<u64> {
        (self.max_len > 0).then_some(self.max_len)
    }

    /// Whether a limit may remove what a group needs.
    pub(super) fn trims(&self) -> bool {
        self.trim && self.max_len > 0
    }

    /// Whether anything that was acknowledged may go by itself.
    pub(super) fn removes(&self) -> bool {
        self.retention || self.max_age_ms > 0 || self.max_len > 0
    }

    /// Whether nothing is left once all is acknowledged.
    pub(super) fn empties(&self) -> bool {
        self.retention && !self.held_back
    }
}
