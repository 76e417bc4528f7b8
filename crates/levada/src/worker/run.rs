//! The life of a worker: read, hand out, drain.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::partitions::Partitions;
use super::reading::{Reading, Taken};
use super::settle::{Counts, Shared};
use super::{Drained, Setup, Work};
use crate::broker::Broker;
use crate::delivery::{Delivery, Lease};
use crate::error::Result;
use crate::extensions::Extensions;
use crate::message::Fields;
use crate::outcome::Verdict;
use crate::producer::Producer;
use crate::telemetry::Meters;

/// Works until the shutdown.
pub(super) async fn run(
    broker: Broker,
    setup: Setup,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Drained> {
    tracing::info!(group = &*setup.group, consumer = &*setup.consumer, "{}", broker.capabilities());
    let (stop, mut crew) = Crew::new(&broker, setup);
    let reading = Reading::begin(&crew.shared).await?;
    let places = Arc::clone(&crew.places);
    let (out, inbox) = mpsc::channel(1);
    let mut aside = JoinSet::new();
    aside.spawn(Arc::clone(&crew.shared).extend_leases());
    aside.spawn(Arc::clone(&crew.shared).keep_partitions());
    aside.spawn(Arc::clone(&crew.shared).report_groups());
    // In a set, so that nothing reads on when the worker is dropped.
    let mut reader = JoinSet::new();
    reader.spawn(reading.run(places, out));
    crew.work(inbox, shutdown, &stop).await;
    let ended = match reader.join_next().await {
        Some(Ok(ended)) => ended,
        ended => Err(crate::Error::Closed(format!("the reader ended: {ended:?}"))),
    };
    crew.drain().await;
    drop(aside);
    let shared = crew.shared;
    shared.leave_partitions().await;
    for track in &shared.setup.tracks {
        if let Err(error) = shared.backend.leave(&shared.setup.seat(&track.stream)).await {
            tracing::debug!(%error, "the consumer stays behind");
        }
    }
    ended.map(|()| shared.counts.drained())
}

/// Works until there is nothing to do.
pub(super) async fn run_until_idle(broker: Broker, setup: Setup) -> Result<Drained> {
    // It is alone for as long as it takes: there is nobody to share partitions with.
    let setup = Setup { exclusive: false, ..setup };
    let (_stop, mut crew) = Crew::new(&broker, setup);
    let mut reading = Reading::begin(&crew.shared).await?;
    let all = u32::try_from(crew.shared.setup.concurrency).unwrap_or(u32::MAX);
    loop {
        let places = Arc::clone(&crew.places).acquire_many_owned(all).await;
        let places = places.expect("nobody closes it");
        let taken = reading.read(places, None).await?;
        if taken.is_empty() {
            return Ok(crew.shared.counts.drained());
        }
        crew.begin_all(taken).await;
        crew.flush(|_| true);
        while let Some(done) = crew.tasks.join_next().await {
            crew.finished(done.ok().flatten());
        }
    }
}

/// A key whose events are in order: the stream and the value.
type OrderKey = (usize, Vec<u8>);

/// A delivery that waits for its turn.
struct Job {
    track: usize,
    delivery: Delivery,
    permit: OwnedSemaphorePermit,
}

/// Events that are gathered for a batch handler.
struct Gathered {
    jobs: Vec<Job>,
    due: Instant,
}

struct Crew {
    shared: Arc<Shared>,
    producer: Producer,
    places: Arc<Semaphore>,
    /// Handlers at work; each answers the key that is free behind it.
    tasks: JoinSet<Option<OrderKey>>,
    /// Keys at work, and what waits behind them. No more waits than there are places.
    busy: HashMap<OrderKey, VecDeque<Job>>,
    /// By track.
    gathered: HashMap<usize, Gathered>,
    /// What will not be begun any more.
    aside: Vec<Job>,
}

impl Crew {
    fn new(broker: &Broker, setup: Setup) -> (watch::Sender<bool>, Self) {
        let (stop, stopping) = watch::channel(false);
        let places = Arc::new(Semaphore::new(setup.concurrency));
        let meters = setup
            .tracks
            .iter()
            .map(|track| (Arc::clone(&track.stream), Meters::of(&track.stream, &setup.group)));
        let shared = Arc::new(Shared {
            meters: meters.collect(),
            backend: Arc::clone(broker.backend()),
            partitions: setup.exclusive.then(|| Partitions::of(&setup)),
            setup,
            counts: Counts::default(),
            held: std::sync::Mutex::default(),
            extending: tokio::sync::RwLock::default(),
            stopping,
        });
        let crew = Self {
            shared,
            producer: broker.producer(),
            places,
            tasks: JoinSet::new(),
            busy: HashMap::new(),
            gathered: HashMap::new(),
            aside: Vec::new(),
        };
        (stop, crew)
    }

    /// Hands out what is read until the reader has ended.
    async fn work(
        &mut self,
        mut inbox: mpsc::Receiver<Vec<Taken>>,
        shutdown: impl Future<Output = ()> + Send,
        stop: &watch::Sender<bool>,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut stopping = false;
        loop {
            let due = self.gathered.values().map(|gathered| gathered.due).min();
            let linger = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut shutdown, if !stopping => {
                    stopping = true;
                    stop.send_replace(true);
                    self.set_aside();
                }
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.finished(done.ok().flatten());
                }
                () = linger => {
                    let now = Instant::now();
                    self.flush(|gathered| gathered.due <= now);
                }
                taken = inbox.recv() => match taken {
                    None => return,
                    Some(taken) if stopping => {
                        let jobs: Vec<Job> = taken.into_iter().map(|it| self.deliver(it)).collect();
                        self.aside.extend(jobs);
                    }
                    Some(taken) => self.begin_all(taken).await,
                },
            }
        }
    }

    async fn begin_all(&mut self, taken: Vec<Taken>) {
        for taken in taken {
            let deleted = taken.delivered.fields.is_none();
            let job = self.deliver(taken);
            if !self.shared.hold(&job.delivery) {
                continue;
            }
            if deleted {
                // It was deleted while it was pending: there is nothing to do.
                self.shared.settle(&job.delivery, Verdict::Ack).await;
            } else if job.delivery.attempt > u64::from(self.shared.setup.retry.max_attempts.max(1))
            {
                // A server with leases would have seen to that.
                let reason = format!("delivered {} times, never settled", job.delivery.attempt - 1);
                self.shared.settle(&job.delivery, Verdict::Bury(reason)).await;
            } else {
                self.begin(job);
            }
        }
    }

    fn deliver(&self, taken: Taken) -> Job {
        let Taken { track, seat, delivered, permit } = taken;
        let id = delivered.id;
        let delivery = Delivery {
            id,
            stream: Arc::clone(&self.shared.setup.tracks[track].stream),
            attempt: delivered.attempt,
            fields: Arc::new(delivered.fields.unwrap_or_else(Fields::default)),
            lease: Lease {
                backend: Arc::clone(&self.shared.backend),
                seat: Arc::clone(&seat),
                id,
                lost: Arc::new(AtomicBool::new(false)),
            },
            producer: self.producer.clone(),
            extensions: Extensions::default(),
            seat,
        };
        Job { track, delivery, permit }
    }

    /// Hands out a delivery, or lets it wait for its turn or its batch.
    fn begin(&mut self, job: Job) {
        let (max, linger) = match &self.shared.setup.tracks[job.track].work {
            Work::Each(_) => return self.begin_each(job),
            Work::Together { max, linger, .. } => (*max, *linger),
        };
        let track = job.track;
        // What can be read at most is in hand when all places are taken: then nothing more comes.
        let full = max.min(self.shared.setup.concurrency);
        let due = Instant::now() + linger;
        let gathered =
            self.gathered.entry(track).or_insert_with(|| Gathered { jobs: Vec::new(), due });
        gathered.jobs.push(job);
        if gathered.jobs.len() >= full {
            self.flush(|gathered| gathered.jobs.len() >= full);
        }
    }

    fn begin_each(&mut self, job: Job) {
        let Some(key) = self.order_key(&job) else {
            return self.spawn(job, None);
        };
        if let Some(waiting) = self.busy.get_mut(&key) {
            return waiting.push_back(job);
        }
        self.busy.insert(key.clone(), VecDeque::new());
        self.spawn(job, Some(key));
    }

    fn order_key(&self, job: &Job) -> Option<OrderKey> {
        let key = job.delivery.key().filter(|_| self.shared.setup.ordered)?;
        Some((job.track, key.to_vec()))
    }

    fn spawn(&mut self, job: Job, key: Option<OrderKey>) {
        let Work::Each(route) = &self.shared.setup.tracks[job.track].work else {
            return;
        };
        let (shared, route) = (Arc::clone(&self.shared), route.clone());
        self.tasks.spawn(async move {
            let Job { delivery, permit, .. } = job;
            shared.handle(route, delivery).await;
            drop(permit);
            key
        });
    }

    /// A handler has ended; the next of its key begins.
    fn finished(&mut self, key: Option<OrderKey>) {
        let Some(key) = key else {
            return;
        };
        match self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(job) => self.spawn(job, Some(key)),
            None => drop(self.busy.remove(&key)),
        }
    }

    /// Begins the batches for which it is time.
    fn flush(&mut self, is_time: impl Fn(&Gathered) -> bool) {
        let ready = self.gathered.iter().filter(|(_, gathered)| is_time(gathered));
        let ready: Vec<usize> = ready.map(|(track, _)| *track).collect();
        for track in ready {
            let Work::Together { max, run, .. } = &self.shared.setup.tracks[track].work else {
                continue;
            };
            let mut jobs = self.gathered.remove(&track).map_or_else(Vec::new, |it| it.jobs);
            while !jobs.is_empty() {
                let rest = jobs.split_off((*max).min(jobs.len()));
                let some = std::mem::replace(&mut jobs, rest);
                // The places become free together: the next read is for all of them.
                let mut permits: Option<OwnedSemaphorePermit> = None;
                let mut deliveries = Vec::with_capacity(some.len());
                for job in some {
                    deliveries.push(job.delivery);
                    match &mut permits {
                        Some(permits) => permits.merge(job.permit),
                        None => permits = Some(job.permit),
                    }
                }
                let (shared, run) = (Arc::clone(&self.shared), Arc::clone(run));
                self.tasks.spawn(async move {
                    shared.handle_together(run, deliveries).await;
                    drop(permits);
                    None
                });
            }
        }
    }

    /// Gives back what was not begun, waits for what was, and for what takes too long lets the
    /// others try.
    async fn drain(&mut self) {
        self.set_aside();
        let back: Vec<_> = self.aside.drain(..).map(|job| job.delivery).collect();
        if !back.is_empty() {
            self.shared.hand_back(back).await;
        }
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.setup.drain, finish).await.is_ok() {
            return;
        }
        self.tasks.shutdown().await;
        for (_, deliveries) in self.shared.all_held() {
            for delivery in deliveries {
                let reason = "it was not finished when its worker shut down".to_owned();
                self.shared.settle(&delivery, Verdict::Rest(Duration::ZERO, reason)).await;
            }
        }
    }

    /// What waits for its turn or its batch will not be begun. It is given back when the reader has
    /// ended: before that, the server might give it to us again.
    fn set_aside(&mut self) {
        self.aside.extend(self.busy.values_mut().flat_map(|waiting| waiting.drain(..)));
        self.aside.extend(self.gathered.drain().flat_map(|(_, gathered)| gathered.jobs));
    }
}
