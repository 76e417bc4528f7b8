//! What happens to an order, and what is sent for later: the two streams of this application.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a repeated step is known, and among how many of a partition: as much as Redis can.
const KNOWN_FOR: Duration = Duration::from_hours(24);
const STEPS_KNOWN_MAX: u64 = 10_000;
/// Partitions of the stream of orders: each is handled in order by one worker at a time.
const PARTITIONS: u32 = 4;

/// One step of an order. All steps of an order have its name as key, so they stand in one partition
/// in the order in which they happened.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) order: String,
    pub(crate) what: What,
}

/// What happened.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A customer has ordered.
    Placed(Placed),
    /// The bank says that money of the customer has come.
    Transferred { cents: u64 },
    /// It is paid, and will not be cancelled any more.
    Paid { cents: u64 },
    /// It was not paid in time, and will not be paid any more.
    Cancelled,
}

/// What a customer asked for.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub(crate) item: String,
    pub(crate) pieces: u64,
    pub(crate) cents: u64,
    pub(crate) method: Method,
    /// The time on the customer's clock, in unix milliseconds. It is shown and decides nothing:
    /// such clocks are wrong by hours.
    pub(crate) clock_ms: u64,
}

/// How it is paid.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// By a card, which we charge.
    Card { issuer: String },
    /// By a transfer, which comes in time or not.
    Transfer,
}

impl levada::Event for Step {
    const STREAM: &'static str = "orders";

    fn key(&self) -> Option<&str> {
        Some(&self.order)
    }

    /// An order has each step once: who sends it again, the customer's second click or a worker
    /// that was killed behind the first send, appends nothing.
    fn idempotency_key(&self) -> Option<String> {
        let what = match self.what {
            What::Placed(_) => "placed",
            What::Transferred { .. } => "transferred",
            What::Paid { .. } => "paid",
            What::Cancelled => "cancelled",
        };
        Some(format!("{what}:{}", self.order))
    }
}

/// The time to pay is over. It is sent for later, when an order is placed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unpaid {
    pub(crate) order: String,
}

impl levada::Event for Unpaid {
    const STREAM: &'static str = "orders-unpaid";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

/// Connects to where the streams are.
pub(crate) async fn connect(url: &str) -> levada::Result<levada::Broker> {
    levada::connect(url).await?.partitioned(<Step as levada::Event>::STREAM, PARTITIONS).await
}

/// Has the server know each step again that it has, for longer than a worker can be gone that was
/// killed behind its send.
pub(crate) async fn know_again(broker: &levada::Broker) -> levada::Result<()> {
    let stream = <Step as levada::Event>::STREAM;
    match broker.dedup_window(stream, KNOWN_FOR, STEPS_KNOWN_MAX).await {
        Err(levada::Error::Unsupported { backend, what }) => {
            println!("{backend}: {what}; a step may stand there twice");
            Ok(())
        }
        done => done,
    }
}

/// The partitions of the stream of orders.
pub(crate) fn partitions(broker: &levada::Broker) -> Vec<String> {
    let topic = broker.topic(<Step as levada::Event>::STREAM);
    topic.map_or_else(Vec::new, |topic| topic.streams().concat())
}
