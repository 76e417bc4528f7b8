//! How every part of the application reaches the server, and what it does when it is away.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use redis::{Client, Connection, RedisError, RedisResult, RetryMethod};

/// The stream that carries the flights.
pub(crate) const STREAM: &str = "flights";
/// The consumer group that adds up their delays.
pub(crate) const GROUP: &str = "delays";
/// How long `XREADGROUP` waits for new entries.
pub(crate) const BLOCK_MS: usize = 1000;

/// Above `BLOCK_MS`: a shorter limit would end a blocked read after the server had handed out
/// its entries, and they would lie pending until somebody claims them.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Long enough for a restart and its recovery, short enough that an orphan ends by itself.
const AWAY_MAX: Duration = Duration::from_mins(1);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Connects to `url`, trying again with growing pauses for a minute.
///
/// Returns only once the server answers PING: Redis accepts connections while it still loads,
/// and would refuse the head of a pipeline and take its tail.
pub(crate) fn connect(url: &str) -> Result<Connection> {
    let client = Client::open(url).with_context(|| format!("{url} is not a Redis address"))?;
    let started = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        match attempt(&client) {
            Ok(connection) => return Ok(connection),
            Err(error) if passing(&error) && started.elapsed() < AWAY_MAX => {
                thread::sleep(pause);
                pause = PAUSE_MAX.min(pause * 2);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot reach {url}")),
        }
    }
}

/// Connects once and asks for a PONG.
pub(crate) fn attempt(client: &Client) -> RedisResult<Connection> {
    let mut connection = client.get_connection_with_timeout(REPLY_TIMEOUT)?;
    connection.set_read_timeout(Some(REPLY_TIMEOUT))?;
    connection.set_write_timeout(Some(REPLY_TIMEOUT))?;
    redis::cmd("PING").exec(&mut connection)?;
    Ok(connection)
}

/// Whether a new connection can mend this: the link broke, or the server is still loading.
pub(crate) fn passing(error: &RedisError) -> bool {
    matches!(
        error.retry_method(),
        RetryMethod::Reconnect | RetryMethod::RetryImmediately | RetryMethod::WaitAndRetry
    )
}
