//! What has gone wrong in servers of this protocol, each by its number: what was sent then is sent
//! here, and the server must answer, refuse or close, and go on serving.
//!
//! Numbers that have their test elsewhere: CVE-2024-31227 (`acl/tests.rs`), CVE-2023-41053 and
//! CVE-2023-36824 (`key_access.rs`). Of what is not there (a Unix socket, a cluster bus, Lua) it is
//! tested that it cannot be had.

use std::io::Write as _;

use crate::rig::{Client, Server, request};

/// A whole reply, flattened: its lines and strings in order.
fn reply(client: &mut Client) -> Vec<String> {
    let mut parts = Vec::new();
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        let line = String::from_utf8_lossy(&client.take_line()).trim_end().to_owned();
        assert!(!line.is_empty(), "the connection ended");
        let (kind, rest) = line.split_at(1);
        match (kind, rest.parse::<i64>()) {
            ("*", Ok(count)) => left += usize::try_from(count).unwrap_or(0),
            ("$", Ok(length)) if length >= 0 => {
                let bytes = client.take(usize::try_from(length).expect("a length") + 2);
                parts.push(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned());
            }
            _ => parts.push(line),
        }
    }
    parts
}

/// A stream `s` of so many entries, all pending for consumer `c` of group `g`.
fn pending(client: &mut Client, count: usize) {
    let mut bytes = Vec::new();
    for n in 1..=count {
        bytes.extend(request(&[b"XADD", b"s", format!("{n}-1").as_bytes(), b"f", b"v"]));
    }
    client.send_bytes(&bytes);
    for _ in 0..count {
        assert_eq!(reply(client).len(), 1);
    }
    client.check("XGROUP CREATE s g 0", "+OK\r\n");
    client.send(&format!("XREADGROUP GROUP g c COUNT {count} STREAMS s >"));
    assert_eq!(reply(client).len(), 1 + 3 * count);
}

#[test]
fn cve_2022_31144_xautoclaim_meets_deleted_entries_only() {
    let server = Server::start();
    let mut client = server.client();
    pending(&mut client, 10_000);
    client.check("XTRIM s MAXLEN 0", ":10000\r\n");
    let mut gone = 0;
    for count in [1, 2, 10, 100, 1_000, i64::MAX] {
        client.send(&format!("XAUTOCLAIM s g d 0 0 COUNT {count}"));
        gone += reply(&mut client).len() - 1;
    }
    while gone < 10_000 {
        client.send("XAUTOCLAIM s g d 0 0 COUNT 5000");
        let more = reply(&mut client).len() - 1;
        assert!(more > 0, "{gone} were told as deleted, and then none");
        gone += more;
    }
    assert_eq!(gone, 10_000);
    client.send("XPENDING s g");
    assert_eq!(reply(&mut client)[0], ":0");
}

#[test]
fn cve_2022_35951_a_count_may_be_any_number() {
    let server = Server::start();
    let mut client = server.client();
    pending(&mut client, 20);
    let numbers = [i64::MAX, i64::MIN, 1 << 32, (1 << 32) - 1, 1 << 31, (1 << 31) - 1, 0, -1];
    for n in numbers {
        for line in [
            format!("XAUTOCLAIM s g d 0 0 COUNT {n}"),
            format!("XRANGE s - + COUNT {n}"),
            format!("XREVRANGE s + - COUNT {n}"),
            format!("XREAD COUNT {n} STREAMS s 0"),
            format!("XREADGROUP GROUP g c COUNT {n} STREAMS s 0"),
            format!("XPENDING s g - + {n}"),
            format!("XPENDING s g IDLE {n} - + 10"),
            format!("XCLAIM s g d {n} 1-1 RETRYCOUNT {n}"),
            format!("XTRIM s MAXLEN ~ 1000 LIMIT {n}"),
            format!("XINFO STREAM s FULL COUNT {n}"),
            format!("XDLQ RANGE s g COUNT {n}"),
            format!("XSCHED LIST s COUNT {n}"),
            format!("SCAN 0 COUNT {n}"),
            format!("GETRANGE s {n} {n}"),
            format!("SLOWLOG GET {n}"),
            format!("ACL LOG {n}"),
            format!("MSETEX {n} a 1"),
        ] {
            client.send(&line);
            reply(&mut client);
        }
    }
    client.check("XLEN s", ":20\r\n");
}

