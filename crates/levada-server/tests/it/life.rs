//! Starts, ends, restarts.

use crate::rig::Server;

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let server = Server::start();
    let mut client = server.client();
    client.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    client.check("XGROUP CREATE s g 0", "+OK\r\n");
    client.check("SET k v", "+OK\r\n");
    let server = server.restart();
    let mut client = server.client();
    client.check("XRANGE s - +", "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    client.check("XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists\r\n");
    client.check("GET k", "$1\r\nv\r\n");
}

#[test]
fn shutdown_ends_the_server_without_a_reply() {
    let mut server = Server::start();
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    client.send("SHUTDOWN NOSAVE");
    client.expect_end();
    server.wait().expect("a clean end");
}

#[test]
fn blocks_that_are_not_in_memory_are_read_for_a_reply() {
    let server = Server::start();
    let mut client = server.client();
    // Ten times the cache, in entries that can be told apart.
    let value = "v".repeat(1000);
    let count = 10_000;
    for seq in 1..=count {
        client.send(&format!("XADD s 1-{seq} n {seq} v {value}"));
    }
    for seq in 1..=count {
        assert_eq!(client.take_bulk(), format!("1-{seq}"));
    }
    let server = server.restart();
    let mut client = server.client();
    client.send("XREVRANGE s + -");
    client.expect("the header", &format!("*{count}\r\n"));
    for seq in (1..=count).rev() {
        client.expect("an entry", "*2\r\n");
        assert_eq!(client.take_bulk(), format!("1-{seq}"));
        client.expect("its fields", "*4\r\n$1\r\nn\r\n");
        assert_eq!(client.take_bulk(), seq.to_string());
        client.expect("the second name", "$1\r\nv\r\n");
        assert_eq!(client.take_bulk().len(), value.len());
    }
    client.check("XDEL s 1-5000", ":1\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("XDEL s 1-3000 1-3001", "+QUEUED\r\n");
    client.check("XLEN s", "+QUEUED\r\n");
    client.check("EXEC", &format!("*2\r\n:2\r\n:{}\r\n", count - 3));
}
