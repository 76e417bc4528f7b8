//! One connection to a server that is read from or written to: every error names the server, the
//! command and its key, and no password ever stands in one.

use anyhow::{Context as _, Error, Result, ensure};
use redis::{Arg, Cmd, Connection, ConnectionLike as _, Pipeline, RedisError, Value};

use super::reply;
use crate::say;

/// Bytes of an argument that an error shows.
const SHOWN_BYTES_MAX: usize = 60;

/// A connected server.
pub(crate) struct Peer {
    /// Its address, without credentials.
    pub(crate) name: String,
    /// Which run of which server this is: the same for two addresses of one server.
    pub(crate) run_id: String,
    /// Major and minor version of Redis that it speaks like.
    pub(crate) version: (u32, u32),
    /// The database that is selected.
    pub(crate) database: i64,
    /// It has DUMP and RESTORE.
    pub(crate) payloads: bool,
    /// It has XNACK, and so entries that are pending and nobody's.
    pub(crate) releases: bool,
    /// It has XCFGGET, and so policies of streams and groups.
    pub(crate) policies: bool,
    /// With credentials: never shown.
    url: String,
    connection: Connection,
}

impl Peer {
    /// Connects to `redis://[[user]:password@]host[:port][/database]` and asks what it is.
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let (client, connection) = say::connect(url)?;
        let info = client.get_connection_info();
        let (name, database) = (info.addr().to_string(), info.redis_settings().db());
        let mut peer = Self {
            name,
            run_id: String::new(),
            version: (0, 0),
            database,
            payloads: false,
            releases: false,
            policies: false,
            url: url.to_owned(),
            connection,
        };
        let info = peer.ask(redis::cmd("INFO").arg("server"))?;
        let info = String::from_utf8_lossy(&reply::bytes(info)?).into_owned();
        let pair =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        pair("run_id").unwrap_or_default().clone_into(&mut peer.run_id);
        let version = pair("redis_version").context("INFO shows no redis_version")?;
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        peer.version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        // Asked for, not tried: an error that quotes a binary key cannot be read by the client.
        peer.payloads = peer.has("dump")? && peer.has("restore")?;
        peer.releases = peer.has("xnack")?;
        peer.policies = peer.has("xcfgget")?;
        ensure!(peer.version >= (6, 2), "{} speaks Redis {version}: 6.2 is needed", peer.name);
        Ok(peer)
    }

    /// Replaces the connection by a new one.
    pub(crate) fn renew(&mut self) -> Result<()> {
        *self = Self::connect(&self.url)?;
        Ok(())
    }

    fn has(&mut self, command: &str) -> Result<bool> {
        let known = reply::array(self.ask(redis::cmd("COMMAND").arg("INFO").arg(command))?)?;
        Ok(known.iter().any(|known| matches!(known, Value::Array(parts) if !parts.is_empty())))
    }

    /// Selects a database.
    pub(crate) fn select(&mut self, database: i64) -> Result<()> {
        if self.database != database {
            self.ask(redis::cmd("SELECT").arg(database))?;
            self.database = database;
        }
        Ok(())
    }

    /// Sends one command. An error reply is an error.
    pub(crate) fn ask(&mut self, command: &Cmd) -> Result<Value> {
        let reply = self.connection.req_packed_command(&command.get_packed_command());
        reply.and_then(refusal).with_context(|| self.about(command))
    }

    /// Sends commands in one go; the error is the one of the first that failed, though those behind
    /// it may have been done.
    pub(crate) fn ask_all(&mut self, commands: &Pipeline) -> Result<Vec<Value>> {
        let replies = self.send(commands)?;
        let named = commands.cmd_iter().zip(replies);
        named.map(|(command, reply)| refusal(reply).with_context(|| self.about(command))).collect()
    }

    /// Sends commands in one go; what was refused is among the replies.
    pub(crate) fn send(&mut self, commands: &Pipeline) -> Result<Vec<Value>> {
        let Some(first) = commands.cmd_iter().next() else {
            return Ok(Vec::new());
        };
        let packed = commands.get_packed_pipeline();
        let replies = self.connection.req_packed_commands(&packed, 0, commands.len());
        replies.with_context(|| self.about(first))
    }

    /// Sends commands as one transaction.
    pub(crate) fn together(&mut self, commands: &Pipeline) -> Result<Vec<Value>> {
        let mut all = redis::pipe();
        all.cmd("MULTI");
        for command in commands.cmd_iter() {
            all.add_command(command.clone());
        }
        all.cmd("EXEC");
        let mut queued = self.send(&all)?;
        let done = queued.pop();
        // A command that was refused when it was queued says why; EXEC says only that it was.
        for (command, reply) in all.cmd_iter().zip(queued) {
            refusal(reply).with_context(|| self.about(command))?;
        }
        let replies = done
            .context("EXEC did not answer")
            .and_then(|done| refusal(done).context("EXEC").and_then(reply::array))?;
        ensure!(replies.len() == commands.len(), "EXEC at {} answers too little", self.name);
        let named = commands.cmd_iter().zip(replies);
        named.map(|(command, reply)| refusal(reply).with_context(|| self.about(command))).collect()
    }

    /// What an error says of a command.
    pub(crate) fn about(&self, command: &Cmd) -> String {
        let words: Vec<_> = command.args_iter().map(|word| shown(&word)).take(4).collect();
        // The name, the subcommand if it has one, and the key: values would only be long.
        let few =
            if words.first().is_some_and(|word| ["XGROUP", "XINFO", "MEMORY"].contains(&&**word)) {
                4
            } else {
                2
            };
        format!("{} at {}", words[..few.min(words.len())].join(" "), self.name)
    }
}

/// Whether the connection is of no more use.
pub(crate) fn is_broken(error: &Error) -> bool {
    error.downcast_ref::<RedisError>().is_some_and(|error| {
        error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout()
    })
}

/// Whether the server refused with this text somewhere in its reply.
pub(crate) fn refused_with(error: &Error, text: &str) -> bool {
    error.downcast_ref::<RedisError>().is_some_and(|error| error.to_string().contains(text))
}

/// A key or a name as people can read it: bytes that are no text are escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

fn shown(argument: &Arg<&[u8]>) -> String {
    match argument {
        Arg::Simple(bytes) if bytes.len() > SHOWN_BYTES_MAX => {
            format!("{}...", readable(&bytes[..SHOWN_BYTES_MAX]))
        }
        Arg::Simple(bytes) => readable(bytes),
        _ => String::new(),
    }
}

fn refusal(reply: Value) -> redis::RedisResult<Value> {
    match reply {
        Value::ServerError(error) => Err(error.into()),
        reply => Ok(reply),
    }
}
