//! A migration: from publish and subscribe to a stream, without a moment in which anything stops.
//!
//! 1. What there was: a publisher, a listener; what is said while the listener is away is lost.
//! 2. The publisher writes into the stream, and publishes as before; the listener notices nothing.
//! 3. A group reads the stream beside the listener. It may be away and misses nothing.
//! 4. The listener goes, then the channel.

use std::collections::BTreeSet;

use anyhow::Result;
use levada::{Broker, Channel, Event, Listening, Msg, State, Worker};
use serde::{Deserialize, Serialize};
use stage::Table;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What is said.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Signal {
    number: u64,
}

impl Event for Signal {
    const STREAM: &'static str = "signals";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.number.to_string())
    }
}

/// Where the publisher writes, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Channel,
    Both,
    Stream,
}

/// The publisher through all stages. The stream comes first: what is not kept is not said.
struct Publisher {
    broker: Broker,
    channel: Channel<Signal>,
}

impl Publisher {
    async fn say(&self, stage: Stage, numbers: std::ops::RangeInclusive<u64>) -> Result<()> {
        for number in numbers {
            let signal = Signal { number };
            if stage != Stage::Channel {
                self.broker.producer().send(&signal).await?;
            }
            if stage != Stage::Stream {
                self.channel.publish(&signal).await?;
            }
        }
        Ok(())
    }
}

async fn hear(State(tell): State<UnboundedSender<u64>>, Msg(signal): Msg<Signal>) {
    // Who has gone needs it no more.
    let _ = tell.send(signal.number);
}

/// Moves over, in parts of so many signals.
pub(crate) async fn run(broker: &Broker, part: u64, table: &mut Table) -> Result<()> {
    let channel = || Channel::new(broker, "signals");
    let publisher = Publisher { broker: broker.clone(), channel: channel() };
    let part_of = |number: u64| (number * part + 1)..=((number + 1) * part);
    let mut old = BTreeSet::new();

    // 1. As it was.
    let mut heard = channel().listen().await?;
    publisher.say(Stage::Channel, part_of(0)).await?;
    take(&mut heard, part, &mut old).await?;
    drop(heard); // It is restarted, say.
    publisher.say(Stage::Channel, part_of(1)).await?;
    let mut heard = channel().listen().await?;

    // 2. Both.
    publisher.say(Stage::Both, part_of(2)).await?;
    take(&mut heard, part, &mut old).await?;
    table.row("pub/sub: heard of three parts, one said into the void", 2 * part, old.len());

    // 3. A group beside it, which is away for a part.
    let (tell, mut told) = unbounded_channel();
    let worker = || Worker::new(broker, "screens").state(tell.clone()).handle(hear);
    worker().run_until_idle().await?;
    publisher.say(Stage::Both, part_of(3)).await?;
    take(&mut heard, part, &mut old).await?;

    // 4. The listener goes, then the channel.
    drop(heard);
    publisher.say(Stage::Stream, part_of(4)).await?;
    worker().run_until_idle().await?;
    let mut new = BTreeSet::new();
    let mut count = 0;
    while let Ok(number) = told.try_recv() {
        new.insert(number);
        count += 1;
    }
    let expected: BTreeSet<u64> = (2 * part + 1..=5 * part).collect();
    table.row("pub/sub: heard by the group, from the second step on", expected.len(), count);
    table.row("  the same ones, those said while it was away too", true, new == expected);
    let verified = old.iter().filter(|number| **number > 2 * part).all(|it| new.contains(it));
    table.row("  all that the listener heard since, before it went", true, verified);
    Ok(())
}

/// Hears so many.
async fn take(heard: &mut Listening<Signal>, count: u64, all: &mut BTreeSet<u64>) -> Result<()> {
    for _ in 0..count {
        all.insert(heard.next().await?.number);
    }
    Ok(())
}
