//! What clients may take: each of them, and all together.

use std::net::SocketAddr;

use crate::rig::{Client, Server, request};

/// Waits until INFO says that so many were closed.
fn closed(client: &mut Client, name: &str, count: &str) {
    client.wait_for("stats", name, count);
}

/// Sends a request whose last argument never ends, so that the server keeps what came.
fn hoard(client: &mut Client, bytes: usize) {
    let mut sent = b"*3\r\n$4\r\nXLEN\r\n$1\r\nk\r\n$16777216\r\n".to_vec();
    sent.resize(sent.len() + bytes, b'y');
    client.send_bytes(&sent);
}

#[test]
fn who_takes_most_goes_first_and_who_may_not_stays() {
    let server = Server::start();
    let mut client = server.client();
    client.check("CLIENT NO-EVICT ON", "+OK\r\n");
    client.check("CONFIG SET maxmemory-clients 8mb", "+OK\r\n");
    let mut small = server.client();
    hoard(&mut small, 1 << 20);
    let mut large = server.client();
    // It ends under way, so that the rest of it may not be taken.
    let _ =
        std::io::Write::write_all(&mut large.stream, &request(&[b"SET", b"k", &vec![0; 12 << 20]]));
    closed(&mut client, "evicted_clients", "1");
    large.expect_end();
    let _ = std::io::Write::write_all(&mut small.stream, &vec![b'y'; 14 << 20]);
    small.expect_end();
    closed(&mut client, "evicted_clients", "2");
    client.check("CONFIG SET maxmemory-clients 0", "+OK\r\n");
    let mut free = server.client();
    free.send_bytes(&request(&[b"SET", b"k", &vec![0; 12 << 20]]));
    free.expect("SET", "+OK\r\n");
}

