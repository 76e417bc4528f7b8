//! Readers that wait.

use crate::rig::Server;

const ENTRY: &str = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";

#[test]
fn an_entry_wakes_every_reader_and_what_they_sent_behind_is_run() {
    let server = Server::start();
    let mut writer = server.client();
    let mut readers: Vec<_> = (0..50).map(|_| server.client()).collect();
    for reader in &mut readers {
        reader.send("XREAD BLOCK 0 STREAMS s $");
        reader.send("PING");
    }
    writer.wait_for("clients", "blocked_clients", "50");
    assert_eq!(writer.info("clients", "total_blocking_keys"), "1");
    writer.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    for reader in &mut readers {
        reader.expect("the entry", ENTRY);
        reader.expect("what was behind", "+PONG\r\n");
    }
    assert_eq!(writer.info("clients", "blocked_clients"), "0");
}

#[test]
fn readers_of_every_kind_get_their_own_answer_to_the_same_entries() {
    let server = Server::start();
    let mut writer = server.client();
    let entry = |id: &str| format!("*2\r\n$3\r\n{id}\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    let two = format!("*2\r\n{}{}", entry("1-1"), entry("1-2"));
    let one = format!("*1\r\n{}", entry("1-1"));
    let (short, long) = ("XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS other s 0 0");
    let first = "XREAD BLOCK 0 COUNT 1 STREAMS s 0";
    let answers = [
        (2, short, format!("*1\r\n*2\r\n$1\r\ns\r\n{two}")),
        (3, short, format!("%1\r\n$1\r\ns\r\n{two}")),
        (2, long, format!("*1\r\n*2\r\n$1\r\ns\r\n{two}")),
        (2, first, format!("*1\r\n*2\r\n$1\r\ns\r\n{one}")),
        (3, first, format!("%1\r\n$1\r\ns\r\n{one}")),
    ];
    let mut readers = Vec::new();
    for (protocol, command, answer) in answers.iter().cycle().take(20) {
        let mut reader = server.client();
        reader.check("SET k v", "+OK\r\n");
        if *protocol == 3 {
            reader.send("HELLO 3");
            while reader.take_line() != b"*0\r\n" {}
        }
        reader.send(command);
        reader.send("GET k");
        readers.push((reader, answer));
    }
    writer.wait_for("clients", "blocked_clients", "20");
    writer.check("MULTI", "+OK\r\n");
    writer.check("XADD s 1-1 f v", "+QUEUED\r\n");
    writer.check("XADD s 1-2 f v", "+QUEUED\r\n");
    writer.check("EXEC", "*2\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n");
    for (reader, answer) in &mut readers {
        reader.expect("the entries", answer);
        reader.expect("what was behind", "$1\r\nv\r\n");
    }
}

#[test]
fn a_group_gives_an_entry_to_the_reader_that_came_first() {
    let server = Server::start();
    let (mut writer, mut first, mut second) = (server.client(), server.client(), server.client());
    writer.check("XGROUP CREATE s g 0 MKSTREAM", "+OK\r\n");
    first.send("XREADGROUP GROUP g a BLOCK 0 STREAMS s >");
    writer.wait_for("clients", "blocked_clients", "1");
    second.send("XREADGROUP GROUP g b BLOCK 0 STREAMS s >");
    writer.wait_for("clients", "blocked_clients", "2");
    writer.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    first.expect("the entry", ENTRY);
    assert_eq!(writer.info("clients", "total_blocking_keys_on_nokey"), "1");
    writer.check("XGROUP DESTROY s g", ":1\r\n");
    let line = String::from_utf8(second.take_line()).expect("text");
    assert!(line.starts_with("-NOGROUP "), "{line}");
    assert_eq!(writer.info("clients", "blocked_clients"), "0");
    assert_eq!(writer.info("errorstats", "errorstat_NOGROUP"), "count=1");
}

#[test]
fn a_wait_ends_with_its_time() {
    let server = Server::start();
    let mut client = server.client();
    client.check("XREAD BLOCK 20 STREAMS s $", "*-1\r\n");
    client.check("HELLO 3 NOSUCH", "-ERR Syntax error in HELLO option 'NOSUCH'\r\n");
    client.check("WAIT 1 20", ":0\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("WAITAOF 1 0 0", "*2\r\n:1\r\n:0\r\n");
    client.check("WAITAOF 1 1 20", "*2\r\n:1\r\n:0\r\n");
    assert_eq!(client.info("clients", "blocked_clients"), "0");
}

#[test]
fn a_reader_that_has_gone_takes_nothing() {
    let server = Server::start();
    let (mut writer, mut gone) = (server.client(), server.client());
    writer.check("XGROUP CREATE s g 0 MKSTREAM", "+OK\r\n");
    gone.send("XREADGROUP GROUP g gone BLOCK 0 STREAMS s >");
    writer.wait_for("clients", "blocked_clients", "1");
    drop(gone);
    writer.wait_for("clients", "blocked_clients", "0");
    writer.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    writer.check("XREADGROUP GROUP g here STREAMS s >", ENTRY);
}

#[test]
fn a_reader_that_has_gone_behind_much_that_it_sent_takes_nothing() {
    let server = Server::start();
    let (mut writer, mut gone) = (server.client(), server.client());
    writer.check("XGROUP CREATE s g 0 MKSTREAM", "+OK\r\n");
    gone.send("XREADGROUP GROUP g gone BLOCK 0 STREAMS s >");
    writer.wait_for("clients", "blocked_clients", "1");
    // More than the server reads ahead, where it reads in whole pieces: the end of the connection
    // comes behind it, and only as far as the socket's buffer has room for what is not read. That
    // may be 64 KiB and no more.
    gone.send_bytes("PING\r\n".repeat(((1 << 20) + (32 << 10)) / 6 + 2).as_bytes());
    drop(gone);
    writer.wait_for("clients", "blocked_clients", "0");
    writer.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    writer.check("XREADGROUP GROUP g here STREAMS s >", ENTRY);
}

#[test]
fn a_reader_gets_its_entry_though_the_next_command_removes_it() {
    let server = Server::start();
    let (mut writer, mut reader) = (server.client(), server.client());
    for remove in ["DEL s", "XDEL s 1-1", "XTRIM s MAXLEN 0", "FLUSHALL", "SET s v"] {
        reader.send("XREAD BLOCK 0 STREAMS s $");
        writer.wait_for("clients", "blocked_clients", "1");
        writer.send_bytes(format!("XADD s 1-1 f v\r\n{remove}\r\nDEL s\r\n").as_bytes());
        reader.expect(remove, ENTRY);
        writer.expect("the id", "$3\r\n1-1\r\n");
        writer.take_line();
        writer.take_line();
    }
}

#[test]
fn a_wait_can_be_ended_by_another_connection() {
    let server = Server::start();
    let (mut waiter, mut other) = (server.client(), server.client());
    let mut check = |request: &str, how: &str, expect: &str| {
        waiter.send("CLIENT ID");
        let id = String::from_utf8(waiter.take_line()).expect("text");
        let id = id.trim_end().trim_start_matches(':').to_owned();
        waiter.send(request);
        other.wait_for("clients", "blocked_clients", "1");
        other.check(&format!("CLIENT UNBLOCK {id}{how}"), ":1\r\n");
        waiter.expect(request, expect);
        other.check(&format!("CLIENT UNBLOCK {id}{how}"), ":0\r\n");
    };
    let unblocked = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
    check("XREAD BLOCK 0 STREAMS s $", "", "*-1\r\n");
    check("XREAD BLOCK 0 STREAMS s $", " TIMEOUT", "*-1\r\n");
    check("XREAD BLOCK 0 STREAMS s $", " ERROR", unblocked);
    check("WAIT 1 0", "", ":0\r\n");
    check("WAIT 1 0", " ERROR", unblocked);
}

#[test]
fn a_transaction_wakes_readers_once_it_is_whole() {
    let server = Server::start();
    let (mut writer, mut reader) = (server.client(), server.client());
    reader.send("XREAD BLOCK 0 STREAMS s 0");
    writer.wait_for("clients", "blocked_clients", "1");
    writer.check("MULTI", "+OK\r\n");
    writer.check("XADD s 1-1 f v", "+QUEUED\r\n");
    writer.check("XADD s 1-2 f v", "+QUEUED\r\n");
    writer.check("XDEL s 1-2", "+QUEUED\r\n");
    writer.check("EXEC", "*3\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n:1\r\n");
    reader.expect("what is left of it", ENTRY);
}
