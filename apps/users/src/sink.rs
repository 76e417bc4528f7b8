//! A mail system that takes mails and delivers none: SMTP on a free port of the loopback.
//!
//! It belongs to the demo, not to the application: it outlives the process that is killed, and
//! tells at the end what it was given. It speaks what a relay has to (RFC 5321: HELO, EHLO, MAIL,
//! RCPT, DATA, RSET, NOOP, QUIT), refuses receivers that nobody knows for good (550), and while it
//! is closed everybody for now (421).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};

use crate::plan::UNKNOWN;

/// The longest line, with its end (RFC 5321, 4.5.3.1.6).
const LINE_MAX: u64 = 1_000;
/// Lines of a mail.
const LINES_MAX: usize = 10_000;

/// A mail that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) message_id: String,
    pub(crate) to: String,
}

/// The mail system. It ends with the runtime that it was started in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_open: AtomicBool,
    refused: AtomicU64,
    /// Held to add one, or to copy all.
    taken: Mutex<Vec<Taken>>,
}

impl Sink {
    /// Starts one that is closed; answers it and its port.
    pub(crate) async fn start() -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (sink, port) = (Self::default(), listener.local_addr()?.port());
        let server = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = server.clone();
                tokio::spawn(async move {
                    // A client that goes in the middle has sent nothing.
                    let _ = session.serve(stream).await;
                });
            }
        });
        Ok((sink, port))
    }

    /// From now on it takes mails.
    pub(crate) fn open(&self) {
        self.0.is_open.store(true, Ordering::Release);
    }

    /// Clients that came while it was closed.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Acquire)
    }

    /// Mails that it took, in order.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufStream::new(stream);
        if !self.0.is_open.load(Ordering::Acquire) {
            self.0.refused.fetch_add(1, Ordering::AcqRel);
            return say(&mut stream, "421 4.3.2 closed for now").await;
        }
        say(&mut stream, "220 sink.example ESMTP").await?;
        let mut to = Vec::new();
        while let Some(line) = line(&mut stream).await? {
            let (verb, rest) = line.split_at(line.len().min(4));
            let answer = match &*verb.to_ascii_uppercase() {
                "EHLO" | "HELO" | "NOOP" => "250 sink.example",
                "MAIL" | "RSET" => {
                    to.clear();
                    "250 2.0.0 yes"
                }
                "RCPT" => match address(rest) {
                    Some(name) if !name.starts_with(UNKNOWN) => {
                        to.push(name.to_owned());
                        "250 2.1.5 yes"
                    }
                    _ => "550 5.1.1 nobody has this name here",
                },
                "DATA" if to.is_empty() => "503 5.5.1 to whom?",
                "DATA" => {
                    say(&mut stream, "354 go on").await?;
                    let Some(message_id) = data(&mut stream).await? else {
                        return Ok(());
                    };
                    self.take(&message_id, &to);
                    to.clear();
                    "250 2.0.0 taken"
                }
                "QUIT" => return say(&mut stream, "221 2.0.0 bye").await,
                _ => "502 5.5.2 unknown",
            };
            say(&mut stream, answer).await?;
        }
        Ok(())
    }

    fn take(&self, message_id: &str, to: &[String]) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend(
            to.iter().map(|to| Taken { message_id: message_id.to_owned(), to: to.clone() }),
        );
    }
}

async fn say(stream: &mut BufStream<TcpStream>, text: &str) -> io::Result<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    stream.flush().await
}

/// The next line without its end; `None` where the client has gone.
async fn line(stream: &mut BufStream<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    stream.take(LINE_MAX).read_line(&mut line).await?;
    match line.strip_suffix("\r\n") {
        Some(whole) => Ok(Some(whole.to_owned())),
        None if line.is_empty() => Ok(None),
        None => Err(io::Error::other("a line that does not end")),
    }
}

/// Reads a mail to its end and answers its Message-ID, empty where it has none.
async fn data(stream: &mut BufStream<TcpStream>) -> io::Result<Option<String>> {
    let (mut message_id, mut is_head) = (String::new(), true);
    for _ in 0..LINES_MAX {
        let Some(line) = line(stream).await? else {
            return Ok(None);
        };
        if line == "." {
            return Ok(Some(message_id));
        }
        is_head &= !line.is_empty();
        if let Some((name, value)) = line.split_once(':').filter(|_| is_head)
            && name.eq_ignore_ascii_case("message-id")
        {
            value.trim().trim_matches(['<', '>']).clone_into(&mut message_id);
        }
    }
    Err(io::Error::other("a mail that does not end"))
}

/// The address in `TO:<address>`.
fn address(rest: &str) -> Option<&str> {
    rest.split_once('<')?.1.split_once('>').map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn talk(port: u16, lines: &[&str]) -> Vec<String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut stream, mut answers) = (BufStream::new(stream), Vec::new());
        answers.extend(line(&mut stream).await.unwrap());
        for text in lines {
            say(&mut stream, text).await.unwrap();
            answers.extend(line(&mut stream).await.unwrap());
        }
        answers.iter().map(|answer| answer[..3].to_owned()).collect()
    }

    #[tokio::test]
    async fn it_speaks_what_a_relay_has_to() {
        let (sink, port) = Sink::start().await.unwrap();
        assert_eq!(talk(port, &[]).await, ["421"]);
        sink.open();
        let mail = "Subject: x\r\nMessage-ID: <1-0@here>\r\n\r\nMessage-ID: <not@this>\r\n.";
        let lines = [
            "EHLO me",
            "DATA",
            "MAIL FROM:<a@b>",
            "RCPT TO:<nobody-1@b>",
            "RCPT TO:<reader-1@b>",
            "DATA",
            mail,
            "TURN",
            "QUIT",
        ];
        let answers = ["220", "250", "503", "250", "550", "250", "354", "250", "502", "221"];
        assert_eq!(talk(port, &lines).await, answers);
        let taken = Taken { message_id: "1-0@here".into(), to: "reader-1@b".into() };
        assert_eq!((sink.taken(), sink.refused()), (vec![taken], 1));
    }
}
