//! Ask and wait for the answer of a worker. `ask [URL]`; it ends by itself.

use std::time::Duration;

use levada::{Event, Msg, Replies, Worker, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Convert {
    euros: f64,
}

impl Event for Convert {
    const STREAM: &'static str = "example-conversions";
}

async fn convert(replies: Replies, Msg(asked): Msg<Convert>) -> levada::Result<()> {
    replies.send(&(asked.euros * 1.07)).await
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = Worker::new(&broker, "rates").handle(convert);
    let running = tokio::spawn(worker.run(async {
        let _ = stopped.await; // Either way it is time to stop.
    }));
    let asked = Convert { euros: 100.0 };
    let dollars: f64 = broker.producer().request(&asked, Duration::from_secs(10)).await?;
    println!("{} euros are {dollars:.2} dollars", asked.euros);
    drop(stop);
    let drained = running.await.map_err(|error| levada::Error::Closed(error.to_string()))?;
    println!("{:?}", drained?);
    Ok(())
}
