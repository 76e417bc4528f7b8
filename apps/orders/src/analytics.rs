//! The group `analytics`: what was ordered and what was earned, in batches.
//!
//! A counter that is increased would count twice what comes twice. Each fact is written down under
//! the name of its order, many with one sync, and the figures are the sums.

use std::sync::Arc;
use std::time::Duration;

use levada::{Batch, Broker, Fault, State, Worker};
use stage::Book;

use crate::event::{Step, What};
use crate::outside::Outside;

pub(crate) const GROUP: &str = "analytics";
/// Events that are written down together, and how long the first of them waits for others.
const BATCH_MAX: usize = 64;
const LINGER: Duration = Duration::from_millis(20);

pub(crate) fn worker(broker: &Broker, outside: &Outside) -> Worker<Arc<Book>> {
    let worker = Worker::new(broker, GROUP).state(Arc::clone(&outside.figures));
    worker.batch(BATCH_MAX, LINGER, count).concurrency(2 * BATCH_MAX)
}

async fn count(State(book): State<Arc<Book>>, Batch(steps): Batch<Step>) -> Result<(), Fault> {
    let fact = |step: &Step| {
        let (name, cents) = match &step.what {
            What::Placed(placed) => ("ordered", placed.cents),
            What::Paid { cents } => ("earned", *cents),
            What::Transferred { .. } | What::Cancelled => return None,
        };
        Some((format!("{name} {}", step.order), cents.to_string()))
    };
    let facts: Vec<_> = steps.iter().filter_map(|(_, step)| fact(step)).collect();
    tokio::task::block_in_place(|| book.write_all(&facts))?;
    Ok(())
}
