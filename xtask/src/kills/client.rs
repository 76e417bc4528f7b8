//! A small RESP2 client over a blocking socket, for rigs that need to know exactly which request
//! was sent and which reply came. It never retries and never reconnects.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply that takes longer is a hang. Rigs block for far less.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(20);
/// No reply of a rig nests deeper; more means that the stream of replies is out of step.
const DEPTH_MAX: u32 = 8;

/// One reply. Nil of either kind is `Nil`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A simple or a bulk string.
    Text(Vec<u8>),
    /// An error, with its code.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A bulk string or an array that is absent.
    Nil,
    /// An array.
    Array(Vec<Reply>),
}

impl Reply {
    /// The elements of an array; of anything else none.
    pub(crate) fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The bytes of a string; of anything else none.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) => bytes,
            _ => &[],
        }
    }

    /// An integer, also one that is written as a string.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The value behind a name in a flat array of names and values, as XINFO answers.
    pub(crate) fn field(&self, name: &str) -> Option<&Reply> {
        let mut pairs = self.items().chunks_exact(2);
        pairs.find(|pair| pair[0].bytes() == name.as_bytes()).map(|pair| &pair[1])
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    /// Requests that were pushed and not yet sent.
    out: Vec<u8>,
}

impl Client {
    /// Connects, with a deadline on every read.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT_MAX))?;
        Ok(Self { reader: BufReader::with_capacity(64 * 1024, stream), out: Vec::new() })
    }

    /// Adds a request to those that the next `flush` sends.
    pub(crate) fn push<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        self.header(b'*', arguments.len());
        for argument in arguments {
            let argument = argument.as_ref();
            self.header(b'$', argument.len());
            self.out.extend_from_slice(argument);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what was pushed.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let sent = self.reader.get_mut().write_all(&self.out);
        self.out.clear();
        sent
    }

    /// Reads the next reply.
    pub(crate) fn read(&mut self) -> Result<Reply> {
        self.read_at(0)
    }

    /// One request, one reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Reply> {
        self.push(arguments);
        self.flush()?;
        self.read()
    }

    /// As `call`, but an error reply is an error.
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Reply> {
        match self.call(arguments)? {
            Reply::Error(text) => {
                let name = arguments.first().map(AsRef::as_ref).unwrap_or_default();
                let name = String::from_utf8_lossy(name);
                Err(Error::other(format!("{name}: {text}")))
            }
            reply => Ok(reply),
        }
    }

    fn header(&mut self, mark: u8, length: usize) {
        write!(self.out, "{}{length}\r\n", char::from(mark)).expect("a vector takes every byte");
    }

    fn read_at(&mut self, depth: u32) -> Result<Reply> {
        if depth > DEPTH_MAX {
            return Err(malformed("nests too deep"));
        }
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let Some((mark, text)) = line.strip_suffix(b"\r\n").and_then(|line| line.split_first())
        else {
            // The peer closed the connection, perhaps within a line.
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let number = || {
            let text = std::str::from_utf8(text).ok();
            text.and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| malformed("is no number"))
        };
        match mark {
            b'+' => Ok(Reply::Text(text.to_vec())),
            b'-' => Ok(Reply::Error(String::from_utf8_lossy(text).into_owned())),
            b':' => Ok(Reply::Integer(number()?)),
            b'$' => match usize::try_from(number()?) {
                Ok(length) => self.read_bulk(length),
                Err(_) => Ok(Reply::Nil),
            },
            b'*' => match usize::try_from(number()?) {
                Ok(length) => (0..length)
                    .map(|_| self.read_at(depth + 1))
                    .collect::<Result<_>>()
                    .map(Reply::Array),
                Err(_) => Ok(Reply::Nil),
            },
            _ => Err(malformed("has an unknown type")),
        }
    }

    fn read_bulk(&mut self, length: usize) -> Result<Reply> {
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        if bytes.split_off(length) != b"\r\n" {
            return Err(malformed("has a wrong length"));
        }
        Ok(Reply::Text(bytes))
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("a reply {what}"))
}
