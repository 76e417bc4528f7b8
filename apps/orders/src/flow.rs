//! Where all orders stand, for people and for the end of the demo.
//!
//! It reads the streams as anybody may, without a group: nothing is acknowledged and nobody is
//! disturbed. How far the groups are it asks the server.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Result;
use levada::backend::GroupFacts;
use levada::{Broker, DeadLetters, Event as _, MessageId, Reader, event};

use crate::event::{Step, Unpaid, What, partitions};
use crate::payment;

/// Dead letters that are looked at.
const LETTERS_MAX: usize = 100_000;

/// What has happened so far.
#[derive(Debug)]
pub(crate) struct Flow {
    broker: Broker,
    readers: Vec<Reader>,
    pub(crate) seen: Seen,
}

/// What stands in the streams.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) placed: BTreeSet<String>,
    pub(crate) paid: BTreeSet<String>,
    pub(crate) cancelled: BTreeSet<String>,
    /// Entries that are no step.
    pub(crate) nonsense: u64,
    /// Placings, payments and cancellations beyond the first of their order.
    pub(crate) repeated: [u64; 3],
    /// How far each group is, over all its streams, by name.
    pub(crate) groups: Vec<Standing>,
    /// Orders among the dead letters of the payment: one that two shops sent is there twice.
    pub(crate) dead: BTreeSet<String>,
}

/// How far a group is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) waiting: u64,
    pub(crate) running: u64,
}

impl Flow {
    pub(crate) async fn open(broker: &Broker) -> Result<Self> {
        let mut readers = Vec::new();
        for stream in partitions(broker) {
            readers.push(Reader::behind(broker, &stream, MessageId::MIN).await?);
        }
        Ok(Self { broker: broker.clone(), readers, seen: Seen::default() })
    }

    /// Looks again.
    pub(crate) async fn look(&mut self) -> Result<()> {
        // The groups first: an entry that one of them has sent meanwhile is then seen, too.
        self.seen.groups = standings(&self.broker).await?;
        self.seen.dead.clear();
        for stream in partitions(&self.broker) {
            let letters = DeadLetters::of_stream(&self.broker, &stream, payment::GROUP);
            let letters = letters.list(LETTERS_MAX).await?;
            let steps = letters.iter().filter_map(|letter| letter.event::<Step>().ok());
            self.seen.dead.extend(steps.map(|step| step.order));
        }
        for reader in &mut self.readers {
            loop {
                let entries = reader.replay().await?;
                if entries.is_empty() {
                    break;
                }
                for entry in entries {
                    match event::decode::<Step>(&entry.fields) {
                        Ok(step) => self.seen.add(step),
                        Err(_) => self.seen.nonsense += 1,
                    }
                }
            }
        }
        Ok(())
    }
}

impl Seen {
    fn add(&mut self, Step { order, what }: Step) {
        let (all, number) = match what {
            What::Placed(_) => (&mut self.placed, 0),
            What::Paid { .. } => (&mut self.paid, 1),
            What::Cancelled => (&mut self.cancelled, 2),
            What::Transferred { .. } => return,
        };
        if !all.insert(order) {
            self.repeated[number] += 1;
        }
    }

    /// Whether of so many orders each is paid, cancelled, or with its payment among the dead
    /// letters, and no group has anything left to do.
    pub(crate) fn is_settled(&self, count: u64) -> bool {
        let ends = [&self.paid, &self.cancelled, &self.dead];
        let has_ended = |order: &&String| ends.iter().any(|end| end.contains(*order));
        let ended = self.placed.iter().filter(has_ended).count() as u64;
        let idle = |group: &Standing| group.waiting == 0 && group.running == 0;
        self.placed.len() as u64 == count
            && self.nonsense > 0
            && ended == count
            && self.groups.len() == 5
            && self.groups.iter().all(idle)
    }

