//! The task that reads: never more than can be handled at once, and on after every failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::Setup;
use super::pace::{Pace, Tokens};
use super::partitions::{Access, is_taken_over};
use super::settle::{Shared, stopped};
use crate::backend::{Delivered, GroupPolicy, GroupReader, Seat};
use crate::error::{Error, Result};
use crate::names;

/// Rests behind failed reads: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);

/// What was read, each with its place among those handled at once.
pub(super) struct Taken {
    /// Which track of the worker.
    pub(super) track: usize,
    /// Where it is pending.
    pub(super) seat: Arc<Seat>,
    pub(super) delivered: Delivered,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What a read within a rate comes to.
enum Paced {
    Read(Vec<Taken>),
    /// The rate has nothing left for so long.
    Wait(Duration),
}

/// Reads for a worker.
pub(super) struct Reading {
    shared: Arc<Shared>,
    reader: Box<dyn GroupReader>,
    /// One for each track. Deliveries share them.
    seats: Vec<Arc<Seat>>,
    /// Where entries stand that only this group gets again: one for each track, in order, or
    /// none.
    again: Vec<Arc<Seat>>,
    /// Which of them have been joined.
    joined: Vec<bool>,
    next_tick: Instant,
    /// Which partition goes first among those of its stream.
    turn: usize,
    /// The group's rate, if it has one.
    pace: Option<Pace>,
}

impl Reading {
    /// Joins the groups.
    pub(super) async fn begin(shared: &Arc<Shared>) -> Result<Self> {
        let setup = &shared.setup;
        let streams = setup.tracks.iter().map(|track| &*track.stream);
        let seats = streams.clone().map(|stream| Arc::new(setup.seat(stream))).collect();
        // Where the server gives dead letters back by itself there is no such stream.
        let ours = !shared.backend.capabilities().redrive;
        let again = |stream| Arc::new(setup.seat(&names::again(stream, &setup.group)));
        let again: Vec<Arc<Seat>> = streams.filter(|_| ours).map(again).collect();
        let rate = setup.rate.clone();
        let reading = Self {
            pace: rate.map(|rate| Pace::new(Arc::clone(&shared.backend), rate)),
            reader: shared.backend.reader().await?,
            joined: vec![false; again.len()],
            shared: Arc::clone(shared),
            seats,
            again,
            next_tick: Instant::now(),
            turn: 0,
        };
        reading.join().await?;
        Ok(reading)
    }

    async fn join(&self) -> Result<()> {
        let setup = &self.shared.setup;
        for seat in &self.seats {
            let policy = policy(setup, &seat.stream);
            self.shared.backend.join(seat, setup.start, &policy).await?;
        }
        Ok(())
    }

    /// Reads until the shutdown begins, or the server refuses for good.
    pub(super) async fn run(
        mut self,
        places: Arc<Semaphore>,
        out: mpsc::Sender<Vec<Taken>>,
    ) -> Result<()> {
        let mut stopping = self.shared.stopping.clone();
        let mut rest = REST_MIN;
        let control = self.shared.setup.control.clone();
        loop {
            let permit = tokio::select! {
                biased;
                () = stopped(&mut stopping) => return Ok(()),
                permit = async {
                    control.running().await;
                    Arc::clone(&places).acquire_owned().await
                } => permit,
            };
            let Ok(mut permit) = permit else {
                return Ok(());
            };
            let more = u32::try_from(places.available_permits()).unwrap_or(u32::MAX);
            if let Ok(more) = Arc::clone(&places).try_acquire_many_owned(more) {
                permit.merge(more);
            }
            match self.read_paced(permit).await {
                Ok(Paced::Wait(left)) => {
                    tokio::select! {
                        () = tokio::time::sleep(left) => {}
                        () = stopped(&mut stopping) => {}
                    }
                }
                Ok(Paced::Read(taken)) => {
                    rest = REST_MIN;
                    if !taken.is_empty() && out.send(taken).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.recover(error).await?;
                    tokio::select! {
                        () = tokio::time::sleep(rest) => {}
                        () = stopped(&mut stopping) => {}
                    }
                    rest = (rest * 2).min(REST_MAX);
                }
            }
        }
    }

    /// As [`Reading::read`], but no more than the rate has left.
    async fn read_paced(&mut self, mut places: OwnedSemaphorePermit) -> Result<Paced> {
        let wait = Some(self.shared.setup.poll);
        let Some(pace) = &mut self.pace else {
            return self.read(places, wait).await.map(Paced::Read);
        };
        let tokens: Tokens = pace.take(places.num_permits()).await?;
        let Some(granted) = places.split(tokens.count).filter(|_| tokens.count > 0) else {
            return Ok(Paced::Wait(tokens.left));
        };
        drop(places);
        let taken = self.read(granted, wait).await?;
        if let Some(pace) = &self.pace {
            pace.give_back(tokens, tokens.count.saturating_sub(taken.len())).await.unwrap_or_else(
                |error| tracing::debug!(%error, "tokens are lost until the next span"),
            );
        }
        Ok(Paced::Read(taken))
    }