#[test]
fn cve_2025_62507_a_million_ids_are_one_request() {
    let server = Server::start();
    let mut client = server.client();
    client.check("XGROUP CREATE s g 0 MKSTREAM", "+OK\r\n");
    let count = 1_000_000;
    let number = count.to_string();
    let ids = vec![&b"1-1"[..]; count];
    let expect = format!("*{count}\r\n{}", ":-1\r\n".repeat(count));
    for head in [
        &[&b"XACKDEL"[..], b"s", b"g", b"KEEPREF", b"IDS", number.as_bytes()][..],
        &[b"XDELEX", b"s", b"DELREF", b"IDS", number.as_bytes()],
    ] {
        client.send_bytes(&request(&[head, &ids].concat()));
        assert!(client.take(expect.len()) == expect.as_bytes(), "{head:?}");
    }
    client.send_bytes(&request(&[&[&b"XACK"[..], b"s", b"g"][..], &ids].concat()));
    client.expect("XACK", ":0\r\n");
}

#[test]
fn cve_2021_32627_and_2021_21309_sizes_around_the_ends_of_numbers_are_refused() {
    let server = Server::start();
    let mut good = server.client();
    let ends = [1_u64 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) - 1, 1 << 63, u64::MAX];
    for size in ends {
        for announced in
            [format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n"), format!("*{size}\r\n")]
        {
            let mut client = server.client();
            client.send_bytes(announced.as_bytes());
            let line = String::from_utf8_lossy(&client.take_line()).into_owned();
            assert!(line.starts_with("-ERR Protocol error: invalid "), "{announced:?}: {line}");
            client.expect_end();
        }
    }
    // Nor can the bound be raised while the server runs.
    good.send("CONFIG SET proto-max-bulk-len 4gb");
    assert!(reply(&mut good)[0].contains("immutable"));
    good.check("PING", "+PONG\r\n");
}

#[test]
fn cve_2021_32675_a_stranger_may_announce_little() {
    let server = Server::start_with(|settings| settings.requirepass = "secret".into());
    let check = |sent: &str, expect: &str| {
        let mut client = server.client();
        client.send_bytes(sent.as_bytes());
        client.expect(sent, expect);
        client.expect_end();
    };
    let count = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    let length = "-ERR Protocol error: unauthenticated bulk length\r\n";
    check("*1000000\r\n", count);
    check("*11\r\n", count);
    check("*2\r\n$536870912\r\n", length);
    check("*2\r\n$16385\r\n", length);
    let mut client = server.client();
    client.check("AUTH secret", "+OK\r\n");
    client.send_bytes(&request(&[&b"x"[..]; 11]));
    client.expect("after AUTH", "-ERR unknown command 'x'");
}

/// What a buffer takes grows with what came, not with what was announced: announcements alone take
/// less than 16 MB, of strangers and of those whom the server knows. For the memory of a whole
/// process see `levada-cli/tests/it/hostile.rs`.
#[test]
fn cve_2021_32675_announcements_take_no_memory() {
    let server = Server::start_with(|settings| settings.requirepass = "secret".into());
    let mut good = server.client();
    good.check("AUTH secret", "+OK\r\n");
    let count = 200;
    let announced: Vec<_> = (0..count)
        .map(|n| {
            let mut client = server.client();
            if n % 2 == 0 {
                client.send_bytes(b"*10\r\n$16384\r\nx");
            } else {
                client.check("AUTH secret", "+OK\r\n");
                client.send_bytes(b"*1048576\r\n$16777216\r\nx");
            }
            client
        })
        .collect();
    // All have been read: the others' announcements wait in the server, not in a socket.
    let waiting = |good: &mut Client| {
        good.send("CLIENT LIST");
        let lines = reply(good).remove(0);
        lines.lines().filter(|line| !line.contains(" qbuf=0 ")).count()
    };
    while waiting(&mut good) < count {}
    let taken: u64 = good.info("memory", "mem_clients_normal").parse().expect("a number");
    assert!(taken < 16 << 20, "{taken} bytes for {count} announcements");
    drop(announced);
}

#[test]
fn cve_2025_21605_who_never_reads_is_not_answered_without_end() {
    let server = Server::start();
    let mut greedy = server.client();
    let value = vec![b'x'; 1 << 20];
    greedy.send_bytes(&request(&[b"SET", b"k", &value]));
    greedy.expect("SET", "+OK\r\n");
    greedy.check("CLIENT ID", ":1\r\n");
    greedy.send_bytes(&request(&[b"GET", b"k"]).repeat(500));
    let mut good = server.client();
    for _ in 0..50 {
        good.check("PING", "+PONG\r\n");
        good.send("CLIENT LIST ID 1");
        let line = reply(&mut good).remove(0);
        let bytes = line.split(' ').find_map(|fact| fact.strip_prefix("obl=")).expect("told");
        assert!(bytes.parse::<u64>().expect("a number") <= 34 << 20, "{line}");
    }
    // All of it comes once it reads.
    for _ in 0..500 {
        assert_eq!(greedy.take(10 + (1 << 20) + 2).len(), 10 + (1 << 20) + 2);
    }
}

