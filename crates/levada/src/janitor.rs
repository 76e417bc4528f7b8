//! Keeps streams from growing for ever: trims below what every group has acknowledged, never above.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, GroupFacts, Seat};
use crate::broker::Broker;
use crate::error::Result;
use crate::message::MessageId;

/// Looks after streams. On a server that trims by itself below what is acknowledged (RETENTION
/// ACKED) it only reports.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Paid { cents: u64 }
/// # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
/// use levada::{Event, Janitor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// broker.producer().send(&Paid { cents: 5 }).await?;
/// let report = Janitor::new(&broker).sweep(Paid::STREAM).await?;
/// assert_eq!((report.trimmed, report.len), (0, 1));
/// assert_eq!(report.alerts.len(), 1, "nobody reads it");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Janitor {
    backend: Arc<dyn Backend>,
    limits: Limits,
    /// Groups that have to be there before anything is removed.
    expected: Vec<String>,
    dry_run: bool,
    consumers_after: Option<Duration>,
}

/// What is still no reason for an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Limits {
    len: u64,
    pending: u64,
    age: Option<Duration>,
}

/// What a sweep of a stream found and did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The stream.
    pub stream: String,
    /// Entries that are there now.
    pub len: u64,
    /// Entries that were removed; in a dry run none.
    pub trimmed: u64,
    /// Consumers that were removed, as `GROUP/CONSUMER`; in a dry run those that are gone.
    pub removed: Vec<String>,
    /// Time since the oldest entry that some group needs was appended, if there is one: its id
    /// against the clock of the server that gave it.
    pub age: Option<Duration>,
    /// The lowest id that some group needs; `None` where there is no group, the lowest of all while
    /// one that is expected has not joined.
    pub watermark: Option<MessageId>,
    /// Its groups.
    pub groups: Vec<GroupFacts>,
    /// What somebody should look at, in words.
    pub alerts: Vec<String>,
}

impl Janitor {
    /// A janitor that says nothing of lengths below a million.
    pub fn new(broker: &Broker) -> Self {
        let limits = Limits { len: 1_000_000, pending: 1_000_000, age: None };
        let backend = Arc::clone(broker.backend());
        Self { backend, limits, expected: Vec::new(), dry_run: false, consumers_after: None }
    }

    /// Raises the alarm when more entries are left behind a sweep, or pending in a group.
    #[must_use]
    pub fn alert_above(mut self, entries: u64) -> Self {
        (self.limits.len, self.limits.pending) = (entries, entries);
        self
    }

    /// Raises the alarm when more are pending in a group.
    #[must_use]
    pub fn alert_pending(mut self, entries: u64) -> Self {
        self.limits.pending = entries;
        self
    }

    /// Raises the alarm when the oldest entry that some group needs is older.
    #[must_use]
    pub fn alert_age(mut self, age: Duration) -> Self {
        self.limits.age = Some(age);
        self
    }

    /// Removes nothing from a stream as long as this group has not joined it; may be said for
    /// several groups. One that is not named here and comes later begins with what is left by then.
    /// The server's own trimming ([`Broker::retain_acked`]) cannot be told: set it when all have
    /// joined.
    #[must_use]
    pub fn expect_group(mut self, group: &str) -> Self {
        self.expected.push(group.to_owned());
        self
    }

    /// Removes consumers that have asked for nothing for so long. What is pending for them goes
    /// to the one of their group that asked last, as idle as it is; where there is none that is
    /// alive they stay. On a server that does so by itself (CONSUMER-TTL) nothing is done.
    #[must_use]
    pub fn remove_consumers_after(self, idle: Duration) -> Self {
        Self { consumers_after: Some(idle), ..self }
    }

