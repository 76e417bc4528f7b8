//! The background lane of a disk.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    background::{Background, Work},
    schedules,
    threads::{Condvar, Mutex},
};

/// Work that counts how often it was done.
struct Count(usize, Arc<AtomicUsize>);

impl Work for Count {
    type Done = usize;

    fn carry_out(self) -> usize {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0
    }
}

/// A lane whose queue is full at the third piece of work.
fn lane() -> (Background<Count>, Arc<AtomicUsize>) {
    (Background::start("lane", 2, 1).expect("threads"), Arc::default())
}

#[test]
fn everything_is_done_once_and_waiting_ends() {
    schedules(1000, || {
        let (mut lane, count) = lane();
        for number in 0..4 {
            lane.submit(Count(number, Arc::clone(&count)));
        }
        lane.carry_out(Count(4, Arc::clone(&count)));
        let mut done = Vec::new();
        while done.len() < 5 {
            lane.wait();
            // It returned, so there is something: else this would turn for ever.
            done.push(lane.poll().expect("something to poll"));
        }
        lane.wait();
        assert!(lane.poll().is_none());
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 3, 4]);
        assert_eq!(count.load(Ordering::SeqCst), 5);
    });
}

#[test]
fn what_was_submitted_is_done_though_the_owner_leaves() {
    schedules(1000, || {
        let (lane, count) = lane();
        for number in 0..3 {
            lane.submit(Count(number, Arc::clone(&count)));
        }
        drop(lane);
        assert_eq!(count.load(Ordering::SeqCst), 3);
    });
}

/// Sleeps until it is woken, as the loop of the server does.
#[derive(Default)]
struct Bed {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Bed {
    fn wake(&self) {
        *self.woken.lock().expect("no panic") = true;
        self.changed.notify_one();
    }

    /// Waits for a wake-up, and forgets it.
    fn sleep(&self) {
        let woken = self.woken.lock().expect("no panic");
        *self.changed.wait_while(woken, |woken| !*woken).expect("no panic") = false;
    }

    /// The fault of the broken loop: a wake-up that comes before the sleep is lost.
    fn forget(&self) {
        *self.woken.lock().expect("no panic") = false;
    }
}

/// A loop that only ever waits for the waker.
fn woken_loop(is_broken: bool) {
    let (mut lane, count) = lane();
    let bed = Arc::new(Bed::default());
    let waker = Arc::clone(&bed);
    lane.set_waker(Arc::new(move || waker.wake()));
    for number in 0..3 {
        lane.submit(Count(number, Arc::clone(&count)));
    }
    let mut done = 0;
    loop {
        while lane.poll().is_some() {
            done += 1;
        }
        if done == 3 {
            break;
        }
        if is_broken {
            bed.forget();
        }
        bed.sleep();
    }
}

#[test]
fn whoever_sleeps_is_woken_for_every_result() {
    schedules(1000, || woken_loop(false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_is_found() {
    schedules(1000, || woken_loop(true));
}