#[test]
fn cve_2025_48367_connections_that_end_at_once_starve_nobody() {
    let server = Server::start();
    let mut good = server.client();
    for round in 0..20 {
        let mut storm: Vec<_> = (0..20).map(|_| server.client()).collect();
        for client in &mut storm {
            // Half a request; some are gone before they are looked at.
            let _ = client.stream.write_all(b"*1\r\n$4\r\nPI");
        }
        drop(storm);
        good.check("PING", "+PONG\r\n");
        server.client().check(&format!("ECHO {round:02}"), &format!("$2\r\n{round:02}\r\n"));
    }
    good.wait_for("clients", "connected_clients", "1");
}

#[test]
fn cve_2026_27623_empty_requests_before_authentication_leave_nothing_behind() {
    let server = Server::start_with(|settings| settings.requirepass = "secret".into());
    let refusal = "-NOAUTH Authentication required.\r\n";
    let empty = ["\r\n", "*0\r\n", "*-1\r\n", "\r\n*0\r\n\r\n"];
    for first in empty {
        for second in empty {
            let mut client = server.client();
            let array = "*1\r\n$4\r\nPING\r\n";
            client.send_bytes(format!("{first}{array}{second}PING\r\n{first}{array}").as_bytes());
            client.expect(first, &refusal.repeat(3));
            client.check("AUTH secret", "+OK\r\n");
            client.send_bytes(format!("{second}PING\r\n{first}{array}").as_bytes());
            client.expect(second, "+PONG\r\n+PONG\r\n");
        }
    }
}

#[test]
fn cve_2026_23479_a_sleeper_may_end_at_every_step() {
    let server = Server::start();
    let mut good = server.client();
    let ends: [&[&str]; 6] = [
        &["CLIENT KILL ID {id}"],
        &["CLIENT UNBLOCK {id} ERROR", "CLIENT KILL ID {id}"],
        &["MULTI", "XADD s * f v", "CLIENT KILL ID {id}", "EXEC"],
        &["MULTI", "CLIENT KILL ID {id}", "XADD s * f v", "EXEC"],
        &["XGROUP DESTROY s g", "CLIENT KILL ID {id}", "XGROUP CREATE s g $"],
        &["ACL SETUSER sleeper resetkeys", "XADD s * f v", "ACL DELUSER sleeper"],
    ];
    for lines in ends {
        for read in ["XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "XREAD BLOCK 0 STREAMS s $"] {
            good.send("DEL s");
            reply(&mut good);
            good.check("XGROUP CREATE s g $ MKSTREAM", "+OK\r\n");
            good.check("ACL SETUSER sleeper on nopass ~* +@all", "+OK\r\n");
            let mut sleeper = server.client();
            sleeper.check("AUTH sleeper x", "+OK\r\n");
            sleeper.send("CLIENT ID");
            let id = reply(&mut sleeper).remove(0);
            sleeper.send(read);
            good.wait_for("clients", "blocked_clients", "1");
            for line in lines {
                good.send(&line.replace("{id}", &id[1..]));
                reply(&mut good);
            }
            good.wait_for("clients", "blocked_clients", "0");
            drop(sleeper);
            good.check("PING", "+PONG\r\n");
        }
    }
}

/// A reader of `s` who sleeps, and listens to the channel `a`, which only RESP3 allows at once.
fn sleeper(server: &Server, good: &mut Client) -> Client {
    let mut sleeper = server.client();
    sleeper.send("HELLO 3");
    sleeper.send("SUBSCRIBE a");
    sleeper.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    good.wait_for("clients", "blocked_clients", "1");
    sleeper
}

