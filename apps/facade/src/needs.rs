//! The parts of the interface at work, each with its rows for the comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use levada::backend::Append;
use levada::{Broker, DeadLetters, Error, Event, Msg, Replies, Worker, event};
use serde::{Deserialize, Serialize};
use stage::Table;

use crate::log::From;
use crate::messaging::Messaging;
use crate::patience::eventually;
use crate::tasks::{self, Done, Idle, Priority, Task};

/// Longer than any answer of a worker that is there takes.
const LONG: Duration = Duration::from_mins(1);

/// What a sensor says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Reading {
    number: u64,
}

impl Event for Reading {
    const STREAM: &'static str = "readings";
}

async fn read(Msg(_): Msg<Reading>) {}

/// The log: replayed from three places, and read by two groups, each all of it.
pub(crate) async fn log(broker: &Broker, count: u64, table: &mut Table) -> Result<()> {
    let log = Messaging::new(broker).log::<Reading>();
    let readings: Vec<Reading> = (1..=count).map(|number| Reading { number }).collect();
    let ids = log.append(&readings).await?;
    let bad = [(event::DATA, "21.5 degrees")].into_iter().collect();
    let bad = Append { stream: Reading::STREAM.to_owned(), fields: bad, once: None };
    for answer in broker.backend().append(vec![bad]).await? {
        answer?;
    }
    let all = log.replay(From::Start).await?;
    let events: Vec<Reading> = all.iter().filter_map(|(_, it)| it.clone().ok()).collect();
    table.row("log: readings, replayed from the beginning", count, events.len());
    table.row("  the same ones, in order", true, events == readings);
    table.row("  entries that are no reading, handed on as such", 1, all.len() - events.len());
    let middle = ids[ids.len() / 2];
    let behind = log.replay(From::Behind(middle)).await?.len();
    let expected = ids.iter().filter(|id| **id > middle).count() + 1;
    table.row("log: from behind an entry", expected, behind);
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(middle.ms);
    let expected = ids.iter().filter(|id| id.ms >= middle.ms).count() + 1;
    table.row("log: from a time", expected, log.replay(From::Time(time)).await?.len());
    for group in ["alarms", "figures"] {
        let drained = Worker::new(broker, group).handle(read).run_until_idle().await?;
        table.row(&format!("log: handled by the group {group}"), count, drained.acked);
        table.row("  dead letters", 1, drained.dead);
    }
    let left = broker.backend().len(Reading::STREAM).await?;
    table.row("log: entries that are kept behind that", count + 1, left);
    Ok(())
}

/// The queue: handed in with the least urgent first, done with the most urgent first.
pub(crate) async fn tasks(broker: &Broker, count: u64, table: &mut Table) -> Result<()> {
    let tasks = Messaging::new(broker).tasks();
    let name = |priority: Priority, number: u64| format!("{priority:?}-{number}").to_lowercase();
    let order = [Priority::Idle, Priority::Normal, Priority::Urgent];
    for priority in order {
        for number in 1..=count {
            let task = Task { id: name(priority, number), number };
            tasks.submit(priority, task.clone()).await?;
            tasks.submit(priority, task).await?; // A second click.
        }
    }
    let zero = Task { id: "zero".to_owned(), number: 0 };
    tasks.submit(Priority::Idle, zero).await?;
    let early = tasks.result("zero", Duration::from_millis(50)).await;
    table.row("tasks: a result that is not there times out", true, is_timeout(&early));
    // Who waits is told. The one task at a time makes the order visible.
    let waiter = tasks.clone();
    let last = tokio::spawn(async move { waiter.result("zero", LONG).await });
    let drained = tasks.worker(1).run_until_idle().await?;
    table.row("tasks: done, each once", 3 * count, drained.acked);
    let failed = last.await??;
    table.row("tasks: the one that cannot be done says why", true, failed.outcome.is_err());
    let letters = DeadLetters::of::<Idle>(broker, tasks::GROUP).list(10).await?;
    table.row("  and is a dead letter", 1, letters.len());
    let mut turns = Vec::new();
    for priority in order.iter().rev() {
        for number in 1..=count {
            let done: Done = tasks.result(&name(*priority, number), LONG).await?;
            let product = done.outcome.iter().flatten().product::<u64>();
            ensure!(product == number, "the factors of {number} are {:?}", done.outcome);
            turns.push(done.turn);
        }
    }
    let expected: Vec<i64> = (1..).take(turns.len()).collect();
    table.row("tasks: urgent, then normal, then idle", true, turns == expected);
    Ok(())
}

fn is_timeout<T>(answer: &levada::Result<T>) -> bool {
    matches!(answer, Err(Error::Timeout(_)))
}

/// Notification, and copies that are dropped when the value changes.
pub(crate) async fn notices(broker: &Broker, table: &mut Table) -> Result<()> {
    let messaging = Messaging::new(broker);
    let channel = messaging.notices::<String>("doors");
    channel.publish(&"nobody hears this".to_owned()).await?;
    let (mut one, mut other) = (channel.listen().await?, channel.listen().await?);
    let heard_by = channel.publish(&"open".to_owned()).await?;
    table.row("notices: who listens gets them", 2, heard_by);
    let heard = (one.next().await?, other.next().await?);
    table.row(
        "  and only what is said from then on",
        "open open",
        format!("{} {}", heard.0, heard.1),
    );

    let (price, loads) = (Arc::new(AtomicU64::new(100)), AtomicU64::new(0));
    let (here, there) = (messaging.near::<u64>("price").await?, messaging.near("price").await?);
    let load = || async {
        loads.fetch_add(1, Ordering::Relaxed);
        Ok(price.load(Ordering::Relaxed))
    };
    for _ in 0..10 {
        ensure!(here.get("lamp", load).await? == 100 && there.get("lamp", load).await? == 100);
    }
    table.row("copies: twenty reads in two places, loaded once", 1, loads.load(Ordering::Relaxed));
    price.store(120, Ordering::Relaxed);
    there.invalidate("lamp").await?;
    eventually("both places forget the price", || async {
        Ok(!here.has_copy("lamp") && !there.has_copy("lamp"))
    })
    .await?;
    let (mine, yours) = (here.get("lamp", load).await?, there.get("lamp", load).await?);
    table.row("copies: behind a change", "120 120", format!("{mine} {yours}"));
    table.row("  loaded once more", 2, loads.load(Ordering::Relaxed));
    Ok(())
}

/// How much is it?
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Quote {
    pieces: u64,
}

impl Event for Quote {
    const STREAM: &'static str = "quotes";
}

async fn quote(replies: Replies, Msg(asked): Msg<Quote>) -> levada::Result<()> {
    replies.send(&(asked.pieces * 1_250)).await
}

/// Question and answer: a timeout where nobody answers, an answer where somebody does.
pub(crate) async fn request(broker: &Broker, table: &mut Table) -> Result<()> {
    let messaging = Messaging::new(broker);
    let silent = Duration::from_millis(100);
    let unheard = messaging.ask::<_, u64>(&Quote { pieces: 1 }, silent).await;
    table.row("request: nobody answers, and the time is over", true, is_timeout(&unheard));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = Worker::new(broker, "sales").handle(quote);
    let running = tokio::spawn(worker.run(async {
        let _ = stopped.await; // Either way it is time to stop.
    }));
    let answer: u64 = messaging.ask(&Quote { pieces: 3 }, LONG).await?;
    table.row("request: an answer", 3_750, answer);
    drop(stop);
    // The question that nobody waited for was a durable event: it is answered too, unheard.
    table.row("request: questions that were handled", 2, running.await??.acked);
    Ok(())
}
