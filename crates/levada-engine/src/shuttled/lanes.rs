//! The background lane of a disk.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    background::{Background, TURNS_MAX, Work},
    schedules,
    threads::{Condvar, Mutex, thread},
};

/// Work that counts how often it was done. Odd numbers share a turn.
struct Count(usize, Arc<AtomicUsize>);

impl Work for Count {
    type Done = usize;

    fn turn(&self) -> Option<u64> {
        (self.0 % 2 == 1).then_some(1)
    }

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

/// What has a turn: which, its number among those that share it, and for each turn the number that
/// is due.
struct Turn(usize, usize, Arc<[Mutex<usize>; 3]>, Arc<AtomicUsize>);

impl Work for Turn {
    type Done = ();

    fn turn(&self) -> Option<u64> {
        Some(self.0 as u64)
    }

    fn carry_out(self) {
        let Self(turn, number, due, at_once) = self;
        let mut due = due[turn].try_lock().expect("nobody else has the turn");
        assert!(at_once.fetch_add(1, Ordering::SeqCst) < TURNS_MAX, "so many at once");
        assert_eq!(*due, number, "those that share a turn come in their order");
        thread::yield_now();
        *due += 1;
        at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn those_that_share_a_turn_come_one_by_one_in_their_order_and_few_turns_at_once() {
    schedules(1000, || {
        let (due, at_once) = (Arc::<[Mutex<usize>; 3]>::default(), Arc::default());
        let lane = Background::start("lane", 4, 3).expect("threads");
        for number in 0..3 {
            for turn in 0..3 {
                lane.submit(Turn(turn, number, Arc::clone(&due), Arc::clone(&at_once)));
            }
        }
        drop(lane);
        assert!(due.iter().all(|due| *due.lock().expect("no panic") == 3));
    });
}

/// A turn that ends when somebody else has rung the bell.
enum Bell {
    WaitedFor(Arc<Bed>),
    Rung(Arc<Bed>),
}

impl Work for Bell {
    type Done = ();

    fn turn(&self) -> Option<u64> {
        matches!(self, Self::WaitedFor(_)).then_some(1)
    }

    fn carry_out(self) {
        match self {
            Self::WaitedFor(bed) => bed.sleep(),
            Self::Rung(bed) => bed.wake(),
        }
    }
}

#[test]
fn turns_leave_a_thread_to_everything_else() {
    schedules(1000, || {
        let beds = [(); 2].map(|()| Arc::new(Bed::default()));
        let lane = Background::start("lane", 2, 4).expect("threads");
        beds.iter().for_each(|bed| lane.submit(Bell::WaitedFor(Arc::clone(bed))));
        beds.iter().for_each(|bed| lane.submit(Bell::Rung(Arc::clone(bed))));
        // The turns end only if the bells are rung beside them.
        drop(lane);
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
