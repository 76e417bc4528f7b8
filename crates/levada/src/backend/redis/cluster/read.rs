//! Reads that wait, in a cluster: one connection for each, to the master of its slot.
//!
//! Of one stream a group is read as on a single server. Several streams of a cluster cannot be
//! waited for in one command, and several XREADGROUPs that wait would together be delivered more
//! than was asked for. So what is there is read at once, stream by stream; then each stream that
//! had nothing is *watched*: an XREAD above what the group was delivered, which delivers nothing to
//! anybody and may be given up at any time. When it comes back the stream is read again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::map::{Journey, Map};
use super::slots::slot_of;
use crate::backend::{Backend as _, Delivered, GroupReader, Pending, Seat, TailReader};
use crate::error::{Error, Result};
use crate::message::{Entry, MessageId};

/// How long a stream is watched before it is looked at all the same: its group may have been set
/// back, or be gone.
const WATCH: Duration = Duration::from_secs(5);

/// A reader of groups.
pub(super) struct Reader {
    map: Arc<Map>,
    /// The reader that waits for a single stream, and at which host.
    here: Option<(String, Box<dyn GroupReader>)>,
    watches: JoinSet<Watched>,
    /// Streams that are being watched: there was nothing when they were read.
    quiet: HashSet<Arc<str>>,
    /// Connections of watches that have come back, by stream.
    tails: HashMap<Arc<str>, Tail>,
}

/// A watch that has come back.
struct Watched {
    stream: Arc<str>,
    tail: Tail,
}

impl Reader {
    pub(super) fn new(map: Arc<Map>) -> Self {
        let (watches, quiet, tails) = (JoinSet::new(), HashSet::new(), HashMap::new());
        Self { map, here: None, watches, quiet, tails }
    }

    /// Waits for one stream.
    async fn read_one(&mut self, seat: &Seat, count: usize, wait: Duration) -> Result<Found> {
        let mut journey = Journey::to(&self.map, slot_of(&seat.stream));
        loop {
            let node = journey.node().await?;
            let reader = match &mut self.here {
                Some((host, reader)) if *host == journey.host => reader,
                here => {
                    let reader = node.reader().await?;
                    &mut here.insert((journey.host.clone(), reader)).1
                }
            };
            match reader.read(std::slice::from_ref(seat), count, Some(wait)).await {
                Err(error) => journey.goes_on(error).await?,
                done => return done,
            }
        }
    }

    /// What is there now in streams that are not watched. An error behind something that was
    /// delivered is left for the next time.
    async fn read_now(&mut self, seats: &[Seat], count: usize) -> Result<Found> {
        let mut all = Vec::new();
        for (number, seat) in seats.iter().enumerate() {
            let left = count - all.len();
            if left == 0 || self.quiet.contains(&seat.stream) {
                continue;
            }
            match self.read_some(seat, left).await {
                Ok(found) => {
                    all.extend(found.into_iter().map(|it| Delivered { seat: number, ..it }))
                }
                Err(error) if all.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(all)
    }

    async fn read_some(&mut self, seat: &Seat, count: usize) -> Result<Found> {
        let map = Arc::clone(&self.map);
        let read = at!(&map, &seat.stream, |node| node.read_now(seat, count));
        let read: Pending<'_, Found> = read;
        read.await
    }

    /// Waits until one of the streams may have something.
    async fn wait(&mut self, seats: &[Seat], until: Instant) -> Result<()> {
        for seat in seats {
            if !self.quiet.contains(&seat.stream) {
                let behind = last_delivered(&self.map, seat).await?;
                self.watch(seat, behind);
            }
        }
        if let Ok(Some(watched)) = tokio::time::timeout_at(until, self.watches.join_next()).await {
            self.came_back(watched.ok());
        }
        while let Some(watched) = self.watches.try_join_next() {
            self.came_back(watched.ok());
        }
        Ok(())
    }

    fn watch(&mut self, seat: &Seat, behind: MessageId) {
        let stream = Arc::clone(&seat.stream);
        self.quiet.insert(Arc::clone(&stream));
        let new = || Tail::new(Arc::clone(&self.map));
        let mut tail = self.tails.remove(&stream).unwrap_or_else(new);
        self.watches.spawn(async move {
            // Whatever comes of it, the stream is read then, and that shows what is wrong.
            let _ = tail.read(&stream, behind, 1, Some(WATCH)).await;
            Watched { stream, tail }
        });
    }

    fn watch_nothing(&mut self) {
        self.watches = JoinSet::new();
        self.quiet.clear();
    }

    fn came_back(&mut self, watched: Option<Watched>) {
        match watched {
            Some(Watched { stream, tail }) => {
                self.quiet.remove(&stream);
                self.tails.insert(stream, tail);
            }
            None => {
                // One has panicked, and which is not known: all are looked at.
                self.watch_nothing();
            }
        }
    }
}

type Found = Vec<Delivered>;

impl GroupReader for Reader {
    fn read<'a>(
        &'a mut self,
        seats: &'a [Seat],
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Delivered>> {
        Box::pin(async move {
            let Some(wait) = wait else {
                return match seats {
                    [seat] => self.read_some(seat, count).await,
                    seats => {
                        // Who does not wait wants to know what is there, watched or not.
                        self.watch_nothing();
                        self.read_now(seats, count).await
                    }
                };
            };
            if let [seat] = seats {
                return self.read_one(seat, count, wait).await;
            }
            let until = Instant::now() + wait;
            loop {
                let found = self.read_now(seats, count).await?;
                if !found.is_empty() || count == 0 || Instant::now() >= until {
                    return Ok(found);
                }
                self.wait(seats, until).await?;
            }
        })
    }
}

/// What a group was delivered last; everything above it is new.
async fn last_delivered(map: &Map, seat: &Seat) -> Result<MessageId> {
    let asked: Pending<'_, _> = at!(map, &seat.stream, |node| node.groups(&seat.stream));
    let groups = asked.await?;
    let group = groups.into_iter().find(|group| *group.name == *seat.group);
    let gone = || Error::NotFound(format!("group {} of {}", seat.group, seat.stream));
    Ok(group.ok_or_else(gone)?.last_delivered)
}

/// A reader of a stream.
pub(super) struct Tail {
    map: Arc<Map>,
    here: Option<(String, Box<dyn TailReader>)>,
}

impl Tail {
    pub(super) fn new(map: Arc<Map>) -> Self {
        Self { map, here: None }
    }
}

impl TailReader for Tail {
    fn read<'a>(
        &'a mut self,
        stream: &'a str,
        after: MessageId,
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let mut journey = Journey::to(&self.map, slot_of(stream));
            loop {
                let node = journey.node().await?;
                let tail = match &mut self.here {
                    Some((host, tail)) if *host == journey.host => tail,
                    here => &mut here.insert((journey.host.clone(), node.tail().await?)).1,
                };
                match tail.read(stream, after, count, wait).await {
                    Err(error) => journey.goes_on(error).await?,
                    done => return done,
                }
            }
        })
    }
}
