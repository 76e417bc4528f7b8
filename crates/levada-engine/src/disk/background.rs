//! Threads that work for one owner: where the background lane of a disk hands over.
//!
//! Work waits in a queue of bounded length; whoever submits more waits too. What is done waits for
//! the owner. Promised: whatever was submitted is carried out exactly once, also when the owner is
//! dropped at once; of those that share a turn, one at a time, in their order; it can be polled
//! before the waker is called for it; [`Background::wait`] returns when there is something to poll,
//! or nothing is under way.

use std::{collections::VecDeque, io};

use super::threads::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    thread::{self, JoinHandle},
};

/// Something to call when work is done; called on the threads that do it.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Turns that are taken at once.
pub(crate) const TURNS_MAX: usize = 2;

/// What can be handed over.
pub(crate) trait Work: Send + 'static {
    /// What becomes of it.
    type Done: Send + 'static;

    /// Those that share a turn are done one after the other, and of all that have one at most
    /// [`TURNS_MAX`] at once: the other threads are there for everything else.
    fn turn(&self) -> Option<u64> {
        None
    }

    /// Does it, on any thread. It must not panic.
    fn carry_out(self) -> Self::Done;
}

/// See the module.
pub(crate) struct Background<W: Work> {
    /// Done by the owner itself: no other thread has to know.
    finished: VecDeque<W::Done>,
    shared: Arc<Shared<W>>,
    queue_max: usize,
    workers: Vec<JoinHandle<()>>,
}

/// Where workers and owner meet.
struct Shared<W: Work> {
    queue: Mutex<Queue<W>>,
    /// Told of each piece of work, one worker at a time, and of the end.
    more: Condvar,
    /// Told of room in a queue that was full.
    room: Condvar,
    results: Mutex<Results<W::Done>>,
    /// Told of results; the owner waits here.
    changed: Condvar,
    waker: Mutex<Option<Waker>>,
}

/// Work that no thread has taken yet.
struct Queue<W> {
    work: VecDeque<W>,
    /// The turns of what is being done.
    taken: Vec<u64>,
    /// The owner waits for room: only then it has to be woken, which is a call of the system.
    waited_for: bool,
    closed: bool,
}

impl<W: Work> Queue<W> {
    /// The first piece that a thread may do now.
    fn pop(&mut self) -> Option<W> {
        let (taken, has_room) = (&self.taken, self.taken.len() < TURNS_MAX);
        let may = |work: &W| work.turn().is_none_or(|turn| has_room && !taken.contains(&turn));
        let work = self.work.iter().position(may).and_then(|at| self.work.remove(at))?;
        self.taken.extend(work.turn());
        Some(work)
    }
}

struct Results<T> {
    ready: VecDeque<T>,
    under_way: usize,
    /// As in the queue: the owner sleeps.
    waited_for: bool,
}

impl<W: Work> Background<W> {
    /// Starts so many threads, with a queue of this length before them.
    pub(crate) fn start(name: &str, workers: usize, queue_max: usize) -> io::Result<Self> {
        let (ready, work) = (VecDeque::new(), VecDeque::new());
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { work, taken: Vec::new(), waited_for: false, closed: false }),
            more: Condvar::new(),
            room: Condvar::new(),
            results: Mutex::new(Results { ready, under_way: 0, waited_for: false }),
            changed: Condvar::new(),
            waker: Mutex::new(None),
        });
        let mut this = Self { finished: VecDeque::new(), shared, queue_max, workers: Vec::new() };
        for _ in 0..workers {
            let shared = Arc::clone(&this.shared);
            let worker = thread::Builder::new().name(name.to_owned());
            this.workers.push(worker.spawn(move || shared.work())?);
        }
        Ok(this)
    }

    /// Has `waker` called after each piece of work that a thread has done.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *unpoisoned(&self.shared.waker) = Some(waker);
    }

    /// Hands work over; waits while the queue is full.
    pub(crate) fn submit(&self, work: W) {
        unpoisoned(&self.shared.results).under_way += 1;
        let mut queue = unpoisoned(&self.shared.queue);
        queue.waited_for = true;
        let full = |queue: &mut Queue<W>| queue.work.len() >= self.queue_max;
        let queue = self.shared.room.wait_while(queue, full);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.waited_for = false;
        queue.work.push_back(work);
        self.shared.more.notify_one();
    }

    /// Does work here and now; its result comes before those of the threads.
    pub(crate) fn carry_out(&mut self, work: W) {
        self.finished.push_back(work.carry_out());
    }

    /// The result that has waited longest.
    pub(crate) fn poll(&mut self) -> Option<W::Done> {
        let own = self.finished.pop_front();
        own.or_else(|| unpoisoned(&self.shared.results).ready.pop_front())
    }

    /// Waits until [`Background::poll`] has something or nothing is under way.
    pub(crate) fn wait(&self) {
        if !self.finished.is_empty() {
            return;
        }
        let mut results = unpoisoned(&self.shared.results);
        results.waited_for = true;
        let nothing = |results: &mut Results<_>| results.ready.is_empty() && results.under_way > 0;
        let waited = self.shared.changed.wait_while(results, nothing);
        waited.unwrap_or_else(PoisonError::into_inner).waited_for = false;
    }
}

impl<W: Work> Drop for Background<W> {
    fn drop(&mut self) {
        // A closed queue ends the threads, behind everything that was submitted.
        unpoisoned(&self.shared.queue).closed = true;
        self.shared.more.notify_all();
        for worker in self.workers.drain(..) {
            // One that panicked has nothing left to give back.
            let _ = worker.join();
        }
    }
}

impl<W: Work> Shared<W> {
    /// A thread's life.
    fn work(&self) {
        let mut turn = None;
        while let Some(work) = self.take(turn) {
            turn = work.turn();
            self.finish(work.carry_out());
            let waker = unpoisoned(&self.waker).clone();
            if let Some(waker) = waker {
                waker();
            }
        }
    }

    /// The next piece of work; `None` at the end. Whoever gives a turn back lets one more be done,
    /// and looks for work itself: so nobody has to be told of it.
    fn take(&self, turn: Option<u64>) -> Option<W> {
        let mut queue = unpoisoned(&self.queue);
        queue.taken.retain(|taken| Some(*taken) != turn);
        let mut work = None;
        let none = |queue: &mut Queue<W>| {
            work = queue.pop();
            work.is_none() && !queue.closed
        };
        let queue = self.more.wait_while(queue, none).unwrap_or_else(PoisonError::into_inner);
        if queue.waited_for {
            self.room.notify_one();
        }
        work
    }

    fn finish(&self, done: W::Done) {
        let mut results = unpoisoned(&self.results);
        results.under_way -= 1;
        results.ready.push_back(done);
        if results.waited_for {
            self.changed.notify_all();
        }
    }
}

/// What the locks guard is whole between any two statements: a panic elsewhere while a lock was
/// held leaves nothing to repair.
pub(super) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
