//! The connections to the server. Two kinds of questions are kept apart by types: what only reads
//! goes over an [`Asker`], and only commands of a closed list do; what changes something needs the
//! [`Permit`] that a checked form gives.

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, RedisConnectionInfo, RedisError, RedisResult, Value,
};
use tokio::sync::Mutex;

use crate::guard::Permit;
use crate::limits::{CONNECT_TIME, REPLY_TIME};

/// What only reads: a command, or the first two words of one.
const READS: &[&str] = &[
    "INFO",
    "SCAN",
    "XCFGGET",
    "XDLQ LEN",
    "XDLQ RANGE",
    "XGROUP CFGGET",
    "XINFO CONSUMERS",
    "XINFO GROUPS",
    "XINFO STREAM",
    "XLAG",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREVRANGE",
    "XSCHED LEN",
    "XSCHED LIST",
];

/// How the server is reached.
pub(crate) struct Server {
    /// As whoever has not signed in.
    reader: Client,
    /// As nobody, until AUTH.
    stranger: Client,
    /// One connection for all who have not signed in, opened when one of them asks.
    shared: Mutex<Option<MultiplexedConnection>>,
}

/// A connection as some user, for what only reads.
#[derive(Clone)]
pub(crate) struct Asker(MultiplexedConnection);

impl Server {
    pub(crate) fn new(reader: Client) -> RedisResult<Self> {
        // With the address go its certificates.
        let info = reader.get_connection_info().clone();
        let nobody = RedisConnectionInfo::default().set_db(info.redis_settings().db());
        Ok(Self {
            stranger: Client::open(info.set_redis_settings(nobody))?,
            reader,
            shared: Mutex::new(None),
        })
    }

    /// The connection of those who have not signed in.
    pub(crate) async fn reader(&self) -> RedisResult<Asker> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &*shared {
            return Ok(Asker(connection.clone()));
        }
        let connection = connect(&self.reader).await?;
        *shared = Some(connection.clone());
        Ok(Asker(connection))
    }

    /// Forgets it after an error from which it cannot recover; the next reader connects again.
    pub(crate) async fn forget_reader(&self) {
        *self.shared.lock().await = None;
    }

    /// A fresh connection as this user; the server's refusal where the password is wrong. The
    /// password goes into AUTH and is kept nowhere.
    pub(crate) async fn sign_in(&self, user: &[u8], password: &[u8]) -> RedisResult<Asker> {
        let mut connection = connect(&self.stranger).await?;
        let mut auth = Cmd::new();
        auth.arg("AUTH").arg(user).arg(password);
        let _: Value = auth.query_async(&mut connection).await?;
        Ok(Asker(connection))
    }
}

async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIME))
        .set_response_timeout(Some(REPLY_TIME));
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl Asker {
    /// Asks a command of the list.
    pub(crate) async fn read(&self, words: &[&[u8]]) -> RedisResult<Value> {
        assert!(is_read(words), "{words:?} is not among the commands that only read");
        send(self.0.clone(), words).await
    }

    /// Asks several at once; the answers stand in their order.
    pub(crate) async fn read_all(&self, questions: &[Vec<&[u8]>]) -> Vec<RedisResult<Value>> {
        join_all(questions.iter().map(|words| self.read(words))).await
    }

    /// Does what somebody who has signed in has confirmed.
    pub(crate) async fn change(&self, _: &Permit, words: &[&[u8]]) -> RedisResult<Value> {
        send(self.0.clone(), words).await
    }
}

async fn send(mut connection: MultiplexedConnection, words: &[&[u8]]) -> RedisResult<Value> {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(&mut connection).await
}

fn is_read(words: &[&[u8]]) -> bool {
    let mut words = words.iter().map(|word| String::from_utf8_lossy(word));
    let first = words.next().unwrap_or_default();
    let both = format!("{first} {}", words.next().unwrap_or_default());
    READS.contains(&&*first) || READS.contains(&&*both)
}

/// Whether the server lacks the command: a plain Redis, or an older one.
pub(crate) fn is_unknown(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default().to_ascii_lowercase();
    text.contains("unknown command") || text.contains("unknown subcommand")
}

/// The server's own words.
pub(crate) fn words_of(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_not_on_the_list() {
        let check = |words: &str, expect: bool| {
            let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
            assert_eq!(is_read(&words), expect, "{words:?}");
        };
        check("XRANGE s - +", true);
        check("XDLQ RANGE s g", true);
        for change in ["XADD s * a b", "XDLQ PURGE s g", "XGROUP CREATE s g 0", "XDLQ", "", "XACK"]
        {
            check(change, false);
        }
    }
}
