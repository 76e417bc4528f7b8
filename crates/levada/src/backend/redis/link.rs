//! One connection that comes back: commands in, values out.
//!
//! A connection that broke or did not answer in time is given up, and the next command makes a new
//! one, with growing rests between attempts. Nothing is sent twice: whether a command that got no
//! answer took effect is unknown, and only its caller knows whether it may be repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, Value, cmd};

use super::place::Place;
use super::sentinel;
use crate::error::{Error, Result};

/// Longest wait for an answer of a command that does not block. Far above what a command takes: a
/// durable server may have to wait for a slow disk. (The library's own default, half a second,
/// is below many a sync.)
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);
/// What a blocking read may take beyond the time that it blocks.
const BLOCK_SLACK: Duration = Duration::from_secs(10);
/// Longest attempt to connect.
pub(super) const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a command tries to connect again before it fails.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Rests between attempts to connect: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_secs(1);

/// Where a connection leads.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// One server; a command tries for a while to reach it.
    Server(Client),
    /// One of a cluster: it is tried once, as there may be another by now.
    Node(Client),
    /// One of a cluster that a slot is on its way to: it is asked with ASKING before each command.
    Asked(Client),
    /// The master that sentinels name.
    Watched(Box<Place>),
}

/// The connection on which keys are watched: a transaction that counts on it is sent there or
/// nowhere, as another connection watches nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watching(u64);

/// A connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    target: Target,
    /// Whether it is the one that blocks: such a connection is not shared.
    blocks: bool,
    /// The connection and its number. Held for no longer than a clone, hence not asynchronous.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
    /// One attempt to connect at a time; everybody else waits for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Link {
    /// A connection for commands that do not block; any number at a time.
    pub(super) fn shared(target: Target) -> Self {
        Self::new(target, false)
    }

    /// A connection for one command at a time, which may block.
    pub(super) fn blocking(target: Target) -> Self {
        Self::new(target, true)
    }

    fn new(target: Target, blocks: bool) -> Self {
        Self {
            target,
            blocks,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Another connection to the same server.
    pub(super) fn another(&self, blocks: bool) -> Self {
        Self::new(self.target.clone(), blocks)
    }

    /// A client of the server, for connections of another kind.
    pub(super) async fn client(&self) -> Result<Client> {
        match &self.target {
            Target::Server(client) | Target::Node(client) | Target::Asked(client) => {
                Ok(client.clone())
            }
            Target::Watched(place) => sentinel::master(place).await,
        }
    }

    /// Whether there is a connection, or one can be made: nothing is sent.
    pub(super) async fn ready(&self) -> Result<()> {
        self.connection().await.map(drop)
    }

    /// Connects now, once: an address that is wrong should be told at the start.
    pub(super) async fn connect(&self) -> Result<()> {
        let connection = self.attempt().await?;
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(connection);
        Ok(())
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn run(&self, command: &Cmd) -> Result<Value> {
        if self.is_asked() {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("ASKING").add_command(command.clone());
            return self.send_all(&pipeline, 1).await?.pop().unwrap_or_else(nothing);
        }
        let (number, mut connection) = self.connection().await?;
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(self.failed(number, &error.into())),
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
        if !self.is_asked() {
            return self.send_all(pipeline, 0).await;
        }
        let mut asking = Pipeline::with_capacity(2 * pipeline.len());
        for command in pipeline.cmd_iter() {
            asking.cmd("ASKING").add_command(command.clone());
        }
        let answers = self.send_all(&asking, 0).await?;
        Ok(answers.into_iter().skip(1).step_by(2).collect())
    }

    fn is_asked(&self) -> bool {
        matches!(self.target, Target::Asked(_))
    }

    /// Sends commands in one write; answers one value or error each, but for the first few.
    async fn send_all(&self, pipeline: &Pipeline, skipped: usize) -> Result<Vec<Result<Value>>> {
        let (number, connection) = self.connection().await?;
        self.send_on(number, connection, pipeline, skipped).await
    }

    async fn send_on(
        &self,
        number: u64,
        mut connection: MultiplexedConnection,
        pipeline: &Pipeline,
        skipped: usize,
    ) -> Result<Vec<Result<Value>>> {
        let answers = pipeline.len() - skipped;
        match connection.send_packed_commands(pipeline, skipped, answers).await {
            Ok(values) => {
                let split = |value| match value {
                    Value::ServerError(error) => Err(self.failed(number, &error.into())),
                    value => Ok(value),
                };
                Ok(values.into_iter().map(split).collect())
            }
            Err(error) => Err(self.failed(number, &error)),
        }
    }

    /// Watches keys up to the next transaction.
    pub(super) async fn watch(&self, keys: &[&str]) -> Result<Watching> {
        // Where the connection breaks in between, the number is that of an older one.
        let (number, _) = self.connection().await?;
        self.run(cmd("WATCH").arg(keys)).await?;
        Ok(Watching(number))
    }

    /// Sends commands as one transaction; answers the values of EXEC, `None` where a watched key
    /// had changed, or may have: with the connection that watched, its watch has gone.
    pub(super) async fn run_atomic(
        &self,
        watching: Watching,
        commands: Vec<Cmd>,
    ) -> Result<Option<Vec<Value>>> {
        let mut pipeline = Pipeline::new();
        if self.is_asked() {
            pipeline.cmd("ASKING"); // It holds up to EXEC.
        }
        pipeline.cmd("MULTI");
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.cmd("EXEC");
        let (number, connection) = self.connection().await?;
        if number != watching.0 {
            return Ok(None);
        }
        let skipped = usize::from(self.is_asked());
        let mut answers = self.send_on(number, connection, &pipeline, skipped).await?;
        let last = answers.pop();
        // EXEC says only that something was wrong; what was refused says what.
        if let (Some(Err(_)), Some(at)) = (&last, answers.iter().position(Result::is_err)) {
            return Err(answers.swap_remove(at).expect_err("it is one"));
        }
        match last {
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
            || is_master_no_more(error);
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
        let patience = match self.target {
            Target::Node(_) | Target::Asked(_) => Duration::ZERO,
            Target::Server(_) | Target::Watched(_) => RECONNECT_WAIT_MAX,
        };
        let deadline = tokio::time::Instant::now() + patience;
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
                Err(error) if tokio::time::Instant::now() + rest > deadline => return Err(error),
                Err(_) => tokio::time::sleep(rest).await,
            }
            rest = (rest * 2).min(REST_MAX);
        }
    }

    fn here(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.1.clone().map(|connection| (current.0, connection))
    }

    async fn attempt(&self) -> Result<MultiplexedConnection> {
        // A blocking connection must wait longer than it blocks, or entries would be delivered to
        // nobody: `run_blocking` limits each of its commands instead.
        let answer = (!self.blocks).then_some(ANSWER_WAIT_MAX);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WAIT_MAX))
            .set_response_timeout(answer);
        let client = self.client().await?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connecting.map_err(|error| of(&error))?;
        if matches!(self.target, Target::Watched(_)) {
            sentinel::check_role(&mut connection).await?;
        }
        Ok(connection)
    }
}

