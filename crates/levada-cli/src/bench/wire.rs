//! Requests and replies of RESP2, as fast as a load generator needs them: values borrow from the
//! bytes that came. An incomplete reply is parsed again from its start when more has come.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// A reply that takes longer is a hang.
const REPLY_WAIT_MAX: Duration = Duration::from_mins(5);
/// No reply to our requests nests deeper.
const DEPTH_MAX: u32 = 16;

/// One reply. Nil of either kind is `Nil`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Nil,
    Array(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// The reply at the head of `input` and its length; `None` if it is not complete.
    pub(super) fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>> {
        Self::parse_at(input, 0, 0)
    }

    fn parse_at(input: &'a [u8], at: usize, depth: u32) -> Result<Option<(Self, usize)>> {
        ensure!(depth <= DEPTH_MAX, "a reply nests too deep");
        let rest = &input[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = rest[..end].strip_suffix(b"\r").context("a line of a reply has no CR")?;
        let (mark, text) = line.split_first().context("a line of a reply is empty")?;
        let next = at + end + 1;
        let value = match mark {
            b'+' => Self::Text(text),
            b'-' => Self::Error(text),
            b':' => Self::Integer(number(text)?),
            b'$' => return bulk(input, next, number(text)?),
            b'*' => return array(input, next, number(text)?, depth),
            other => bail!("no reply starts with {:?}", char::from(*other)),
        };
        Ok(Some((value, next)))
    }

    /// The elements of an array; of anything else none.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The bytes of a string; of anything else none.
    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(bytes) => bytes,
            _ => &[],
        }
    }

    /// Id and value of the first field of each entry that XREAD or XREADGROUP answered for one
    /// stream.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let entries = self.items().first().and_then(|stream| stream.items().get(1));
        let entries = entries.map(Value::items).unwrap_or_default();
        entries.iter().filter_map(|entry| match entry.items() {
            [id, fields] => Some((id.bytes(), fields.items().get(1)?.bytes())),
            _ => None,
        })
    }
}

fn bulk(input: &[u8], at: usize, length: i64) -> Result<Option<(Value<'_>, usize)>> {
    let Ok(length) = usize::try_from(length) else {
        return Ok(Some((Value::Nil, at)));
    };
    let end = at.checked_add(length).context("a length is too big")?;
    Ok(match input.get(at..end) {
        Some(text) if input.len() >= end + 2 => Some((Value::Text(text), end + 2)),
        _ => None,
    })
}

fn array(input: &[u8], at: usize, count: i64, depth: u32) -> Result<Option<(Value<'_>, usize)>> {
    let Ok(count) = usize::try_from(count) else {
        return Ok(Some((Value::Nil, at)));
    };
    let (mut items, mut at) = (Vec::new(), at);
    for _ in 0..count {
        let Some((item, next)) = Value::parse_at(input, at, depth + 1)? else {
            return Ok(None);
        };
        items.push(item);
        at = next;
    }
    Ok(Some((Value::Array(items), at)))
}

fn number(text: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(text)?;
    text.parse().with_context(|| format!("{text:?} in a reply is no number"))
}

/// Appends a request to `out`.
pub(super) fn push<A: AsRef<[u8]>>(out: &mut Vec<u8>, arguments: &[A]) {
    header(out, '*', arguments.len());
    push_arguments(out, arguments);
}

/// Appends a request but for its last argument, of this length, and the end of its line.
pub(super) fn push_head<A: AsRef<[u8]>>(out: &mut Vec<u8>, arguments: &[A], last: usize) {
    header(out, '*', arguments.len() + 1);
    push_arguments(out, arguments);
    header(out, '$', last);
}

fn push_arguments<A: AsRef<[u8]>>(out: &mut Vec<u8>, arguments: &[A]) {
    for argument in arguments {
        let argument = argument.as_ref();
        header(out, '$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(out: &mut Vec<u8>, mark: char, length: usize) {
    write!(out, "{mark}{length}\r\n").expect("a vector takes every byte");
}

/// A connection that waits for each reply: for what is not measured.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects, with a deadline on every read.
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("nobody at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT_MAX))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Sends `count` requests at once and waits for their replies; an error reply is an error.
    pub(super) fn send_all(
        &mut self,
        count: u64,
        mut make: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<()> {
        let mut out = Vec::new();
        (0..count).for_each(|index| make(index, &mut out));
        self.stream.write_all(&out)?;
        for _ in 0..count {
            self.receive(|_| ())?;
        }
        Ok(())
    }

    /// One request; `read` gets its reply. An error reply is an error.
    pub(super) fn ask<T>(
        &mut self,
        arguments: &[&str],
        read: impl FnOnce(&Value<'_>) -> T,
    ) -> Result<T> {
        let mut out = Vec::new();
        push(&mut out, arguments);
        self.stream.write_all(&out)?;
        self.receive(read).with_context(|| arguments.join(" "))
    }

    /// The next reply.
    fn receive<T>(&mut self, read: impl FnOnce(&Value<'_>) -> T) -> Result<T> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((value, length)) = Value::parse(&self.input)? {
                if let Value::Error(text) = value {
                    bail!("the server answers {}", String::from_utf8_lossy(text));
                }
                let answer = read(&value);
                drop(value);
                self.input.drain(..length);
                return Ok(answer);
            }
            let count = self.stream.read(&mut chunk).context("waiting for a reply")?;
            ensure!(count > 0, "the server closed the connection");
            self.input.extend_from_slice(&chunk[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_parsed_once_they_are_whole() {
        let bytes =
            b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$2\r\nvv\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(Value::parse(&bytes[..cut]).expect("no error"), None, "{cut}");
        }
        let (value, length) = Value::parse(bytes).expect("no error").expect("whole");
        assert_eq!(length, bytes.len());
        let entries: Vec<_> = value.entries().collect();
        assert_eq!(entries, [(&b"1-1"[..], &b"vv"[..])]);
        assert_eq!(Value::parse(b"*-1\r\n+").expect("no error"), Some((Value::Nil, 5)));
        assert!(Value::parse(b"?\r\n").is_err());
    }
}
