//! One client of one server: writes many commands in one go, reads replies with a deadline.

use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::transcript::reply::Reply;

/// Longest wait for a reply. Only a server that hangs reaches it.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(10);

/// A connected client.
#[derive(Debug)]
pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Connects; fails at once if nobody listens.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT_MAX))?;
        Ok(Self { reader: BufReader::with_capacity(1 << 18, stream) })
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// The next reply; an error when none came in time or the connection ended.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        Reply::read(&mut self.reader)
    }

    /// Sends a command and reads its reply.
    pub(crate) fn call(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut frame = Vec::new();
        encode(&mut frame, words.iter().map(|word| word.as_bytes()));
        self.send(&frame)?;
        self.receive()
    }
}

/// Appends a command as an array of bulk strings.
pub(crate) fn encode<'a>(to: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    to.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        to.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}
