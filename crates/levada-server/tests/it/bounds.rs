//! Bounds that no client may cross, whatever it sends.

use std::io::{ErrorKind, Write as _};

use crate::rig::{Server, request};

#[test]
fn an_expiry_at_the_end_of_time_is_kept_and_waited_for() {
    let server = Server::start();
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    client.check("EXPIREAT k 9223372036854775", ":1\r\n");
    client.check("SET l v PX 9223370000000000000", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
}

#[test]
fn a_transaction_that_does_not_fit_in_the_log_is_refused_and_the_server_goes_on() {
    let server = Server::start();
    let mut client = server.client();
    let value = vec![b'x'; 12 << 20];
    client.send_bytes(&request(&[b"SET", b"k", &value]));
    client.expect("SET", "+OK\r\n");
    // Each APPEND logs what it appends, not the whole string.
    client.check("MULTI", "+OK\r\n");
    for _ in 0..100 {
        client.check("APPEND k x", "+QUEUED\r\n");
    }
    client.send("EXEC");
    client.expect("EXEC", "*100\r\n");
    for n in 1..=100 {
        client.expect("a length", &format!(":{}\r\n", (12 << 20) + n));
    }
    client.check("STRLEN k", &format!(":{}\r\n", (12 << 20) + 100));
}

#[test]
fn long_strings_named_many_times_come_whole_and_are_held_once() {
    let server = Server::start();
    let mut client = server.client();
    let value = vec![b'x'; 3 << 20];
    client.send_bytes(&request(&[b"SET", b"k", &value]));
    client.expect("SET", "+OK\r\n");
    let bulk = format!("${}\r\n{}\r\n", value.len(), "x".repeat(value.len()));
    client.send("MGET k none k");
    client.send("GET k");
    client.expect("MGET", &format!("*3\r\n{bulk}$-1\r\n{bulk}"));
    client.expect("GET", &bulk);
    client.check("MULTI", "+OK\r\n");
    client.check("MGET k k", "+QUEUED\r\n");
    client.check("DEL k", "+QUEUED\r\n");
    client.send("EXEC");
    client.expect("EXEC", &format!("*2\r\n*2\r\n{bulk}{bulk}:1\r\n"));
    client.send_bytes(&request(&[b"SET", b"k", &value]));
    client.expect("SET", "+OK\r\n");
    // 30 GB, if they were copied for a client that does not read.
    client.send(&format!("MGET{}", " k".repeat(10_000)));
    client.expect("the beginning", "*10000\r\n");
    client.expect("the first", &bulk);
    server.client().check("PING", "+PONG\r\n");
}

#[test]
fn connections_beyond_the_descriptors_are_refused_whatever_maxclients_says() {
    let server = Server::start_with(|settings| settings.connections_max = 2);
    let mut client = server.client();
    client.check("CONFIG SET maxclients 100", "+OK\r\n");
    let mut second = server.client();
    second.check("PING", "+PONG\r\n");
    server.client().check("PING", "-ERR max number of clients reached\r\n");
    client.check("PING", "+PONG\r\n");
}

#[test]
fn a_stranger_who_never_reads_has_little_answered() {
    let server = Server::start_with(|settings| {
        settings.requirepass = "secret".into();
        settings.strangers_ms_max = 3_600_000;
    });
    let mut good = server.client();
    good.check("AUTH secret", "+OK\r\n");
    let mut stranger = server.client();
    let (asked, refusal) = ("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    stranger.check("GET k", refusal);
    // Until the sockets between the two take no more: replies in that direction, and requests in
    // the other. Only then does anything wait in the server.
    stranger.stream.set_nonblocking(true).expect("it can");
    let requests = asked.repeat(1_000);
    let (mut sent, mut looks) = (0_usize, 0);
    while looks < 20 {
        let begin = sent % requests.len();
        let full = match stranger.stream.write(&requests.as_bytes()[begin..]) {
            Ok(count) => {
                sent += count;
                false
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        good.send("CLIENT LIST ID 2");
        let line = good.take_bulk();
        let waits = line.split(' ').find_map(|fact| fact.strip_prefix("obl=")).expect("told");
        let waits: usize = waits.parse().expect("a number");
        assert!(waits <= 1_024 + refusal.len(), "{line}");
        looks += usize::from(full && waits > 0);
    }
    stranger.stream.set_nonblocking(false).expect("it can");
    // However few are answered ahead of the reader, all are in the end.
    for _ in 0..sent / asked.len() {
        stranger.expect("a refusal", refusal);
    }
    stranger.send_bytes(&asked.as_bytes()[sent % asked.len()..]);
    stranger.expect("the last refusal", refusal);
    stranger.check("AUTH secret", "+OK\r\n");
}

#[test]
fn the_scrub_may_be_paced_while_it_runs_and_the_reserve_may_not() {
    let server = Server::start_with(|settings| {
        settings.reserve_bytes = 3 << 20;
        settings.scrub_bytes_per_second = 7;
    });
    let mut client = server.client();
    client.check("CONFIG GET reserve-bytes", "*2\r\n$13\r\nreserve-bytes\r\n$7\r\n3145728\r\n");
    let scrub = "$22\r\nscrub-bytes-per-second\r\n";
    client.check("CONFIG GET scrub-bytes-per-second", &format!("*2\r\n{scrub}$1\r\n7\r\n"));
    client.check("CONFIG SET scrub-bytes-per-second 2mb", "+OK\r\n");
    client.check("CONFIG GET scrub-bytes-per-second", &format!("*2\r\n{scrub}$7\r\n2097152\r\n"));
    let failed = "-ERR CONFIG SET failed (possibly related to argument ";
    client.check(
        "CONFIG SET scrub-bytes-per-second 2gb",
        &format!(
            "{failed}'scrub-bytes-per-second') - argument must be between 0 and 1073741824 \
             inclusive\r\n"
        ),
    );
    let immutable = "can't set immutable config";
    client.check(
        "CONFIG SET headroom-bytes 1",
        &format!("{failed}'headroom-bytes') - {immutable}\r\n"),
    );
}
