//! Registration with its groups in one process: what the demo kills.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use levada::backend::{Append, Once};
use levada::{Broker, Drained, Error, Event as _, Janitor, Worker, event};
use stage::Book;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::event::{Change, Mail};
use crate::{mailer, plan, profiles, welcome};

/// A run in which nothing moves for so long has failed.
const STALL_MAX: Duration = Duration::from_mins(1);
/// Between two looks at the streams.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the book calls an entry that is no change.
pub(crate) const NONSENSE: &str = "nonsense";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Where the streams are: embedded:PATH, or `redis://HOST` of Levada, Redis or Valkey.
    #[arg(long)]
    pub(crate) url: String,
    /// Where the book of acknowledged requests is.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Users that register.
    #[arg(long, default_value_t = 500)]
    pub(crate) users: u64,
    /// The port of the mail system, on this machine.
    #[arg(long)]
    pub(crate) smtp_port: u16,
    /// Seconds behind which another worker has the events of one that was killed.
    #[arg(long, default_value_t = 30)]
    pub(crate) lease: u64,
    /// End when nothing is left to do but for people.
    #[arg(long)]
    pub(crate) until_settled: bool,
}

/// The book of requests that were acknowledged.
pub(crate) fn door(dir: &Path) -> PathBuf {
    dir.join("door.book")
}

/// Runs until everything is done, or for ever.
pub(crate) async fn run(args: &Args) -> Result<()> {
    let broker = levada::connect(&args.url).await?;
    let door = Arc::new(Book::open(&door(&args.dir))?);
    let (stop, _) = watch::channel(false);
    let mut running = JoinSet::new();
    begin(&mut running, &stop, args.lease, welcome::worker(&broker));
    begin(&mut running, &stop, args.lease, profiles::worker(&broker));
    begin(&mut running, &stop, args.lease, mailer::worker(&broker, args.smtp_port));
    let work = async {
        answer(&broker, &door, args.users).await.context("the door")?;
        settle(&broker, args.until_settled).await
    };
    tokio::select! {
        settled = work => settled?,
        trimmed = trim(&broker) => trimmed.context("trimming")?,
        Some(ended) = running.join_next() => bail!("a group has ended: {:?}", ended?),
    }
    stop.send_replace(true);
    while let Some(drained) = running.join_next().await {
        drained??;
    }
    Ok(())
}

fn begin<S: Send + Sync + 'static>(
    running: &mut JoinSet<levada::Result<Drained>>,
    stop: &watch::Sender<bool>,
    lease: u64,
    worker: Worker<S>,
) {
    let mut stop = stop.subscribe();
    let worker = worker.lease(Duration::from_secs(lease)).poll(Duration::from_millis(100));
    running.spawn(worker.run(async move {
        // An error says that the sender is gone: it is time to stop, too.
        let _ = stop.wait_for(|stop| *stop).await;
    }));
}

/// Takes the requests that were not acknowledged before, one after the other.
async fn answer(broker: &Broker, door: &Book, users: u64) -> Result<()> {
    let producer = broker.producer();
    for (index, change) in plan::requests(users).iter().enumerate() {
        if door.get(&change.request).is_some() {
            continue;
        }
        let id = producer.send(change).await?;
        if plan::is_clicked_twice(index) {
            let again = producer.send(change).await?;
            ensure!(id == again, "a second click made the entry {again} beside {id}");
        }
        tokio::task::block_in_place(|| door.write(&change.request, &id.to_string()))?;
    }
    // And somebody who writes what is no change.
    if door.get(NONSENSE).is_some() {
        return Ok(());
    }
    let once = Some(Once { producer: "a script".to_owned(), id: NONSENSE.to_owned() });
    let fields = [(event::DATA, "{\"user\": 7}")].into_iter().collect();
    let nonsense = Append { stream: Change::STREAM.to_owned(), fields, once };
    for answer in broker.backend().append(vec![nonsense]).await? {
        answer?;
    }
    tokio::task::block_in_place(|| door.write(NONSENSE, ""))?;
    Ok(())
}

/// Lets the queue of mails hold what is to be done and nothing else. The accounts are not touched:
/// they are kept for ever.
async fn trim(broker: &Broker) -> Result<()> {
    loop {
        match broker.retain_acked(Mail::STREAM).await {
            Ok(()) => std::future::pending::<()>().await,
            Err(Error::NotFound(_)) => {} // The first worker is about to make it.
            Err(Error::Unsupported { .. }) => drop(Janitor::new(broker).sweep(Mail::STREAM).await?),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until no group has anything left; for ever if that is not the end.
async fn settle(broker: &Broker, is_end: bool) -> Result<()> {
    let (mut moved, mut last, mut shown) = (Instant::now(), String::new(), Instant::now());
    loop {
        // In this order: once the first has nothing left, nothing more comes into the second.
        let accounts = left(broker, Change::STREAM, 2).await?;
        let mails = left(broker, Mail::STREAM, 1).await?;
        let text = |left: Option<u64>| left.map_or_else(|| "?".to_owned(), |it| it.to_string());
        let now = format!("to do: {} accounts, {} mails", text(accounts), text(mails));
        if is_end && (accounts, mails) == (Some(0), Some(0)) {
            return Ok(());
        }
        if now != last && shown.elapsed() > Duration::from_millis(500) {
            println!("    {now}");
            shown = Instant::now();
        }
        if now != last {
            (moved, last) = (Instant::now(), now);
        }
        ensure!(!is_end || moved.elapsed() < STALL_MAX, "nothing moved for a minute; {last}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Entries that groups of a stream have still to do; `None` before all of them are there.
async fn left(broker: &Broker, stream: &str, groups: usize) -> Result<Option<u64>> {
    let facts = broker.backend().groups(stream).await?;
    // A server that has trimmed may not know how far a group is; an empty stream says it.
    let unknown = broker.backend().len(stream).await?;
    let left = facts.iter().map(|group| group.pending + group.lag.unwrap_or(unknown)).sum();
    Ok((facts.len() == groups).then_some(left))
}
