//! Publish and subscribe: a connection for each listener.

use futures_util::StreamExt as _;
use redis::aio::PubSub;

use super::link::{self, Link};
use crate::backend::{Heard, Listener};
use crate::error::Result;

pub(super) async fn listen(link: &Link, channels: &[String]) -> Result<Box<dyn Listener>> {
    let failed = |error: redis::RedisError| link::of(&error);
    let mut connection = link.client().await?.get_async_pubsub().await.map_err(failed)?;
    connection.subscribe(channels).await.map_err(failed)?;
    Ok(Box::new(Subscribed(connection)))
}

struct Subscribed(PubSub);

impl Listener for Subscribed {
    fn next(&mut self) -> Heard<'_> {
        Box::pin(async move {
            let message = self.0.on_message().next().await?;
            Some((message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec()))
        })
    }
}
