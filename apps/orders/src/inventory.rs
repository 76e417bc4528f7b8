//! The group `inventory`: takes pieces from the shelf when an order is placed, and puts them back
//! when it is cancelled.
//!
//! `stock = stock - pieces` would be done again when an event comes again. What is written down is
//! therefore who took what, once for each order, and the stock is the sum of it.

use std::sync::Arc;
use std::time::Duration;

use levada::{Broker, Fault, Msg, Retry, State, Worker};
use stage::Book;

use crate::event::{Step, What};
use crate::outside::{Outside, record};

pub(crate) const GROUP: &str = "inventory";

pub(crate) fn worker(broker: &Broker, outside: &Outside) -> Worker<Arc<Book>> {
    // A beginning that a killed worker held comes when its lease is over: longer than that.
    let retry = Retry::fixed(200, Duration::from_millis(500));
    Worker::new(broker, GROUP).state(Arc::clone(&outside.warehouse)).handle(shelve).retry(retry)
}

async fn shelve(State(book): State<Arc<Book>>, Msg(step): Msg<Step>) -> Result<(), Fault> {
    let taken = format!("take {}", step.order);
    match step.what {
        What::Placed(placed) => {
            record(&book, &taken, &format!("{} {}", placed.pieces, placed.item))
        }
        What::Cancelled => {
            // This group is not ordered: the end may overtake the beginning, and then has to wait.
            let pieces = book.get(&taken).ok_or_else(|| Fault::new("nothing was taken yet"))?;
            record(&book, &format!("put back {}", step.order), &pieces)
        }
        What::Transferred { .. } | What::Paid { .. } => Ok(()),
    }
}
