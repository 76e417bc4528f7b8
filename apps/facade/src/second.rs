//! A migration: to a second system, by a copy that runs beside the first, verification, cut-over.
//!
//! Writing to both from the same place (two calls, one behind the other) leaves them different at
//! the first failure between the two, and stops the writers when the second is down. Here a write
//! is one write, to the first; a group copies. It is behind where the second is down and catches
//! up when it is back; what it copies twice is there once, by the event's own key.
//!
//! The cut-over: writers wait at the gate, the copy catches up, both are compared, and only if
//! they are equal the gate opens to the second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use levada::{Broker, Event, Fault, Msg, Retry, State, Worker};
use serde::{Deserialize, Serialize};
use stage::Table;
use tokio::sync::{Mutex, RwLock, watch};

use crate::log::{EventLog, From};
use crate::patience::eventually;

const GROUP: &str = "copy";

/// A booking on an account.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Booking {
    number: u64,
    account: String,
}

impl Event for Booking {
    const STREAM: &'static str = "bookings";

    fn key(&self) -> Option<&str> {
        Some(&self.account)
    }

    fn idempotency_key(&self) -> Option<String> {
        Some(self.number.to_string())
    }
}

/// The second system, which may be down when it is first wanted.
#[derive(Debug)]
struct Second {
    url: String,
    /// Held while it is connected: one attempt at a time.
    broker: Mutex<Option<Broker>>,
    /// Attempts that failed.
    failures: AtomicU64,
}

impl Second {
    async fn broker(&self) -> levada::Result<Broker> {
        let mut held = self.broker.lock().await;
        if let Some(broker) = &*held {
            return Ok(broker.clone());
        }
        let connected = levada::connect(&self.url).await;
        if connected.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        Ok(held.insert(connected?).clone())
    }
}

/// Where writes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Active {
    First,
    Second,
}

/// Both systems, and the gate before them.
#[derive(Clone, Debug)]
struct Move {
    first: Broker,
    second: Arc<Second>,
    /// Writers hold it shared while they write, the cut-over alone: then no write is under way.
    gate: Arc<RwLock<Active>>,
}

impl Move {
    async fn write(&self, booking: &Booking) -> Result<()> {
        let active = self.gate.read().await;
        match *active {
            Active::First => self.first.producer().send(booking).await?,
            Active::Second => self.second.broker().await?.producer().send(booking).await?,
        };
        Ok(())
    }

    /// Copies; in the order of each account, also behind failures.
    fn copy(&self) -> Worker<Arc<Second>> {
        let retry = Retry::fixed(100_000, Duration::from_millis(50));
        let worker = Worker::new(&self.first, GROUP).state(Arc::clone(&self.second)).handle(copy);
        worker.retry(retry).ordered_by_key()
    }

    /// Waits until everything is copied that was written to the first.
    async fn catch_up(&self) -> Result<()> {
        eventually("the copy catches up", || async {
            let groups = self.first.backend().groups(Booking::STREAM).await?;
            let group = groups.iter().find(|group| group.name == GROUP);
            Ok(group.is_some_and(|group| group.pending == 0 && group.lag == Some(0)))
        })
        .await
    }

    /// Fails unless the second holds what the first holds: the same bookings, in the order of each
    /// account. Answers how many.
    async fn verify(&self) -> Result<usize> {
        let first = by_account(&self.first).await?;
        let second = by_account(&self.second.broker().await?).await?;
        for (account, numbers) in &first {
            let copied = second.get(account);
            ensure!(copied == Some(numbers), "{account}: {numbers:?}, but copied {copied:?}");
        }
        ensure!(first.len() == second.len(), "the second has accounts that the first has not");
        Ok(first.values().map(Vec::len).sum())
    }

    /// From now on the second is the one; answers how many bookings were compared before.
    async fn cut_over(&self) -> Result<usize> {
        let mut active = self.gate.write().await;
        self.catch_up().await?;
        let compared = self.verify().await.context("no cut-over")?;
        *active = Active::Second;
        Ok(compared)
    }
}

async fn copy(State(second): State<Arc<Second>>, Msg(booking): Msg<Booking>) -> Result<(), Fault> {
    second.broker().await?.producer().send(&booking).await?;
    Ok(())
}

/// The numbers of bookings by account, in the order of the stream.
async fn by_account(broker: &Broker) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (id, booking) in EventLog::<Booking>::new(broker).replay(From::Start).await? {
        let booking = booking.with_context(|| format!("the entry {id}"))?;
        all.entry(booking.account).or_default().push(booking.number);
    }
    Ok(all)
}

/// Moves so many bookings over to the system at a URL.
pub(crate) async fn run(first: &Broker, url: &str, count: u64, table: &mut Table) -> Result<()> {
    let second =
        Second { url: url.to_owned(), broker: Mutex::default(), failures: AtomicU64::new(0) };
    let gate = Arc::new(RwLock::new(Active::First));
    let it = Move { first: first.clone(), second: Arc::new(second), gate };

    // The second is down: its directory is in other hands.
    let is_down = url.starts_with("embedded:");
    let outage = if is_down { Some(levada::connect(url).await?) } else { None };
    let (stop, mut stopped) = watch::channel(false);
    let copying = tokio::spawn(it.copy().run(async move {
        // An error says that the sender is gone: it is time to stop, too.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    for number in 1..=count / 3 {
        it.write(&booking(number)).await?;
    }
    if is_down {
        let failures = &it.second.failures;
        eventually("the second system is missed", || async {
            Ok(failures.load(Ordering::Relaxed) > 0)
        })
        .await?;
    }
    let groups = first.backend().groups(Booking::STREAM).await?;
    let behind = groups.iter().map(|group| group.pending + group.lag.unwrap_or(0)).sum::<u64>();
    let expected = if is_down { count / 3 } else { behind };
    table.row("second system: down, and the copy is behind by", expected, behind);
    drop(outage);
    it.catch_up().await?;
    table.row("second system: up again, equal bookings", count / 3, it.verify().await?);

    // Writers go on while it is cut over.
    let (writer, (told, mut done)) = (it.clone(), watch::channel(0));
    let writing = tokio::spawn(async move {
        for number in count / 3 + 1..=count {
            writer.write(&booking(number)).await?;
            told.send_replace(number);
        }
        anyhow::Ok(())
    });
    let half = done.wait_for(|number| *number >= count / 2).await.map(|number| *number);
    let half = half.context("the writer has ended early")?;
    let compared = it.cut_over().await?;
    writing.await??;
    stop.send_replace(true);
    let drained = copying.await??;
    let (before, after) = (by_account(first).await?, by_account(&it.second.broker().await?).await?);
    let before = before.values().map(Vec::len).sum::<usize>();
    println!("cut over behind booking {compared}, with a writer at work");
    table.row("cut-over: bookings in the first, and compared", before, compared);
    table.row("  not before the writer was half through", true, compared as u64 >= half);
    table.row("  copied, each once", before, drained.acked);
    let mut plain: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for booking in (1..=count).map(booking) {
        plain.entry(booking.account).or_default().push(booking.number);
    }
    let all = after.values().map(Vec::len).sum::<usize>();
    table.row("second system: all bookings, each once", count, all);
    table.row("  the same, in the order of each account", true, plain == after);
    Ok(())
}

fn booking(number: u64) -> Booking {
    Booking { number, account: format!("account-{}", number % 7) }
}
