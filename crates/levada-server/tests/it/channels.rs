//! Listeners that do not read, and messages between replies.

use std::io::Read;

use crate::rig::{Server, request};

#[test]
fn a_listener_that_does_not_read_is_let_go() {
    const MESSAGES_MAX: usize = 200;
    let server = Server::start();
    let mut listener = server.client();
    listener.check("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let mut publisher = server.client();
    let message = vec![b'm'; 1 << 20];
    let publish = request(&[b"PUBLISH", b"c", &message]);
    let mut heard = 0;
    loop {
        publisher.send_bytes(&publish);
        if publisher.take_line() == b":0\r\n" {
            break;
        }
        heard += 1;
        assert!(heard < MESSAGES_MAX, "it hears more than is ever kept for it");
    }
    assert!(heard > 32, "let go after {heard} MiB");
    publisher.check("PUBSUB CHANNELS", "*0\r\n");
    let mut rest = Vec::new();
    // Whether its end is orderly or a reset depends on what the system still holds.
    let _ = listener.stream.read_to_end(&mut rest);
    assert!(rest.len() < heard << 20, "the end of the connection is not the last message");
}

#[test]
fn messages_to_oneself_stand_between_the_replies_of_a_pipeline() {
    let server = Server::start();
    let mut client = server.client();
    client.send("HELLO 3");
    client.expect("the map", "%7\r\n");
    let mut hello_and_more = request(&[b"SUBSCRIBE", b"c"]);
    for text in [b"1", b"2"] {
        hello_and_more.extend(request(&[b"PUBLISH", b"c", text]));
        hello_and_more.extend(request(&[b"ECHO", text]));
    }
    client.send_bytes(&hello_and_more);
    while client.take_line() != b">3\r\n" {}
    client.expect("subscribed", "$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    for text in ["1", "2"] {
        client.expect("published", ":1\r\n");
        let message = format!(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n{text}\r\n");
        client.expect("the message", &message);
        client.expect("echo", &format!("$1\r\n{text}\r\n"));
    }
}

#[test]
fn names_of_a_listener_are_bounded() {
    let server = Server::start();
    let mut client = server.client();
    let name = vec![b'n'; 9 << 20];
    client.send_bytes(&request(&[b"SSUBSCRIBE", &name]));
    client.expect("the first", "*3\r\n$10\r\nssubscribe\r\n");
    assert_eq!(client.take_bulk().len(), name.len());
    client.expect("how many", ":1\r\n");
    client.send_bytes(&request(&[b"SUBSCRIBE", &name]));
    client.expect("refused", "-ERR a connection may listen to at most 16 MiB of names\r\n");
}

#[test]
fn a_monitor_sees_what_others_run_until_it_is_reset() {
    let server = Server::start();
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.check("MONITOR", "+OK\r\n");
    client.check("SELECT 3", "+OK\r\n");
    client.check("AUTH default secret", "+OK\r\n");
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    client.check("NOSUCH", "-ERR unknown command 'NOSUCH'\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("GET k", "+QUEUED\r\n");
    client.check("EXEC", "*1\r\n$-1\r\n");
    let address = client.stream.local_addr().expect("connected");
    let expect = [
        r#""SELECT" "3""#,
        r#""AUTH" "(redacted)" "(redacted)""#,
        r#""MULTI""#,
        r#""GET" "k""#,
        r#""EXEC""#,
    ];
    for words in expect {
        let line = String::from_utf8(monitor.take_line()).expect("text");
        let (time, rest) = line.split_once(' ').expect("a time first");
        assert!(time.starts_with('+') && time.contains('.'), "{line}");
        assert_eq!(rest, format!("[3 {address}] {words}\r\n"));
    }
    monitor.check("RESET", "+RESET\r\n");
    client.check("GET k", "$-1\r\n");
    monitor.check("PING", "+PONG\r\n");
}
