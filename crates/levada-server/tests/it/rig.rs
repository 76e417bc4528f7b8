//! A server in this process, and clients that compare replies byte for byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use levada_engine::error::Error;
use levada_server::Settings;

/// Longest wait for a reply: only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_in(&fresh_directory(), change)
    }

    /// One that other machines could reach; `address` is that of loopback.
    pub(crate) fn start_exposed(change: impl FnOnce(&mut Settings)) -> Self {
        let mut server = Self::start_on("0.0.0.0:0", &fresh_directory(), change);
        server.address.set_ip(Ipv4Addr::LOCALHOST.into());
        server
    }

    fn start_in(directory: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on("127.0.0.1:0", directory, change)
    }

    fn start_on(bound: &str, directory: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        let listener = TcpListener::bind(bound).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, signal) = UnixStream::pair().expect("a pair");
        let mut settings = Settings {
            directory: directory.to_owned(),
            cache_bytes: 1 << 20,
            log_file_bytes: 32 << 20,
            log: |_, _| {},
            ..Settings::default()
        };
        change(&mut settings);
        let serve = move || levada_server::run(vec![listener], signal, settings);
        Self {
            address,
            directory: directory.to_owned(),
            stop: Some(stop),
            thread: Some(std::thread::spawn(serve)),
        }
    }

    /// Stops it and starts another one on the same data.
    pub(crate) fn restart(mut self) -> Self {
        self.stop().expect("a clean end");
        let directory = std::mem::take(&mut self.directory);
        Self::start_in(&directory, |_| {})
    }

    /// Stops it: what `run` returned.
    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        self.stop = None;
        self.wait()
    }

    /// Waits until it has stopped.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        self.thread.take().expect("it runs").join().expect("no panic")
    }

    pub(crate) fn client(&self) -> Client {
        Self::client_at(self.address)
    }

    /// A client of another address.
    pub(crate) fn client_at(address: SocketAddr) -> Client {
        Client::of(TcpStream::connect(address).expect("it listens"))
    }
}

impl Client {
    /// A connection that is made.
    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, unread: Vec::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !self.directory.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

fn fresh_directory() -> PathBuf {
    // Unique among the tests of this process; the process number among processes.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("levada-server-test-{}-{number}", std::process::id()))
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// Sends a request, split at spaces, and checks its whole reply.
    pub(crate) fn check(&mut self, line: &str, expect: &str) {
        self.send(line);
        self.expect(line, expect);
    }

    pub(crate) fn send(&mut self, line: &str) {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        self.send_bytes(&request(&args));
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    /// Checks that exactly these bytes come next.
    pub(crate) fn expect(&mut self, what: &str, expect: &str) {
        let mut got = self.take(expect.len());
        if got.len() == expect.len() && got != expect.as_bytes() {
            // The line up to its end tells more.
            got.extend(self.take_line());
        }
        assert_eq!(String::from_utf8_lossy(&got), expect, "{what}");
    }

    /// The next `count` bytes, fewer where the connection ends.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count && self.fill() {}
        let rest = self.unread.split_off(count.min(self.unread.len()));
        std::mem::replace(&mut self.unread, rest)
    }

    /// Bytes up to the end of the line, with it.
    pub(crate) fn take_line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                return self.take(end + 1);
            }
            if !self.fill() {
                return std::mem::take(&mut self.unread);
            }
        }
    }

    /// A bulk string.
    pub(crate) fn take_bulk(&mut self) -> String {
        let header = String::from_utf8(self.take_line()).expect("text");
        let length = header.trim_end().strip_prefix('$').expect("a bulk string");
        let length: usize = length.parse().expect("a length");
        let bytes = self.take(length + 2);
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// A line of INFO, from a section.
    pub(crate) fn info(&mut self, section: &str, name: &str) -> String {
        self.send(&format!("INFO {section}"));
        let text = self.take_bulk();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().to_owned()
    }

    /// Waits until INFO says so: the other connection's request has arrived by then.
    pub(crate) fn wait_for(&mut self, section: &str, name: &str, value: &str) {
        let begin = std::time::Instant::now();
        while self.info(section, name) != value {
            assert!(begin.elapsed() < PATIENCE, "{name} never became {value}");
        }
    }

    /// Checks that the server has ended the connection.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.take(1);
        assert!(rest.is_empty(), "more came: {}", String::from_utf8_lossy(&rest));
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no reply: {error}"),
        }
    }
}

/// The bytes of a request.
pub(crate) fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
