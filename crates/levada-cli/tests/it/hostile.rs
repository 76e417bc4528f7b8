//! What hostile clients take of a whole process. `cargo xtask hostile` attacks it by the thousand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::rig::Server;

/// Longest wait for a reply.
const REPLY_MAX: Duration = Duration::from_secs(20);

/// A connection that has said something and was answered.
fn client(server: &Server, line: &str, answer: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.set_read_timeout(Some(REPLY_MAX)).expect("a limit");
    stream.write_all(line.as_bytes()).expect("sent");
    let mut found = vec![0; answer.len()];
    stream.read_exact(&mut found).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&found), answer);
    stream
}

/// CVE-2021-32675: a few bytes announced gigabytes, and memory was asked for at once.
#[test]
fn announcements_do_not_make_the_process_larger() {
    let server = Server::levada_with(&["--requirepass", "secret"]);
    let refused = ("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    let known = ("AUTH secret\r\n", "+OK\r\n");
    let clients: Vec<_> = (0..400)
        .map(|n| if n % 2 == 0 { refused } else { known })
        .map(|(line, answer)| client(&server, line, answer))
        .collect();
    let before = server.resident_bytes();
    for (n, mut client) in clients.iter().enumerate() {
        let announced: &[u8] = match n % 2 {
            0 => b"*10\r\n$16384\r\nx",
            _ => b"*1048576\r\n$16777216\r\nx",
        };
        client.write_all(announced).expect("sent");
    }
    // It reads what came before this in the same round at the latest.
    drop(client(&server, known.0, known.1));
    let more = server.resident_bytes().saturating_sub(before);
    assert!(more < 16 << 20, "{more} bytes more for {} announcements", clients.len());
    drop(clients);
}
