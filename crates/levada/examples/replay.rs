//! What happened: read again from the beginning, then what comes. No group, nothing acknowledged,
//! nobody disturbed. `replay [URL]`; it ends by itself.

use levada::{Event, Reader, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Login {
    name: String,
}

impl Event for Login {
    const STREAM: &'static str = "example-logins";
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    let producer = broker.producer();
    let login = |name: &str| Login { name: name.to_owned() };
    producer.send_all(&[login("ada"), login("grace")]).await?;

    let mut reader = Reader::from_start::<Login>(&broker).await?;
    println!("{} before", reader.replay().await?.len());
    producer.send(&login("edsger")).await?;
    let (id, login) = reader.next_event::<Login>().await?;
    println!("{id}: {}", login?.name);

    let mut again = Reader::from_id::<Login>(&broker, id).await?;
    let (_, login) = again.next_event::<Login>().await?;
    println!("again: {}", login?.name);
    Ok(())
}