fn nothing() -> Result<Value> {
    Err(Error::protocol("nothing"))
}

fn split(value: Value) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(of(&error.into())),
        value => Ok(value),
    }
}

/// Whether a server tells that it has become a replica.
fn is_master_no_more(error: &RedisError) -> bool {
    match error.code() {
        Some("READONLY") => true,
        Some("UNBLOCKED") => error.detail().is_some_and(|detail| detail.contains("state changed")),
        _ => false,
    }
}

/// Whether a node of a cluster refused because the cluster is being rearranged: nothing changed,
/// and the same may be asked a little later.
pub(super) fn is_rearranging(error: &Error) -> bool {
    const CODES: [&str; 4] = ["CLUSTERDOWN ", "TRYAGAIN ", "LOADING ", "MASTERDOWN "];
    matches!(error, Error::Connection(text) if CODES.iter().any(|code| text.starts_with(code)))
}

/// What the caller should do about an error of the client.
pub(super) fn of(error: &RedisError) -> Error {
    if error.is_timeout() {
        return Error::Timeout(ANSWER_WAIT_MAX);
    }
    if matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig) {
        return Error::Refused(error.to_string());
    }
    if error.kind() == ErrorKind::Parse {
        return Error::Connection("what answers speaks no RESP".to_owned());
    }
    let Some(code) = error.code() else {
        return Error::Connection(error.to_string());
    };
    let message = format!("{code} {}", error.detail().unwrap_or_default());
    match code {
        "MOVED" | "ASK" => Error::Moved(message),
        "UNBLOCKED" if is_master_no_more(error) => Error::Connection(message),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redis::cmd;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers OK to everything; the first connection ends behind its WATCH. Answers what was said
    /// on the others.
    async fn hang_up_behind_watch(listener: TcpListener, said: Arc<Mutex<String>>) {
        let mut is_first = true;
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 4096];
            while let Ok(size @ 1..) = stream.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
                let commands = text.lines().filter(|line| line.starts_with('*')).count();
                if stream.write_all("+OK\r\n".repeat(commands).as_bytes()).await.is_err() {
                    break;
                }
                if is_first && text.contains("WATCH") {
                    break;
                }
                if !is_first {
                    said.lock().expect("no panic").push_str(&text);
                }
            }
            is_first = false;
        }
    }

    #[tokio::test]
    async fn a_transaction_is_not_sent_where_nothing_is_watched() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let said = Arc::<Mutex<String>>::default();
        let server = tokio::spawn(hang_up_behind_watch(listener, Arc::clone(&said)));
        let client = Client::open(format!("redis://{address}")).expect("a client");
        let link = Link::shared(Target::Server(client));
        let watching = link.watch(&["k"]).await.expect("watched");
        while link.run(cmd("GET").arg("k")).await.is_ok() {} // Until the end is noticed.
        let set = || vec![cmd("DEL").arg("k").clone()];
        assert_eq!(link.run_atomic(watching, set()).await.expect("refused"), None);
        assert!(!said.lock().expect("no panic").contains("MULTI"), "it was sent");
        link.watch(&["k"]).await.expect("watched anew");
        assert!(said.lock().expect("no panic").contains("WATCH"));
        server.abort();
    }
}