#[test]
fn cve_2026_23479_a_sleeper_may_go_at_the_limit_of_its_class() {
    let server = Server::start();
    let mut good = server.client();
    good.send_bytes(&request(&[
        b"CONFIG",
        b"SET",
        b"client-output-buffer-limit",
        b"pubsub 256kb 0 0",
    ]));
    good.expect("CONFIG SET", "+OK\r\n");
    good.check("XGROUP CREATE s g $ MKSTREAM", "+OK\r\n");
    // More than the sockets between take for who does not read.
    let message = vec![b'm'; 12 << 20];
    let publish = request(&[b"PUBLISH", b"a", &message]);
    let (multi, exec) = (request(&[b"MULTI"]), request(&[b"EXEC"]));
    let append = request(&[b"XADD", b"s", b"*", b"f", b"v"]);
    // It goes while it sleeps; in the unit that wakes it, before that and behind it.
    let units = [
        publish.clone(),
        [&multi[..], &publish, &append, &exec].concat(),
        [&multi[..], &append, &publish, &exec].concat(),
        [&append[..], &publish].concat(),
        [&publish[..], &append].concat(),
    ];
    for (at, unit) in units.iter().enumerate() {
        let gone = sleeper(&server, &mut good);
        good.send_bytes(unit);
        for _ in 0..[1, 4, 4, 2, 2][at] {
            reply(&mut good);
        }
        let count = (at + 1).to_string();
        good.wait_for("stats", "client_output_buffer_limit_disconnections", &count);
        good.wait_for("clients", "blocked_clients", "0");
        drop(gone);
        // What came after it is for others.
        good.send("XADD s * f last");
        reply(&mut good);
        good.send("XREADGROUP GROUP g d COUNT 100 STREAMS s >");
        assert_eq!(reply(&mut good).last().map(String::as_str), Some("last"));
        good.wait_for("clients", "connected_clients", "1");
    }
}

#[test]
fn cve_2026_23479_a_sleeper_may_be_evicted_for_its_memory() {
    let server = Server::start();
    let mut good = server.client();
    good.check("CLIENT NO-EVICT ON", "+OK\r\n");
    good.check("XGROUP CREATE s g $ MKSTREAM", "+OK\r\n");
    let steps: [&[&str]; 3] = [
        &["CONFIG SET maxmemory-clients 64kb", "XADD s * f v"],
        &["XADD s * f v", "CONFIG SET maxmemory-clients 64kb"],
        &["MULTI", "XADD s * f v", "XADD s * f w", "EXEC", "CONFIG SET maxmemory-clients 64kb"],
    ];
    for (at, lines) in steps.iter().enumerate() {
        let mut gone = sleeper(&server, &mut good);
        // What it sends ahead waits in its buffer while it sleeps.
        let ahead = request(&[b"SET", b"k", &vec![b'v'; 200 << 10]]);
        gone.send_bytes(&ahead);
        let hoards = |good: &mut Client| -> usize {
            good.info("memory", "mem_clients_normal").parse().expect("a number")
        };
        while hoards(&mut good) < ahead.len() {}
        // One write and one turn: who is woken by it has not run on yet.
        good.send_bytes(format!("{}\r\n", lines.join("\r\n")).as_bytes());
        lines.iter().for_each(|_| drop(reply(&mut good)));
        good.wait_for("stats", "evicted_clients", &(at + 1).to_string());
        good.wait_for("clients", "blocked_clients", "0");
        good.wait_for("clients", "connected_clients", "1");
        drop(gone);
        good.check("CONFIG SET maxmemory-clients 0", "+OK\r\n");
        good.check("DEL k", ":0\r\n");
        good.send("XADD s * f last");
        reply(&mut good);
        good.send("XREADGROUP GROUP g d COUNT 100 STREAMS s >");
        assert_eq!(reply(&mut good).last().map(String::as_str), Some("last"));
    }
}

#[test]
fn cve_2026_25243_a_payload_that_was_changed_anywhere_is_refused_whole() {
    let server = Server::start();
    let mut client = server.client();
    pending(&mut client, 3);
    client.send("DUMP s");
    let header = String::from_utf8(client.take_line()).expect("text");
    let length: usize = header.trim_end()[1..].parse().expect("a length");
    let payload = client.take(length + 2)[..length].to_vec();
    let mut bytes = Vec::new();
    for at in 0..length {
        let mut flipped = payload.clone();
        flipped[at] ^= 1 << (at % 8);
        bytes.extend(request(&[b"RESTORE", b"t", b"0", &flipped]));
        bytes.extend(request(&[b"RESTORE", b"t", b"0", &payload[..at]]));
    }
    client.send_bytes(&bytes);
    for at in 0..2 * length {
        let line = reply(&mut client).remove(0);
        assert!(line.starts_with("-ERR "), "{at}: {line}");
    }
    client.check("EXISTS t", ":0\r\n");
    client.send_bytes(&request(&[b"RESTORE", b"t", b"0", &payload]));
    client.expect("the payload itself", "+OK\r\n");
}

