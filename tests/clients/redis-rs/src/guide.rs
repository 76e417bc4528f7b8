//! The example of docs/clients.md, word for word: a test of `xtask` compares both.

use std::time::Duration;

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig};

/// It compiles; it would ask the port that it names.
#[expect(dead_code)]
async fn reads() -> redis::RedisResult<StreamReadReply> {
    let client = redis::Client::open("redis://127.0.0.1/?protocol=resp3")?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
    let mut reader = client.get_multiplexed_async_connection_with_config(&config).await?;
    let options = StreamReadOptions::default().group("billing", "one").block(5000);
    let reply: StreamReadReply = reader.xread_options(&["orders"], &[">"], &options).await?;
    Ok(reply)
}
