//! Where a subcommand asks, and how it says what it heard: text that cannot steer a terminal, JSON
//! that keeps every byte, and silence when nobody listens any more.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Client, Connection};
use serde_json::Value;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a reply: a DUMP of some megabytes, or a page after a stall of the disk.
const REPLY_MAX: Duration = Duration::from_mins(1);

/// The server that is asked, and the form of the answer.
#[derive(Args)]
pub(crate) struct Server {
    /// The server: redis://[user:password@]HOST[:PORT][/DB].
    #[arg(long, env = "LEVADA_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "redis://127.0.0.1:6379")]
    pub(crate) url: String,
    /// Print JSON, an object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Server {
    /// Connects.
    pub(crate) fn connect(&self) -> Result<Connection> {
        connect(&self.url).map(|(_, connection)| connection)
    }
}

/// Connects to `redis://[[user]:password@]host[:port][/database]`. No error shows a password.
pub(crate) fn connect(url: &str) -> Result<(Client, Connection)> {
    let client = Client::open(url).context("this is no address: redis://HOST:PORT[/DB]")?;
    let name = client.get_connection_info().addr().to_string();
    let reach = || format!("cannot reach {name}");
    let connection = client.get_connection_with_timeout(CONNECT_MAX).with_context(reach)?;
    connection.set_read_timeout(Some(REPLY_MAX)).with_context(reach)?;
    connection.set_write_timeout(Some(REPLY_MAX)).with_context(reach)?;
    Ok((client, connection))
}

/// Whether the listener is still there; `head` ends without an error. Other failures are errors.
pub(crate) fn is_heard(written: io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write"),
    }
}

/// Bytes for people: what could steer a terminal is escaped.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .chars()
            .flat_map(|letter| match letter.is_control() {
                true => letter.escape_default().collect::<Vec<_>>(),
                false => vec![letter],
            })
            .collect(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Bytes for programs: a string where they are text, else an object with their hexadecimal form.
pub(crate) fn json(bytes: &[u8]) -> Value {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Value::String(text.to_owned());
    }
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("a string takes all");
    }
    serde_json::json!({ "hex": hex })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_and_no_byte_is_lost() {
        assert_eq!(shown("caf\u{e9}\u{1b}[2J\n".as_bytes()), "caf\u{e9}\\u{1b}[2J\\n");
        assert_eq!(shown(b"\xff\x1b"), "\\xff\\x1b");
        assert_eq!(json("\u{e9}".as_bytes()), Value::String("\u{e9}".to_owned()));
        assert_eq!(json(b"\xff\x00").to_string(), r#"{"hex":"ff00"}"#);
    }
}