#[test]
fn who_listens_and_does_not_read_goes_at_the_limit_of_its_class() {
    let server = Server::start();
    let mut client = server.client();
    let set = [&b"CONFIG"[..], b"SET", b"client-output-buffer-limit", b"pubsub 256kb 0 0"];
    client.send_bytes(&request(&set));
    client.expect("CONFIG SET", "+OK\r\n");
    let mut listener = server.client();
    listener.check("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    let message = vec![b'm'; 1 << 20];
    client.send_bytes(&request(&[b"PUBLISH", b"a", &message]));
    client.expect("PUBLISH", ":1\r\n");
    closed(&mut client, "client_output_buffer_limit_disconnections", "1");
}

#[test]
fn who_is_beyond_the_soft_limit_goes_after_its_time() {
    let server = Server::start();
    let mut client = server.client();
    let set = [&b"CONFIG"[..], b"SET", b"client-output-buffer-limit", b"pubsub 32mb 64kb 0"];
    client.send_bytes(&request(&set));
    client.expect("CONFIG SET", "+OK\r\n");
    let mut listener = server.client();
    listener.check("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    // More than the socket takes for who does not read.
    let message = vec![b'm'; 12 << 20];
    client.send_bytes(&request(&[b"PUBLISH", b"a", &message]));
    client.expect("PUBLISH", ":1\r\n");
    closed(&mut client, "client_output_buffer_limit_disconnections", "1");
}

#[test]
fn strangers_together_take_little() {
    let server = Server::start();
    let mut client = server.client();
    client.check("CLIENT NO-EVICT ON", "+OK\r\n");
    client.check("CONFIG SET requirepass secret", "+OK\r\n");
    let part =
        [b"*10\r\n".to_vec(), [&b"$16384\r\n"[..], &[b'x'; 16384], b"\r\n"].concat().repeat(9)];
    let strangers: Vec<_> = (0..400)
        .map(|_| {
            let mut stranger = server.client();
            let _ = std::io::Write::write_all(&mut stranger.stream, &part.concat());
            stranger
        })
        .collect();
    // Each alone would be within its bounds: 400 of them would take 60 MB.
    let taken: u64 = client.info("memory", "mem_clients_normal").parse().expect("a number");
    assert!(taken < 40 << 20, "{taken} bytes");
    drop(strangers);
}

/// A client that comes from another address of this machine.
fn client_from(server: &Server, own: [u8; 4]) -> Client {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::from((own, 0))).expect("loopback has it");
    connect(&socket, &server.address).expect("it listens");
    Client::of(socket.into())
}

const CROWDED_ADDRESS: &str =
    "-ERR max number of clients reached for this address (maxclients-per-address)\r\n";
const CROWDED_USER: &str =
    "-ERR max number of clients reached for this user (maxclients-per-user)\r\n";

#[test]
fn an_address_has_so_many_connections_and_others_are_not_hurt() {
    let server = Server::start_with(|settings| settings.clients_per_address_max = 2);
    let mut client = server.client();
    client.check("CONFIG GET maxclients-per-address", "*2\r\n$22\r\nmaxclients-per-address\r\n");
    client.expect("its value", "$1\r\n2\r\n");
    let mut second = server.client();
    second.check("PING", "+PONG\r\n");
    let mut third = server.client();
    third.expect("no room", CROWDED_ADDRESS);
    third.expect_end();
    client_from(&server, [127, 0, 0, 2]).check("PING", "+PONG\r\n");
    assert_eq!(client.info("stats", "rejected_connections"), "1");
    drop(second);
    client.wait_for("clients", "connected_clients", "1");
    let mut fourth = server.client();
    fourth.check("PING", "+PONG\r\n");
    // Who is in stays when the bound falls below that.
    client.check("CONFIG SET maxclients-per-address 1", "+OK\r\n");
    fourth.check("PING", "+PONG\r\n");
    server.client().expect("no room", CROWDED_ADDRESS);
    client.check("CONFIG SET maxclients-per-address 0", "+OK\r\n");
    for _ in 0..5 {
        server.client().check("PING", "+PONG\r\n");
    }
}

#[test]
fn a_user_has_so_many_connections_whatever_they_were_before() {
    let server = Server::start_with(|settings| {
        settings.clients_per_user_max = 1;
        settings.requirepass = "secret".into();
        settings.users = vec!["a on >a ~* +@all".into(), "b on >b ~* +@all".into()];
    });
    let mut first = server.client();
    first.check("AUTH a a", "+OK\r\n");
    first.check("AUTH a a", "+OK\r\n");
    let mut second = server.client();
    second.check("AUTH a a", CROWDED_USER);
    second.check("PING", "-NOAUTH Authentication required.\r\n");
    second.check("HELLO 3 AUTH a a", CROWDED_USER);
    second.check("AUTH b b", "+OK\r\n");
    second.check("AUTH a a", CROWDED_USER);
    second.check("ACL WHOAMI", "$1\r\nb\r\n");
    // Whatever ends it makes room: to be another, to be nobody, to go, to be thrown out.
    first.check("AUTH secret", "+OK\r\n");
    second.check("AUTH a a", "+OK\r\n");
    second.check("RESET", "+RESET\r\n");
    let mut third = server.client();
    third.check("AUTH a a", "+OK\r\n");
    drop(third);
    first.wait_for("clients", "connected_clients", "2");
    second.check("AUTH a a", "+OK\r\n");
    first.check("ACL DELUSER a", ":1\r\n");
    second.expect_end();
    first.check("ACL SETUSER a on >a +@all ~*", "+OK\r\n");
    let mut fourth = server.client();
    fourth.check("AUTH a a", "+OK\r\n");
    server.client().check("AUTH secret", CROWDED_USER);
    first.check("CONFIG SET maxclients-per-user 0", "+OK\r\n");
    server.client().check("AUTH secret", "+OK\r\n");
}

const CROWDED: &str = "-ERR max number of clients reached\r\n";

#[test]
fn an_operator_gets_in_where_all_connections_are_taken_and_nobody_else_does() {
    let server = Server::start_with(|settings| {
        settings.clients_max = 2;
        settings.requirepass = "secret".into();
    });
    let [mut first, mut second] = [0, 1].map(|_| server.client());
    for client in [&mut first, &mut second] {
        client.check("AUTH secret", "+OK\r\n");
    }
    // A client that is no operator is told what it would be told without the reserve.
    for refused in ["PING", "GET k", "MULTI", "SELECT 1", "NONE", "SUBSCRIBE a"] {
        let mut other = server.client();
        other.check(refused, CROWDED);
        other.expect_end();
        first.wait_for("clients", "connected_clients", "2");
    }
    assert_eq!(first.info("stats", "rejected_connections"), "6");
    let mut operator = server.client();
    operator.check("CLIENT LIST", "-NOAUTH Authentication required.\r\n");
    operator.check("AUTH secret", "+OK\r\n");
    assert_eq!(operator.info("clients", "connected_clients"), "3");
    // It is one: the next is refused before it has said a word, as Redis does.
    let mut next = server.client();
    next.expect("no reserve", CROWDED);
    next.expect_end();
    operator.check("CLIENT KILL ID 2", ":1\r\n");
    second.expect_end();
    operator.wait_for("clients", "connected_clients", "2");
    operator.check("SET k v", "+OK\r\n");
    // There is room for it now, so that the reserve is free.
    let mut another = server.client();
    another.check("AUTH secret", "+OK\r\n");
    another.check("CONFIG SET maxclients 4", "+OK\r\n");
    another.check("GET k", "$1\r\nv\r\n");
    let mut fourth = server.client();
    fourth.check("AUTH secret", "+OK\r\n");
    fourth.check("PING", "+PONG\r\n");
    first.check("PING", "+PONG\r\n");
    // Also where more are open than there may be since just now.
    first.check("CONFIG SET maxclients 1", "+OK\r\n");
    let mut last = server.client();
    last.check("AUTH secret", "+OK\r\n");
    last.check("GET k", CROWDED);
    last.expect_end();
}
