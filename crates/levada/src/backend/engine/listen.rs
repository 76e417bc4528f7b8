//! Channels of the engine, for asynchronous listeners.
//!
//! The engine's queue is taken from by a blocking call, which tokio's pool for such calls carries
//! out: one thread of it for each listener, until the listener is dropped.

use std::sync::Arc;
use std::time::Duration;

use levada_engine::Engine;
use tokio::sync::mpsc;

use super::of;
use crate::backend::{Heard, Listener};
use crate::error::{Error, Result};

/// Messages taken from the engine and not yet by the listener. The engine's own queue, which is
/// bounded in bytes, stands before it.
const TAKEN_MAX: usize = 64;
/// How often the thread looks whether its listener is still there.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn listen(engine: &Arc<Engine>, channels: &[String]) -> Result<Box<dyn Listener>> {
    let (engine, channels) = (Arc::clone(engine), channels.to_vec());
    let (sender, receiver) = mpsc::channel(TAKEN_MAX);
    let subscribe = move || {
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        engine.subscribe(&names)
    };
    let subscribed = tokio::task::spawn_blocking(subscribe).await;
    let subscription = subscribed.map_err(|error| Error::Closed(error.to_string()))?.map_err(of)?;
    tokio::task::spawn_blocking(move || {
        while !sender.is_closed() {
            match subscription.recv(Some(LOOK)) {
                Ok(Some(message)) => {
                    let channel = String::from_utf8_lossy(&message.channel).into_owned();
                    if sender.blocking_send((channel, message.payload.to_vec())).is_err() {
                        break;
                    }
                }
                Ok(None) => {}
                Err(_) => break, // Overrun or closed: either way it has ended.
            }
        }
    });
    Ok(Box::new(Listening(receiver)))
}

struct Listening(mpsc::Receiver<(String, Vec<u8>)>);

impl Listener for Listening {
    fn next(&mut self) -> Heard<'_> {
        Box::pin(self.0.recv())
    }
}
