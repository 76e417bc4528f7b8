//! One connection beyond `maxclients`, from this machine, for who comes to make room.
//!
//! Without it a server that is full refuses also those who could help it (CLIENT KILL, CONFIG SET
//! maxclients). It is for loopback alone: an operator has a shell there, a crowd from outside does
//! not. As ordinary clients live on loopback too, it answers only what an operator needs: all else
//! is refused in the words that any client beyond `maxclients` hears, and the connection ends. So
//! neither a pool nor a health check takes a full server for one that has room, which is why PING
//! is refused. Who says nothing for as long as strangers have to authenticate is let go.
//!
//! It is an ordinary connection as soon as there is room for it. Rights, passwords and the bounds
//! of addresses and users hold for it as for others.

use std::net::IpAddr;

use levada_resp::Writer;

use super::Server;
use crate::connection::Connection;
use crate::engine::Now;
use crate::out::Release;
use crate::wire_error::WireError;

/// What it answers. COMMAND is what `redis-cli` asks before it shows its prompt.
const COMMANDS: [&[u8]; 9] =
    [b"ACL", b"AUTH", b"CLIENT", b"COMMAND", b"CONFIG", b"HELLO", b"INFO", b"QUIT", b"SHUTDOWN"];

impl Server {
    /// Connections that there may be, whoever they are of.
    pub(super) fn clients_max(&self) -> u64 {
        self.state.config.number("maxclients").min(self.state.settings.connections_max)
    }

    /// Whether there are so many.
    pub(super) fn is_crowded(&self) -> bool {
        self.connections.len() as u64 >= self.clients_max()
    }

    /// Whether there are more.
    fn is_overcrowded(&self) -> bool {
        self.connections.len() as u64 > self.clients_max()
    }

    /// Whether an address may have the connection that is reserved. Where no more are open than
    /// there may be, whoever had it has found room.
    pub(super) fn is_reserve_for(&self, address: IpAddr) -> bool {
        let is_free = self.connections.reserved.is_none() || !self.is_overcrowded();
        is_free && address.to_canonical().is_loopback()
    }

    /// Refuses a request that the reserved connection may not run; `false` for all others.
    pub(super) fn refuse_in_reserve(
        &mut self,
        connection: &mut Connection,
        args: &[&[u8]],
    ) -> bool {
        if self.connections.reserved != Some(connection.session.id) {
            return false;
        }
        if !self.is_overcrowded() {
            self.connections.reserved = None;
            return false;
        }
        let name = args.first().copied().unwrap_or_default();
        if COMMANDS.iter().any(|command| command.eq_ignore_ascii_case(name)) {
            return false;
        }
        self.state.stats.connections_refused += 1;
        let protocol = connection.session.protocol;
        Writer::new(connection.out.target(), protocol).error(WireError::MAX_CLIENTS.text());
        connection.out.mark(Release::default());
        connection.closing = true;
        true
    }

    /// The reserved connection, if it has been silent for so long that it ends.
    pub(super) fn idle_in_reserve(&mut self, now: Now) -> Option<usize> {
        let silent_ms_max = self.state.settings.strangers_ms_max;
        let is_beyond = self.is_overcrowded();
        let connection = self.connections.by_client(self.connections.reserved?)?;
        let silent_ms = now.monotonic_ms().saturating_sub(connection.session.active_ms);
        (is_beyond && silent_ms > silent_ms_max).then_some(connection.token)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::server::rig;

    #[test]
    fn the_reserve_is_for_this_machine_and_for_one() {
        let (mut server, address, _rest) = rig::opened("reserve");
        server.state.config.set(&[b"maxclients", b"1"]).expect("a number");
        let check = |server: &Server, address: &str, expect: bool| {
            let address = address.parse().expect("an address");
            assert_eq!(server.is_reserve_for(address), expect, "{address}");
        };
        for machine in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            check(&server, machine, false);
        }
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            check(&server, own, true);
        }
        let _clients = [0, 1].map(|_| rig::client(address));
        server.run_until(|server| server.connections.len() == 2);
        check(&server, "127.0.0.1", false);
    }

    #[test]
    fn who_is_silent_in_the_reserve_gives_it_back() {
        let (mut server, address, _rest) = rig::opened("reserve-idle");
        server.state.config.set(&[b"maxclients", b"1"]).expect("a number");
        let _first = rig::client(address);
        server.run_until(|server| server.connections.len() == 1);
        let mut second = rig::client(address);
        server.run_until(|server| server.connections.len() == 2);
        second.write_all(b"INFO\r\n").expect("sent");
        let commands = |server: &mut Server| {
            server.connections.by_client(2).expect("it is there").session.commands
        };
        server.run_until(|server| commands(server) == 1);
        let active_ms = server.connections.by_client(2).expect("there").session.active_ms;
        let mut left = |ms: u64| {
            server.last_sweep_ms = 0;
            server.sweep(Now { wall_ms: 0, monotonic_us: ms * 1_000 });
            server.connections.len()
        };
        let ms_max = crate::settings::Settings::default().strangers_ms_max;
        assert_eq!(left(active_ms + ms_max), 2);
        assert_eq!(left(active_ms + ms_max + 1), 1, "and the first stays, however silent");
        assert!(server.is_reserve_for(address.ip()));
        let mut said = String::new();
        second.read_to_string(&mut said).expect("a clean end");
        assert!(said.contains("connected_clients:2"), "{said}");
    }
}