    /// Changes nothing, and reports.
    #[must_use]
    pub fn dry_run(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Removes what every group of the stream has acknowledged, and reports. A stream without a
    /// group is left alone: nobody has said yet what they need.
    ///
    /// Entries acknowledged behind one that is pending stay with it. A group that is created later,
    /// or at the same moment, sees what is left, unless it is one of those that are expected
    /// ([`Janitor::expect_group`]).
    pub async fn sweep(&self, stream: &str) -> Result<Report> {
        let groups = self.backend.groups(stream).await?;
        let is_there = |name: &String| groups.iter().any(|group| group.name == *name);
        let missing: Vec<&String> = self.expected.iter().filter(|name| !is_there(name)).collect();
        // Nobody knows what those need that have not joined: all of it.
        let unknown = (!missing.is_empty()).then_some(MessageId::MIN);
        let watermark = unknown.or_else(|| watermark(&groups));
        let mut removed = Vec::new();
        for group in &groups {
            removed.extend(self.remove_consumers(stream, &group.name).await?);
        }
        let trimmed = match watermark {
            Some(id) if !self.backend.capabilities().retention && !self.dry_run => {
                self.backend.trim_below(stream, id).await?
            }
            _ => 0,
        };
        let len = self.backend.len(stream).await?;
        let from = watermark.unwrap_or(MessageId::MIN);
        let needed = self.backend.range(stream, from, MessageId::MAX, 1).await?;
        let age = match needed.first() {
            Some(it) => Some(self.backend.now_ms(stream).await?.saturating_sub(it.id.ms)),
            None => None,
        };
        let age = age.map(Duration::from_millis);
        let mut alerts = alerts(&groups, len, age, self.limits);
        let wait = |name| format!("{name} has not joined yet: nothing is removed until it has");
        alerts.extend(missing.into_iter().map(wait));
        for alert in &alerts {
            tracing::warn!(stream, "{alert}");
        }
        let stream = stream.to_owned();
        Ok(Report { stream, len, trimmed, removed, age, watermark, groups, alerts })
    }

    /// Those of a group that are gone, and were removed.
    async fn remove_consumers(&self, stream: &str, group: &str) -> Result<Vec<String>> {
        let after = self.consumers_after.filter(|_| !self.backend.capabilities().leases);
        let Some(after) = after else {
            return Ok(Vec::new());
        };
        let consumers = self.backend.consumers(stream, group).await?;
        let (gone, alive): (Vec<_>, Vec<_>) =
            consumers.into_iter().partition(|it| it.idle >= after);
        let heir = alive.iter().min_by_key(|it| it.idle).map(|it| &*it.name);
        let mut removed = Vec::new();
        for consumer in gone {
            let name: Arc<str> = consumer.name.into();
            let seat = Seat { stream: stream.into(), group: group.into(), consumer: name };
            if self.dry_run || self.backend.remove_consumer(&seat, heir, after).await? {
                removed.push(format!("{group}/{}", seat.consumer));
            }
        }
        Ok(removed)
    }
}

/// The lowest id that some group needs: its first pending entry, or the one behind its last.
fn watermark(groups: &[GroupFacts]) -> Option<MessageId> {
    let needs = |group: &GroupFacts| {
        let behind = group.last_delivered.next().unwrap_or(MessageId::MAX);
        group.first_pending.map_or(behind, |pending| pending.min(behind))
    };
    groups.iter().map(needs).min()
}

fn alerts(groups: &[GroupFacts], len: u64, age: Option<Duration>, limits: Limits) -> Vec<String> {
    let mut alerts = Vec::new();
    if len > limits.len {
        alerts.push(format!("{len} entries are left, more than {}", limits.len));
    }
    if let (Some(age), Some(limit)) = (age, limits.age)
        && age > limit
    {
        alerts.push(format!("the oldest that is needed is {} s old", age.as_secs()));
    }
    if groups.is_empty() && len > 0 {
        alerts.push("no group reads it: nothing is ever removed".to_owned());
    }
    for group in groups {
        if group.pending > limits.pending {
            alerts.push(format!("{} has {} entries pending", group.name, group.pending));
        }
        if group.consumers == 0 && group.lag.is_none_or(|lag| lag > limits.len) {
            alerts.push(format!("{} has no consumer and holds everything back", group.name));
        }
    }
    alerts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(last: u64, pending: Option<u64>) -> GroupFacts {
        GroupFacts {
            name: "g".into(),
            consumers: 1,
            pending: u64::from(pending.is_some()),
            last_delivered: MessageId::at(last),
            first_pending: pending.map(MessageId::at),
            lag: Some(0),
        }
    }

    #[test]
    fn the_slowest_group_decides() {
        let behind = |ms| MessageId { ms, seq: 1 };
        assert_eq!(watermark(&[]), None);
        assert_eq!(watermark(&[group(5, None)]), Some(behind(5)));
        assert_eq!(watermark(&[group(5, None), group(9, Some(3))]), Some(MessageId::at(3)));
        assert_eq!(watermark(&[group(5, None), group(4, None)]), Some(behind(4)));
        // After XGROUP SETID back a pending entry may be above what comes next.
        assert_eq!(watermark(&[group(2, Some(7))]), Some(behind(2)));
    }

    #[test]
    fn what_is_amiss_is_said() {
        let limits = |most| Limits { len: most, pending: most, age: Some(Duration::from_secs(9)) };
        assert_eq!(alerts(&[group(1, None)], 5, None, limits(5)), Vec::<String>::new());
        assert_eq!(alerts(&[], 6, None, limits(5)).len(), 2);
        assert_eq!(alerts(&[group(1, Some(1))], 0, None, limits(0)).len(), 1);
        let gone = GroupFacts { consumers: 0, lag: None, ..group(1, None) };
        assert_eq!(alerts(&[gone], 0, None, limits(5)).len(), 1);
        let old = Some(Duration::from_secs(10));
        assert_eq!(alerts(&[group(1, None)], 1, old, limits(5)).len(), 1);
    }
}
