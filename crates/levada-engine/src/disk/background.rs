//! Threads that work for one owner: where the background lane of a disk hands over.
//!
//! Work waits in a queue of bounded length; whoever submits more waits too. What is done waits for
//! the owner. Promised: whatever was submitted is carried out exactly once, also when the owner is
//! dropped at once; of what takes turns, one piece at a time, in its order; it can be polled before
//! the waker is called for it; [`Background::wait`] returns when there is something to poll, or
//! nothing is under way.

use std::{collections::VecDeque, io};

use super::threads::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    thread::{self, JoinHandle},
};

/// Something to call when work is done; called on the threads that do it.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What can be handed over.
pub(crate) trait Work: Send + 'static {
    /// What becomes of it.
    type Done: Send + 'static;

    /// Whether it takes turns with others of its kind: one thread does one of them, and the other
    /// threads are there for everything else.
    fn takes_turns(&self) -> bool {
        false
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
    any: VecDeque<W>,
    /// What takes turns.
    turns: VecDeque<W>,
    /// A thread is at one of those; it will look for the next.
    is_turn_taken: bool,
    /// The owner waits for room: only then it has to be woken, which is a call of the system.
    waited_for: bool,
    closed: bool,
}

impl<W: Work> Queue<W> {
    fn new() -> Self {
        let (any, turns) = (VecDeque::new(), VecDeque::new());
        Self { any, turns, is_turn_taken: false, waited_for: false, closed: false }
    }

    fn len(&self) -> usize {
        self.any.len() + self.turns.len()
    }

    fn push(&mut self, work: W) {
        let queue = if work.takes_turns() { &mut self.turns } else { &mut self.any };
        queue.push_back(work);
    }

    /// What a thread may do now. A turn goes first: it takes one thread, whatever else waits.
    fn pop(&mut self) -> Option<W> {
        let turn = if self.is_turn_taken { None } else { self.turns.pop_front() };
        self.is_turn_taken |= turn.is_some();
        turn.or_else(|| self.any.pop_front())
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
        let ready = VecDeque::new();
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new()),
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
        let full = |queue: &mut Queue<W>| queue.len() >= self.queue_max;
        let queue = self.shared.room.wait_while(queue, full);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.waited_for = false;
        queue.push(work);
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
        let mut had_turn = false;
        while let Some(work) = self.take(had_turn) {
            had_turn = work.takes_turns();
            self.finish(work.carry_out());
            let waker = unpoisoned(&self.waker).clone();
            if let Some(waker) = waker {
                waker();
            }
        }
    }

    /// The next piece of work; `None` at the end. Whoever had a turn gives it back, and has the
    /// next one if there is one: so nobody has to be told of it.
    fn take(&self, had_turn: bool) -> Option<W> {
        let mut queue = unpoisoned(&self.queue);
        queue.is_turn_taken &= !had_turn;
        let work = loop {
            match queue.pop() {
                None if !queue.closed => queue = wait(&self.more, queue),
                taken => break taken,
            }
        };
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
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(told: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    told.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
