//! How bytes become requests and replies, whatever their sizes.

use std::net::Shutdown;

use crate::rig::{Server, request};

#[test]
fn a_pipeline_is_answered_in_order_however_it_is_cut() {
    let server = Server::start();
    let mut bytes = Vec::new();
    for line in ["XADD s 1-1 f v", "XLEN s", "NOSUCH", "PING", "XADD s 1-1 f v", "XLEN s"] {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        bytes.extend(request(&args));
    }
    bytes.extend_from_slice(b"ping 'a b'\r\n\r\n*0\r\nDEL s\r\n");
    let expect = "$3\r\n1-1\r\n:1\r\n-ERR unknown command 'NOSUCH'\r\n+PONG\r\n-ERR The ID \
                  specified in XADD is equal or smaller than the target stream top item\r\n:1\r\n\
                  $3\r\na b\r\n:1\r\n";
    for step in [1, 2, 3, 7, 16, 61, bytes.len()] {
        let mut client = server.client();
        for part in bytes.chunks(step) {
            client.send_bytes(part);
        }
        client.expect(&format!("{step} bytes at once"), expect);
    }
}

#[test]
fn a_reply_longer_than_its_buffer_comes_whole_while_others_are_served() {
    let server = Server::start();
    let mut reader = server.client();
    let value = vec![b'x'; 100_000];
    let count = 200;
    for seq in 0..count {
        let id = format!("1-{seq}");
        let id = if seq == 0 { "0-1" } else { &id };
        reader.send_bytes(&request(&[b"XADD", b"s", id.as_bytes(), b"f", &value]));
        assert_eq!(reader.take_bulk(), id);
    }
    // 20 MB that nobody reads for the moment, and a request behind it.
    reader.send("XRANGE s - +");
    reader.send("PING");
    let mut other = server.client();
    other.check("XLEN s", &format!(":{count}\r\n"));
    // What is removed meanwhile was in the answer and stays in it.
    other.check("XDEL s 1-150", ":1\r\n");
    reader.expect("the header", &format!("*{count}\r\n"));
    for seq in 0..count {
        reader.expect("an entry", "*2\r\n");
        let id = reader.take_bulk();
        assert_eq!(id, if seq == 0 { "0-1".to_owned() } else { format!("1-{seq}") });
        reader.expect("its fields", "*2\r\n$1\r\nf\r\n");
        assert_eq!(reader.take_bulk().len(), value.len());
    }
    reader.expect("the request behind it", "+PONG\r\n");
}

#[test]
fn a_request_larger_than_the_read_buffer_arrives() {
    let server = Server::start();
    let mut client = server.client();
    let value = vec![b'v'; 5 << 20];
    client.send_bytes(&request(&[b"SET", b"k", &value]));
    client.expect("SET", "+OK\r\n");
    client.check("STRLEN k", &format!(":{}\r\n", value.len()));
    client.send("GET k");
    assert_eq!(client.take_bulk().len(), value.len());
}

#[test]
fn what_was_sent_before_the_end_is_answered() {
    let server = Server::start();
    let mut client = server.client();
    client.send_bytes(b"SET k v\r\nGET k\r\n");
    client.stream.shutdown(Shutdown::Write).expect("half closed");
    client.expect("both", "+OK\r\n$1\r\nv\r\n");
    client.expect_end();
}

#[test]
fn a_broken_request_is_told_and_ends_the_connection() {
    let server = Server::start();
    let check = |bytes: &[u8], expect: &str| {
        let mut client = server.client();
        client.send_bytes(bytes);
        client.expect("the error", expect);
        client.expect_end();
    };
    check(b"PING\r\n*x\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
    check(b"*1\r\n!1\r\n", "-ERR Protocol error: expected '$', got '!'\r\n");
    check(b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n");
    // A browser that was made to talk to us gets nothing.
    check(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nFLUSHALL\r\n", "");
}

#[test]
fn replies_can_be_turned_off() {
    let server = Server::start();
    let mut client = server.client();
    client.send("CLIENT REPLY SKIP");
    client.send("SET k 1");
    client.check("GET k", "$1\r\n1\r\n");
    client.send("CLIENT REPLY OFF");
    client.send("SET k 2");
    client.send("NOSUCH");
    client.send("XADD s 1-1 f v");
    client.send("XRANGE s - +");
    client.check("CLIENT REPLY ON", "+OK\r\n");
    client.check("GET k", "$1\r\n2\r\n");
}

#[test]
fn a_transaction_answers_as_one_with_entries_inside() {
    let server = Server::start();
    let mut client = server.client();
    client.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    client.check("MULTI", "+OK\r\n");
    for line in ["XRANGE s - +", "XADD s 2-1 f w", "XREAD BLOCK 0 STREAMS s $", "XLEN s"] {
        client.check(line, "+QUEUED\r\n");
    }
    let entry = "*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    client.check("EXEC", &format!("*4\r\n*1\r\n{entry}$3\r\n2-1\r\n*-1\r\n:2\r\n"));
}

#[test]
fn a_transaction_is_bounded_when_it_is_queued() {
    let server = Server::start();
    let mut client = server.client();
    client.check("MULTI", "+OK\r\n");
    let value = vec![b'v'; 6 << 20];
    for expect in ["+QUEUED\r\n", "+QUEUED\r\n"] {
        client.send_bytes(&request(&[b"SET", b"k", &value]));
        client.expect("below 16 MiB", expect);
    }
    client.send_bytes(&request(&[b"SET", b"k", &value]));
    let refused = "-ERR a transaction may hold at most 16 MiB of arguments\r\n";
    client.expect("above 16 MiB", refused);
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    client.check("EXEC", aborted);
    client.check("EXISTS k", ":0\r\n");
}
