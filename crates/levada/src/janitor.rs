//! Keeps streams from growing for ever: trims below what every group has acknowledged, never above.

use std::sync::Arc;

use crate::backend::{Backend, GroupFacts};
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
    alert_above: u64,
}

/// What a sweep of a stream found and did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The stream.
    pub stream: String,
    /// Entries that are there now.
    pub len: u64,
    /// Entries that were removed.
    pub trimmed: u64,
    /// The lowest id that some group needs; `None` where there is no group.
    pub watermark: Option<MessageId>,
    /// Its groups.
    pub groups: Vec<GroupFacts>,
    /// What somebody should look at, in words.
    pub alerts: Vec<String>,
}

impl Janitor {
    /// A janitor that says nothing of lengths below a million.
    pub fn new(broker: &Broker) -> Self {
        Self { backend: Arc::clone(broker.backend()), alert_above: 1_000_000 }
    }

    /// Raises the alarm when more entries are left behind a sweep, or pending in a group.
    #[must_use]
    pub fn alert_above(self, entries: u64) -> Self {
        Self { alert_above: entries, ..self }
    }

    /// Removes what every group of the stream has acknowledged, and reports. A stream without a
    /// group is left alone: nobody has said yet what they need.
    ///
    /// Entries acknowledged behind one that is pending stay with it. A group that is created at the
    /// same moment sees what is left, as any group does that comes late.
    pub async fn sweep(&self, stream: &str) -> Result<Report> {
        let groups = self.backend.groups(stream).await?;
        let watermark = watermark(&groups);
        let trimmed = match watermark {
            Some(id) if !self.backend.capabilities().retention => {
                self.backend.trim_below(stream, id).await?
            }
            _ => 0,
        };
        let len = self.backend.len(stream).await?;
        let alerts = alerts(&groups, len, self.alert_above);
        for alert in &alerts {
            tracing::warn!(stream, "{alert}");
        }
        Ok(Report { stream: stream.to_owned(), len, trimmed, watermark, groups, alerts })
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

fn alerts(groups: &[GroupFacts], len: u64, above: u64) -> Vec<String> {
    let mut alerts = Vec::new();
    if len > above {
        alerts.push(format!("{len} entries are left, more than {above}"));
    }
    if groups.is_empty() && len > 0 {
        alerts.push("no group reads it: nothing is ever removed".to_owned());
    }
    for group in groups {
        if group.pending > above {
            alerts.push(format!("{} has {} entries pending", group.name, group.pending));
        }
        if group.consumers == 0 && group.lag.is_none_or(|lag| lag > above) {
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
        assert_eq!(alerts(&[group(1, None)], 5, 5), Vec::<String>::new());
        assert_eq!(alerts(&[], 6, 5).len(), 2);
        assert_eq!(alerts(&[group(1, Some(1))], 0, 0).len(), 1);
        let gone = GroupFacts { consumers: 0, lag: None, ..group(1, None) };
        assert_eq!(alerts(&[gone], 0, 5).len(), 1);
    }
}