#[test]
fn cve_2022_36021_and_2024_31228_a_pattern_of_a_megabyte_is_looked_at_once() {
    let server = Server::start();
    let mut client = server.client();
    let name = vec![b'a'; 200];
    client.send_bytes(&request(&[b"SET", &name, b"v"]));
    client.expect("SET", "+OK\r\n");
    for piece in ["a*", "*", "?*", "[a-z]*", "\\a*"] {
        let pattern = piece.repeat((1 << 20) / piece.len()) + "b";
        client.send_bytes(&request(&[b"KEYS", pattern.as_bytes()]));
        client.expect(piece, "*0\r\n");
        client.send_bytes(&request(&[b"PSUBSCRIBE", pattern.as_bytes()]));
        reply(&mut client);
        client.send("RESET");
        assert_eq!(reply(&mut client), ["+RESET"]);
    }
}

#[test]
fn cve_2025_67733_nothing_of_the_client_ends_a_line_of_the_reply() {
    let server = Server::start();
    let mut client = server.client();
    let evil: &[u8] = b"a\r\n+OK\r\n\0b";
    let requests: [&[&[u8]]; 12] = [
        &[evil],
        &[b"FOO", evil, evil],
        &[b"CLIENT", evil],
        &[b"CONFIG", b"SET", evil, b"v"],
        &[b"CONFIG", b"SET", b"appendfsync", evil],
        &[b"ACL", b"SETUSER", b"u", evil],
        &[b"ACL", b"CAT", evil],
        &[b"ACL", b"DRYRUN", evil, b"GET", b"k"],
        &[b"HELLO", b"3", evil],
        &[b"CLIENT", b"SETINFO", evil, b"v"],
        &[b"CLIENT", b"KILL", b"USER", evil],
        &[b"XREADGROUP", b"GROUP", evil, b"c", b"STREAMS", evil, b">"],
    ];
    for args in requests {
        client.send_bytes(&request(args));
        let line = client.take_line();
        assert_eq!(line.first(), Some(&b'-'), "{args:?}");
        assert!(!line[..line.len() - 2].iter().any(|byte| b"\r\n\0".contains(byte)), "{line:?}");
        client.check("PING", "+PONG\r\n");
    }
}

#[test]
fn cve_2021_41099_the_length_of_an_argument_cannot_be_raised_beyond_numbers() {
    let server = Server::start();
    let mut client = server.client();
    for line in ["CONFIG SET proto-max-bulk-len 4gb", "CONFIG SET client-query-buffer-limit 9gb"] {
        client.send(line);
        assert!(reply(&mut client)[0].starts_with("-ERR "), "{line}");
    }
    for length in ["16777217", "2147483648", "4294967296", "9223372036854775807"] {
        let mut attacker = server.client();
        attacker.send_bytes(format!("*2\r\n$3\r\nGET\r\n${length}\r\n").as_bytes());
        attacker.expect(length, "-ERR Protocol error: invalid bulk length\r\n");
        attacker.expect_end();
    }
    client.check("PING", "+PONG\r\n");
}

#[test]
fn cve_2023_45145_and_2026_21863_there_is_no_unix_socket_and_no_cluster_bus() {
    let server = Server::start();
    let mut client = server.client();
    for name in ["unixsocket", "unixsocketperm", "cluster-enabled", "cluster-port"] {
        client.check(&format!("CONFIG GET {name}"), "*0\r\n");
        client.send(&format!("CONFIG SET {name} 1"));
        assert!(reply(&mut client)[0].starts_with("-ERR Unknown option"), "{name}");
    }
    assert_eq!(client.info("cluster", "cluster_enabled"), "0");
    client.send("CLUSTER MEET 127.0.0.1 7000");
    assert!(reply(&mut client)[0].starts_with("-ERR "));
}

/// CVE-2024-31449, 2024-46981, 2025-49844, 2025-46817, 2022-24834, 2026-23631.
#[test]
fn there_is_no_lua_to_attack() {
    let server = Server::start();
    let mut client = server.client();
    for line in
        ["EVAL x 0", "EVALSHA x 0", "EVAL_RO x 0", "FCALL f 0", "FUNCTION LOAD x", "SCRIPT LOAD x"]
    {
        client.send(line);
        assert!(reply(&mut client)[0].starts_with("-ERR unknown "), "{line}");
    }
}
