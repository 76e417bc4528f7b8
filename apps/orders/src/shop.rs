//! The shop: takes orders, and tells the customer that they are taken when they are on disk.
//!
//! It may be killed between two lines. The customer then has no answer and asks again, and the
//! request has the same idempotency key: the order stands in the stream once.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use levada::backend::{Append, Once};
use levada::{Broker, Event as _, event};

use crate::event::{Step, What};
use crate::outside::{Outside, record};
use crate::plan::{self, Fate};

/// What the book calls an entry that is no order.
pub(crate) const NONSENSE: &str = "nonsense";

/// Takes the orders from 1 to `count` that were not acknowledged before.
pub(crate) async fn open(broker: Broker, outside: Outside, count: u64) -> Result<()> {
    for number in 1..=count {
        if outside.shop.get(&plan::name(number)).is_none() {
            take(&broker, &outside, number).await.with_context(|| plan::name(number))?;
        }
    }
    if outside.shop.get(NONSENSE).is_none() {
        nonsense(&broker).await.context("what is no order")?;
        write_down(&outside, NONSENSE, "")?;
    }
    Ok(())
}

async fn take(broker: &Broker, outside: &Outside, number: u64) -> Result<()> {
    let (producer, order) = (broker.producer(), plan::name(number));
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let placed = plan::placed(number, u64::try_from(now_ms)?);
    let cents = placed.cents;
    let step = Step { order: order.clone(), what: What::Placed(placed) };
    let id = producer.send(&step).await?;
    if plan::is_clicked_twice(number) {
        let again = producer.send(&step).await?;
        anyhow::ensure!(again == id, "a second click made the entry {again} beside {id}");
    }
    if plan::is_sent_by_two(number) {
        producer.named("another shop").send(&step).await?;
    }
    if plan::fate(number) == Fate::Transfer {
        let what = What::Transferred { cents };
        producer.send(&Step { order: order.clone(), what }).await?;
    }
    write_down(outside, &order, &id.to_string())
}

fn write_down(outside: &Outside, key: &str, text: &str) -> Result<()> {
    record(&outside.shop, key, text).map_err(|it| anyhow::anyhow!("the shop's book: {it:?}"))
}

/// Somebody writes into the stream what is no step of an order.
async fn nonsense(broker: &Broker) -> Result<()> {
    let topic = broker.topic(Step::STREAM).context("orders have partitions")?;
    let once = Once { producer: "a script".to_owned(), id: NONSENSE.to_owned() };
    let entry = Append {
        stream: topic.stream_of(NONSENSE.as_bytes()),
        fields: [(event::DATA, "{\"order\": lamp}")].into_iter().collect(),
        once: Some(once),
    };
    for answer in broker.backend().append(vec![entry]).await? {
        answer?;
    }
    Ok(())
}
