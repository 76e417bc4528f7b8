//! The group `payment`: charges cards, and takes notice of transfers.
//!
//! Issuers that do not answer are tried again behind growing rests; behind the last attempt the
//! step is a dead letter, which somebody looks at and gives back.

use std::time::Duration;

use levada::{Attempt, Broker, Fault, Msg, Producer, Retry, State, Worker};

use crate::decision::{Decision, Decisions};
use crate::event::{Method, Step, What};
use crate::outside::Outside;

pub(crate) const GROUP: &str = "payment";

/// What a payment needs.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    outside: Outside,
    decisions: Decisions,
}

pub(crate) fn worker(broker: &Broker, outside: &Outside) -> Worker<Desk> {
    let desk = Desk { outside: outside.clone(), decisions: Decisions::new(broker) };
    let (base, max) = (Duration::from_millis(50), Duration::from_secs(1));
    let retry = Retry { max_attempts: 6, base, factor: 2.0, max, jitter: 0.2 };
    Worker::new(broker, GROUP).state(desk).handle(pay).retry(retry)
}

async fn pay(
    State(desk): State<Desk>,
    Attempt(attempt): Attempt,
    producer: Producer,
    Msg(Step { order, what }): Msg<Step>,
) -> Result<(), Fault> {
    let cents = match what {
        What::Placed(placed) => match placed.method {
            Method::Card { issuer } => {
                desk.outside.authorise(&issuer, attempt)?;
                placed.cents
            }
            Method::Transfer => return Ok(()), // The bank will tell.
        },
        What::Transferred { cents } => cents,
        What::Paid { .. } | What::Cancelled => return Ok(()),
    };
    if !desk.decisions.is(&order, Decision::Paid).await? {
        return desk.outside.refund(&order, cents);
    }
    desk.outside.capture(&order, cents)?;
    producer.send(&Step { order, what: What::Paid { cents } }).await?;
    Ok(())
}
