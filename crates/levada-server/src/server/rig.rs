//! A server whose loop is run by hand, for tests of what an iteration does.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use mio::Events;

use super::Server;
use crate::settings::Settings;

/// Longest wait for a connection: only a failing test waits that long.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// The directory, which goes away with the test, and the other end of the signal to stop.
pub(super) struct Rest(
    PathBuf,
    #[expect(dead_code, reason = "its end would be the signal")] UnixStream,
);

impl Drop for Rest {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server and where it listens. It has done nothing yet.
pub(super) fn opened(name: &str) -> (Server, SocketAddr, Rest) {
    let directory = std::env::temp_dir().join(format!("levada-{name}-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, signal) = UnixStream::pair().expect("a pair");
    let settings = Settings {
        directory: directory.clone(),
        log_file_bytes: 32 << 20,
        // Syncs leave the loop, so that the disk wakes it.
        inline_sync_us_max: 0,
        log: |_, _| {},
        ..Settings::default()
    };
    let server = Server::open(vec![listener], signal, settings).expect("opens");
    (server, address, Rest(directory, stop))
}

/// A client that the system has connected; the server need not have accepted it.
pub(super) fn client(address: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&address, CONNECT_MAX).expect("there is room for it")
}

/// A server that has accepted one client, its first.
pub(super) fn with_client(name: &str) -> (Server, TcpStream, Rest) {
    let (mut server, address, rest) = opened(name);
    let client = client(address);
    server.run_until(|server| server.connections.len() == 1);
    (server, client, rest)
}

impl Server {
    /// Runs the loop until something holds.
    pub(super) fn run_until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) {
        let mut events = Events::with_capacity(16);
        while !holds(self) {
            self.iterate(&mut events).expect("runs");
            self.flush();
        }
    }
}
