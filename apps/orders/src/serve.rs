//! The shop with all its groups in one process: what the demo kills.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use levada::{Broker, Drained, Worker};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::flow::{Flow, Seen, View};
use crate::outside::{Books, Outside};
use crate::{analytics, deadline, event, inventory, payment, shipping, shop};

/// A run in which nothing moves for so long has failed.
const STALL_MAX: Duration = Duration::from_mins(1);
/// Between two looks at the streams.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Where the streams are: embedded:PATH, or `redis://HOST` of Levada, Redis or Valkey.
    #[arg(long)]
    pub(crate) url: String,
    /// Where the books of the systems outside are.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Orders that are placed.
    #[arg(long, default_value_t = 1000)]
    pub(crate) orders: u64,
    /// Seconds to pay in.
    #[arg(long, default_value_t = 900)]
    pub(crate) deadline: u64,
    /// Seconds behind which another worker has the events of one that was killed.
    #[arg(long, default_value_t = 30)]
    pub(crate) lease: u64,
    /// End when nothing is left to do but for people.
    #[arg(long)]
    pub(crate) until_settled: bool,
}

/// Runs until the orders are settled, or for ever.
pub(crate) async fn run(args: &Args) -> Result<()> {
    let broker = event::connect(&args.url).await?;
    event::know_again(&broker).await?;
    let outside = Outside::open(&Books::new(&args.dir))?;
    let (stop, _) = watch::channel(false);
    let mut groups = JoinSet::new();
    let mut begin = Groups { running: &mut groups, stop: &stop, lease: args.lease };
    begin.with(payment::worker(&broker, &outside));
    begin.with(shipping::worker(&broker, &outside));
    begin.with(inventory::worker(&broker, &outside));
    begin.with(analytics::worker(&broker, &outside));
    begin.with(deadline::worker(&broker, Duration::from_secs(args.deadline)));
    let shop = tokio::spawn(shop::open(broker.clone(), outside.clone(), args.orders));
    tokio::select! {
        settled = watch_over(&broker, args, shop) => settled?,
        Some(ended) = groups.join_next() => bail!("a group has ended: {:?}", ended?),
    }
    stop.send_replace(true);
    while let Some(drained) = groups.join_next().await {
        drained??;
    }
    println!("{} requests came a second time and changed nothing", outside.repeats());
    Ok(())
}

/// What the groups have in common.
struct Groups<'a> {
    running: &'a mut JoinSet<levada::Result<Drained>>,
    stop: &'a watch::Sender<bool>,
    lease: u64,
}

impl Groups<'_> {
    fn with<S: Send + Sync + 'static>(&mut self, worker: Worker<S>) {
        let mut stop = self.stop.subscribe();
        let worker = worker.lease(Duration::from_secs(self.lease)).poll(Duration::from_millis(100));
        self.running.spawn(worker.run(async move {
            // An error says that the sender is gone: it is time to stop, too.
            let _ = stop.wait_for(|stop| *stop).await;
        }));
    }
}

async fn watch_over(broker: &Broker, args: &Args, shop: JoinHandle<Result<()>>) -> Result<()> {
    let (mut flow, mut view) = (Flow::open(broker).await?, View::new());
    let mut shop = Some(shop);
    let mut moved = (Instant::now(), Seen::default());
    loop {
        if shop.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(ended) = shop.take()
        {
            ended.await?.context("the shop")?;
        }
        flow.look().await?;
        view.show(&flow.seen)?;
        if moved.1 != flow.seen {
            moved = (Instant::now(), flow.seen.clone());
        }
        if args.until_settled && shop.is_none() && flow.seen.is_settled(args.orders) {
            return view.draw(&flow.seen);
        }
        if args.until_settled && moved.0.elapsed() > STALL_MAX {
            bail!("nothing has moved for a minute; waited for {} orders to settle", args.orders);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct WatchArgs {
    /// A server: `redis://HOST`. An embedded engine shows itself in the process that has it.
    #[arg(long)]
    url: String,
}

/// Shows the flow of a server until the process is ended.
pub(crate) async fn watch(args: &WatchArgs) -> Result<()> {
    let broker = event::connect(&args.url).await?;
    let (mut flow, mut view) = (Flow::open(&broker).await?, View::new());
    loop {
        flow.look().await?;
        view.show(&flow.seen)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
