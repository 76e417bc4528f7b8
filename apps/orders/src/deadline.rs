//! The group `deadline`: who has not paid in time is cancelled.
//!
//! An entry is sent for later when an order is placed, and taken back when it is paid. No process
//! sleeps meanwhile: the server keeps it, over restarts too. When it is due is counted from the
//! entry of the order, by the server's clock; the customer's may say what it likes.

use std::time::{Duration, SystemTime};

use levada::{Broker, Cache, Event as _, Fault, Id, Msg, Producer, Scheduled, State, Worker};

use crate::decision::{Decision, Decisions};
use crate::event::{Method, Step, Unpaid, What};

pub(crate) const GROUP: &str = "deadline";

/// What a deadline needs.
#[derive(Clone, Debug)]
pub(crate) struct Clerk {
    broker: Broker,
    decisions: Decisions,
    /// What each deadline can be taken back by.
    handles: Cache,
    /// The time to pay.
    limit: Duration,
}

pub(crate) fn worker(broker: &Broker, limit: Duration) -> Worker<Clerk> {
    let clerk = Clerk {
        broker: broker.clone(),
        decisions: Decisions::new(broker),
        handles: Cache::new(broker, "orders:deadline"),
        limit,
    };
    Worker::new(broker, GROUP).state(clerk).handle(expire).handle(watch).ordered_by_key()
}

async fn watch(
    State(clerk): State<Clerk>,
    Id(id): Id,
    producer: Producer,
    Msg(Step { order, what }): Msg<Step>,
) -> Result<(), Fault> {
    match what {
        What::Placed(placed) if placed.method == Method::Transfer => {
            let due = SystemTime::UNIX_EPOCH + Duration::from_millis(id.ms) + clerk.limit;
            let scheduled = producer.send_at(&Unpaid { order: order.clone() }, due).await?;
            // It stays no longer than anybody may want to take it back.
            let keep = Some(clerk.limit + Duration::from_hours(24));
            clerk.handles.set(&order, &scheduled.handle(), keep).await?;
        }
        What::Paid { .. } => {
            if let Some(handle) = clerk.handles.get::<String>(&order).await? {
                // If it is too late for that, the decision says that there is nothing to do.
                Scheduled::from_handle(&clerk.broker, Unpaid::STREAM, &handle).cancel().await?;
            }
        }
        What::Placed(_) | What::Transferred { .. } | What::Cancelled => {}
    }
    Ok(())
}

async fn expire(
    State(clerk): State<Clerk>,
    producer: Producer,
    Msg(Unpaid { order }): Msg<Unpaid>,
) -> Result<(), Fault> {
    if clerk.decisions.is(&order, Decision::Cancelled).await? {
        producer.send(&Step { order, what: What::Cancelled }).await?;
    }
    Ok(())
}
