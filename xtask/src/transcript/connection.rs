//! One client connection of a transcript: sends requests, reads replies with a deadline.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::reply::Reply;

/// Longest wait for a reply that has to come. Far above what a blocking request in a transcript
/// asks for, so that a slow machine does not fail.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(20);

/// A connected client.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    /// Whether the last request was seen to block and has not been answered.
    pub(crate) is_blocked: bool,
}

impl Connection {
    /// Connects; fails at once if nobody listens.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT_MAX))?;
        Ok(Self { reader: BufReader::new(stream), is_blocked: false })
    }

    /// Sends a command as an array of bulk strings.
    pub(crate) fn send(&mut self, words: &[impl AsRef<[u8]>]) -> Result<()> {
        let mut frame = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            frame.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            frame.extend_from_slice(word);
            frame.extend_from_slice(b"\r\n");
        }
        self.send_raw(&frame)
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.reader.get_mut().write_all(bytes)?)
    }

    /// The next reply; an error when none came in time or the connection ended.
    pub(crate) fn receive(&mut self) -> Result<Reply> {
        match Reply::read(&mut self.reader) {
            Ok(reply) => {
                self.is_blocked = false;
                Ok(reply)
            }
            Err(error) if is_timeout(&error) => bail!("no reply within {REPLY_WAIT_MAX:?}"),
            Err(error) if is_end(&error) => bail!("the connection was closed"),
            Err(error) => Err(error).context("unreadable reply"),
        }
    }

    /// Sends a command and reads its reply.
    pub(crate) fn call(&mut self, words: &[impl AsRef<[u8]>]) -> Result<Reply> {
        self.send(words)?;
        self.receive()
    }

    /// Whether something has arrived that was not read yet; does not wait.
    pub(crate) fn has_arrived(&mut self) -> Result<bool> {
        if !self.reader.buffer().is_empty() {
            return Ok(true);
        }
        let stream = self.reader.get_ref();
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        match peeked {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end of the connection; fails on any reply before it.
    pub(crate) fn expect_closed(&mut self) -> Result<()> {
        match Reply::read(&mut self.reader) {
            Err(error) if is_end(&error) => Ok(()),
            Err(error) if is_timeout(&error) => bail!("still open after {REPLY_WAIT_MAX:?}"),
            Err(error) => Err(error).context("unreadable reply"),
            Ok(reply) => bail!("got {}", super::render::render(&reply)),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
