//! The task queue: urgent tasks first, each to one worker, and results that can be waited for.
//!
//! A log has no priorities, so each has a stream of its own, and one read asks for all of them,
//! the most urgent first, with one bound on what it answers in all (MAXCOUNT): a worker never
//! takes a task of lower priority while one of higher waits, and never more than it can do.

use std::time::Duration;

use levada::{Broker, Cache, Channel, Error, Event, Fault, Msg, Producer, Result, State, Worker};
use serde::{Deserialize, Serialize};

pub(crate) const GROUP: &str = "workers";
/// How long a result is kept.
const KEEP: Duration = Duration::from_hours(1);

/// What is to be done: a number to be taken apart.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Task {
    /// Chosen by who asks: a second request under the same name is the first one.
    pub(crate) id: String,
    pub(crate) number: u64,
}

/// How soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Priority {
    Urgent,
    Normal,
    Idle,
}

/// What came of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Done {
    /// The prime factors, or why there are none.
    pub(crate) outcome: std::result::Result<Vec<u64>, String>,
    /// Tasks that were done when this one was, itself included.
    pub(crate) turn: i64,
}

/// A task in the stream of its priority.
macro_rules! priority {
    ($name:ident, $stream:literal) => {
        #[derive(Serialize, Deserialize)]
        pub(crate) struct $name(Task);

        impl Event for $name {
            const STREAM: &'static str = $stream;

            fn idempotency_key(&self) -> Option<String> {
                Some(self.0.id.clone())
            }
        }

        impl From<$name> for Task {
            fn from(task: $name) -> Self {
                task.0
            }
        }
    };
}

priority!(Urgent, "tasks-urgent");
priority!(Normal, "tasks-normal");
priority!(Idle, "tasks-idle");

/// The queue. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    broker: Broker,
    producer: Producer,
    results: Cache,
    counts: Cache,
}

impl Tasks {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            producer: broker.producer(),
            results: Cache::new(broker, "tasks:result"),
            counts: Cache::new(broker, "tasks:count"),
        }
    }

    /// Hands a task in; it will be done when this returns.
    pub(crate) async fn submit(&self, priority: Priority, task: Task) -> Result<()> {
        let sent = match priority {
            Priority::Urgent => self.producer.send(&Urgent(task)).await,
            Priority::Normal => self.producer.send(&Normal(task)).await,
            Priority::Idle => self.producer.send(&Idle(task)).await,
        };
        sent.map(drop)
    }

    /// What came of a task, waited for so long. [`Error::Timeout`] says nothing of the task: it
    /// can be asked for again.
    pub(crate) async fn result(&self, id: &str, limit: Duration) -> Result<Done> {
        let waiting = async {
            loop {
                // Listen first, then look: the end may be quicker than the question.
                let mut heard = self.told(id).listen().await?;
                if let Some(done) = self.results.get(id).await? {
                    return Ok(done);
                }
                match heard.next().await {
                    Ok(()) | Err(Error::Closed(_)) => {} // Look again.
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.unwrap_or(Err(Error::Timeout(limit)))
    }

    /// A worker for so many tasks at the same time.
    pub(crate) fn worker(&self, concurrency: usize) -> Worker<Self> {
        Worker::new(&self.broker, GROUP)
            .state(self.clone())
            .handle(work::<Urgent>)
            .handle(work::<Normal>)
            .handle(work::<Idle>)
            .concurrency(concurrency)
    }

    /// The first result of a task counts: one that is done again has no other.
    async fn finish(&self, id: &str, outcome: std::result::Result<Vec<u64>, String>) -> Result<()> {
        if self.results.get::<Done>(id).await?.is_none() {
            let turn = self.counts.incr("done", 1).await?;
            self.results.add(id, &Done { outcome, turn }, Some(KEEP)).await?;
        }
        self.told(id).publish(&()).await.map(drop)
    }

    /// Where it is told that a task is done.
    fn told(&self, id: &str) -> Channel<()> {
        Channel::new(&self.broker, &format!("tasks:done:{id}"))
    }
}

async fn work<E: Event + Into<Task>>(
    State(tasks): State<Tasks>,
    Msg(task): Msg<E>,
) -> std::result::Result<(), Fault> {
    let Task { id, number } = task.into();
    let outcome = factors(number).ok_or_else(|| format!("{number} has no prime factors"));
    tasks.finish(&id, outcome.clone()).await?;
    // Who asked knows; it is a dead letter all the same, for whoever looks after the queue.
    outcome.map(drop).map_err(Fault::permanent)
}

/// The prime factors of a number, in order.
fn factors(mut number: u64) -> Option<Vec<u64>> {
    if number == 0 {
        return None;
    }
    let (mut found, mut divisor) = (Vec::new(), 2);
    while divisor * divisor <= number {
        while number.is_multiple_of(divisor) {
            found.push(divisor);
            number /= divisor;
        }
        divisor += 1;
    }
    if number > 1 {
        found.push(number);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_apart() {
        assert_eq!(factors(0), None);
        assert_eq!(factors(1), Some(vec![]));
        assert_eq!(factors(360), Some(vec![2, 2, 2, 3, 3, 5]));
        assert_eq!(factors(10_007), Some(vec![10_007]));
    }
}