    /// What comes next, as many as there are places at most. Waits for it where it may.
    pub(super) async fn read(
        &mut self,
        mut places: OwnedSemaphorePermit,
        wait: Option<Duration>,
    ) -> Result<Vec<Taken>> {
        let count = places.num_permits();
        let mut found = Vec::new();
        if wait.is_none() || Instant::now() >= self.next_tick {
            self.next_tick = Instant::now() + self.shared.setup.poll;
            self.tend(count, &mut found).await?;
        }
        if found.is_empty() {
            let tracks = self.in_turn();
            let seats: Vec<Seat> = tracks.iter().map(|at| Seat::clone(&self.seats[*at])).collect();
            if let (true, Some(wait)) = (seats.is_empty(), wait) {
                // No partition is ours: there is nothing to wait for but the next look.
                tokio::time::sleep(wait).await;
                return Ok(Vec::new());
            }
            for delivered in self.reader.read(&seats, count, wait).await? {
                let track = tracks[delivered.seat];
                found.push((track, Arc::clone(&self.seats[track]), delivered));
            }
        }
        let mut taken = Vec::with_capacity(found.len());
        for (track, seat, delivered) in found {
            // A backend that answers more than it was asked for is at fault; nothing is lost.
            let Some(permit) = places.split(1) else {
                tracing::error!("more was delivered than was asked for");
                break;
            };
            taken.push(Taken { track, seat, delivered, permit });
        }
        Ok(taken)
    }

    fn access(&self, track: usize) -> Access {
        let partitions = self.shared.partitions.as_ref();
        partitions.map_or(Access::Read, |partitions| partitions.access(track))
    }

    /// The tracks that may be read. Handlers in the order in which they were added; of the
    /// partitions of one, each time another first, as the first may fill all places.
    fn in_turn(&mut self) -> Vec<usize> {
        self.turn = self.turn.wrapping_add(1);
        let (tracks, mut order) = (&self.shared.setup.tracks, Vec::with_capacity(self.seats.len()));
        let mut begin = 0;
        while begin < tracks.len() {
            let topic = tracks[begin].topic;
            let length = tracks[begin..].iter().take_while(|track| track.topic == topic).count();
            let first = self.turn % length;
            order.extend((0..length).map(|at| begin + (first + at) % length));
            begin += length;
        }
        order.retain(|track| self.access(*track) == Access::Read);
        order
    }

    /// What a server without leases leaves to us, and what was given back to this group.
    async fn tend(
        &mut self,
        count: usize,
        found: &mut Vec<(usize, Arc<Seat>, Delivered)>,
    ) -> Result<()> {
        let backend = Arc::clone(&self.shared.backend);
        let lease = self.shared.setup.lease;
        for (track, seat) in self.seats.iter().enumerate() {
            let left = count - found.len();
            let access = self.access(track);
            if left > 0 && access != Access::No {
                // Who had a partition before is gone for longer than this, and we are not.
                let lease = if access == Access::TakeOver { lease / 2 } else { lease };
                let taken = backend.tend(seat, lease, left).await?;
                found.extend(taken.into_iter().map(|it| (track, Arc::clone(seat), it)));
            }
            if let (Access::TakeOver, Some(partitions)) = (access, &self.shared.partitions)
                && is_taken_over(&*backend, &self.shared, partitions, track).await?
            {
                partitions.is_taken_over(track);
            }
        }
        for (track, seat) in self.again.iter().enumerate() {
            let is_ours = self.access(track) == Access::Read;
            if found.len() == count || !is_ours || backend.len(&seat.stream).await? == 0 {
                continue;
            }
            if !self.joined[track] {
                let setup = &self.shared.setup;
                let policy = policy(setup, &setup.tracks[track].stream);
                backend.join(seat, crate::backend::Start::Oldest, &policy).await?;
                self.joined[track] = true;
            }
            let mut taken = backend.tend(seat, lease, count - found.len()).await?;
            let left = count - found.len() - taken.len();
            if left > 0 {
                taken.extend(self.reader.read(std::slice::from_ref(&**seat), left, None).await?);
            }
            found.extend(taken.into_iter().map(|it| (track, Arc::clone(seat), it)));
        }
        Ok(())
    }

    /// Goes on behind a failure, or not.
    async fn recover(&mut self, error: Error) -> Result<()> {
        match error {
            Error::NotFound(what) => {
                tracing::warn!(what, "a stream or group has gone; it is made again");
                self.joined.fill(false);
                match self.join().await {
                    Err(error) if !error.is_transient() => Err(error),
                    _ => Ok(()),
                }
            }
            error if error.is_transient() => {
                tracing::warn!(%error, "reading failed; trying again");
                Ok(())
            }
            error => Err(error),
        }
    }
}

fn policy(setup: &Setup, stream: &str) -> GroupPolicy {
    GroupPolicy {
        lease: setup.lease,
        max_attempts: setup.retry.max_attempts.max(1),
        rests: setup.retry.rests(),
        dead_letters: setup.dead_letters(stream),
        order_by: setup.ordered.then(|| crate::event::KEY.to_owned()),
    }
}