    /// The picture, a line for each group.
    fn picture(&self) -> Vec<String> {
        let group = |name: &str, arrow: &str, end: &str| {
            let found = self.groups.iter().find(|group| group.name == name);
            let (waiting, running) = found.map_or((0, 0), |it| (it.waiting, it.running));
            let facts = format!("{name:<9} {waiting:>6} waiting {running:>4} pending");
            format!("{arrow:>22} {facts}  {end}")
        };
        let (paid, cancelled) = (self.paid.len(), self.cancelled.len());
        let placed = format!("{:>6} orders placed ─┬─", self.placed.len());
        vec![
            group("payment", &placed, &format!("-> {paid} paid, {} dead", self.dead.len())),
            group("deadline", "├─", &format!("-> {cancelled} cancelled")),
            group("shipping", "├─", ""),
            group("inventory", "├─", ""),
            group("analytics", "└─", ""),
        ]
    }

    /// The same in a line.
    fn line(&self) -> String {
        let group = |it: &Standing| format!("{} {}+{}", it.name, it.waiting, it.running);
        let groups: Vec<String> = self.groups.iter().map(group).collect();
        format!(
            "placed {}, paid {}, cancelled {}, dead {}; waiting+pending: {}",
            self.placed.len(),
            self.paid.len(),
            self.cancelled.len(),
            self.dead.len(),
            groups.join(", ")
        )
    }
}

async fn standings(broker: &Broker) -> Result<Vec<Standing>> {
    let mut all: Vec<Standing> = Vec::new();
    for stream in partitions(broker).iter().map(String::as_str).chain([Unpaid::STREAM]) {
        for GroupFacts { name, pending, lag, .. } in broker.backend().groups(stream).await? {
            let at = all.iter().position(|it| it.name == name).unwrap_or_else(|| {
                all.push(Standing { name, ..Standing::default() });
                all.len() - 1
            });
            // A server that does not know counts as one that has something.
            all[at].waiting += lag.unwrap_or(1);
            all[at].running += pending;
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Shows a flow: a picture that is drawn over where there is a terminal, else lines.
#[derive(Debug)]
pub(crate) struct View {
    begun: Instant,
    shown: Option<(Instant, Seen)>,
    lines: usize,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), shown: None, lines: 0 }
    }

    /// Shows what is new, every half second at most.
    pub(crate) fn show(&mut self, seen: &Seen) -> Result<()> {
        const EVERY: Duration = Duration::from_millis(500);
        if self.shown.as_ref().is_some_and(|(at, last)| at.elapsed() < EVERY || last == seen) {
            return Ok(());
        }
        self.draw(seen)
    }

    /// Shows it as it is.
    pub(crate) fn draw(&mut self, seen: &Seen) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            if self.lines > 0 {
                write!(out, "\x1b[{}A", self.lines)?;
            }
            let picture = seen.picture();
            for line in &picture {
                writeln!(out, "\x1b[2K{line}")?;
            }
            self.lines = picture.len();
        } else {
            writeln!(out, "{:>7.2} s  {}", self.begun.elapsed().as_secs_f64(), seen.line())?;
        }
        out.flush()?;
        self.shown = Some((Instant::now(), seen.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(order: &str, what: What) -> Step {
        Step { order: order.to_owned(), what }
    }

    #[test]
    fn an_order_is_settled_when_it_has_ended_and_nobody_is_at_it() {
        let names = ["analytics", "deadline", "inventory", "payment", "shipping"];
        let group = |name: &str| Standing { name: name.to_owned(), ..Standing::default() };
        let groups = names.into_iter().map(group).collect();
        let mut seen = Seen { nonsense: 1, groups, ..Seen::default() };
        seen.placed.insert("a".to_owned());
        assert!(!seen.is_settled(1));
        seen.add(step("a", What::Paid { cents: 1 }));
        assert!(seen.is_settled(1) && !seen.is_settled(2));
        // Its second copy is a dead letter, and it counts once.
        seen.dead.insert("a".to_owned());
        seen.placed.insert("b".to_owned());
        assert!(!seen.is_settled(2));
        seen.dead.insert("b".to_owned());
        assert!(seen.is_settled(2));
        seen.groups[0].running = 1;
        assert!(!seen.is_settled(2));
        seen.add(step("a", What::Paid { cents: 1 }));
        assert_eq!(seen.repeated, [0, 1, 0]);
    }
}
