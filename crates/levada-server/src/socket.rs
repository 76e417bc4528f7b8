//! A socket that speaks TLS or does not, to the loop the same: it reads and writes, or would block.
//!
//! The handshake happens inside of reads. What TLS has to send of its own is sent with what is read
//! and written, and [`Socket::flush_pending`] sends what had no room then. A plain socket costs a
//! branch.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ServerConfig, ServerConnection};

use crate::tls::common_name;

/// Bytes of memory of a connection with TLS that nothing is sent over: its keys and their state.
const TLS_BYTES: usize = 8 << 10;
/// Times that the socket is read in one turn for records that hold nothing for the reader.
const RECORDS_MAX: usize = 16;
/// Bytes that may come before both sides agree on keys: chains of certificates are shorter.
const GREETING_BYTES_MAX: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Bytes that came before both sides agreed on keys.
    greeted: usize,
}

impl Socket {
    /// A connection that was accepted; with TLS where there is a configuration.
    pub(crate) fn new(tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let tls = tls.map(|config| ServerConnection::new(config).map(Box::new));
        let tls = tls.transpose().map_err(io::Error::other)?;
        Ok(Self { tcp, tls, greeted: 0 })
    }

    /// Watches it.
    pub(crate) fn register(&mut self, registry: &Registry, token: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.tcp, Token(token), interest)
    }

    /// Says goodbye, and ends the watch; the socket is closed right after.
    pub(crate) fn close(&mut self, registry: &Registry) {
        if let Some(tls) = self.tls.as_mut().filter(|tls| !tls.is_handshaking()) {
            tls.send_close_notify();
            // If the other side does not take it, the closed connection says enough.
            let _ = send(tls, &mut self.tcp);
        }
        let _ = registry.deregister(&mut self.tcp);
    }

    /// The own address.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Whether a short read says nothing about what else has come.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Bytes of memory that TLS takes, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        if self.tls.is_some() { TLS_BYTES + self.greeted } else { 0 }
    }

    /// Whether both sides have yet to agree on keys.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// The name in the certificate that the other side has shown, and that was found to be right.
    pub(crate) fn peer_name(&self) -> Option<Vec<u8>> {
        common_name(self.tls.as_ref()?.peer_certificates()?.first()?)
    }

    /// Whether something is still to be sent that [`Write::write`] has taken.
    pub(crate) fn is_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends that; whether all of it went.
    pub(crate) fn flush_pending(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(tls) if tls.wants_write() => send(tls, &mut self.tcp),
            _ => Ok(true),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.read(bytes);
        };
        for _ in 0..RECORDS_MAX {
            match tls.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The end without a goodbye is an end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            match tls.read_tls(&mut self.tcp)? {
                // What came before it is read already.
                0 => return Ok(0),
                count if tls.is_handshaking() => self.greeted += count,
                _ => {}
            }
            if self.greeted > GREETING_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its greeting is endless"));
            }
            let state = tls.process_new_packets();
            // The other side is told what was wrong, too.
            let _ = send(tls, &mut self.tcp)?;
            state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        // Others have their turn; the socket may still have more.
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.write(bytes);
        };
        // One record's worth at a time is under way, so that a slow reader's replies wait in the
        // buffer that is bounded.
        if !send(tls, &mut self.tcp)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match tls.writer().write(bytes)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => send(tls, &mut self.tcp).map(|_| count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_pending().map(drop)
    }
}

/// Sends what TLS has to send; whether all of it went.
fn send(tls: &mut ServerConnection, tcp: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
