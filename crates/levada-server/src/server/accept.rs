//! New connections, and who may make them.

use std::fmt::Display;
use std::io;
use std::net;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use levada_engine::error::{Error, ErrorKind};
use levada_resp::{Decoder, Protocol, Writer};
use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Interest, Poll, Token};
use rustls::ServerConfig;

use super::turns::limits;
use super::{Counted, LISTENER, SHUTDOWN, Server};
use crate::connection::Connection;
use crate::context::State;
use crate::engine::{Now, Wait};
use crate::log_event::{LogEvent, LogName};
use crate::out::Out;
use crate::session::Session;
use crate::socket::Socket;
use crate::wire_error::WireError;

/// Microseconds until accepting is tried again after the system had no room.
pub(super) const RETRY_US: u64 = 50_000;
/// Why none is accepted while others have taken the files of the store.
const FILES_NEEDED: &str = "the data need the files that the system allows (ulimit -n)";
/// What other machines were at that protected mode turned away.
pub(super) const UNPROTECTED: &str =
    "connect from other machines without a password (protected-mode)";
/// Connections that the system keeps until they are accepted; it may be set to keep fewer
/// (`net.core.somaxconn`). Behind it clients try again by themselves, after a second at first.
const BACKLOG: i32 = 1_024;
/// Connections accepted in one iteration from each listener: those that are served already have
/// their turns between.
const ACCEPTED_MAX: usize = 2;

