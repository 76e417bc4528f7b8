//! One connection that comes back: commands in, values out.
//!
//! A connection that broke or did not answer in time is given up, and the next command makes a new
//! one, with growing rests between attempts. Nothing is sent twice: whether a command that got no
//! answer took effect is unknown, and only its caller knows whether it may be repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, Value};

use crate::error::{Error, Result};

/// Longest wait for an answer of a command that does not block. Far above what a command takes: a
/// durable server may have to wait for a slow disk. (The library's own default, half a second,
/// is below many a sync.)
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);
/// What a blocking read may take beyond the time that it blocks.
const BLOCK_SLACK: Duration = Duration::from_secs(10);
/// Longest attempt to connect.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a command tries to connect again before it fails.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Rests between attempts to connect: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_secs(1);

/// A connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    /// Whether it is the one that blocks: such a connection is not shared.
    blocks: bool,
    /// The connection and its number. Held for no longer than a clone, hence not asynchronous.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
    /// One attempt to connect at a time; everybody else waits for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Link {
    /// A connection for commands that do not block; any number at a time.
    pub(super) fn shared(client: Client) -> Self {
        Self::new(client, false)
    }

    /// A connection for one command at a time, which may block.
    pub(super) fn blocking(client: Client) -> Self {
        Self::new(client, true)
    }

    fn new(client: Client, blocks: bool) -> Self {
        Self {
            client,
            blocks,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Another connection to the same server.
    pub(super) fn another(&self, blocks: bool) -> Self {
        Self::new(self.client.clone(), blocks)
    }

    /// The client behind it, for connections of another kind.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Connects now, once: an address that is wrong should be told at the start.
    pub(super) async fn connect(&self) -> Result<()> {
        let connection = self.attempt().await.map_err(|error| of(&error))?;
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(connection);
        Ok(())
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn run(&self, command: &Cmd) -> Result<Value> {
        let (number, mut connection) = self.connection().await?;
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(of(&error.into())),
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(number, &error)),
        }
    }

    /// Sends a command that may block for so long.
    pub(super) async fn run_blocking(&self, command: &Cmd, wait: Duration) -> Result<Value> {
        let limit = wait + BLOCK_SLACK;
        if let Ok(outcome) = tokio::time::timeout(limit, self.run(command)).await {
            return outcome;
        }
        // The command may still be carried out. Its connection goes, so that its answer cannot be
        // taken for that of the next one; what it delivered is claimed later.
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
        Err(Error::Timeout(limit))
    }

    /// Sends commands in one write; answers one value or error each.
    pub(super) async fn run_all(&self, pipeline: &Pipeline) -> Result<Vec<Result<Value>>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let (number, mut connection) = self.connection().await?;
        match connection.send_packed_commands(pipeline, 0, pipeline.len()).await {
            Ok(values) => Ok(values.into_iter().map(split).collect()),
            Err(error) => Err(self.failed(number, &error)),
        }
    }

    /// Sends commands as one transaction; answers the values of EXEC, `None` where a watched key
    /// had changed.
    pub(super) async fn run_atomic(&self, commands: Vec<Cmd>) -> Result<Option<Vec<Value>>> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("MULTI");
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.cmd("EXEC");
        match self.run_all(&pipeline).await?.pop() {
            Some(Ok(Value::Array(values))) => {
                values.into_iter().map(split).collect::<Result<_>>().map(Some)
            }
            Some(Ok(Value::Nil)) => Ok(None),
            Some(Ok(other)) => Err(Error::protocol(other)),
            Some(Err(error)) => Err(error),
            None => Err(Error::protocol("nothing")),
        }
    }

    fn failed(&self, number: u64, error: &RedisError) -> Error {
        let broken = error.is_io_error()
            || error.is_timeout()
            || error.is_connection_dropped()
            || error.is_unrecoverable_error()
            || error.code() == Some("READONLY");
        if broken {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.0 == number {
                current.1 = None;
            }
        }
        of(error)
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection)> {
        if let Some(found) = self.here() {
            return Ok(found);
        }
        let _turn = self.connecting.lock().await;
        let deadline = tokio::time::Instant::now() + RECONNECT_WAIT_MAX;
        let mut rest = REST_MIN;
        loop {
            if let Some(found) = self.here() {
                return Ok(found);
            }
            match self.attempt().await {
                Ok(connection) => {
                    let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                    *current = (current.0 + 1, Some(connection));
                }
                Err(error) if tokio::time::Instant::now() + rest > deadline => {
                    return Err(of(&error));
                }
                Err(_) => tokio::time::sleep(rest).await,
            }
            rest = (rest * 2).min(REST_MAX);
        }
    }

    fn here(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.1.clone().map(|connection| (current.0, connection))
    }

    async fn attempt(&self) -> Result<MultiplexedConnection, RedisError> {
        // A blocking connection must wait longer than it blocks, or entries would be delivered to
        // nobody: `run_blocking` limits each of its commands instead.
        let answer = (!self.blocks).then_some(ANSWER_WAIT_MAX);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WAIT_MAX))
            .set_response_timeout(answer);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

fn split(value: Value) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(of(&error.into())),
        value => Ok(value),
    }
}

/// What the caller should do about an error of the client.
pub(super) fn of(error: &RedisError) -> Error {
    if error.is_timeout() {
        return Error::Timeout(ANSWER_WAIT_MAX);
    }
    if matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig) {
        return Error::Refused(error.to_string());
    }
    let Some(code) = error.code() else {
        return Error::Connection(error.to_string());
    };
    let message = format!("{code} {}", error.detail().unwrap_or_default());
    match code {
        "NOGROUP" | "UNBLOCKED" => Error::NotFound(message),
        "BUSYGROUP" => Error::Conflict(message),
        "LIMIT" | "OOM" | "OOMDISK" => Error::Full(message),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY" | "IOERR" => {
            Error::Connection(message)
        }
        _ if message.contains("no such key") || message.contains("key to exist") => {
            Error::NotFound(message)
        }
        _ => Error::Refused(message),
    }
}
