//! Threads that work for one owner: where the background lane of a disk hands over.
//!
//! Work waits in a queue of bounded length; whoever submits more waits too. What is done waits for
//! the owner. Promised: whatever was submitted is carried out exactly once, also when the owner is
//! dropped at once; it can be polled before the waker is called for it; [`Background::wait`]
//! returns when there is something to poll, or nothing is under way.

use std::{collections::VecDeque, io};

use super::threads::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// Something to call when work is done; called on the threads that do it.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What can be handed over.
pub(crate) trait Work: Send + 'static {
    /// What becomes of it.
    type Done: Send + 'static;

    /// Does it, on any thread. It must not panic.
    fn carry_out(self) -> Self::Done;
}

/// See the module.
pub(crate) struct Background<W: Work> {
    shared: Arc<Shared<W::Done>>,
    queue: Option<SyncSender<W>>,
    workers: Vec<JoinHandle<()>>,
}

/// Where workers and owner meet.
struct Shared<T> {
    results: Mutex<Results<T>>,
    /// Told of every result; the owner waits here.
    changed: Condvar,
    waker: Mutex<Option<Waker>>,
}

struct Results<T> {
    ready: VecDeque<T>,
    under_way: usize,
}

impl<W: Work> Background<W> {
    /// Starts so many threads, with a queue of this length before them.
    pub(crate) fn start(name: &str, workers: usize, queue_max: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            results: Mutex::new(Results { ready: VecDeque::new(), under_way: 0 }),
            changed: Condvar::new(),
            waker: Mutex::new(None),
        });
        let (sender, receiver) = sync_channel(queue_max);
        let receiver = Arc::new(Mutex::new(receiver));
        let spawn = |_| {
            let (queue, shared) = (Arc::clone(&receiver), Arc::clone(&shared));
            thread::Builder::new().name(name.to_owned()).spawn(move || work(&queue, &shared))
        };
        let workers = (0..workers).map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { shared, queue: Some(sender), workers })
    }

    /// Has `waker` called after each piece of work that a thread has done.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *unpoisoned(&self.shared.waker) = Some(waker);
    }

    /// Hands work over; waits while the queue is full.
    pub(crate) fn submit(&self, work: W) {
        unpoisoned(&self.shared.results).under_way += 1;
        match self.queue.as_ref().map(|queue| queue.send(work)) {
            Some(Ok(())) => {}
            // Every thread is gone (it panicked): the caller does it itself.
            Some(Err(unsent)) => self.shared.finish(unsent.0.carry_out()),
            None => unreachable!("the queue closes when the owner is dropped"),
        }
    }

    /// Does work here and now; its result waits with the others.
    pub(crate) fn carry_out(&self, work: W) {
        unpoisoned(&self.shared.results).under_way += 1;
        self.shared.finish(work.carry_out());
    }

    /// The result that has waited longest.
    pub(crate) fn poll(&self) -> Option<W::Done> {
        unpoisoned(&self.shared.results).ready.pop_front()
    }

    /// Waits until [`Background::poll`] has something or nothing is under way.
    pub(crate) fn wait(&self) {
        let results = unpoisoned(&self.shared.results);
        let nothing = |results: &mut Results<_>| results.ready.is_empty() && results.under_way > 0;
        let waited = self.shared.changed.wait_while(results, nothing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl<W: Work> Drop for Background<W> {
    fn drop(&mut self) {
        // A closed queue ends the threads, behind everything that was submitted.
        self.queue = None;
        for worker in self.workers.drain(..) {
            // One that panicked has nothing left to give back.
            let _ = worker.join();
        }
    }
}

impl<T> Shared<T> {
    fn finish(&self, done: T) {
        let mut results = unpoisoned(&self.results);
        results.under_way -= 1;
        results.ready.push_back(done);
        self.changed.notify_all();
    }
}

fn work<W: Work>(queue: &Mutex<Receiver<W>>, shared: &Shared<W::Done>) {
    loop {
        // One worker waits in the queue, the other for the lock: either gets the next work.
        let next = unpoisoned(queue).recv();
        let Ok(next) = next else { return };
        shared.finish(next.carry_out());
        let waker = unpoisoned(&shared.waker).clone();
        if let Some(waker) = waker {
            waker();
        }
    }
}

/// What the locks guard is whole between any two statements: a panic elsewhere while a lock was
/// held leaves nothing to repair.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