/// The address that other machines can reach, if there is one.
pub(super) fn exposed(listeners: &[net::TcpListener]) -> Result<Option<net::SocketAddr>, Error> {
    for listener in listeners {
        let address = listener
            .local_addr()
            .map_err(|error| Error::io("asking for", "the address of a listener", &error))?;
        if !address.ip().is_loopback() {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// Refuses to serve other machines without a password.
pub(super) fn check_exposure(state: &State, address: Option<net::SocketAddr>) -> Result<(), Error> {
    match address {
        Some(address) if state.is_protected() && !state.acl.needs_password() => {
            let message = format!(
                "{address} can be reached from other machines, and there is no password: set one \
                 with --requirepass or LEVADA_REQUIREPASS, give the user 'default' one, bind \
                 127.0.0.1, or turn protected-mode off"
            );
            Err(Error::new(ErrorKind::Invalid, message))
        }
        _ => Ok(()),
    }
}

/// Puts listeners and the shutdown signal under the eyes of the loop.
pub(super) fn register(
    poll: &Poll,
    listeners: Vec<net::TcpListener>,
    shutdown: StdUnixStream,
) -> io::Result<(Vec<TcpListener>, UnixStream)> {
    let mut registered = Vec::new();
    for (at, listener) in listeners.into_iter().enumerate() {
        listener.set_nonblocking(true)?;
        // Again, since the standard library has asked for room for 128.
        rustix::net::listen(&listener, BACKLOG)?;
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, Token(LISTENER - at), Interest::READABLE)?;
        registered.push(listener);
    }
    shutdown.set_nonblocking(true)?;
    let mut shutdown = UnixStream::from_std(shutdown);
    poll.registry().register(&mut shutdown, SHUTDOWN, Interest::READABLE)?;
    Ok((registered, shutdown))
}

impl Server {
    /// Accepts what waits at the listeners.
    pub(super) fn accept(&mut self, now: Now) {
        for at in 0..self.listeners.len() {
            for accepted in 0.. {
                if accepted == ACCEPTED_MAX {
                    // The system tells once of all that came: sleeping would let them wait.
                    self.accept_again = true;
                    self.was_woken = true;
                    break;
                }
                if !self.may_strangers_come(now) {
                    self.accept_again = true;
                    break;
                }
                let accepted = match self.shard.lacks_files() {
                    true => Err(io::Error::other(FILES_NEEDED)),
                    false => self.listeners[at].accept(),
                };
                match accepted {
                    Ok((stream, address)) => {
                        self.note_accepted();
                        let tls = self.tls_of(at);
                        self.admit(stream, address, tls, now);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The client has gone; the next one may be there.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        self.note_pause(&error);
                        self.accept_again = true;
                        break;
                    }
                }
            }
        }
    }

    /// What the connections of a listener speak; `None` for no TLS.
    fn tls_of(&self, listener: usize) -> Option<Arc<ServerConfig>> {
        let plain = self.listeners.len().saturating_sub(self.state.settings.tls.listeners);
        self.state.tls.clone().filter(|_| listener >= plain)
    }

    fn admit(
        &mut self,
        stream: TcpStream,
        address: net::SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        now: Now,
    ) {
        if let Some(why) = self.refusal(address, now) {
            self.state.stats.connections_refused += 1;
            refuse(stream, &why);
            return;
        }
        // Only a slower start of a reply is lost if it fails.
        let _ = stream.set_nodelay(true);
        let mut stream = match Socket::new(stream, tls) {
            Ok(stream) => stream,
            Err(error) => {
                self.note_failed(address, "it cannot begin TLS", &error);
                return;
            }
        };
        let local_address = stream.local_address().unwrap_or(address);
        let token = self.connections.reserve();
        if let Err(error) = stream.register(self.poll.registry(), token) {
            self.note_failed(address, "it cannot be watched", &error);
            self.connections.release(token);
            return;
        }
        let id = self.next_client;
        self.next_client += 1;
        // Whoever had the reserve has found room, if the next one does.
        self.connections.reserved = self.is_crowded().then_some(id);
        self.state.stats.connections += 1;
        self.state.heads.arrive(address.ip());
        let authenticated = !self.state.acl.needs_password();
        let now_ms = now.monotonic_ms();
        if !authenticated || stream.is_tls() {
            self.add_stranger(id);
        }
        self.connections.insert(Box::new(Connection {
            token,
            stream,
            session: Session::new(id, address, local_address, authenticated, now_ms),
            decoder: Decoder::new(limits(authenticated)),
            input: Vec::new(),
            out: Out::default(),
            entered: Wait::Nothing,
            readable: false,
            peer_closed: false,
            half_closed: false,
            has_request: false,
            writable: true,
            queued: false,
            is_heavy: false,
            window: 0,
            awaits_blocks: false,
            paused: false,
            closing: false,
            broken: false,
            counted: Counted::default(),
        }));
    }
}

impl Server {
    /// Why a connection from an address is not taken, if it is not.
    fn refusal(&mut self, address: net::SocketAddr, now: Now) -> Option<WireError> {
        let clients_max = self.clients_max();
        if self.is_crowded() {
            self.note_refusal(clients_max);
            if !self.is_reserve_for(address.ip()) {
                return Some(WireError::MAX_CLIENTS);
            }
        } else {
            self.note_room(clients_max);
        }
        let is_open = !self.state.acl.needs_password();
        if is_kept_out(is_open, self.state.is_protected(), address.ip()) {
            self.peers_refused.note(format!("from {address}"));
            if let Some(event) = self.peers_refused.tell(now.monotonic_ms()) {
                self.state.log(&event);
            }
            return Some(WireError::PROTECTED);
        }
        let per_address_max = self.state.limits.per_address_max;
        let has_room = self.state.heads.has_room(address.ip(), per_address_max);
        (!has_room).then_some(WireError::MAX_CLIENTS_OF_ADDRESS)
    }

    /// Says that a connection could not be served though it was accepted.
    fn note_failed(&self, address: net::SocketAddr, what: &str, error: &impl Display) {
        let message = format!("A connection from {address} ends at once: {what}: {error}");
        let event = LogEvent::new(LogName::ConnectionFailed, message);
        self.state.log(&event.text("address", &address).text("error", &error));
    }
}

/// Whether protected mode turns an address away: nobody would ask it for a password.
fn is_kept_out(is_open: bool, is_protected: bool, address: net::IpAddr) -> bool {
    is_open && is_protected && !address.is_loopback()
}

/// Says why a connection is not taken, and ends it.
fn refuse(mut stream: TcpStream, why: &WireError) {
    let mut text = Vec::new();
    Writer::new(&mut text, Protocol::Resp2).error(why.text());
    // If the client does not take it, the closed connection says enough.
    let _ = io::Write::write(&mut stream, &text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::rig;

    #[test]
    fn a_crowd_finds_room_and_is_accepted_without_a_sleep() {
        let (mut server, address, _rest) = rig::opened("crowd");
        // All of them wait at once: nobody is accepted before the loop runs.
        let crowd: Vec<_> = (0..=ACCEPTED_MAX * 75).map(|_| rig::client(address)).collect();
        let mut events = mio::Events::with_capacity(16);
        while !server.accept_again {
            server.iterate(&mut events).expect("runs");
        }
        let now = server.state.clock.now();
        for accepted in 1..=crowd.len().div_ceil(ACCEPTED_MAX) {
            server.serve_newcomers_or_patient(now).expect("runs");
            let len = crowd.len().min(accepted * ACCEPTED_MAX);
            assert_eq!(server.connections.len(), len, "others have their turns between");
            let more_wait = len < crowd.len();
            assert_eq!(server.accept_again, more_wait);
            assert_eq!(std::mem::take(&mut server.was_woken), more_wait, "or it would sleep");
        }
    }

    #[test]
    fn newcomers_and_who_must_be_patient_are_served_by_turns() {
        let (mut server, address, _rest) = rig::opened("by-turns");
        let _one = rig::client(address);
        server.run_until(|server| server.connections.len() == 1);
        let token = server.connections.by_client(1).expect("it is there").token;
        let now = server.state.clock.now();
        server.patient.tokens.push_back(token);
        // The last iteration has let that one in.
        assert!(server.patient.gave_way);
        for (newcomers, waiting) in [(true, 0), (false, 0), (false, 0)] {
            server.accept_again = true;
            server.serve_newcomers_or_patient(now).expect("runs");
            assert_eq!((server.accept_again, server.patient.tokens.len()), (newcomers, waiting));
        }
        server.patient.tokens.push_back(token);
        server.accept_again = false;
        server.serve_newcomers_or_patient(now).expect("runs");
        assert_eq!(server.patient.tokens.len(), 0, "nobody comes");
    }

    #[test]
    fn protected_mode_keeps_other_machines_out_unless_they_are_asked_for_a_password() {
        let check = |address: &str, is_open: bool, is_protected: bool, expect: bool| {
            let address = address.parse().expect("an address");
            assert_eq!(is_kept_out(is_open, is_protected, address), expect, "{address}");
        };
        for machine in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1"] {
            check(machine, true, true, true);
            check(machine, false, true, false);
            check(machine, true, false, false);
        }
        for own in ["127.0.0.1", "127.9.9.9", "::1"] {
            check(own, true, true, false);
        }
    }
}
