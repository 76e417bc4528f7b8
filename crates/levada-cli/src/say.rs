//! Where a subcommand asks, and how it says what it heard: text that cannot steer a terminal, JSON
//! that keeps every byte, and silence when nobody listens any more.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use clap::Args;
use redis::{Client, Connection, ErrorKind};
use serde_json::Value;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a reply: a DUMP of some megabytes, or a page after a stall of the disk.
const REPLY_MAX: Duration = Duration::from_mins(1);

/// The server that is asked, and the form of the answer.
#[derive(Args)]
pub(crate) struct Server {
    /// The server: redis://[user:password@]HOST[:PORT][/DB], or rediss:// for TLS, where
    /// ?ca=FILE&cert=FILE&key=FILE names certificates.
    #[arg(long, env = "LEVADA_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "redis://127.0.0.1:6379")]
    pub(crate) url: String,
    /// Print JSON, an object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// No colour, also on a terminal; `NO_COLOR` says the same.
    #[arg(long)]
    pub(crate) no_color: bool,
}

impl Server {
    /// Connects.
    pub(crate) fn connect(&self) -> Result<Connection> {
        connect(&self.url).map(|(_, connection)| connection)
    }
}

/// Connects to the one server that a URL names. No error shows a password.
pub(crate) fn connect(url: &str) -> Result<(Client, Connection)> {
    let client = levada::client(url)?;
    let name = client.get_connection_info().addr().to_string();
    let connected = client.get_connection_with_timeout(CONNECT_MAX).and_then(|connection| {
        connection.set_read_timeout(Some(REPLY_MAX))?;
        connection.set_write_timeout(Some(REPLY_MAX))?;
        Ok(connection)
    });
    let connection = connected.map_err(|error| match error.kind() {
        ErrorKind::Parse => anyhow!("cannot reach {name}: what answers speaks no RESP"),
        _ => anyhow!(error).context(format!("cannot reach {name}")),
    })?;
    Ok((client, connection))
}

/// An error with its causes; one that says again what stands before it is left out.
pub(crate) fn causes(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let between = if text.is_empty() { "" } else { ": " };
            text = text + between + &cause;
        }
    }
    text
}

/// Whether the arguments are to blame.
pub(crate) fn is_argument(error: &Error) -> bool {
    use levada::Error::{Invalid, Url};
    matches!(error.downcast_ref(), Some(Invalid(_) | Url { .. }))
}

/// What to do about an error; `None` where it says enough.
pub(crate) fn hint(error: &str) -> Option<&'static str> {
    const ADDRESS: &str = "it is written redis://[USER:PASSWORD@]HOST[:PORT][/DB]";
    const HINTS: [(&str, &str); 13] = [
        ("it has no ://", ADDRESS),
        ("the scheme is not known", ADDRESS),
        ("URL did not parse", ADDRESS),
        ("Connection refused", "nothing listens there: is the server running, is it this port?"),
        (
            "Password authentication failed",
            "it knows no such user and password: redis://USER:PASSWORD@HOST, \
             with @ : / as %40 %3A %2F",
        ),
        ("speaks no RESP", "if it speaks TLS, write rediss://"),
        ("InvalidContentType", "it does not speak TLS: write redis://"),
        ("UnknownIssuer", "name the authority of its certificate: rediss://HOST?ca=FILE"),
        ("CertificateRequired", "show it a certificate: rediss://HOST?cert=FILE&key=FILE"),
        ("UnknownCA", "it does not trust the certificate that cert= names: see tls-ca-cert-file"),
        ("NotValidForName", "its certificate is for another name: write that in the URL"),
        ("CaUsedAsEndEntity", "its certificate is one of an authority: it needs its own"),
        ("NOAUTH", "it wants a password: redis://[USER]:PASSWORD@HOST, or LEVADA_URL"),
    ];
    HINTS.iter().find(|(part, _)| error.contains(part)).map(|(_, hint)| *hint)
}

/// Whether the listener is still there; `head` ends without an error. Other failures are errors.
pub(crate) fn is_heard(written: io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
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
