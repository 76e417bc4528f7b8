//! The smallest: clicks are sent and counted. `hello [URL]`, with `memory:`, `embedded:DIRECTORY`,
//! `redis://HOST` or another; it ends at SIGTERM, or by itself when it has counted three.

use levada::{Event, Fault, Msg, State, Worker, connect, terminated};
use tokio::sync::mpsc::{Sender, channel};

#[derive(serde::Serialize, serde::Deserialize)]
struct Click {
    code: String,
}

impl Event for Click {
    const STREAM: &'static str = "example-clicks";
}

async fn count(State(counted): State<Sender<()>>, Msg(click): Msg<Click>) -> Result<(), Fault> {
    println!("{}", click.code);
    counted.send(()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    for code in ["a", "b", "c"] {
        broker.producer().send(&Click { code: code.into() }).await?;
    }
    let (counted, mut counts) = channel(1);
    let terminated = terminated()?;
    let shutdown = async {
        let enough = async {
            for _ in 0..3 {
                counts.recv().await;
            }
        };
        tokio::select! { () = enough => {}, () = terminated => {} }
    };
    let drained = Worker::new(&broker, "hello").state(counted).handle(count).run(shutdown).await?;
    println!("{} done", drained.acked);
    Ok(())
}
