//! Events for later, one of which is cancelled in time. `later [URL]`; it ends by itself.

use std::time::Duration;

use levada::{Event, Msg, Worker, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Reminder {
    text: String,
}

impl Event for Reminder {
    const STREAM: &'static str = "example-reminders";
}

async fn remind(Msg(reminder): Msg<Reminder>) {
    println!("remember: {}", reminder.text);
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    let producer = broker.producer();
    let reminder = |text: &str| Reminder { text: text.to_owned() };
    let wait = Duration::from_millis(300);
    producer.send_in(&reminder("water the plants"), wait).await?;
    let call = producer.send_in(&reminder("call back"), wait).await?;
    println!("cancelled: {}", call.cancel().await?);
    let worker = Worker::new(&broker, "reminders").handle(remind).poll(Duration::from_millis(50));
    println!("{:?}", worker.run(tokio::time::sleep(Duration::from_secs(1))).await?);
    Ok(())
}
