//! The group `shipping`: a label when an order is placed, the parcel when it is paid, the label
//! into the bin when it is cancelled; in this order for each order.
//!
//! Nothing here looks at what was done before: the steps of an order come one after the other,
//! also when the carrier's line is busy and when this process was killed, because each partition
//! belongs to one worker at a time, which first finishes what was left of the last.

use std::time::Duration;

use levada::{Attempt, Broker, Fault, Msg, Retry, State, Worker};

use crate::event::{Step, What};
use crate::outside::Outside;

pub(crate) const GROUP: &str = "shipping";

pub(crate) fn worker(broker: &Broker, outside: &Outside) -> Worker<Outside> {
    let retry = Retry::fixed(10, Duration::from_millis(20));
    Worker::new(broker, GROUP).state(outside.clone()).handle(ship).retry(retry).exclusive()
}

async fn ship(
    State(outside): State<Outside>,
    Attempt(attempt): Attempt,
    Msg(step): Msg<Step>,
) -> Result<(), Fault> {
    match step.what {
        What::Placed(_) => outside.parcel(&step.order, "label", attempt),
        What::Paid { .. } => outside.parcel(&step.order, "ship", attempt),
        What::Cancelled => outside.parcel(&step.order, "discard", attempt),
        What::Transferred { .. } => Ok(()),
    }
}
