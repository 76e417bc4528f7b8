//! A look ahead at what a client has sent.
//!
//! Among many keys most of what a short command takes is waiting for memory: for the place of the
//! name, then of the key, of its stream, of that stream's last block. One request after the other
//! that adds up; of requests that came together all of it is fetched at once, before the first of
//! them runs. Names are looked up twice for that, so it is done where it pays (ADR 26).

use levada_core::keyspace::Keyspace;
use levada_resp::peek;

/// Requests that are looked at together.
const REQUESTS: usize = 16;
/// Keys of a database from which on they do not stay near the processor.
const KEYS_MIN: usize = 1_000;

/// How many of the next requests have been looked at.
#[derive(Default)]
pub(super) struct Ahead {
    left: usize,
}

impl Ahead {
    /// Before each request; `input` begins with it.
    pub(super) fn look(&mut self, keys: &Keyspace, database: u8, input: &[u8]) {
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        self.left = REQUESTS - 1;
        if keys.len(database) < KEYS_MIN {
            return;
        }
        let mut names = [&[][..]; REQUESTS];
        let found = names.iter_mut().zip(peek(input)).map(|(place, name)| *place = name).count();
        if found > 1 {
            keys.warm(database, names.iter().take(found).copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::server::rig;

    /// What is looked at is asked for by what runs behind it; nothing that runs may show it.
    #[test]
    fn answers_among_many_keys_are_those_of_the_requests() {
        let (mut server, address, _rest) = rig::opened("ahead");
        let mut client = rig::client(address);
        let mut all = |requests: &str, replies: &str| {
            client.write_all(requests.as_bytes()).expect("sent");
            let mut left = replies.len();
            let mut found = Vec::new();
            client.set_nonblocking(true).expect("a socket");
            server.run_until(|_| {
                let mut bytes = vec![0; left];
                if let Ok(count) = client.read(&mut bytes) {
                    found.extend_from_slice(&bytes[..count]);
                    left -= count;
                }
                left == 0
            });
            assert_eq!(found, replies.as_bytes());
        };
        let (mut requests, mut replies) = (String::new(), String::new());
        let mut ask = |words: &[&str], reply: &str| {
            write!(requests, "*{}\r\n", words.len()).expect("a string");
            for word in words {
                write!(requests, "${}\r\n{word}\r\n", word.len()).expect("a string");
            }
            replies.push_str(reply);
        };
        for key in 0..KEYS_MIN + 100 {
            let name = format!("key:{key}");
            match key % 2 {
                0 => ask(&["SET", &name, "v"], "+OK\r\n"),
                _ => ask(&["XADD", &name, "1-1", "f", "v"], "$3\r\n1-1\r\n"),
            }
        }
        for key in (0..KEYS_MIN + 200).step_by(7) {
            let name = format!("key:{key}");
            match key {
                _ if key >= KEYS_MIN + 100 => ask(&["XLEN", &name], ":0\r\n"),
                _ if key % 2 == 0 => ask(&["DEL", &name], ":1\r\n"),
                _ => ask(&["XADD", &name, "2-1", "g", "w"], "$3\r\n2-1\r\n"),
            }
            ask(&["PING"], "+PONG\r\n");
            ask(
                &["EXISTS", &name],
                if key % 2 == 1 && key < KEYS_MIN + 100 { ":1\r\n" } else { ":0\r\n" },
            );
        }
        all(&requests, &replies);
    }
}
